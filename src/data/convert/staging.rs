//! A private folder inside the output folder where a conversion grows, until it is moved into place as a whole.

use crate::error::{At, Error, Kind, Result};
use crate::files;
use rayon::prelude::*;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PREFIX: &str = ".lorascope-convert-";

/// The folder with the pictures, in the output folder and in the staging folder.
pub(super) const PICTURES: &str = "mllm_data";

/// Dropping it without [`Staging::commit`] leaves the output folder as it was.
pub(super) struct Staging {
    out: PathBuf,
    made_out: bool,
    dir: Option<TempDir>,
    /// Held as long as the conversion lives: tells a running one from what a killed one left.
    _lock: Option<File>,
}

impl Staging {
    /// Makes the output folder if needed, clears what a killed conversion left there, and starts a new one.
    ///
    /// # Errors
    /// Another conversion is writing there; `mllm_data` leads out of the folder; no permission.
    pub fn open(out: &Path) -> Result<Self> {
        let made_out = !out.exists();
        fs::create_dir_all(out).at("create", out)?;
        let mut staging = Self { out: out.to_path_buf(), made_out, dir: None, _lock: None };
        clear_leftovers(out)?;
        check_pictures_folder(out)?;
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(out).at("create a folder in", out)?;
        staging._lock = File::open(dir.path()).ok().filter(|f| f.try_lock().is_ok());
        let pictures = dir.path().join(PICTURES);
        staging.dir = Some(dir);
        fs::create_dir(&pictures).at("create", &pictures)?;
        Ok(staging)
    }

    /// Where a file of this name (relative to the output folder) is staged.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.as_ref().expect("present until commit").path().join(name)
    }

    /// Writes a picture. Not visible outside and synced at the commit, so it needs no rename of its own.
    pub fn write_picture(&self, file_name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(PICTURES).join(file_name);
        fs::write(&path, bytes).at("write", &path)
    }

    /// Moves everything into place: pictures first, then the files named (relative), so that no file ever names a
    /// picture that is not there.
    pub fn commit(&mut self, names: &[String]) -> Result<()> {
        let from = self.path(PICTURES);
        let to = self.out.join(PICTURES);
        fs::create_dir_all(&to).at("create", &to)?;
        let pictures: Vec<PathBuf> = fs::read_dir(&from)
            .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect())
            .at("read", &from)?;
        pictures.par_iter().try_for_each(|p| File::open(p).and_then(|f| f.sync_all()).at("write", p))?;
        for picture in &pictures {
            let target = to.join(picture.file_name().expect("an entry of a folder has a name"));
            fs::rename(picture, &target).at("write", &target)?;
        }
        files::sync_dir(&to);
        for name in names {
            let target = self.out.join(name);
            fs::rename(self.path(name), &target).at("write", &target)?;
        }
        files::sync_dir(&self.out);
        self.made_out = false;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        drop(self.dir.take());
        if self.made_out {
            // Only an empty folder goes, so nothing of anybody else's is lost.
            let _ = fs::remove_dir(&self.out);
        }
    }
}

fn clear_leftovers(out: &Path) -> Result<()> {
    for entry in fs::read_dir(out).at("read", out)? {
        let entry = entry.at("read", out)?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !ours || !entry.file_type().at("read", entry.path())?.is_dir() {
            continue;
        }
        let held = File::open(entry.path()).at("read", entry.path())?;
        match held.try_lock() {
            Ok(()) => fs::remove_dir_all(entry.path()).at("remove", entry.path())?,
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("another conversion is writing to {}", out.display()),
                )
                .hint("wait until it has ended, or choose another --out"));
            }
            // Folders cannot be locked here: it may be in use, so it stays.
            Err(TryLockError::Error(_)) => {}
        }
    }
    Ok(())
}

/// Refuses a pictures folder that leads out of the output folder, or is no folder.
fn check_pictures_folder(out: &Path) -> Result<()> {
    let pictures = out.join(PICTURES);
    let Ok(facts) = fs::symlink_metadata(&pictures) else { return Ok(()) };
    let inside = match (pictures.canonicalize(), out.canonicalize()) {
        (Ok(pictures), Ok(out)) => pictures.starts_with(out),
        _ => false,
    };
    if facts.is_symlink() && !inside {
        return Err(Error::input(format!(
            "{} is a link that leads out of the output folder",
            pictures.display()
        ))
        .hint("remove the link, or choose the folder it leads to as --out"));
    }
    if !pictures.is_dir() {
        return Err(Error::input(format!("{} is in the way: it is not a folder", pictures.display()))
            .hint("move it away, or choose another --out"));
    }
    Ok(())
}

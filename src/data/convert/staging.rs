//! A private folder inside the output folder where a conversion grows, until it is moved into place as a whole.

use super::disk_map::fingerprint;
use super::journal::KeptRow;
use crate::error::{At, Error, Kind, Result};
use crate::files;
use crate::job::{Emit, Event, Level};
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

const PREFIX: &str = ".lorascope-convert-";

/// There while results are being moved into place.
const COMMITTING: &str = "committing";

/// The folder with the pictures, in the output folder and in the staging folder.
pub(super) const PICTURES: &str = "mllm_data";

/// What a conversion has made so far. It stays behind a stop or a crash for the next run of the same conversion.
pub(super) struct Staging {
    out: PathBuf,
    dir: PathBuf,
    made_out: bool,
    /// There is something in it to go on from.
    pub keep: bool,
    /// Held as long as the conversion lives: tells a running one from what a killed one left.
    _lock: Option<File>,
}

impl Staging {
    /// Makes the output folder if needed, and opens the folder in it for the data sets `names`.
    ///
    /// # Errors
    /// Another conversion is writing there; `mllm_data` leads out of the folder; no permission.
    pub fn open(out: &Path, names: &[String; 2], emit: Emit) -> Result<Self> {
        let made_out = !out.exists();
        fs::create_dir_all(out).at("create", out)?;
        let own = format!("{PREFIX}{:016x}", fingerprint(names.join("\0").as_bytes()));
        let mut staging = Self { out: out.into(), dir: out.join(&own), made_out, keep: true, _lock: None };
        staging.keep = staging.dir.exists();
        for other in others(out, &own)? {
            let _lock = lock(&other, out)?;
            leave_or_remove(&other, emit)?;
        }
        check_pictures_folder(out)?;
        fs::create_dir_all(&staging.dir).at("create", &staging.dir)?;
        staging._lock = lock(&staging.dir, out)?;
        files::remove_leftovers(out);
        let pictures = staging.path(PICTURES);
        fs::create_dir_all(&pictures).at("create", &pictures)?;
        Ok(staging)
    }

    /// Where a file of this name (relative to the output folder) is staged.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Throws away what an earlier process left here.
    pub fn clear(&mut self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).at("read", &self.dir)? {
            let path = entry.at("read", &self.dir)?.path();
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_dir());
            if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.at("remove", &path)?;
        }
        let pictures = self.path(PICTURES);
        fs::create_dir_all(&pictures).at("create", &pictures)
    }

    /// Makes a sub-folder for pictures.
    pub fn make_folder(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::create_dir_all(&path).at("create", &path)
    }

    /// Writes a picture. Not visible outside and synced later with all others, so it needs no rename of its own.
    pub fn write_picture(&self, image: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(image);
        fs::write(&path, bytes).at("write", &path)
    }

    /// Whether a picture that an earlier process wrote is there: by its size, and by its content unless that is known to be
    /// on the disk.
    pub fn has_picture(&self, row: &KeptRow, synced: bool) -> bool {
        let holds = |path: &Path| {
            fs::symlink_metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() == row.bytes)
                && (synced || fs::read(path).is_ok_and(|bytes| fingerprint(&bytes) == row.written))
        };
        let moved = self.path(COMMITTING).exists() && holds(&self.out.join(&row.image));
        moved || holds(&self.path(&row.image))
    }

    /// What starts writing to the disk on another thread.
    pub fn writeback(&self) -> Writeback {
        Writeback { dir: self.dir.clone() }
    }

    /// Waits until everything that was written here is on the disk.
    pub fn sync(&self) -> Result<()> {
        sync_below(&self.dir).at("write", &self.dir)
    }

    /// Moves everything into place: pictures first, then the files named (relative), so that no file ever names a picture
    /// that is not there. After a crash in between, the next run of the same conversion goes on here.
    pub fn commit(
        &mut self,
        pictures: impl Iterator<Item = io::Result<KeptRow>>,
        names: &[String],
    ) -> Result<()> {
        self.sync()?;
        files::write(&self.path(COMMITTING), b"")?;
        self.move_pictures(pictures)?;
        for name in names {
            let target = self.out.join(name);
            fs::rename(self.path(name), &target).at("write", &target)?;
        }
        files::sync_dir(&self.out);
        self.made_out = false;
        self.keep = false;
        Ok(())
    }

    /// Moves the pictures out, for good.
    fn move_pictures(&self, pictures: impl Iterator<Item = io::Result<KeptRow>>) -> Result<()> {
        let (all, target) = (self.path(PICTURES), self.out.join(PICTURES));
        // Most often there is no such folder yet: one rename moves all.
        if all.is_dir() && fs::symlink_metadata(&target).is_err() {
            fs::rename(&all, &target).at("write", &target)?;
            files::sync_dir(&self.out);
            return Ok(());
        }
        let mut folders = BTreeSet::new();
        for row in pictures {
            let image = row.at("read", &self.dir)?.image;
            let (from, to) = (self.path(&image), self.out.join(&image));
            let folder = to.parent().expect("below the output folder").to_path_buf();
            if folders.insert(folder.clone()) {
                fs::create_dir_all(&folder).at("create", &folder)?;
                // The pictures folder itself was looked at in the beginning.
                if folder != target && fs::symlink_metadata(&folder).is_ok_and(|f| f.is_symlink()) {
                    return Err(Error::input(format!("{} is a link", folder.display()))
                        .hint("remove it: pictures are written to folders only"));
                }
            }
            match fs::rename(&from, &to) {
                // Moved by the process that crashed.
                Err(e) if e.kind() == io::ErrorKind::NotFound && to.exists() => {}
                moved => moved.at("write", &to)?,
            }
        }
        folders.iter().for_each(|folder| files::sync_dir(folder));
        Ok(())
    }
}

/// Writes to the disk while a conversion goes on, so that the end has little to wait for.
pub(super) struct Writeback {
    dir: PathBuf,
}

impl Writeback {
    /// Starts over at each call that comes in, until nobody can call. Errors are those of [`Staging::sync`], which tells them.
    pub fn run(&self, calls: &Receiver<()>) {
        while calls.recv().is_ok() {
            while calls.try_recv().is_ok() {}
            let _ = sync_below(&self.dir);
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // Best effort: what stays is cleared by the next conversion.
        let _ = fs::remove_dir_all(&self.dir);
        if self.made_out {
            // Only an empty folder goes, so nothing of anybody else's is lost.
            let _ = fs::remove_dir(&self.out);
        }
    }
}

/// On Linux one call for the whole file system, else file by file.
fn sync_below(dir: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() { sync_below(&path)? } else { File::open(&path)?.sync_all()? }
        }
        files::sync_dir(dir);
        Ok(())
    }
}

/// Staging folders of conversions to other data sets.
fn others(out: &Path, own: &str) -> Result<Vec<PathBuf>> {
    let mut others = Vec::new();
    for entry in fs::read_dir(out).at("read", out)? {
        let entry = entry.at("read", out)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) && name != own && entry.file_type().at("read", entry.path())?.is_dir() {
            others.push(entry.path());
        }
    }
    Ok(others)
}

/// Locks a staging folder; `None` where folders cannot be locked.
fn lock(dir: &Path, out: &Path) -> Result<Option<File>> {
    let file = File::open(dir).at("read", dir)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::Error(_)) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(Kind::Usage, format!("another conversion is writing to {}", out.display()))
                .hint("wait until it has ended, or choose another --out"))
        }
    }
}

/// What a killed conversion to other data sets left: kept if it can be gone on with, else removed.
fn leave_or_remove(dir: &Path, emit: Emit) -> Result<()> {
    if !dir.join(super::JOURNAL).exists() {
        return fs::remove_dir_all(dir).at("remove", dir);
    }
    let line = format!(
        "{} holds a conversion to other data sets that was interrupted: run its command again to go on with it, or \
         remove the folder",
        dir.display()
    );
    emit(Event::Log { level: Level::Warning, line });
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

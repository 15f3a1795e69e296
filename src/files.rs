//! Atomic writes: a reader sees the old file or the new one, never a half; a crash leaves the old one.

use crate::error::{At, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Writes a whole file atomically (temporary file in the same folder, fsync, rename, fsync of the folder).
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |w| w.write_all(bytes))
}

/// Like [`write`], the content produced by `fill`. Nothing is left behind when `fill` fails.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> std::io::Result<()>,
) -> Result<()> {
    let dir = match path.parent() {
        Some(d) if !d.as_os_str().is_empty() => d,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir).at("create", dir)?;
    let mut tmp = temporary(dir).at("create a temporary file in", dir)?;
    {
        let mut w = BufWriter::new(tmp.as_file_mut());
        fill(&mut w).at("write", path)?;
        w.flush().at("write", path)?;
    }
    set_default_mode(tmp.as_file());
    tmp.as_file().sync_all().at("write", path)?;
    tmp.persist(path).map_err(|e| e.error).at("write", path)?;
    sync_dir(dir);
    Ok(())
}

const PREFIX: &str = ".lorascope-";
const SUFFIX: &str = ".tmp";

/// A temporary file that is locked while it is written, which tells it from what a killed process left.
fn temporary(dir: &Path) -> std::io::Result<NamedTempFile> {
    loop {
        let file = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(dir)?;
        // Best effort: where files cannot be locked, nothing is taken for a leftover either.
        let _ = file.as_file().lock();
        if file.path().exists() {
            return Ok(file);
        }
        // Taken for a leftover before it was locked.
    }
}

/// Removes temporary files in `dir` that a killed process left. Best effort: they do no harm.
pub fn remove_leftovers(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_one = name.to_str().is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX));
        if is_one && let Ok(file) = File::open(entry.path()) {
            // Removed while locked: see `temporary`.
            if file.try_lock().is_ok() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Pretty JSON (two spaces, as Python's `indent=2`), written atomically, with a newline at the end.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    write_with(path, |w| {
        serde_json::to_writer_pretty(&mut *w, value)?;
        w.write_all(b"\n")
    })
}

/// Makes a rename in `dir` durable. Best effort: some file systems refuse to sync a folder.
pub fn sync_dir(dir: &Path) {
    if let Ok(d) = File::open(dir) {
        let _ = d.sync_all();
    }
}

/// Temporary files are made 0600; results are ordinary files that other users of the machine may read.
fn set_default_mode(f: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = f.set_permissions(fs::Permissions::from_mode(0o644));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(".lorascope-abc.tmp");
        fs::write(&left, "half").unwrap();
        fs::write(dir.path().join(".lorascope-pictures"), "known").unwrap();
        let living = temporary(dir.path()).unwrap();
        remove_leftovers(dir.path());
        assert!(!left.exists() && living.path().exists());
        assert!(dir.path().join(".lorascope-pictures").exists());
    }
}

//! `run.lock`: held by the process that works in a run folder; the system lets go of it when the process dies.

use super::LOCK;
use crate::error::{At, Error, Result};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The right to write into a run folder, until dropped.
pub struct RunLock {
    path: PathBuf,
    _file: File,
}

impl RunLock {
    /// Takes the folder. Error when another process (or job) has it.
    pub fn acquire(run_dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(run_dir).at("create", run_dir)?;
        let path = run_dir.join(LOCK);
        let mut file =
            File::options().write(true).create(true).truncate(false).open(&path).at("write", &path)?;
        if !try_for_a_moment(&file).at("lock", &path)? {
            let owner = std::fs::read_to_string(&path).unwrap_or_default();
            return Err(Error::usage(format!("{} is in use by process {}", run_dir.display(), owner.trim()))
                .hint("choose another output_dir, or wait until that run has ended"));
        }
        file.set_len(0).at("write", &path)?;
        writeln!(file, "{}", std::process::id()).at("write", &path)?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Removed while still held: nobody can take a file that is about to vanish.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A reader that looks whether the lock is held holds it for an instant itself.
fn try_for_a_moment(file: &File) -> std::io::Result<bool> {
    for _ in 0..5 {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
    Ok(false)
}

/// True while a living process works in `run_dir`.
pub fn is_held(run_dir: &Path) -> bool {
    match File::open(run_dir.join(LOCK)) {
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

/// Waits until nobody works in `run_dir`.
pub fn until_free(run_dir: &Path) {
    if let Ok(file) = File::open(run_dir.join(LOCK)) {
        let _ = file.lock_shared();
    }
}

/// True when a lock file was left behind or is held.
pub fn is_there(run_dir: &Path) -> bool {
    run_dir.join(LOCK).exists()
}

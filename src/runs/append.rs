//! A file that grows line by line and never keeps a torn one.

use crate::error::{At, Result};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Text that waits for a full disk at most, in bytes; beyond it the oldest is lost.
const MOST_WAITING: usize = 8 << 20;

/// A file open for appending.
pub struct Appender {
    file: File,
    path: PathBuf,
    /// Length up to and with the last whole line.
    length: u64,
    /// Lines that could not be written yet.
    waiting: String,
}

impl Appender {
    /// Opens the file, and makes it if it is not there.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = File::options().append(true).create(true).open(&path).at("write", &path)?;
        let length = file.metadata().at("read", &path)?.len();
        Ok(Self { file, path, length, waiting: String::new() })
    }

    /// Appends `text`, whole lines, after what still waits. Where that fails nothing torn is left in the file, and
    /// the text comes with the next.
    pub fn push(&mut self, text: &str) -> Result<()> {
        self.waiting.push_str(text);
        let written = self.file.write_all(self.waiting.as_bytes());
        if written.is_ok() {
            self.length += self.waiting.len() as u64;
            self.waiting.clear();
        } else {
            // The next attempt does it, if this one cannot.
            let _ = self.file.set_len(self.length);
            while self.waiting.len() > MOST_WAITING {
                let end = self.waiting.find('\n').map_or(self.waiting.len(), |at| at + 1);
                self.waiting.drain(..end);
            }
        }
        written.at("write", &self.path)
    }
}

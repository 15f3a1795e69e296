//! JSON values parked on disk, one a line, so that a conversion's memory does not grow with its rows.

use crate::error::{At, Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

/// A growing list of JSON values in a private file.
pub(super) struct Spool {
    path: PathBuf,
    file: BufWriter<File>,
    pub len: usize,
}

impl Spool {
    pub fn new(path: PathBuf) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(&path).at("create", &path)?;
        Ok(Self { path, file: BufWriter::new(file), len: 0 })
    }

    pub fn push(&mut self, value: &impl Serialize) -> Result<()> {
        self.len += 1;
        serde_json::to_writer(&mut self.file, value)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .at("write", &self.path)
    }

    /// Gives the lines back in order, as compact JSON.
    pub fn lines(&mut self) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        self.file.flush().at("write", &self.path)?;
        let mut file = self.file.get_ref().try_clone().at("read", &self.path)?;
        file.rewind().at("read", &self.path)?;
        Ok(BufReader::new(file).lines())
    }

    /// Writes the values whose number `keep` accepts as a JSON array with an indent of two spaces.
    pub fn write_array(&mut self, path: &Path, keep: impl Fn(usize) -> bool) -> Result<()> {
        let lines = self.lines()?;
        crate::files::write_with(path, |w| {
            let mut separator = "[\n  ";
            for (_, line) in lines.enumerate().filter(|(i, _)| keep(*i)) {
                let value: Value = serde_json::from_str(&line?)?;
                // A line end inside a JSON text is always layout: in strings it is escaped.
                let text = serde_json::to_string_pretty(&value)?.replace('\n', "\n  ");
                write!(w, "{separator}{text}")?;
                separator = ",\n  ";
            }
            w.write_all(if separator.starts_with('[') { b"[]\n" } else { b"\n]\n" })
        })
        .map_err(|e| Error { message: format!("{}: {}", path.display(), e.message), ..e })
    }
}

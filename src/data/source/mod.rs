//! The rows of a registered data set where they lie: found once, then read one by one.

mod cells;
mod index;
mod json;
mod parquet;
pub mod peek;
mod place;
mod scan;
mod text;
mod window;

use super::entry::Entry;
use crate::error::{Error, Kind, Result};
use json::JsonFile;
use parquet::ParquetFile;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use parquet::{Embedded, Picture};

/// Who watches while rows are looked for, which takes seconds in a file of gigabytes.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Bytes done, and bytes in all.
    pub progress: &'a dyn Fn(u64, u64),
    pub stop: &'a AtomicBool,
}

impl Watch<'_> {
    /// # Errors
    /// [`Kind::Stopped`] once `stop` is set.
    fn tell(&self, done: u64, total: u64) -> Result<()> {
        (self.progress)(done, total);
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::new(Kind::Stopped, "stopped while opening the data")),
            false => Ok(()),
        }
    }
}

/// Whether `file_name` means anything: a file, a folder or a pattern with a match.
pub fn exists(path: &Path) -> bool {
    path.exists() || place::files(path, "").is_ok()
}

/// One row as it lies in its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub value: Value,
    /// The row's pictures where a column holds them itself; else `value` has their paths.
    pub pictures: Option<Vec<Picture>>,
}

/// One file of rows.
#[derive(Debug)]
enum DataFile {
    Json(JsonFile),
    Parquet(Arc<ParquetFile>),
}

impl DataFile {
    fn len(&self) -> usize {
        match self {
            DataFile::Json(file) => file.len(),
            DataFile::Parquet(file) => file.len(),
        }
    }
}

/// The rows of all files of a data set, one after another.
#[derive(Debug)]
pub struct Rows {
    files: Vec<DataFile>,
    /// The row behind the last one of each file.
    ends: Vec<usize>,
}

impl Rows {
    /// Opens the files of `entry` in the data folder `dir` and finds their rows.
    ///
    /// # Errors
    /// A remote data set, a missing file, a type that is not read, malformed JSON (with line and column).
    pub fn open(dir: &Path, name: &str, entry: &Entry, watch: Watch) -> Result<Self> {
        let paths = place::files(&entry.path(dir, name)?, name)?;
        let sizes: Vec<u64> = paths.iter().map(|p| p.metadata().map_or(0, |m| m.len())).collect();
        let total = sizes.iter().sum();
        let (mut files, mut ends, mut done, mut rows) = (Vec::new(), Vec::new(), 0, 0);
        for (path, size) in paths.iter().zip(sizes) {
            let tell = |within: u64| watch.tell(done + within, total);
            let file = match place::extension(path).as_str() {
                "parquet" => DataFile::Parquet(Arc::new(ParquetFile::open(path, entry)?)),
                _ => DataFile::Json(JsonFile::open(path, &place::index(dir, path), &tell)?),
            };
            rows += file.len();
            done += size;
            files.push(file);
            ends.push(rows);
        }
        watch.tell(total, total)?;
        Ok(Self { files, ends })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads row `row`.
    ///
    /// # Errors
    /// The file cannot be read, or the row is not JSON (with line and column).
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&self, row: usize) -> Result<Row> {
        let (file, within) = self.locate(row);
        Ok(match file {
            DataFile::Json(file) => Row { value: file.value(within)?, pictures: None },
            DataFile::Parquet(file) => Row { value: file.value(within)?, pictures: file.pictures(within)? },
        })
    }

    /// The texts of row `row`, one a line, without names of fields and the values of `but`.
    pub fn text(&self, row: usize, but: Option<&str>) -> Result<String> {
        let (file, within) = self.locate(row);
        match file {
            DataFile::Json(file) => file.text(within, but),
            DataFile::Parquet(file) => Ok(text::strings_of(&file.value(within)?, but)),
        }
    }

    /// What each row has under `key`, in order; `None` where it has nothing there.
    pub fn column(&self, key: &str) -> Result<Vec<Option<Value>>> {
        let mut all = Vec::new();
        for file in &self.files {
            match file {
                DataFile::Json(file) => {
                    for row in 0..file.len() {
                        all.push(file.value(row)?.get(key).cloned());
                    }
                }
                DataFile::Parquet(file) => all.extend(file.column(key)?),
            }
        }
        Ok(all)
    }

    fn locate(&self, row: usize) -> (&DataFile, usize) {
        assert!(row < self.len(), "row {row} of {}", self.len());
        let file = self.ends.partition_point(|end| *end <= row);
        (&self.files[file], row - file.checked_sub(1).map_or(0, |before| self.ends[before]))
    }
}

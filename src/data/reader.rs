//! A registered data set opened for reading single rows: the browser, the checks and `stats` see it through this.

use super::dataset;
use super::layout;
use super::registry::{Entry, Registry};
use super::sample::Sample;
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Random access to the rows of a registered data set.
#[derive(Debug)]
pub struct Reader {
    pub name: String,
    pub entry: Entry,
    rows: Vec<Value>,
    media: PathBuf,
}

impl Reader {
    /// Opens `name` from `dir/dataset_info.json`; relative picture paths start at `media_dir`, else at `dir`.
    ///
    /// # Errors
    /// As [`dataset::load`].
    pub fn open(dir: &Path, name: &str, media_dir: Option<&Path>) -> Result<Self> {
        let entry = Registry::open(dir)?.entry(name)?;
        let rows = dataset::values(dir, name, &entry)?;
        Ok(Self { name: name.into(), entry, rows, media: media_dir.unwrap_or(dir).to_path_buf() })
    }

    /// How many rows there are, unusable ones included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample of a row, or why the row cannot be used.
    pub fn sample(&self, row: usize) -> Result<Sample> {
        self.row(row)?.1.map_err(|(fault, detail)| {
            let (_, text, fix) = fault.describe();
            Error::input(format!("row {row} cannot be used: {text}: {detail}")).hint(fix)
        })
    }

    /// A row as it lies in its file, and its sample or fault; what cannot be read at all is an error.
    pub(super) fn row(&self, row: usize) -> Result<(Value, Result<Sample, layout::Refused>)> {
        let value = self.rows[row].clone();
        let sample = layout::sample(row, &value, &self.entry, &self.media);
        Ok((value, sample))
    }

    /// The sample that a changed row would be.
    pub(super) fn sample_of(&self, row: usize, value: &Value) -> Result<Sample, layout::Refused> {
        layout::sample(row, value, &self.entry, &self.media)
    }
}

//! A registered data set opened for reading single rows: the browser, the checks and `stats` see it through this.

use super::dataset;
use super::registry::{Entry, Registry};
use super::sample::Sample;
use crate::error::{Error, Result};
use std::path::Path;

/// Random access to the rows of a registered data set.
#[derive(Debug)]
pub struct Reader {
    pub name: String,
    pub entry: Entry,
    rows: Vec<Result<Sample>>,
}

impl Reader {
    /// Opens `name` from `dir/dataset_info.json`; relative picture paths start at `media_dir`, else at `dir`.
    ///
    /// # Errors
    /// As [`dataset::load`].
    pub fn open(dir: &Path, name: &str, media_dir: Option<&Path>) -> Result<Self> {
        let entry = Registry::open(dir)?.entry(name)?;
        let loaded = dataset::load(dir, name, media_dir)?;
        let left_out = || Error::input("the row cannot be used; `check` says why");
        let mut rows: Vec<Result<Sample>> = (0..loaded.rows).map(|_| Err(left_out())).collect();
        for sample in loaded.samples {
            let row = sample.row;
            rows[row] = Ok(sample);
        }
        Ok(Self { name: name.into(), entry, rows })
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
        self.rows[row].clone()
    }
}

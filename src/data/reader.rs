//! A registered data set opened for reading single rows: the browser, the checks and `stats` see it through this.

use super::layout;
use super::overlay::Overlay;
use super::registry::{Entry, Formatting, Registry};
use super::sample::Sample;
use super::source::{Row, Rows, Watch};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Random access to the rows of a registered data set. Nothing but the place of each row is known before it is asked
/// for, so that a million rows open at once; threads may share it.
#[derive(Debug)]
pub struct Reader {
    pub name: String,
    pub entry: Entry,
    /// The changes kept beside the data.
    pub overlay: Overlay,
    rows: Rows,
    media: PathBuf,
}

impl Reader {
    /// Opens `name` from `dir/dataset_info.json`; relative picture paths start at `media_dir`, else at `dir`.
    ///
    /// # Errors
    /// An unknown or remote data set, a missing file, malformed JSON (with line and column).
    pub fn open(dir: &Path, name: &str, media_dir: Option<&Path>) -> Result<Self> {
        Self::open_with(dir, name, media_dir, &|_, _| (), &AtomicBool::new(false))
    }

    /// As [`Reader::open`]; `progress` hears bytes done and bytes in all while the rows of a big file are looked for,
    /// which happens once: where they are is kept beside the data.
    ///
    /// # Errors
    /// As [`Reader::open`], and `Stopped` once `stop` is set.
    pub fn open_with(
        dir: &Path,
        name: &str,
        media_dir: Option<&Path>,
        progress: &dyn Fn(u64, u64),
        stop: &AtomicBool,
    ) -> Result<Self> {
        let entry = Registry::open(dir)?.entry(name)?;
        let rows = Rows::open(dir, name, &entry, Watch { progress, stop })?;
        let overlay = Overlay::open(dir, name)?;
        Ok(Self { name: name.into(), entry, overlay, rows, media: media_dir.unwrap_or(dir).to_path_buf() })
    }

    /// How many rows there are, unusable ones included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample of a row with the turns that were edited; one that is marked as excluded too.
    ///
    /// # Errors
    /// Why the row cannot be used.
    pub fn sample(&self, row: usize) -> Result<Sample> {
        let mut sample = self.original(row)?;
        self.overlay.apply(&mut sample);
        Ok(sample)
    }

    /// The sample of a row as the source has it.
    ///
    /// # Errors
    /// Why the row cannot be used.
    pub fn original(&self, row: usize) -> Result<Sample> {
        self.try_sample(row)?.map_err(|(fault, detail)| {
            let (_, text, fix) = fault.describe();
            let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
            Error::input(format!("row {row} cannot be used: {text}{detail}")).hint(fix)
        })
    }

    /// The texts of a row, one a line, for searching: no names of fields, no roles.
    ///
    /// # Errors
    /// The row cannot be read.
    pub fn text_of(&self, row: usize) -> Result<String> {
        let roles = self.entry.tags.role.as_deref().filter(|_| self.entry.formatting == Formatting::Sharegpt);
        self.rows.text(row, roles)
    }

    /// What each row has under a key of JSON, or in a column of parquet; `None` for nothing.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn column(&self, key: &str) -> Result<Vec<Option<Value>>> {
        self.rows.column(key)
    }

    /// The sample of a row as the source has it, or its fault; what cannot be read at all is an error.
    pub(super) fn try_sample(&self, row: usize) -> Result<Result<Sample, layout::Refused>> {
        Ok(layout::sample(row, &self.rows.row(row)?, &self.entry, &self.media))
    }

    /// A row as it lies in its file, and its sample or fault.
    pub(super) fn row(&self, row: usize) -> Result<(Row, Result<Sample, layout::Refused>)> {
        let from = self.rows.row(row)?;
        let sample = self.sample_of(row, &from);
        Ok((from, sample))
    }

    /// The sample that a row would be if it were this one.
    pub(super) fn sample_of(&self, row: usize, from: &Row) -> Result<Sample, layout::Refused> {
        layout::sample(row, from, &self.entry, &self.media)
    }

    /// The own id of a row, even of one that cannot be used.
    pub(super) fn id(&self, row: usize) -> Option<String> {
        let value = self.rows.row(row).ok()?.value;
        Some(layout::id(row, value.as_object()?, &self.entry, None)).filter(|id| !id.starts_with("row "))
    }
}

//! What a check found, row by row, kept beside the data for the browser and for later commands.

use crate::data::registry::Registry;
use crate::error::{At, Result};
use crate::files;
use crate::job::{Finding, Level};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The findings of a finished check with all their rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub dataset: String,
    /// All rows of the set.
    pub rows: usize,
    /// The data file as it was checked: a check of another file says nothing about this one.
    stamp: Stamp,
    pub findings: Vec<RowFindings>,
}

/// One finding with every row concerned, in ascending order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowFindings {
    pub code: String,
    pub level: Level,
    pub message: String,
    pub fix: String,
    pub rows: Vec<usize>,
}

impl RowFindings {
    pub(super) fn new(finding: &Finding, rows: Vec<usize>) -> Self {
        let Finding { level, code, message, fix, .. } = finding.clone();
        Self { code, level, message, fix, rows }
    }
}

/// Size in bytes and time of change in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    changed: u64,
}

/// The rows that the last check of `name` in `dir` found something about, with the codes, in the order of the rows.
/// `None`: not checked, or the data changed since.
pub fn saved(dir: &Path, name: &str) -> Option<Vec<(usize, String)>> {
    let saved = saved_findings(dir, name)?;
    let mut rows: Vec<(usize, String)> =
        saved.findings.iter().flat_map(|f| f.rows.iter().map(|row| (*row, f.code.clone()))).collect();
    rows.sort();
    Some(rows)
}

/// Like [`saved`], the findings themselves, the graver first.
pub fn saved_findings(dir: &Path, name: &str) -> Option<Saved> {
    let text = std::fs::read(path(dir, name)).ok()?;
    let saved: Saved = serde_json::from_slice(&text).ok()?;
    (saved.dataset == name && saved.stamp == stamp(dir, name).ok()?).then_some(saved)
}

/// Keeps the findings of a finished check, atomically.
pub(super) fn write(dir: &Path, name: &str, rows: usize, findings: Vec<RowFindings>) -> Result<()> {
    let saved = Saved { dataset: name.into(), rows, stamp: stamp(dir, name)?, findings };
    let path = path(dir, name);
    let text = serde_json::to_vec(&saved).expect("plain data serialises");
    files::write(&path, &text)
}

fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{}.lorascope-check.json", name.replace(['/', '\\'], "_")))
}

/// The stamp of a data set's file, or of all files of its folder together.
fn stamp(dir: &Path, name: &str) -> Result<Stamp> {
    let path = Registry::open(dir)?.entry(name)?.path(dir, name)?;
    let one = |path: &Path| -> std::io::Result<Stamp> {
        let meta = std::fs::metadata(path)?;
        let changed = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Stamp { bytes: meta.len(), changed: changed.as_nanos() as u64 })
    };
    if !path.is_dir() {
        return one(&path).at("read", &path);
    }
    let mut all = Stamp { bytes: 0, changed: 0 };
    for entry in std::fs::read_dir(&path).at("read", &path)? {
        let file = entry.at("read", &path)?.path();
        let stamp = one(&file).at("read", &file)?;
        all.bytes += stamp.bytes;
        // A sum does not depend on the order of the entries, and a change to an older file is seen too.
        all.changed = all.changed.wrapping_add(stamp.changed);
    }
    Ok(all)
}

//! Loads a registered data set; rows that cannot be used are left out with a finding, never fatal.

use super::groups::{Group, Place, count_rows};
use super::layout::Fault;
use super::reader::Reader;
use super::sample::Sample;
use crate::error::Result;
use crate::job::{Finding, Level};
use std::collections::BTreeMap;
use std::path::Path;

/// A registered data set with what was found while loading it.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub name: String,
    pub samples: Vec<Sample>,
    pub findings: Vec<Finding>,
    /// All rows, those left out included.
    pub rows: usize,
}

/// Loads `name` from `dir/dataset_info.json`; relative picture paths start at `media_dir`, else at `dir`.
///
/// # Errors
/// An unknown or remote data set, a missing file, malformed JSON (with line and column).
pub fn load(dir: &Path, name: &str, media_dir: Option<&Path>) -> Result<Dataset> {
    let reader = Reader::open(dir, name, media_dir)?;
    let mut faults: BTreeMap<Fault, Group> = BTreeMap::new();
    let mut samples = Vec::new();
    for row in 0..reader.len() {
        match reader.try_sample(row)? {
            Ok(sample) => samples.push(sample),
            Err((fault, detail)) => {
                let detail = Some(&*detail).filter(|d| !d.is_empty());
                let id = reader.id(row);
                let place = Place { file: "", row, id: id.as_deref() };
                faults.entry(fault).or_default().add(&place, 1, detail);
            }
        }
    }
    let rows = reader.len();
    let mut findings = findings(&faults, rows);
    if let Some(wanted) = reader.entry.num_samples.filter(|n| *n < samples.len()) {
        samples.truncate(wanted);
        findings.push(limited(wanted));
    }
    Ok(Dataset { name: name.into(), samples, findings, rows })
}

fn findings(faults: &BTreeMap<Fault, Group>, rows: usize) -> Vec<Finding> {
    let one = |(fault, group): (&Fault, &Group)| {
        let (code, text, fix) = fault.describe();
        let what = format!("{} of {} left out: {text}", group.count, count_rows(rows));
        group.finding(Level::Error, code, &what, fix)
    };
    faults.iter().map(one).collect()
}

fn limited(wanted: usize) -> Finding {
    Finding {
        level: Level::Info,
        code: "num_samples".into(),
        message: format!("`num_samples` of the registry: only the first {} are taken", count_rows(wanted)),
        count: wanted,
        rows: Vec::new(),
        fix: "take num_samples out of dataset_info.json to use all rows".into(),
    }
}

//! Loads a registered data set; rows that cannot be used are left out with a finding, never fatal.

use super::groups::{Group, Place, count_rows};
use super::layout::Fault;
use super::overlay::Tally;
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
    let rows = reader.len();
    let (samples, findings) = read(&reader, 0..rows)?;
    Ok(Dataset { name: name.into(), samples: samples.into_iter().flatten().collect(), findings, rows })
}

/// The samples of some rows of an open data set with the changes of its overlay, `None` for one that cannot be used
/// or is excluded, and findings about those.
///
/// # Errors
/// The data cannot be read.
pub fn read(
    reader: &Reader,
    rows: impl ExactSizeIterator<Item = usize>,
) -> Result<(Vec<Option<Sample>>, Vec<Finding>)> {
    let count = rows.len();
    let mut faults: BTreeMap<Fault, Group> = BTreeMap::new();
    let mut samples = Vec::with_capacity(count);
    let mut changed = Tally::default();
    for row in rows {
        let sample = reader.try_sample(row)?.map_err(|(fault, detail)| {
            let detail = Some(&*detail).filter(|d| !d.is_empty());
            let id = reader.id(row);
            let place = Place { file: "", row, id: id.as_deref() };
            faults.entry(fault).or_default().add(&place, 1, detail);
        });
        samples.push(sample.ok().and_then(|mut s| changed.keeps(&reader.overlay, &mut s).then_some(s)));
    }
    let mut findings = findings(&faults, count);
    findings.extend(changed.findings());
    Ok((samples, findings))
}

fn findings(faults: &BTreeMap<Fault, Group>, rows: usize) -> Vec<Finding> {
    let one = |(fault, group): (&Fault, &Group)| {
        let (code, text, fix) = fault.describe();
        let what = format!("{} of {} left out: {text}", group.count, count_rows(rows));
        group.finding(Level::Error, code, &what, fix)
    };
    faults.iter().map(one).collect()
}

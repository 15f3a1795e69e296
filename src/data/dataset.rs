//! Loads a registered data set; rows that cannot be used are left out with a finding, never fatal.

use super::groups::{Group, Place, count_rows};
use super::layout::{self, Fault};
use super::registry::{Entry, Registry};
use super::sample::Sample;
use crate::error::{At, Error, Result};
use crate::job::{Finding, Level};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

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
    let entry = Registry::open(dir)?.entry(name)?;
    let values = values(dir, name, &entry)?;
    let media = media_dir.unwrap_or(dir);
    let mut faults: BTreeMap<Fault, Group> = BTreeMap::new();
    let mut samples = Vec::new();
    for (row, value) in values.iter().enumerate() {
        match layout::sample(row, value, &entry, media) {
            Ok(sample) => samples.push(sample),
            Err((fault, detail)) => {
                let id = value.as_object().map(|fields| layout::id(row, fields, &[]));
                let place = Place { file: "", row, id: id.as_deref().filter(|id| !id.starts_with("row ")) };
                faults.entry(fault).or_default().add(
                    &place,
                    1,
                    Some(&detail).filter(|d| !d.is_empty()).map(|d| &**d),
                );
            }
        }
    }
    let rows = values.len();
    let mut findings = findings(&faults, rows);
    if let Some(wanted) = entry.num_samples.filter(|n| *n < samples.len()) {
        samples.truncate(wanted);
        findings.push(limited(wanted));
    }
    Ok(Dataset { name: name.into(), samples, findings, rows })
}

/// The rows of all files.
pub(super) fn values(dir: &Path, name: &str, entry: &Entry) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    for file in data_files(&entry.path(dir, name)?, name)? {
        values.extend(read(&file)?);
    }
    Ok(values)
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

/// The file, or the files of a folder in name order; all of one type.
fn data_files(path: &Path, name: &str) -> Result<Vec<PathBuf>> {
    if !path.exists() {
        return Err(Error::input(format!("the file of the data set {name} is missing: {}", path.display()))
            .hint("convert the data again, or mend `file_name` in dataset_info.json"));
    }
    let mut files = vec![path.to_path_buf()];
    if path.is_dir() {
        let entries: Vec<_> = fs::read_dir(path).and_then(Iterator::collect).at("read", path)?;
        files = entries.into_iter().map(|e| e.path()).filter(|p| p.is_file() && !is_hidden(p)).collect();
        files.sort();
    }
    let types: Vec<String> = files.iter().map(|f| extension(f)).collect();
    if let Some(other) = types.iter().find(|t| **t != types[0]) {
        return Err(Error::input(format!(
            "{} holds files of different types: {}, {other}",
            path.display(),
            types[0]
        ))
        .hint("keep the files of one type in a folder of their own"));
    }
    match types.first().map(String::as_str) {
        Some("json" | "jsonl") => Ok(files),
        None => Err(Error::input(format!("the folder of the data set {name} is empty: {}", path.display()))),
        Some(other) => {
            Err(Error::input(format!("{}: data of type `{other}` is not read here", path.display()))
                .hint("json and jsonl are; turn parquet into a data set with `lorascope convert`"))
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'))
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The rows of a JSON list, or of JSON values one after another (as in JSONL).
fn read(path: &Path) -> Result<Vec<Value>> {
    let bytes = fs::read(path).at("read", path)?;
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let malformed = |e: serde_json::Error| {
        let what = if std::str::from_utf8(bytes).is_err() { "not UTF-8 text" } else { "malformed JSON" };
        // The parser's own message ends with the place, which is told in front.
        let why = e.to_string();
        let why = why.split(" at line ").next().unwrap_or_default();
        Error::input(format!("{}: {what} at line {}, column {}: {why}", path.display(), e.line(), e.column()))
            .hint("mend the file there; was it written completely?")
    };
    if bytes.trim_ascii_start().starts_with(b"[") {
        return serde_json::from_slice(bytes).map_err(malformed);
    }
    serde_json::Deserializer::from_slice(bytes).into_iter().collect::<Result<_, _>>().map_err(malformed)
}

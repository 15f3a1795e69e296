//! From files, folders and globs to the open parquet files they mean, in name order, each once.

use super::parquet::{Columns, Shard};
use crate::error::{At, Error, Kind, Result};
use crate::job::{ConvertJob, Emit, Event, Finding, Level};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders deeper than this are not searched: it ends loops of links.
const MAX_DEPTH: usize = 16;

/// The files that can be read, and those that cannot.
pub(super) struct Inputs {
    pub shards: Vec<Shard>,
    pub broken: Vec<(PathBuf, Error)>,
    pub rows: usize,
    pub columns: Columns,
}

impl Inputs {
    /// Opens what the job names; says loudly which files cannot be read.
    ///
    /// # Errors
    /// Nothing can be read, there are no rows, or in strict mode one file is broken.
    pub fn open(job: &ConvertJob, emit: Emit) -> Result<Self> {
        let columns = Columns::of(job);
        let files = find_files(&job.inputs)?;
        let opened: Vec<_> = files.par_iter().map(|path| Shard::open(path, &columns)).collect();
        let mut inputs = Self { shards: Vec::new(), broken: Vec::new(), rows: 0, columns };
        for (path, opened) in files.into_iter().zip(opened) {
            match opened {
                Ok(shard) => inputs.shards.push(shard),
                Err(error) if job.strict => return Err(Error { kind: Kind::Check, ..error }),
                Err(error) => inputs.broken.push((path, error)),
            }
        }
        inputs.rows = inputs.shards.iter().map(|s| s.rows).sum();
        if inputs.shards.is_empty() {
            return Err(inputs.nothing_readable());
        }
        if let Some(finding) = inputs.broken_finding() {
            emit(Event::Finding(finding));
        }
        if inputs.rows == 0 {
            let names: Vec<String> = inputs.shards.iter().map(|s| s.path.display().to_string()).collect();
            return Err(Error::input(format!(
                "0 rows in {}: there is nothing to train on",
                names.join(", ")
            ))
            .hint("name files that hold rows"));
        }
        Ok(inputs)
    }

    fn nothing_readable(&self) -> Error {
        let first = self.broken[0].1.clone();
        match self.broken.len() {
            1 => first,
            n => Error {
                message: format!("none of the {n} files can be read; the first: {}", first.message),
                ..first
            },
        }
    }

    fn broken_finding(&self) -> Option<Finding> {
        let (_, first) = self.broken.first()?;
        let all = self.broken.len() + self.shards.len();
        Some(Finding {
            level: Level::Error,
            code: "broken_file".into(),
            message: format!(
                "{} of {all} files cannot be read, their rows are missing: {}",
                self.broken.len(),
                self.broken.iter().map(|(_, e)| e.message.as_str()).collect::<Vec<_>>().join("; ")
            ),
            count: self.broken.len(),
            rows: Vec::new(),
            fix: first.hint.clone().unwrap_or_default(),
        })
    }

    pub fn broken_json(&self) -> Value {
        self.broken.iter().map(|(path, e)| json!({ "file": path, "error": e.message })).collect()
    }
}

/// The parquet files named by `inputs`, in the order of the inputs, those of one folder or glob in name order.
///
/// # Errors
/// An input that does not exist or holds no parquet file.
pub fn find_files(inputs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if inputs.is_empty() {
        return Err(Error::usage("no input was named").hint("name parquet files, folders or globs"));
    }
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for input in inputs {
        for file in expand(input)? {
            if seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn expand(input: &Path) -> Result<Vec<PathBuf>> {
    let at = input.display();
    if input.is_dir() {
        let mut files = Vec::new();
        search(input, 0, &mut files)?;
        files.sort();
        if files.is_empty() {
            return Err(Error::input(format!("no .parquet file in the folder {at}"))
                .hint("name the folder that holds the data set's parquet files"));
        }
        return Ok(files);
    }
    if input.exists() {
        return Ok(vec![input.to_path_buf()]);
    }
    let pattern = input.to_string_lossy();
    if !pattern.contains(['*', '?', '[']) {
        return Err(Error::input(format!("input not found: {at}")).hint("check the path for a typing error"));
    }
    let found =
        glob::glob(&pattern).map_err(|e| Error::usage(format!("{at} is not a valid file pattern: {e}")))?;
    let files: Vec<PathBuf> = found.filter_map(|f| f.ok()).filter(|f| f.is_file()).collect();
    if files.is_empty() {
        return Err(Error::input(format!("no file matches {at}")).hint("check the pattern"));
    }
    Ok(files)
}

/// Collects `*.parquet` under `dir`; hidden folders and files are left alone.
fn search(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let parquet = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
        if hidden {
            continue;
        }
        if path.is_dir() && depth < MAX_DEPTH {
            search(&path, depth + 1, files)?;
        } else if parquet && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

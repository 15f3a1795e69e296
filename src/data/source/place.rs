//! Which files a data set's rows are in, and where the index of a file is kept.

use crate::error::{At, Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The file, the files of a folder in name order, or those a pattern means; all of one type.
pub(super) fn files(path: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let mut files = match path {
        _ if path.is_dir() => listed(path)?,
        _ if path.exists() => vec![path.to_path_buf()],
        _ => glob::glob(&path.to_string_lossy())
            .map(|found| found.flatten().filter(|p| p.is_file()).collect())
            .unwrap_or_default(),
    };
    files.sort();
    let at = path.display();
    let types: Vec<String> = files.iter().map(|f| extension(f)).collect();
    if let Some(other) = types.iter().find(|t| **t != types[0]) {
        return Err(Error::input(format!("{at} holds files of different types: {}, {other}", types[0]))
            .hint("keep the files of one type in a folder of their own"));
    }
    match types.first().map(String::as_str) {
        Some("json" | "jsonl" | "parquet") => Ok(files),
        None if path.is_dir() => {
            Err(Error::input(format!("the folder of the data set {name} is empty: {at}")))
        }
        None => Err(Error::input(format!("the file of the data set {name} is missing: {at}"))
            .hint("convert the data again, or mend `file_name` in dataset_info.json")),
        Some(other) => Err(Error::input(format!("{at}: data of type `{other}` is not read here"))
            .hint("json, jsonl and parquet are")),
    }
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries: Vec<_> = fs::read_dir(folder).and_then(Iterator::collect).at("read", folder)?;
    Ok(entries.into_iter().map(|e| e.path()).filter(|p| p.is_file() && !is_hidden(p)).collect())
}

/// The index of a data file: hidden, in the data folder itself. Beside a file of a registered folder it would be one
/// of that folder's files to LLaMA-Factory.
pub(super) fn index(dir: &Path, file: &Path) -> PathBuf {
    let below = file.strip_prefix(dir).unwrap_or(file).to_string_lossy();
    dir.join(format!(".{}.lorascope-index", below.trim_start_matches('/').replace('/', "-")))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'))
}

pub(super) fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

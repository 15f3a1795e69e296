//! Which files a data set's rows are in, and where the index of a file is kept.

use crate::error::{At, Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The file, or the files of a folder in name order; all of one type.
pub(super) fn files(path: &Path, name: &str) -> Result<Vec<PathBuf>> {
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

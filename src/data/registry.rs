//! `dataset_info.json` as LLaMA-Factory 0.9.5 reads it: names of data sets, where they are, how their rows are built.

pub use super::entry::{Captions, Columns, Entry, Formatting, Source, Tags};
use super::entry::{DESCRIBED, OTHER_SOURCES};
use crate::error::{At, Error, Result};
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file's name in the data folder.
pub const FILE_NAME: &str = "dataset_info.json";

/// The registry of a data folder.
#[derive(Clone, Debug)]
pub struct Registry {
    path: PathBuf,
    entries: Map<String, Value>,
}

impl Registry {
    /// Reads `dataset_info.json` in `dir`.
    ///
    /// # Errors
    /// No such file, or not JSON (with line and column).
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        if !path.exists() {
            return Err(Error::input(format!("no {FILE_NAME} in {}", dir.display())).hint(
                "name the data folder with --data, or make one with `lorascope convert FILE --out DIR`",
            ));
        }
        Ok(Self { entries: read(&path)?, path })
    }

    /// The names, in the file's order.
    pub fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    /// The entry of a data set.
    ///
    /// # Errors
    /// An unknown name (the hint lists near ones), or an entry that cannot be understood.
    pub fn entry(&self, name: &str) -> Result<Entry> {
        let Some(value) = self.entries.get(name) else {
            return Err(Error::input(format!("undefined data set {name} in {}", self.path.display()))
                .hint(near(name, &self.names())));
        };
        Entry::parse(name, value)
    }

    /// The entry as it is written.
    pub fn written(&self, name: &str) -> Option<&Value> {
        self.entries.get(name)
    }
}

/// Adds an entry or changes the one of this name; everything else in the file stays as it is and where it is, unknown
/// keys of the entry included. Concurrent registrations wait for each other.
pub fn register(dir: &Path, name: &str, entry: &Entry) -> Result<()> {
    update(dir, &[(name, Some(entry))])
}

/// Takes an entry out. Nothing happens when there is none.
pub fn unregister(dir: &Path, name: &str) -> Result<()> {
    update(dir, &[(name, None)])
}

/// Registers the names that have an entry and takes out the others, in one write: a reader finds all of it or nothing.
pub fn update(dir: &Path, sets: &[(&str, Option<&Entry>)]) -> Result<()> {
    if sets.iter().all(|(_, entry)| entry.is_none()) && !dir.join(FILE_NAME).exists() {
        return Ok(());
    }
    edit(dir, |entries| {
        for (name, entry) in sets {
            let Some(entry) = entry else {
                entries.shift_remove(*name);
                continue;
            };
            let old = entries.get(*name).and_then(Value::as_object).cloned().unwrap_or_default();
            let mut fields = entry.fields();
            let replaced = |key: &str| DESCRIBED.contains(&key) || OTHER_SOURCES.contains(&key);
            for (key, value) in old.into_iter().filter(|(key, _)| !replaced(key)) {
                fields.entry(key).or_insert(value);
            }
            entries.insert(name.to_string(), Value::Object(fields));
        }
        Ok(())
    })
}

/// Reads, changes and writes the file under a lock on the folder, which leaves no lock file behind. Nothing is written
/// when `change` fails or changes nothing.
///
/// # Errors
/// The error of `change`; the file cannot be read or written.
pub fn edit(dir: &Path, change: impl FnOnce(&mut Map<String, Value>) -> Result<()>) -> Result<()> {
    fs::create_dir_all(dir).at("create", dir)?;
    // Best effort: where a folder cannot be locked, the write is still atomic.
    let lock = File::open(dir).ok();
    let _held = lock.as_ref().map(File::lock);
    let path = dir.join(FILE_NAME);
    let mut entries = if path.exists() { read(&path)? } else { Map::new() };
    let before = entries.clone();
    change(&mut entries)?;
    if entries == before && path.exists() && before.keys().eq(entries.keys()) {
        return Ok(());
    }
    crate::files::write_json(&path, &entries)
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let at = path.display();
    let text = fs::read(path).at("read", path)?;
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
    let value: Value = serde_json::from_slice(text).map_err(|e| {
        Error::input(format!("{at} is not valid JSON: {e}"))
            .hint("mend it, or move it away to start a new one")
    })?;
    match value {
        Value::Object(entries) => Ok(entries),
        _ => Err(Error::input(format!("{at} is not a JSON object of data sets"))),
    }
}

/// A hint with the names most like `name`.
fn near(name: &str, names: &[&str]) -> String {
    let wanted = name.to_lowercase();
    let mut ranked: Vec<(usize, &str)> =
        names.iter().map(|n| (strsim::levenshtein(&wanted, &n.to_lowercase()), *n)).collect();
    ranked.sort();
    let like: Vec<&str> =
        ranked.iter().filter(|(d, n)| *d <= n.len().max(name.len()) / 2).map(|(_, n)| *n).collect();
    match (like.is_empty(), names.len()) {
        (_, 0) => "no data set is registered yet".into(),
        (false, _) => format!("did you mean {}?", like[..like.len().min(3)].join(", ")),
        (true, _) => format!("registered are: {}", names[..names.len().min(10)].join(", ")),
    }
}

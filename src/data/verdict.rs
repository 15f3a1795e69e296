//! Whether LLaMA-Factory 0.9.5 would read an entry of the registry (`data/parser.py`, `loader.py`, `converter.py`), and
//! whether Lorascope does.

use super::entry::{Entry, Source};
use super::reader::Reader;
use super::source::peek::{Peek, peek};
use crate::error::Result;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// Rows looked at for the names of columns.
const LOOKED_AT: usize = 1000;

/// What is found about one entry.
#[derive(Debug, serde::Serialize)]
pub struct Verdict {
    pub name: String,
    /// On a hub, in a cloud or made by a script: not looked at.
    pub remote: bool,
    /// Captions in Lorascope's own layout, which LLaMA-Factory is not expected to read.
    pub own: bool,
    /// The file, folder or pattern is there.
    pub files_exist: bool,
    /// What LLaMA-Factory would stop at. Empty: it reads the data set.
    pub llama_factory: Vec<String>,
    /// What Lorascope stops at. Empty: it reads the data set.
    pub lorascope: Vec<String>,
    /// Rows that Lorascope sees.
    pub rows: Option<usize>,
}

impl Verdict {
    /// Somebody cannot read what is there.
    pub fn bad(&self) -> bool {
        !self.lorascope.is_empty() || (!self.own && !self.llama_factory.is_empty())
    }
}

/// Judges the entry `name`, written as `value` in the registry of the data folder `dir`.
pub fn judge(dir: &Path, name: &str, value: &Value) -> Verdict {
    let parsed = Entry::parse(name, value);
    let remote = matches!(&parsed, Ok(Entry { source: Source::Remote { .. }, .. }));
    let mut verdict = Verdict {
        name: name.into(),
        remote,
        own: parsed.as_ref().is_ok_and(|entry| entry.captions.is_some()),
        files_exist: false,
        llama_factory: llama_factory(dir, value),
        lorascope: Vec::new(),
        rows: None,
    };
    match opened(dir, name, remote, parsed) {
        Ok(reader) => {
            verdict.rows = reader.as_ref().map(Reader::len);
            verdict.files_exist = reader.is_some();
            let first = reader.filter(|r| !r.is_empty()).and_then(|r| r.sample(0).err());
            verdict.lorascope.extend(first.map(|e| e.message));
        }
        Err(error) => {
            let file = value.get("file_name").and_then(Value::as_str);
            verdict.files_exist = file.is_some_and(|file| dir.join(file).exists());
            verdict.lorascope.push(error.message);
        }
    }
    verdict
}

fn opened(dir: &Path, name: &str, remote: bool, parsed: Result<Entry>) -> Result<Option<Reader>> {
    parsed?;
    if remote { Ok(None) } else { Reader::open(dir, name, None).map(Some) }
}

/// What LLaMA-Factory would stop at, in fine-tuning with this entry.
fn llama_factory(dir: &Path, value: &Value) -> Vec<String> {
    let Some(fields) = value.as_object() else { return vec!["the entry is not an object".into()] };
    let mut found = Vec::new();
    let formatting = match fields.get("formatting") {
        None => "alpaca",
        Some(Value::String(name)) => name.as_str(),
        Some(_) => "",
    };
    if !["alpaca", "sharegpt", "openai"].contains(&formatting) {
        found.push("`formatting` must be alpaca, sharegpt or openai".to_string());
    }
    if fields.get("ranking") == Some(&Value::Bool(true)) {
        found.push("`ranking: true` is not for fine-tuning (stage sft)".into());
    }
    for key in ["columns", "tags"] {
        if fields.get(key).is_some_and(|v| !v.is_object()) {
            found.push(format!("`{key}` is not an object"));
        }
    }
    let remote = super::entry::OTHER_SOURCES.iter().any(|key| fields.contains_key(*key));
    if remote || !found.is_empty() {
        return found;
    }
    match fields.get("file_name") {
        Some(Value::String(file)) => match file_type(&dir.join(file)) {
            Err(problem) => vec![problem],
            Ok("json" | "parquet") => match peek(&dir.join(file), LOOKED_AT) {
                Ok(seen) => columns(fields, formatting, &seen),
                Err(error) => vec![error.message],
            },
            // Tables and plain text: their columns are not looked at.
            Ok(_) => Vec::new(),
        },
        _ => vec!["there is no `file_name`".into()],
    }
}

/// The loader for a file, or for all that is in a folder: hidden files and folders count there.
fn file_type(path: &Path) -> Result<&'static str, String> {
    let names: Vec<String> = if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|e| e.to_string())?;
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    } else if path.is_file() {
        vec![path.file_name().unwrap_or_default().to_string_lossy().into_owned()]
    } else {
        return Err(format!("{} is neither a file nor a folder", path.display()));
    };
    let kind = |name: &String| match Path::new(name).extension().unwrap_or_default().to_str() {
        Some("arrow") => Some("arrow"),
        Some("csv") => Some("csv"),
        Some("json" | "jsonl") => Some("json"),
        Some("parquet") => Some("parquet"),
        Some("txt") => Some("text"),
        _ => None,
    };
    let first = names.first().ok_or("the folder is empty")?;
    if let Some(other) = names.iter().find(|name| kind(name) != kind(first)) {
        return Err(format!("all files of a folder must be of one type: {first}, {other}"));
    }
    kind(first)
        .ok_or(format!("{first}: allowed are arrow, csv, json, jsonl, parquet, txt (in small letters)"))
}

/// Columns that LLaMA-Factory reads of every row and that no row has.
fn columns(fields: &Map<String, Value>, formatting: &str, seen: &Peek) -> Vec<String> {
    let named = fields.get("columns").and_then(Value::as_object);
    let name = |key: &str, default: Option<&str>| match named {
        Some(named) => named.get(key).and_then(Value::as_str).map(str::to_string),
        None => default.map(str::to_string),
    };
    let mut read: Vec<Option<String>> =
        ["system", "tools", "images", "videos", "audios"].iter().map(|key| name(key, None)).collect();
    let mut found = Vec::new();
    if formatting == "alpaca" {
        let own = [("prompt", Some("instruction")), ("query", Some("input")), ("response", Some("output"))];
        read.extend(own.map(|(key, default)| name(key, default)));
        read.push(name("history", None));
    } else {
        let messages = name("messages", Some("conversations"));
        match &messages {
            None => found.push("`columns` names no `messages`, and then there are none".into()),
            Some(column) => found.extend(turns(fields, column, seen)),
        }
        read.push(messages);
    }
    let missing = read.into_iter().flatten().filter(|column| !seen.columns.contains(column));
    found.extend(missing.map(|column| format!("the column `{column}` is in no row")));
    found
}

/// What is wrong with the tags of the first row's first turn.
fn turns(fields: &Map<String, Value>, column: &str, seen: &Peek) -> Option<String> {
    let tags = fields.get("tags").and_then(Value::as_object);
    let tag = |key: &str, default: &str| match tags {
        Some(tags) => tags.get(key).and_then(Value::as_str).map(str::to_string),
        None => Some(default.to_string()),
    };
    let turn = seen.first.as_ref()?.get(column)?.get(0)?;
    for (key, default) in [("role_tag", "from"), ("content_tag", "value")] {
        match tag(key, default) {
            None => return Some(format!("`tags` names no `{key}`, and then there is none")),
            Some(name) if turn.get(&name).is_none() => {
                return Some(format!("the first turn has no `{name}` (`{key}`)"));
            }
            Some(_) => {}
        }
    }
    None
}

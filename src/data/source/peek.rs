//! A first look at a data file: its columns, its first row, and which columns hold pictures.

use super::cells;
use super::place::{extension, files};
use super::scan::{Fault, Scanner};
use super::{Rows, Watch};
use crate::data::convert::parquet_file;
use crate::data::entry::{Captions, Entry};
use crate::error::{At, Error, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// What the first rows of a data set show.
#[derive(Debug, Default)]
pub struct Peek {
    /// Names of fields in any of the rows looked at.
    pub columns: BTreeSet<String>,
    /// The first row, without pictures.
    pub first: Option<Value>,
    /// Columns that hold pictures themselves.
    pub pictures: Vec<String>,
}

/// Looks at the first `rows` rows of a file, a folder or a pattern.
///
/// # Errors
/// Nothing there, a type that is not read, or a file that breaks off before so many rows.
pub fn peek(path: &Path, rows: usize) -> Result<Peek> {
    let files = files(path, &path.display().to_string())?;
    let first = &files[0];
    if extension(first) == "parquet" { parquet(first) } else { json(first, rows) }
}

fn json(path: &Path, rows: usize) -> Result<Peek> {
    let fail = |fault: Fault| match fault {
        Fault::Io(e) => Error::io("read", path, &e),
        Fault::Malformed(_) | Fault::NotUtf8(_) => {
            match Rows::open(Path::new(""), "", &Entry::sharegpt(path), unwatched()) {
                Err(error) => error,
                Ok(_) => Error::input(format!("{}: malformed JSON", path.display())),
            }
        }
    };
    let mut scanner = Scanner::new(File::open(path).at("read", path)?, 1 << 16).map_err(fail)?;
    let mut found = Peek::default();
    for _ in 0..rows {
        let Some((_, row)) = scanner.next().map_err(fail)? else { break };
        let Ok(row) = serde_json::from_slice::<Value>(row) else { continue };
        found.columns.extend(row.as_object().into_iter().flat_map(|fields| fields.keys().cloned()));
        found.first.get_or_insert(row);
    }
    Ok(found)
}

/// For errors only: nothing waits for it.
fn unwatched() -> Watch<'static> {
    static GO: AtomicBool = AtomicBool::new(false);
    Watch { progress: &|_, _| (), stop: &GO }
}

fn parquet(path: &Path) -> Result<Peek> {
    let (_, metadata) = parquet_file::open(path, &[])?;
    let fields = metadata.schema().fields();
    let pictures = fields.iter().filter(|f| cells::holds_embedded(f.data_type()));
    let pictures: Vec<String> = pictures.map(|f| f.name().clone()).collect();
    let texts: Vec<&String> = fields.iter().map(|f| f.name()).filter(|f| !pictures.contains(f)).collect();
    let first = super::parquet::first_row(path, &texts)?;
    Ok(Peek { columns: fields.iter().map(|f| f.name().clone()).collect(), first, pictures })
}

/// The entry that fits what is seen; `file_name` goes into it as it is.
///
/// # Errors
/// Rows of no known layout.
pub fn guess(seen: &Peek, file_name: &str) -> Result<Entry> {
    let has = |name: &str| seen.columns.contains(name).then(|| name.to_string());
    let images = seen.pictures.first().cloned().or(has("images")).or(has("image"));
    let first = seen.first.as_ref().and_then(Value::as_object);
    if let Some((column, turns)) = first.and_then(|row| row.iter().find_map(|(k, v)| Some((k, turns(v)?)))) {
        let mut entry = Entry::sharegpt(file_name);
        entry.columns.messages = Some(column.clone());
        entry.columns.images = images;
        entry.columns.system = has("system");
        entry.tags.role = Some(turns.role.into());
        entry.tags.content = Some(turns.content.into());
        entry.tags.user = turns.speakers.first().cloned().or(entry.tags.user);
        entry.tags.assistant = turns.speakers.get(1).cloned().or(entry.tags.assistant);
        return Ok(entry);
    }
    if let (Some(image), Some(caption)) = (&images, ["caption", "report", "text"].into_iter().find_map(has)) {
        let id = has("id").unwrap_or_else(|| "id".into());
        let captions = Captions { image: image.clone(), caption, id, ..Captions::default() };
        return Ok(Entry::captioned(file_name, captions));
    }
    if has("instruction").is_some() && has("output").is_some() {
        let mut entry = Entry::alpaca(file_name);
        (entry.columns.messages, entry.columns.query) = (None, has("input"));
        (entry.columns.system, entry.columns.history) = (has("system"), has("history"));
        entry.columns.images = images;
        return Ok(entry);
    }
    let columns: Vec<&str> = seen.columns.iter().map(String::as_str).collect();
    Err(Error::input(format!("the rows of {file_name} have no layout that is known: {}", columns.join(", ")))
        .hint("name it: formatting=sharegpt columns.messages=NAME, or lorascope.caption_column=NAME"))
}

/// How a list of turns names its parts.
struct Turns<'a> {
    role: &'a str,
    content: &'a str,
    /// Who speaks, the system left out.
    speakers: Vec<String>,
}

fn turns(value: &Value) -> Option<Turns<'static>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    let (role, content) = [("from", "value"), ("role", "content")]
        .into_iter()
        .find(|(role, content)| list.iter().all(|t| t[*role].is_string() && t[*content].is_string()))?;
    let speakers = list.iter().filter_map(|t| t[role].as_str()).filter(|s| *s != "system");
    Some(Turns { role, content, speakers: speakers.take(2).map(str::to_string).collect() })
}

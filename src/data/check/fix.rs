//! A cleaned copy of a data set: rows with errors, copies and leaks left out, control tokens and characters taken out.

use super::characters::{is_bidi, is_control};
use super::ledger::Ledger;
use super::row::{answers, row_print};
use super::rule::Rule;
use crate::data::overlay::Applied;
use crate::data::picture_cache::PictureCache;
use crate::data::picture_look::Depth;
use crate::data::reader::Reader;
use crate::data::registry::{self, Entry, Formatting, Registry, Source as At};
use crate::data::sample::Sample;
use crate::data::special;
use crate::error::{Error, Result};
use crate::files;
use crate::job::{CheckJob, Level};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};

/// What a copy is made from.
pub(super) struct Source<'a> {
    pub reader: &'a Reader,
    pub ledger: &'a Ledger,
    pub cache: &'a PictureCache,
}

/// Refuses a name that is taken or is no plain file name.
pub(super) fn may_write(job: &CheckJob, name: &str) -> Result<()> {
    let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    let path = job.dataset_dir.join(file_name(name));
    let taken = Registry::open(&job.dataset_dir)?.names().contains(&name) || path.exists();
    match (is_plain, taken) {
        (false, _) => Err(Error::usage(format!("`{name}` cannot be the name of the cleaned set"))
            .hint("letters, digits, `_` and `-` make a good name")),
        (_, true) => Err(Error::usage(format!("there is already a data set or a file {name}"))
            .hint("choose another name for the cleaned set: nothing is overwritten")),
        _ => Ok(()),
    }
}

/// Writes the copy beside the original and registers it. Gives
/// `{"name", "file", "rows", "dropped": {code: [row, ..]}, "changed": {code: [row, ..]}}`.
///
/// # Errors
/// The folder cannot be written to.
pub(super) fn write(job: &CheckJob, name: &str, source: &Source) -> Result<Value> {
    let path = job.dataset_dir.join(file_name(name));
    let mut copy = Copy::new(source);
    let mut failed = None;
    let written = files::write_with(&path, |w| {
        let mut separator = "[\n  ";
        for row in 0..source.reader.len() {
            let value = match copy.row(row) {
                Ok(Some(value)) => value,
                Ok(None) => continue,
                Err(error) => {
                    failed = Some(error);
                    return Err(io::Error::other("reading failed"));
                }
            };
            // A line end inside a JSON text is always layout: in strings it is escaped.
            let text = serde_json::to_string_pretty(&value)?.replace('\n', "\n  ");
            write!(w, "{separator}{text}")?;
            separator = ",\n  ";
        }
        w.write_all(if separator.starts_with('[') { b"[]\n" } else { b"\n]\n" })
    });
    written.map_err(|error| failed.unwrap_or(error))?;
    let entry = &source.reader.entry;
    let entry = Entry { source: At::File(file_name(name).into()), ..entry.clone() };
    registry::register(&job.dataset_dir, name, &entry)?;
    Ok(json!({
        "name": name, "file": path, "rows": copy.kept, "dropped": copy.dropped, "changed": copy.changed
    }))
}

fn file_name(name: &str) -> String {
    format!("{name}.json")
}

/// The rows of the copy, one after another.
struct Copy<'a> {
    source: &'a Source<'a>,
    /// Why a row is left out.
    drop: HashMap<u32, Rule>,
    /// Rows whose text is to be changed, and why first.
    strip: HashMap<u32, Rule>,
    seen: HashSet<[u8; 16]>,
    kept: usize,
    dropped: BTreeMap<&'static str, Vec<usize>>,
    changed: BTreeMap<&'static str, Vec<usize>>,
}

impl<'a> Copy<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        let (mut drop, mut strip) = (HashMap::new(), HashMap::new());
        for (rule, rows) in source.ledger.rows_of(Level::Warning) {
            let is_dropped = rule.level() == Level::Error || rule == Rule::LeakedId;
            let to = match (rule.is_stripped(), is_dropped) {
                (true, _) => &mut strip,
                (false, true) => &mut drop,
                (false, false) => continue,
            };
            rows.iter().for_each(|row| {
                to.entry(*row).or_insert(rule);
            });
        }
        let (dropped, changed) = (BTreeMap::new(), BTreeMap::new());
        Self { source, drop, strip, seen: HashSet::new(), kept: 0, dropped, changed }
    }

    /// The row as it goes into the copy; `None` if it is left out.
    fn row(&mut self, row: usize) -> Result<Option<Value>> {
        let key = u32::try_from(row).unwrap_or(u32::MAX);
        if let Some(rule) = self.drop.get(&key) {
            self.dropped.entry(rule.code()).or_default().push(row);
            return Ok(None);
        }
        let reader = self.source.reader;
        let (mut from, mut sample) = reader.row(row)?;
        if from.pictures.is_some() {
            return Err(embedded(&reader.name));
        }
        let edited = match &mut sample {
            Ok(sample) => reader.overlay.apply(sample),
            Err(_) => Applied::default(),
        };
        if let (Ok(sample), true) = (&sample, edited.edited) {
            set_turns(&mut from.value, &reader.entry, sample);
        }
        let strip = self.strip.get(&key).copied();
        if strip.is_some() {
            texts(&mut from.value, &reader.entry, &mut |text| *text = stripped(text));
            sample = reader.sample_of(row, &from);
        }
        let Ok(sample) = sample else { return Ok(None) };
        // Compared again: stripped texts may have become equal, or nothing may be left of them.
        let left_out = match !edited.excluded && self.is_copy(&sample) {
            _ if edited.excluded => Some(Rule::Excluded),
            true => Some(Rule::DuplicateRow),
            false if strip.is_some() && answers(&sample).all(|a| a.trim().is_empty()) => {
                Some(Rule::EmptyAnswer)
            }
            false => None,
        };
        if let Some(rule) = left_out {
            self.dropped.entry(rule.code()).or_default().push(row);
            return Ok(None);
        }
        for rule in strip.into_iter().chain(edited.edited.then_some(Rule::Edited)) {
            self.changed.entry(rule.code()).or_default().push(row);
        }
        self.kept += 1;
        Ok(Some(from.value))
    }

    fn is_copy(&mut self, sample: &Sample) -> bool {
        let cache = self.source.cache;
        let looks: Vec<_> = sample.images.iter().flat_map(|i| cache.look(i, Depth::Header)).collect();
        !self.seen.insert(row_print(sample, &looks))
    }
}

fn embedded(name: &str) -> Error {
    Error::usage(format!("the pictures of {name} lie in its parquet file: no cleaned copy can name them"))
        .hint("turn the file into a data set with `lorascope convert`, which leaves bad rows out, and clean that")
}

/// Puts the turns of a sample back into the row it was made from.
fn set_turns(row: &mut Value, entry: &Entry, sample: &Sample) {
    let (columns, tags) = (&entry.columns, &entry.tags);
    let field = |name: &Option<String>| name.clone().unwrap_or_default();
    let texts: Vec<&str> = sample.messages.iter().map(|m| m.content.as_str()).collect();
    match entry.formatting {
        Formatting::Sharegpt => {
            let Some(turns) = row.get_mut(field(&columns.messages)).and_then(Value::as_array_mut) else {
                return;
            };
            // A system turn stands in front of the others.
            let first = turns.len().saturating_sub(texts.len());
            for (turn, text) in turns[first..].iter_mut().zip(texts) {
                turn[field(&tags.content)] = json!(text);
            }
        }
        Formatting::Alpaca => {
            let Some(([question, answer], past)) = texts.split_last_chunk().map(|(past, last)| (last, past))
            else {
                return;
            };
            // Instruction and input were joined.
            for (name, text) in
                [(&columns.query, &""), (&columns.prompt, question), (&columns.response, answer)]
            {
                if let Some(name) = name {
                    row[name] = json!(text);
                }
            }
            if let (Some(name), false) = (&columns.history, past.is_empty()) {
                row[name] = past.chunks(2).map(|pair| json!(pair)).collect();
            }
        }
    }
}

/// Visits every text of a row that a model would see.
fn texts(row: &mut Value, entry: &Entry, visit: &mut dyn FnMut(&mut String)) {
    let columns = &entry.columns;
    let mut visit = |value: Option<&mut Value>| {
        if let Some(Value::String(text)) = value {
            visit(text);
        }
    };
    let field = |name: &Option<String>| name.clone().unwrap_or_default();
    visit(row.get_mut(field(&columns.system)));
    match entry.formatting {
        Formatting::Alpaca => {
            for name in [&columns.prompt, &columns.query, &columns.response] {
                visit(row.get_mut(field(name)));
            }
            let history = row.get_mut(field(&columns.history)).and_then(Value::as_array_mut);
            let pairs = history.into_iter().flatten().filter_map(Value::as_array_mut);
            pairs.flatten().for_each(|text| visit(Some(text)));
        }
        Formatting::Sharegpt => {
            let turns = row.get_mut(field(&columns.messages)).and_then(Value::as_array_mut);
            turns.into_iter().flatten().for_each(|turn| visit(turn.get_mut(field(&entry.tags.content))));
        }
    }
}

/// Without control tokens and control characters, also those that come about when others go.
fn stripped(text: &str) -> String {
    let mut text: String = text.chars().filter(|c| !is_control(*c) && !is_bidi(*c)).collect();
    while let Some(token) = special::control_token(&text) {
        text = text.replace(token, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_about_by_stripping() {
        assert_eq!(stripped("a<|im_<|im_end|>end|>b\u{202E}\u{0}c<\u{200B}|image_pad|>"), "abc");
        assert_eq!(stripped("肺 <image>\n\t<|x y|>"), "肺 <image>\n\t<|x y|>");
    }

    #[test]
    fn the_texts_of_both_layouts_are_visited() {
        let all = |mut row: Value, entry: &Entry| {
            let mut seen = Vec::new();
            texts(&mut row, entry, &mut |text| seen.push(text.clone()));
            seen
        };
        let talk = json!({"conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}],
            "id": "x", "images": ["i"]});
        assert_eq!(all(talk, &Entry::sharegpt("x.json")), ["q", "a"]);
        let columns = registry::Columns { history: Some("past".into()), ..registry::Columns::default() };
        let tags = registry::Tags::default();
        let alpaca = Entry { formatting: Formatting::Alpaca, columns, tags, ..Entry::sharegpt("x.json") };
        let row = json!({"instruction": "i", "input": "n", "output": "o", "past": [["p", "r"]]});
        assert_eq!(all(row, &alpaca), ["i", "n", "o", "p", "r"]);
    }
}

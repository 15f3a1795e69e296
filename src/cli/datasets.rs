//! `lorascope datasets`: the registry of a data folder, `dataset_info.json`.

use super::columns;
use super::output::Out;
use crate::data::reader::Reader;
use crate::data::registry::{self, Entry, FILE_NAME, Formatting, Registry, Source};
use crate::data::source::peek::{guess, peek};
use crate::data::verdict::{Verdict, judge};
use crate::error::{Error, Kind, Result, must_exist};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// List, show, add, edit, remove and validate the data sets of a data folder
#[derive(Args, Debug)]
pub struct DatasetsArgs {
    #[command(subcommand)]
    pub action: Option<Action>,
    /// The data folder, with dataset_info.json
    #[arg(long, alias = "data", global = true, value_name = "DIR", default_value = "data")]
    pub dataset_dir: PathBuf,
}

#[derive(Subcommand, Debug)]
pub enum Action {
    /// List the data sets (the default)
    List,
    /// Show an entry, its files and how many rows there are
    Show { name: String },
    /// Register a file or a folder: json, jsonl or parquet. The layout is taken from the first row
    ///
    /// Settings go over what is guessed: formatting=sharegpt columns.messages=talk tags.user_tag=human
    /// num_samples=100. Pictures with captions, also inside parquet: lorascope.question="What is seen?"
    /// lorascope.image_column=image lorascope.caption_column=caption lorascope.id_column=id
    Add {
        name: String,
        file: PathBuf,
        #[arg(value_name = "key=value")]
        settings: Vec<String>,
    },
    /// Change an entry; `key=` takes a key out
    Edit {
        name: String,
        #[arg(value_name = "key=value", required = true)]
        settings: Vec<String>,
    },
    /// Take an entry out of the registry. Its files stay
    Remove { name: String },
    /// Say for every entry whether LLaMA-Factory and Lorascope read it (exit code 4 if one does not)
    Validate,
}

pub fn run(args: &DatasetsArgs, out: &Out) -> Result<()> {
    let dir = &args.dataset_dir;
    match args.action.as_ref().unwrap_or(&Action::List) {
        Action::List => list(dir, out),
        Action::Show { name } => show(dir, name, out),
        Action::Add { name, file, settings } => add(dir, name, file, settings, out),
        Action::Edit { name, settings } => edit(dir, name, settings, out),
        Action::Remove { name } => remove(dir, name, out),
        Action::Validate => validate(dir, out),
    }
}

fn list(dir: &Path, out: &Out) -> Result<()> {
    let registry = Registry::open(dir)?;
    let entries: Vec<_> = registry.names().into_iter().map(|name| (name, registry.entry(name))).collect();
    if entries.is_empty() {
        out.line(format!("no data set is registered in {}", dir.display()));
    } else {
        let rows: Vec<Vec<String>> = entries
            .iter()
            .map(|(name, entry)| match entry {
                Ok(entry) => {
                    vec![(*name).into(), layout(entry).into(), place(entry), state(entry, dir).into()]
                }
                Err(error) => vec![(*name).into(), "?".into(), error.message.clone(), "broken".into()],
            })
            .collect();
        table(&["name", "layout", "source", "state"], &rows, out);
    }
    let object = |(name, entry): &(&str, Result<Entry>)| match entry {
        Ok(entry) => json!({
            "name": name, "layout": layout(entry), "source": place(entry), "state": state(entry, dir),
        }),
        Err(error) => json!({ "name": name, "state": "broken", "error": error }),
    };
    out.object(&json!({ "datasets": entries.iter().map(object).collect::<Vec<_>>() }));
    Ok(())
}

fn table(heading: &[&str], rows: &[Vec<String>], out: &Out) {
    let widths = columns::widths(heading, rows);
    out.line(columns::row(heading, &widths));
    for row in rows {
        out.line(columns::row(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
    }
}

fn layout(entry: &Entry) -> &'static str {
    match (&entry.captions, entry.formatting) {
        (Some(_), _) => "captions",
        (None, Formatting::Alpaca) => "alpaca",
        (None, Formatting::Sharegpt) => "sharegpt",
    }
}

fn place(entry: &Entry) -> String {
    match &entry.source {
        Source::File(file) => file.display().to_string(),
        Source::Remote { key, value } => format!("{key}: {value}"),
    }
}

fn state(entry: &Entry, dir: &Path) -> &'static str {
    match &entry.source {
        Source::Remote { .. } => "remote",
        Source::File(file) if crate::data::source::exists(&dir.join(file)) => "there",
        Source::File(_) => "missing",
    }
}

fn show(dir: &Path, name: &str, out: &Out) -> Result<()> {
    let registry = Registry::open(dir)?;
    let entry = registry.entry(name)?;
    let written = registry.written(name).cloned().unwrap_or_default();
    let local = matches!(entry.source, Source::File(_));
    let rows = local.then(|| Reader::open(dir, name, None).map(|reader| reader.len()));
    out.line(format!("{name}: {} in {}", layout(&entry), place(&entry)));
    out.line(serde_json::to_string_pretty(&written).expect("plain data serialises"));
    match &rows {
        Some(Ok(rows)) => out.line(format!("{rows} rows")),
        Some(Err(error)) => out.line(format!("cannot be read: {}", error.message)),
        None => out.line("not a local file: never fetched"),
    }
    let (rows, error) = match rows {
        Some(Ok(rows)) => (Some(rows), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    out.object(&json!({
        "name": name, "layout": layout(&entry), "state": state(&entry, dir), "entry": written, "rows": rows, "error": error,
    }));
    Ok(())
}

fn add(dir: &Path, name: &str, file: &Path, settings: &[String], out: &Out) -> Result<()> {
    let at = if file.exists() { file.to_path_buf() } else { dir.join(file) };
    if !crate::data::source::exists(&at) {
        must_exist(file, "data")?;
    }
    let file_name = relative(&at, dir);
    let mut given = Map::new();
    set_all(&mut given, settings)?;
    let named = ["formatting", "lorascope"].iter().any(|key| given.contains_key(*key));
    let mut fields = match peek(&at, 100).and_then(|seen| guess(&seen, &file_name)) {
        Ok(entry) => entry.fields(),
        Err(_) if named => Map::from_iter([("file_name".to_string(), json!(file_name))]),
        Err(error) => return Err(error),
    };
    set_all(&mut fields, settings)?;
    let fields = Value::Object(fields);
    Entry::parse(name, &fields)?;
    registry::edit(dir, |entries| {
        if entries.contains_key(name) {
            return Err(Error::usage(format!("there is a data set {name} already"))
                .hint("take another name, or change it with `lorascope datasets edit`"));
        }
        entries.insert(name.to_string(), fields.clone());
        Ok(())
    })?;
    show(dir, name, out)
}

/// The file as the registry names it: from the data folder where it lies there, else from the root.
fn relative(file: &Path, dir: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let (file, dir) = match (whole(file), whole(dir)) {
        (Ok(file), Ok(dir)) => (file, dir),
        _ => (file.to_path_buf(), dir.to_path_buf()),
    };
    file.strip_prefix(&dir).unwrap_or(&file).to_string_lossy().into_owned()
}

fn edit(dir: &Path, name: &str, settings: &[String], out: &Out) -> Result<()> {
    Registry::open(dir)?
        .entry(name)
        .or_else(|e| if e.message.starts_with("undefined") { Err(e) } else { Ok(Entry::alpaca("")) })?;
    registry::edit(dir, |entries| {
        let Some(fields) = entries.get_mut(name).and_then(Value::as_object_mut) else {
            return Err(Error::input(format!("the entry {name} of {FILE_NAME} is not an object")));
        };
        set_all(fields, settings)?;
        Entry::parse(name, &Value::Object(fields.clone())).map(|_| ())
    })?;
    show(dir, name, out)
}

/// Sets `key=value` and `outer.key=value`; an empty value takes the key out.
fn set_all(fields: &mut Map<String, Value>, settings: &[String]) -> Result<()> {
    for setting in settings {
        let Some((key, text)) = setting.split_once('=') else {
            return Err(Error::usage(format!("`{setting}` sets nothing")).hint("write key=value"));
        };
        let (fields, key) = match key.split_once('.') {
            None => (&mut *fields, key),
            Some((outer, key)) => match fields.entry(outer).or_insert_with(|| json!({})) {
                Value::Object(inner) => (inner, key),
                _ => return Err(Error::usage(format!("`{outer}` is not an object"))),
            },
        };
        match text {
            "" => drop(fields.shift_remove(key)),
            // Numbers, true, false and null as JSON; anything else is text.
            _ => {
                let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
                fields.insert(key.to_string(), value);
            }
        }
    }
    Ok(())
}

fn remove(dir: &Path, name: &str, out: &Out) -> Result<()> {
    let registry = Registry::open(dir)?;
    if registry.written(name).is_none() {
        registry.entry(name)?;
    }
    registry::unregister(dir, name)?;
    out.line(format!("{name} is no longer registered; its files are untouched"));
    out.object(&json!({ "removed": name }));
    Ok(())
}

fn validate(dir: &Path, out: &Out) -> Result<()> {
    let registry = Registry::open(dir)?;
    let judged = |name: &&str| registry.written(name).map(|value| judge(dir, name, value));
    let verdicts: Vec<Verdict> = registry.names().iter().filter_map(judged).collect();
    for verdict in &verdicts {
        let rows = verdict.rows.map(|n| format!(", {n} rows")).unwrap_or_default();
        let state = match (verdict.remote, verdict.bad()) {
            (true, false) => "remote, not looked at",
            (_, false) => "ok",
            (_, true) => "NOT OK",
        };
        out.line(format!("{}: {state}{rows}", verdict.name));
        verdict.llama_factory.iter().for_each(|p| out.line(format!("  LLaMA-Factory: {p}")));
        verdict.lorascope.iter().for_each(|p| out.line(format!("  Lorascope: {p}")));
    }
    out.object(&json!({ "datasets": verdicts }));
    let bad: Vec<&str> = verdicts.iter().filter(|v| v.bad()).map(|v| v.name.as_str()).collect();
    match bad.len() {
        0 => Ok(()),
        n => Err(Error::new(
            Kind::Check,
            format!("{n} of {} entries cannot be read by both: {}", verdicts.len(), bad.join(", ")),
        )
        .hint("mend them with `lorascope datasets edit NAME key=value`")),
    }
}

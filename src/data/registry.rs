//! `dataset_info.json` as LLaMA-Factory 0.9.5 reads it: names of data sets, where they are, how their rows are built.

use crate::error::{At, Error, Result};
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file's name in the data folder.
pub const FILE_NAME: &str = "dataset_info.json";

/// Sources that LLaMA-Factory prefers over `file_name`. They are remote or code: named in errors, never fetched or run.
const OTHER_SOURCES: [&str; 5] = ["hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"];

/// How the rows of a data set are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formatting {
    Alpaca,
    Sharegpt,
}

/// Where a data set's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file or a folder, relative to the data folder.
    File(PathBuf),
    /// A hub, a script or a cloud: the key and its value.
    Remote { key: String, value: String },
}

/// The names of a row's fields. `None`: not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub prompt: Option<String>,
    pub query: Option<String>,
    pub response: Option<String>,
    pub history: Option<String>,
    pub messages: Option<String>,
    pub system: Option<String>,
    pub images: Option<String>,
}

impl Default for Columns {
    fn default() -> Self {
        let named = |s: &str| Some(s.to_string());
        Self {
            prompt: named("instruction"),
            query: named("input"),
            response: named("output"),
            history: None,
            messages: named("conversations"),
            system: None,
            images: None,
        }
    }
}

/// The keys and values of a ShareGPT turn. `None`: never matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    pub role: Option<String>,
    pub content: Option<String>,
    pub user: Option<String>,
    pub assistant: Option<String>,
    pub observation: Option<String>,
    pub function: Option<String>,
    pub system: Option<String>,
}

impl Default for Tags {
    fn default() -> Self {
        let named = |s: &str| Some(s.to_string());
        Self {
            role: named("from"),
            content: named("value"),
            user: named("human"),
            assistant: named("gpt"),
            observation: named("observation"),
            function: named("function_call"),
            system: named("system"),
        }
    }
}

/// One data set of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub source: Source,
    pub formatting: Formatting,
    pub columns: Columns,
    pub tags: Tags,
    /// Take this many rows.
    pub num_samples: Option<usize>,
}

impl Entry {
    /// The tutorial's entry: ShareGPT with `from`/`value`, `user`, `assistant` and `system`, and pictures.
    pub fn sharegpt(file_name: impl Into<PathBuf>) -> Self {
        let named = |s: &str| Some(s.to_string());
        let none = Columns {
            prompt: None,
            query: None,
            response: None,
            history: None,
            messages: named("conversations"),
            system: None,
            images: named("images"),
        };
        let tags = Tags {
            user: named("user"),
            assistant: named("assistant"),
            observation: None,
            function: None,
            ..Tags::default()
        };
        Self {
            source: Source::File(file_name.into()),
            formatting: Formatting::Sharegpt,
            columns: none,
            tags,
            num_samples: None,
        }
    }

    /// The file or folder with the rows.
    ///
    /// # Errors
    /// A data set that lives elsewhere.
    pub fn path(&self, dir: &Path, name: &str) -> Result<PathBuf> {
        match &self.source {
            Source::File(file) => Ok(dir.join(file)),
            Source::Remote { key, value } => {
                Err(Error::input(format!("the data set {name} is not a local file: {key} = {value}"))
                    .hint("Lorascope fetches nothing: download it and register it with `file_name`"))
            }
        }
    }

    fn parse(name: &str, value: &Value) -> Result<Self> {
        let bad = |what: &str| {
            Error::input(format!("the entry {name} of {FILE_NAME} {what}"))
                .hint("see `file_name`, `formatting`, `columns` and `tags` of LLaMA-Factory's data README")
        };
        let fields = value.as_object().ok_or_else(|| bad("is not an object"))?;
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let source = match OTHER_SOURCES.iter().find_map(|key| text(key).map(|value| (*key, value))) {
            Some((key, value)) => Source::Remote { key: key.into(), value: value.into() },
            None => Source::File(text("file_name").ok_or_else(|| bad("has no `file_name`"))?.into()),
        };
        let formatting = match text("formatting") {
            None | Some("alpaca") => Formatting::Alpaca,
            Some("sharegpt") => Formatting::Sharegpt,
            Some(other) => {
                return Err(bad(&format!("has the formatting `{other}`: alpaca or sharegpt is known")));
            }
        };
        let columns = fields.get("columns").and_then(Value::as_object);
        let tags = fields.get("tags").and_then(Value::as_object);
        Ok(Self {
            source,
            formatting,
            columns: columns.map_or_else(Columns::default, Columns::parse),
            tags: tags.map_or_else(Tags::default, Tags::parse),
            num_samples: fields.get("num_samples").and_then(Value::as_u64).map(|n| n as usize),
        })
    }

    /// The fields as LLaMA-Factory's file has them, in the tutorial's order.
    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        match &self.source {
            Source::File(file) => fields.insert("file_name".into(), json!(file)),
            Source::Remote { key, value } => fields.insert(key.clone(), json!(value)),
        };
        if self.columns != Columns::default() {
            fields.insert("columns".into(), self.columns.fields());
        }
        if self.formatting == Formatting::Sharegpt {
            fields.insert("formatting".into(), json!("sharegpt"));
        }
        if self.tags != Tags::default() {
            fields.insert("tags".into(), self.tags.fields());
        }
        if let Some(n) = self.num_samples {
            fields.insert("num_samples".into(), json!(n));
        }
        fields
    }
}

/// Every name given, the others `None`: as LLaMA-Factory, which forgets its defaults as soon as one is named.
macro_rules! named_fields {
    ($type:ident { $($field:ident = $key:literal),+ $(,)? }) => {
        impl $type {
            fn parse(fields: &Map<String, Value>) -> Self {
                Self { $($field: fields.get($key).and_then(Value::as_str).map(str::to_string)),+ }
            }
            fn fields(&self) -> Value {
                let mut fields = Map::new();
                $(if let Some(name) = &self.$field { fields.insert($key.into(), json!(name)); })+
                Value::Object(fields)
            }
        }
    };
}

named_fields!(Columns {
    prompt = "prompt",
    query = "query",
    response = "response",
    history = "history",
    messages = "messages",
    system = "system",
    images = "images",
});

named_fields!(Tags {
    role = "role_tag",
    content = "content_tag",
    user = "user_tag",
    assistant = "assistant_tag",
    observation = "observation_tag",
    function = "function_tag",
    system = "system_tag",
});

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
}

/// Adds an entry or changes the one of this name; everything else in the file stays as it is and where it is, unknown
/// keys of the entry included. Concurrent registrations wait for each other.
pub fn register(dir: &Path, name: &str, entry: &Entry) -> Result<()> {
    edit(dir, |entries| {
        let old = entries.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut fields = entry.fields();
        let described = ["file_name", "formatting", "columns", "tags", "num_samples"];
        for (key, value) in old {
            if key == "num_samples"
                || !(described.contains(&key.as_str()) || OTHER_SOURCES.contains(&key.as_str()))
            {
                fields.entry(key).or_insert(value);
            }
        }
        entries.insert(name.to_string(), Value::Object(fields));
    })
}

/// Takes an entry out. Nothing happens when there is none.
pub fn unregister(dir: &Path, name: &str) -> Result<()> {
    if !dir.join(FILE_NAME).exists() {
        return Ok(());
    }
    edit(dir, |entries| {
        entries.shift_remove(name);
    })
}

/// Reads, changes and writes the file under a lock on the folder, which leaves no lock file behind.
fn edit(dir: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
    fs::create_dir_all(dir).at("create", dir)?;
    // Best effort: where a folder cannot be locked, the write is still atomic.
    let lock = File::open(dir).ok();
    let _held = lock.as_ref().map(File::lock);
    let path = dir.join(FILE_NAME);
    let mut entries = if path.exists() { read(&path)? } else { Map::new() };
    let before = entries.clone();
    change(&mut entries);
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

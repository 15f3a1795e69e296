//! One entry of `dataset_info.json`: where a data set's rows are and how a row is built, by the rules of LLaMA-Factory
//! 0.9.5 (`data/parser.py`).

use super::registry::FILE_NAME;
use crate::error::{Error, Result};
use crate::job::DEFAULT_QUESTION;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Sources that LLaMA-Factory prefers over `file_name`. They are remote or code: named in errors, never fetched or run.
pub(super) const OTHER_SOURCES: [&str; 5] =
    ["hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"];

/// Keys that say where rows are and how they are laid out; registering again keeps all others.
pub(super) const DESCRIBED: [&str; 5] = ["file_name", "formatting", "columns", "tags", "lorascope"];

/// How the rows of a data set are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formatting {
    Alpaca,
    Sharegpt,
}

/// Where a data set's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, a folder or a pattern, relative to the data folder.
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

/// Rows that are a picture and its caption: the object `lorascope` of an entry, which LLaMA-Factory does not look at.
/// Each becomes one question about the picture, as `convert` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captions {
    /// The user's turn after `<image>`.
    pub question: String,
    /// The columns of a row.
    pub image: String,
    pub caption: String,
    pub id: String,
}

impl Default for Captions {
    fn default() -> Self {
        Self {
            question: DEFAULT_QUESTION.into(),
            image: "image".into(),
            caption: "caption".into(),
            id: "id".into(),
        }
    }
}

impl Captions {
    fn parse(fields: &Map<String, Value>) -> Self {
        let text = |key: &str, default: String| {
            fields.get(key).and_then(Value::as_str).map_or(default, str::to_string)
        };
        let known = Self::default();
        Self {
            question: text("question", known.question),
            image: text("image_column", known.image),
            caption: text("caption_column", known.caption),
            id: text("id_column", known.id),
        }
    }

    fn fields(&self) -> Value {
        json!({
            "question": self.question,
            "image_column": self.image,
            "caption_column": self.caption,
            "id_column": self.id,
        })
    }
}

/// One data set of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub source: Source,
    pub formatting: Formatting,
    pub columns: Columns,
    pub tags: Tags,
    /// Instead of `formatting`, `columns` and `tags`.
    pub captions: Option<Captions>,
    /// Pairs of a better and a worse answer, which nobody can fine-tune on.
    pub ranking: bool,
    /// `train`, or a part of it such as `train[:100]`.
    pub split: String,
    /// Draw this many rows.
    pub num_samples: Option<usize>,
}

impl Entry {
    fn of(source: Source) -> Self {
        Self {
            source,
            formatting: Formatting::Alpaca,
            columns: Columns::default(),
            tags: Tags::default(),
            captions: None,
            ranking: false,
            split: "train".into(),
            num_samples: None,
        }
    }

    /// The tutorial's entry: ShareGPT with `from`/`value`, `user`, `assistant` and `system`, and pictures.
    pub fn sharegpt(file_name: impl Into<PathBuf>) -> Self {
        let named = |s: &str| Some(s.to_string());
        let columns = Columns {
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
        Self { formatting: Formatting::Sharegpt, columns, tags, ..Self::of(Source::File(file_name.into())) }
    }

    /// LLaMA-Factory's default layout.
    pub fn alpaca(file_name: impl Into<PathBuf>) -> Self {
        Self::of(Source::File(file_name.into()))
    }

    /// Pictures with captions, read where they are.
    pub fn captioned(file_name: impl Into<PathBuf>, captions: Captions) -> Self {
        Self { captions: Some(captions), ..Self::alpaca(file_name) }
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

    /// The columns that are read of a row, and which of them has the pictures.
    pub fn wanted(&self) -> (Vec<&str>, Option<&str>) {
        if let Some(captions) = &self.captions {
            return (vec![&captions.image, &captions.caption, &captions.id], Some(&captions.image));
        }
        let c = &self.columns;
        let own = match self.formatting {
            Formatting::Sharegpt => vec![&c.messages],
            Formatting::Alpaca => vec![&c.prompt, &c.query, &c.response, &c.history],
        };
        let named = own.into_iter().chain([&c.system, &c.images]).flatten().map(String::as_str);
        (named.chain(["id"]).collect(), c.images.as_deref())
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// What LLaMA-Factory would stop at, and its formatting `openai`, which is not read here.
    pub fn parse(name: &str, value: &Value) -> Result<Self> {
        let bad = |what: &str| {
            Error::input(format!("the entry {name} of {FILE_NAME} {what}"))
                .hint("see `file_name`, `formatting`, `columns` and `tags` of LLaMA-Factory's data README")
        };
        let fields = value.as_object().ok_or_else(|| bad("is not an object"))?;
        let text = |key: &str| match fields.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(other) => Err(bad(&format!("has {other} as `{key}`, which must be text"))),
        };
        let object = |key: &str| match fields.get(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(bad(&format!("has a `{key}` that is not an object"))),
        };
        let source = match OTHER_SOURCES.iter().find(|key| fields.contains_key(**key)) {
            Some(key) => Source::Remote { key: (*key).into(), value: text(key)?.unwrap_or_default().into() },
            None => Source::File(text("file_name")?.ok_or_else(|| bad("has no `file_name`"))?.into()),
        };
        let formatting = match text("formatting")? {
            None | Some("alpaca") => Formatting::Alpaca,
            Some("sharegpt") => Formatting::Sharegpt,
            Some(other) => {
                return Err(bad(&format!("has the formatting `{other}`: alpaca or sharegpt is known")));
            }
        };
        let num_samples = match fields.get("num_samples") {
            None | Some(Value::Null) => None,
            Some(n) => {
                Some(n.as_u64().ok_or_else(|| bad("has a `num_samples` that is not a count"))? as usize)
            }
        };
        Ok(Self {
            formatting,
            columns: object("columns")?.map_or_else(Columns::default, Columns::parse),
            tags: object("tags")?.map_or_else(Tags::default, Tags::parse),
            captions: object("lorascope")?.map(Captions::parse),
            ranking: fields.get("ranking") == Some(&Value::Bool(true)),
            split: text("split")?.unwrap_or("train").into(),
            num_samples,
            ..Self::of(source)
        })
    }

    /// The fields as LLaMA-Factory's file has them, in the tutorial's order.
    pub fn fields(&self) -> Map<String, Value> {
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
        if let Some(captions) = &self.captions {
            fields.insert("lorascope".into(), captions.fields());
        }
        if self.ranking {
            fields.insert("ranking".into(), json!(true));
        }
        if self.split != "train" {
            fields.insert("split".into(), json!(self.split));
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

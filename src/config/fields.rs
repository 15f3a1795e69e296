//! Reading and writing any setting by its key, typed and checked by the hyper-parameter table.

use super::TrainConfig;
use super::rows::ROWS;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The part of the table a row is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Model,
    Data,
    Method,
    Optimisation,
    Output,
    Generation,
}

impl Group {
    /// All groups, in the order they are shown.
    pub const ALL: [Group; 6] =
        [Group::Model, Group::Data, Group::Method, Group::Optimisation, Group::Output, Group::Generation];

    /// The group's heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Model => "model",
            Group::Data => "data",
            Group::Method => "method",
            Group::Optimisation => "optimisation",
            Group::Output => "output",
            Group::Generation => "evaluation and generation",
        }
    }
}

/// What a row accepts. Limits are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Text,
    /// A file or folder.
    Path,
    Folder,
    Int {
        min: i64,
        max: i64,
    },
    Float {
        min: f64,
        max: f64,
    },
    Bool,
    Choice(&'static [&'static str]),
    /// Names with commas between.
    List,
}

/// One row of the hyper-parameter table. Editor, `key=value`, YAML, `params` and the README's table follow from it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// LLaMA-Factory's name, and the field's in `TrainConfig`.
    pub key: &'static str,
    pub group: Group,
    pub kind: Kind,
    /// What the number counts; empty for none.
    pub unit: &'static str,
    /// One or two short sentences.
    pub help: &'static str,
    /// May be empty (`null`).
    pub optional: bool,
}

/// All rows, in the order they are shown.
pub fn all() -> &'static [Field] {
    &ROWS
}

/// The row of `key`.
pub fn field(key: &str) -> Option<&'static Field> {
    ROWS.iter().find(|f| f.key == key)
}

/// The value of `key` as text that [`set`] reads back; empty for none and for an unknown key.
pub fn get(config: &TrainConfig, key: &str) -> String {
    match as_object(config).get(key) {
        Some(value) => show(value),
        None => String::new(),
    }
}

/// The text of every row's value, in the order of the table: [`get`] for all of them at once.
pub fn texts(config: &TrainConfig) -> Vec<String> {
    let object = as_object(config);
    ROWS.iter().map(|field| object.get(field.key).map(show).unwrap_or_default()).collect()
}

/// Sets `key` from text: numbers also in scientific notation, lists with commas, `null` or empty for none.
/// On an error (unknown key, wrong type, out of range) the configuration is as before.
pub fn set(config: &mut TrainConfig, key: &str, text: &str) -> Result<()> {
    let field = field(key).ok_or_else(|| super::llama_factory::unknown_key(key))?;
    let value = parse(field, text.trim())?;
    let mut object = as_object(config);
    object.insert(key.to_string(), value);
    *config = serde_json::from_value(Value::Object(object)).map_err(|e| not_taken(field, text, &e))?;
    Ok(())
}

impl Field {
    /// What is allowed, as a reader wants it: `whole number, 1 to 1024`, `true or false`, `linear, cosine`.
    pub fn range(&self) -> String {
        let base = match self.kind {
            Kind::Text => "text".to_string(),
            Kind::Path => "path".to_string(),
            Kind::Folder => "folder".to_string(),
            Kind::Int { min, max } if max >= 1_000_000_000 => format!("whole number, from {min}"),
            Kind::Int { min, max } => format!("whole number, {min} to {max}"),
            Kind::Float { min, max } if max >= 1e9 => format!("number, from {}", number(min)),
            Kind::Float { min, max } => format!("number, {} to {}", number(min), number(max)),
            Kind::Bool => "true or false".to_string(),
            Kind::Choice(names) => names.join(", "),
            Kind::List => "names, commas between".to_string(),
        };
        if self.optional { format!("{base}, or null") } else { base }
    }

    /// The value that `TrainConfig::default()` gives this row.
    pub fn default_text(&self) -> String {
        static DEFAULTS: LazyLock<Map<String, Value>> = LazyLock::new(|| as_object(&TrainConfig::default()));
        DEFAULTS.get(self.key).map(show).unwrap_or_default()
    }
}

/// A number as short as it reads well: `5e-5`, `0.95`, `100`.
pub fn number(x: f64) -> String {
    if x == 0.0 || (1e-3..1e7).contains(&x.abs()) { format!("{x}") } else { format!("{x:e}") }
}

fn as_object(config: &TrainConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(object)) => object,
        _ => unreachable!("TrainConfig is a struct of plain data"),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        Value::Number(n) if n.is_f64() => number(n.as_f64().unwrap_or_default()),
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn parse(field: &Field, text: &str) -> Result<Value> {
    let empty = matches!(text, "" | "null" | "None" | "~");
    if empty && field.optional {
        return Ok(Value::Null);
    }
    let value = match field.kind {
        Kind::Text | Kind::Path | Kind::Folder => Some(Value::from(if empty { "" } else { text })),
        Kind::Int { min, max } => whole(text).filter(|n| (min..=max).contains(n)).map(Value::from),
        Kind::Float { min, max } => {
            text.parse::<f64>().ok().filter(|x| (min..=max).contains(x)).map(Value::from)
        }
        Kind::Bool => truth(text).map(Value::from),
        Kind::Choice(names) => names.iter().find(|n| **n == text).map(|n| Value::from(*n)),
        Kind::List if empty => Some(Value::Array(Vec::new())),
        Kind::List => {
            Some(text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Value::from).collect())
        }
    };
    value.ok_or_else(|| expected(field, text))
}

/// A whole number; `1e5` and `100.0` count when they are whole.
fn whole(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().or_else(|| {
        let x = text.parse::<f64>().ok()?;
        // Above 2^53 a float no longer names one whole number.
        (x.fract() == 0.0 && x.abs() <= 9e15).then_some(x as i64)
    })
}

/// YAML 1.1's words for true and false, which LLaMA-Factory's reader accepts too.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A text that has a form of its own says what is wrong with it.
fn not_taken(field: &Field, given: &str, why: &serde_json::Error) -> Error {
    match field.kind {
        Kind::Text if !why.to_string().starts_with("invalid type") => {
            Error::usage(format!("{}: {why} (given: {given})", field.key)).hint(field.help)
        }
        _ => expected(field, given),
    }
}

fn expected(field: &Field, given: &str) -> Error {
    let given = if given.is_empty() { "nothing" } else { given };
    let key = field.key;
    let message = match field.kind {
        Kind::Choice([only]) => format!("{key}: only {only} is supported (given: {given})"),
        Kind::Choice(names) => format!("{key} must be one of {} (given: {given})", names.join(", ")),
        Kind::Int { .. } | Kind::Float { .. } => {
            format!("{key} must be a {} (given: {given})", field.range())
        }
        _ => format!("{key} must be {} (given: {given})", field.range()),
    };
    Error::usage(message).hint(format!("{key}: {}", field.help))
}

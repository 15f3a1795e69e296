//! Typed values out of a `config.json`, with messages that name the file and the key.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

/// One object of the file, with its dotted name for messages.
pub(super) struct Section<'a> {
    pub(super) file: &'a Path,
    name: String,
    pub(super) json: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    pub(super) fn whole(file: &'a Path, json: &'a Map<String, Value>) -> Self {
        Self { file, name: String::new(), json }
    }

    fn dotted(&self, key: &str) -> String {
        if self.name.is_empty() { key.into() } else { format!("{}.{key}", self.name) }
    }

    /// `json` as the object `key` of this one.
    pub(super) fn child<'b>(&self, key: &str, json: &'b Map<String, Value>) -> Section<'b>
    where
        'a: 'b,
    {
        Section { file: self.file, name: self.dotted(key), json }
    }

    fn error(&self, what: &str) -> Error {
        let place = if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) };
        Error::input(format!("{}: {place}{what}", self.file.display()))
            .hint("compare with the config.json of the model's release; a fine-tune must keep its shapes")
    }

    pub(super) fn check(&self, holds: bool, what: impl FnOnce() -> String) -> Result<()> {
        if holds { Ok(()) } else { Err(self.error(&what())) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.json.get(key).is_some_and(|v| !v.is_null())
    }

    pub(super) fn section(&self, key: &str) -> Result<Section<'a>> {
        let json = self.json.get(key).and_then(Value::as_object);
        let json = json.ok_or_else(|| self.error(&format!("{key} is missing, or not an object")))?;
        Ok(self.child(key, json))
    }

    /// `null` is as good as absent.
    pub(super) fn optional<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.json.get(key).filter(|v| !v.is_null()) else { return Ok(None) };
        let read = serde_json::from_value(value.clone());
        read.map(Some).map_err(|e| self.error(&format!("{key} cannot be {value}: {e}")))
    }

    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| self.error(&format!("{key} is missing")))
    }

    pub(super) fn or<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    pub(super) fn positive(&self, key: &str) -> Result<usize> {
        let n = self.get(key)?;
        self.check(n > 0, || format!("{key} is 0"))?;
        Ok(n)
    }
}

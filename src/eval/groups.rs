//! Groups of samples by a column of their data set: what each row has under a key.

use crate::config::TrainConfig;
use crate::data::reader::Reader;
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// The rows of data sets that can be used, in their order.
pub struct Groups {
    key: String,
    rows: Vec<Tagged>,
}

/// A row and what it has under the key.
pub struct Tagged {
    pub row: usize,
    pub id: String,
    group: Option<String>,
}

impl Groups {
    /// Of the evaluation sets of a configuration, by its `eval_group_by`; `None` where that is not set.
    ///
    /// # Errors
    /// As [`Groups::read`].
    pub fn of_config(config: &TrainConfig) -> Result<Option<Self>> {
        let names = config.evaluated();
        let read = |key: &String| Self::read(&config.dataset_dir, names, config.media_dir.as_deref(), key);
        config.eval_group_by.as_ref().map(read).transpose()
    }

    /// What the rows of the data sets `names` have under `key`: a field of a JSON row, a column of a parquet file.
    ///
    /// # Errors
    /// A data set cannot be read, or no row has such a key.
    pub fn read(dir: &Path, names: &[String], media: Option<&Path>, key: &str) -> Result<Self> {
        let (mut rows, mut unusable) = (Vec::new(), None);
        for name in names {
            let reader = Reader::open(dir, name, media)?;
            for (row, value) in reader.column(key)?.into_iter().enumerate() {
                // Rows that cannot be used are not evaluated either.
                match reader.sample(row) {
                    Ok(sample) => {
                        rows.push(Tagged { row, id: sample.id, group: value.as_ref().and_then(text) });
                    }
                    Err(error) => unusable = unusable.or(Some(error)),
                }
            }
        }
        if let Some(error) = unusable.filter(|_| rows.is_empty()) {
            return Err(error);
        }
        if rows.iter().all(|row| row.group.is_none()) {
            return Err(Error::input(format!("no row of {} has {key}", names.join(", ")))
                .hint("--group-by takes a key of the rows, or a column of a parquet file"));
        }
        Ok(Self { key: key.into(), rows })
    }

    /// How rows without the key are called.
    pub fn none(key: &str) -> String {
        format!("no {key}")
    }

    fn name(&self, row: &Tagged) -> String {
        row.group.clone().unwrap_or_else(|| Self::none(&self.key))
    }

    /// Groups by row and id, as samples have them.
    pub fn by_row(&self) -> HashMap<(usize, &str), String> {
        self.rows.iter().map(|row| ((row.row, row.id.as_str()), self.name(row))).collect()
    }

    /// Groups by id.
    pub fn by_id(&self) -> HashMap<&str, String> {
        self.rows.iter().map(|row| (row.id.as_str(), self.name(row))).collect()
    }

    /// The group of each row, in order.
    pub fn in_order(&self) -> Vec<String> {
        self.rows.iter().map(|row| self.name(row)).collect()
    }
}

/// A value as the name of a group; nothing, and an empty text, is none.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.trim().to_string()).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::registry::{self, Entry};
    use serde_json::json;

    #[test]
    fn rows_without_the_key_are_a_group_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let row = |id: &str, modality: Value| {
            json!({ "id": id, "modality": modality, "images": [], "conversations": [
                { "from": "user", "value": "What?" }, { "from": "assistant", "value": "This." },
            ] })
        };
        let rows = [row("a", json!("CT")), row("b", json!(null)), row("c", json!(3)), row("d", json!(" "))];
        crate::files::write_json(&dir.path().join("set.json"), &rows).unwrap();
        registry::register(dir.path(), "set", &Entry::sharegpt("set.json")).unwrap();
        let read = |key: &str| Groups::read(dir.path(), &["set".to_string()], None, key);
        let groups = read("modality").unwrap();
        assert_eq!(groups.in_order(), ["CT", "no modality", "3", "no modality"]);
        assert_eq!(groups.by_row()[&(2, "c")], "3");
        assert_eq!(groups.by_id()["a"], "CT");
        assert!(read("organ").err().unwrap().message.contains("no row of set has organ"));
    }
}

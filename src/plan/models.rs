//! A model's shapes without its weights: from a folder's `config.json`, or from `configs/models.toml` by name.

use crate::error::{Error, Result};
use crate::model::ModelConfig;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

const MODELS: &str = include_str!("../../configs/models.toml");

/// A model to plan for.
pub struct Model {
    pub name: String,
    pub config: ModelConfig,
    /// Where its tokenizer may be.
    pub dir: Option<PathBuf>,
}

/// The folder `given`, if it has a `config.json`, else the row of the table that its last name begins with or is.
///
/// Errors: neither; a folder whose `config.json` is no Qwen3-VL's.
pub fn find(given: &Path) -> Result<Model> {
    let name = given.file_name().unwrap_or(given.as_os_str()).to_string_lossy().into_owned();
    if given.join("config.json").exists() {
        return Ok(Model { name, config: ModelConfig::load(given)?, dir: Some(given.into()) });
    }
    let rows = rows();
    let known: Vec<String> = rows.iter().map(|(n, _)| n.clone()).collect();
    let fits = |n: &str| {
        let (n, wanted) = (n.to_lowercase(), name.to_lowercase());
        // Qwen3-VL-4B-Instruct, Qwen3-VL-4B, 4B
        wanted.starts_with(&format!("{n}-")) || wanted == n || format!("qwen3-vl-{wanted}") == n
    };
    match rows.into_iter().find(|(n, _)| fits(n)) {
        Some((name, row)) => {
            let config = ModelConfig::from_json(&row, Path::new("configs/models.toml"))?;
            Ok(Model { name, config, dir: None })
        }
        None => Err(Error::usage(format!("{} is neither a model folder nor a known model", given.display()))
            .hint(format!("name a folder with config.json, or one of {}", known.join(", ")))),
    }
}

/// Names and rows of the table.
fn rows() -> Vec<(String, Map<String, Value>)> {
    let table: Value = toml::from_str(MODELS).expect("the table in the program is well formed");
    let rows = table["model"].as_array().expect("a list of models").iter();
    rows.filter_map(|row| Some((row["name"].as_str()?.to_string(), row.as_object()?.clone()))).collect()
}

/// The names of the table.
pub fn names() -> Vec<String> {
    rows().into_iter().map(|(name, _)| name).collect()
}

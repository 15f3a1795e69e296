//! Builds the settings of a run: defaults, then a YAML file with LLaMA-Factory's keys, then `key=value`.

use super::{TrainConfig, fields, llama_factory};
use crate::error::{At, Error, Result};
use serde_yaml_ng::{Mapping, Value};
use std::io::Read;
use std::path::Path;

/// A larger file is no configuration (the wrong file was named).
const MAX_BYTES: u64 = 1 << 20;

/// Defaults < YAML file < `key=value`; later ones win.
/// Errors: unreadable file or YAML, unknown key, value of the wrong type or out of range, unsupported value.
pub fn load(path: Option<&Path>, overrides: &[String]) -> Result<TrainConfig> {
    load_with_notes(path, overrides).map(|(config, _)| config)
}

/// Like [`load`], with remarks on what was accepted and has no effect.
pub fn load_with_notes(path: Option<&Path>, overrides: &[String]) -> Result<(TrainConfig, Vec<String>)> {
    let mut layers = Layers::default();
    if let Some(path) = path {
        layers.file(&read(path)?, &path.display().to_string())?;
    }
    for text in overrides {
        layers.pair(text)?;
    }
    Ok(layers.finish())
}

/// Settings from YAML text; `name` stands for the file in messages.
pub fn from_yaml(text: &str, name: &str) -> Result<TrainConfig> {
    let mut layers = Layers::default();
    layers.file(text, name)?;
    Ok(layers.finish().0)
}

/// Settings as YAML that [`load`] reads back.
pub fn to_yaml(config: &TrainConfig) -> Result<String> {
    let plain = serde_json::to_value(config).expect("plain data serialises");
    serde_yaml_ng::to_string(&plain).map_err(|e| Error::internal(e.to_string()))
}

/// The text of a file, or of standard input for `-`.
fn read(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().take(MAX_BYTES).read_to_string(&mut text).at("read", "standard input")?;
        return Ok(text);
    }
    let size = std::fs::metadata(path).at("read", path)?.len();
    if size > MAX_BYTES {
        return Err(Error::input(format!("{} is too large for a configuration file", path.display()))
            .hint("give a YAML file with LLaMA-Factory's keys; configs/default.yaml shows all of them"));
    }
    let bytes = std::fs::read(path).at("read", path)?;
    String::from_utf8(bytes).map_err(|_| {
        Error::input(format!("{} is not a text file in UTF-8", path.display()))
            .hint("give a YAML file with LLaMA-Factory's keys")
    })
}

#[derive(Default)]
struct Layers {
    config: TrainConfig,
    /// Reason and the ignored keys it was told for.
    ignored: Vec<(&'static str, Vec<String>)>,
    notes: Vec<String>,
}

impl Layers {
    fn file(&mut self, text: &str, name: &str) -> Result<()> {
        for (key, value) in parse(text, name)? {
            let key = match key {
                Value::String(key) => key,
                other => return Err(not_a_key(name, &other)),
            };
            self.put(&key, &value).map_err(|e| located(e, text, name, &key))?;
        }
        Ok(())
    }

    fn pair(&mut self, text: &str) -> Result<()> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(
                Error::usage(format!("not a setting: {text}")).hint("write key=value, without blanks")
            );
        };
        let key = key.trim();
        // A map can be given in YAML's or JSON's braces.
        let value = match value.trim() {
            map if map.starts_with('{') => serde_yaml_ng::from_str(map)
                .map_err(|e| Error::usage(format!("{key}: cannot read {map}: {e}")))?,
            plain => Value::String(plain.to_string()),
        };
        self.put(key, &value)
    }

    fn put(&mut self, key: &str, value: &Value) -> Result<()> {
        if let Some(reason) = llama_factory::ignored(key) {
            match self.ignored.iter_mut().find(|(r, _)| *r == reason) {
                Some((_, keys)) => keys.push(key.to_string()),
                None => self.ignored.push((reason, vec![key.to_string()])),
            }
            return Ok(());
        }
        let text = as_text(key, value)?;
        if let Some(message) = llama_factory::not_yet(key, &text) {
            return Err(Error::usage(format!("{key}: {message} (given: {text})"))
                .hint(format!("remove {key}, or see \"What is not there yet\" in the README")));
        }
        match key {
            "evaluation_strategy" | "eval_strategy" => self.strategy("eval_strategy", &text),
            "save_strategy" => self.strategy(key, &text),
            _ if fields::field(key).is_some() => fields::set(&mut self.config, key, &text),
            _ if llama_factory::is_optional_feature(key) => Ok(()),
            _ => Err(llama_factory::unknown_key(key)),
        }
    }

    /// YAML reads a bare `no` as false.
    fn strategy(&mut self, key: &str, text: &str) -> Result<()> {
        fields::set(&mut self.config, key, if text == "false" { "no" } else { text })
    }

    fn finish(mut self) -> (TrainConfig, Vec<String>) {
        if self.config.deepspeed.is_some() {
            self.notes.push("no effect here: deepspeed (kept for an external engine)".into());
        }
        if self.config.packing && !self.config.neat_packing {
            self.notes.push("packing: samples of a pack attend to themselves only (neat_packing)".into());
        }
        for (reason, keys) in self.ignored {
            self.notes.push(format!("no effect here: {} ({reason})", keys.join(", ")));
        }
        (self.config, self.notes)
    }
}

fn parse(text: &str, name: &str) -> Result<Mapping> {
    let text = text.trim_start_matches('\u{FEFF}');
    let broken = |e: serde_yaml_ng::Error| {
        let at = e.location().map(|l| format!(":{}:{}", l.line(), l.column())).unwrap_or_default();
        // The parser says the place again in words, which reads twice beside file:line:column.
        let full = e.to_string();
        let what = full.split(" at line ").next().unwrap_or(&full);
        Error::usage(format!("{name}{at}: not valid YAML: {what}"))
            .hint("one `key: value` per line; tabs cannot indent; quote text that has : or # in it")
    };
    let mut value: Value = serde_yaml_ng::from_str(text).map_err(broken)?;
    value.apply_merge().map_err(broken)?;
    match value {
        Value::Mapping(map) => Ok(map),
        Value::Null => Ok(Mapping::new()),
        _ => Err(Error::usage(format!("{name}: not a configuration: it has no `key: value` lines"))
            .hint("configs/default.yaml shows all keys")),
    }
}

/// Text that `fields::set` reads.
fn as_text(key: &str, value: &Value) -> Result<String> {
    Ok(match value {
        Value::Null => String::new(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Sequence(items) => {
            items.iter().map(|v| as_text(key, v)).collect::<Result<Vec<_>>>()?.join(",")
        }
        Value::Mapping(map) if key == "lr_scheduler_kwargs" => {
            serde_json::to_string(map).map_err(|e| Error::usage(format!("{key}: {e}")))?
        }
        Value::Mapping(_) => return Err(Error::usage(format!("{key} cannot be a map"))),
        Value::Tagged(_) => return Err(Error::usage(format!("{key}: YAML tags are not supported"))),
    })
}

fn not_a_key(name: &str, key: &Value) -> Error {
    Error::usage(format!("{name}: {key:?} is not the name of a setting"))
        .hint("`lorascope params` lists all settings")
}

/// Puts file and line in front of a message about `key`.
fn located(mut error: Error, text: &str, name: &str, key: &str) -> Error {
    let line = text.lines().position(|line| {
        let line = line.trim_start_matches('\u{FEFF}').trim_start().trim_start_matches(['"', '\'']);
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
    });
    let at = line.map(|n| format!(":{}", n + 1)).unwrap_or_default();
    error.message = format!("{name}{at}: {}", error.message);
    error
}

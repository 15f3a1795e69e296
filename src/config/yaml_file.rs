//! Settings written into a YAML file: what the file says otherwise, its comments and keys nobody knows, stays as it is.

use super::fields::{self, Kind};
use super::{TrainConfig, layers};
use crate::error::{Error, Result};
use serde_json::Value;

/// The text of a file that holds `config`, made from the text `old` of the file that was there. Lines of settings that
/// are as they should be stay byte for byte; others get the new value; what differs from the defaults and is not
/// there yet comes at the end.
///
/// Errors: `old` cannot be read as settings (then it is better not to write over it).
pub fn update(old: &str, config: &TrainConfig, name: &str) -> Result<String> {
    let before = layers::from_yaml(old, name)?;
    let blocks = blocks(old);
    let mut text = String::new();
    let mut seen = Vec::new();
    for block in &blocks {
        let Some(key) = block.key.filter(|key| fields::field(key).is_some()) else {
            text.push_str(block.text);
            continue;
        };
        seen.push(key);
        if fields::get(&before, key) == fields::get(config, key) {
            text.push_str(block.text);
        } else {
            text.push_str(&line(key, config, comment(block.text)));
        }
    }
    let default = TrainConfig::default();
    for field in fields::all().iter().filter(|f| !seen.contains(&f.key)) {
        if fields::get(config, field.key) != fields::get(&default, field.key) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&line(field.key, config, ""));
        }
    }
    // A form of YAML that the lines above do not understand is found here, and not by the user later.
    match layers::from_yaml(&text, name) {
        Ok(read) if read == *config => Ok(text),
        _ => Err(Error::input(format!("{name} is written in a form of YAML that cannot be kept"))
            .hint("save under another name")),
    }
}

/// A key with its value, and the lines that belong to it, or other lines.
struct Block<'a> {
    key: Option<&'a str>,
    text: &'a str,
}

/// The text in pieces: one per top-level key with what is indented under it, one per other line.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut start = 0;
    let mut open = false; // whether the last block is a key whose value may go on
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let more = line.starts_with([' ', '\t', '-']) && !line.trim().is_empty();
        if open && more {
            if let Some(last) = blocks.last_mut() {
                let from = start - last.text.len();
                last.text = &text[from..end];
            }
        } else {
            let key = key(line);
            open = key.is_some();
            blocks.push(Block { key, text: line });
        }
        start = end;
    }
    blocks
}

/// The key of a top-level line.
fn key(line: &str) -> Option<&str> {
    let line = line.trim_start_matches('\u{FEFF}');
    let (key, rest) = line.split_once(':')?;
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (plain && (rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))).then_some(key)
}

/// The comment at the end of a one-line value, with the blanks before it.
fn comment(block: &str) -> &str {
    let line = block.strip_suffix('\n').unwrap_or(block);
    if line.contains(['\n', '"', '\'']) {
        return "";
    }
    line.find(" #").map_or("", |at| &line[line[..at].trim_end().len()..])
}

fn line(key: &str, config: &TrainConfig, comment: &str) -> String {
    format!("{key}: {}{comment}\n", value(key, config))
}

/// A value as YAML: numbers as the editor shows them, text quoted where YAML would read something else.
fn value(key: &str, config: &TrainConfig) -> String {
    let text = fields::get(config, key);
    let field = fields::field(key);
    match field.map(|f| f.kind) {
        _ if text.is_empty() => if field.is_some_and(|f| f.optional) { "null" } else { "\"\"" }.into(),
        Some(Kind::Int { .. } | Kind::Float { .. } | Kind::Bool) => text,
        // JSON is YAML.
        Some(Kind::List) => serde_json::to_value(config)
            .ok()
            .and_then(|all| all.get(key).map(Value::to_string))
            .unwrap_or(text),
        _ => quoted(&text),
    }
}

fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let plain = text.chars().all(safe)
        && text.starts_with(|c: char| c.is_alphabetic() || c == '/')
        && !["true", "false", "yes", "no", "on", "off", "null"].contains(&text.to_lowercase().as_str());
    if plain { text.to_string() } else { Value::from(text).to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OLD: &str = "### model\nmodel_name_or_path: /m  # the base\nlearning_rate: 1.0e-4\nreport_to: none\n\
                       dataset:\n- a\n- b\n\n### more\nlora_rank: 8 # small\nplot_loss: true\n";

    #[test]
    fn comments_order_and_foreign_keys_stay() {
        let mut config = layers::from_yaml(OLD, "x").unwrap();
        assert_eq!(update(OLD, &config, "x").unwrap(), OLD);
        (config.lora_rank, config.dataset) = (16, vec!["c".into(), "d".into()]);
        config.learning_rate = 5e-5;
        config.lora_dropout = 0.05;
        let expected = OLD
            .replace("learning_rate: 1.0e-4", "learning_rate: 5e-5")
            .replace("dataset:\n- a\n- b\n", "dataset: [\"c\",\"d\"]\n")
            .replace("lora_rank: 8 # small", "lora_rank: 16 # small")
            + "lora_dropout: 0.05\n";
        assert_eq!(update(OLD, &config, "x").unwrap(), expected);
    }

    #[test]
    fn a_new_file_has_what_differs_and_reads_back() {
        let config = TrainConfig {
            model_name_or_path: "/a b/肺: x".into(),
            dataset: vec!["no".into()],
            ..TrainConfig::default()
        };
        let text = update("", &config, "x").unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(layers::from_yaml(&text, "x").unwrap() == config);
    }

    #[test]
    fn a_file_that_is_no_configuration_is_left_alone() {
        let config = TrainConfig::default();
        assert!(update("- a\n- b\n", &config, "x").is_err());
        let flow = "{lora_rank: 4, lora_alpha: 8}\n";
        assert!(update(flow, &config, "x").unwrap_err().hint.unwrap().contains("another name"));
    }
}

//! The settings of a run, as far as its folder tells them: ours, LLaMA-Factory's, or only transformers' model card.

use super::{TRAINING_ARGS, TrainerState, read};
use crate::config::fields::{self, Kind};
use serde_json::{Map, Value};
use std::path::Path;

/// Names in transformers' model card (`README.md`), and ours.
const MODEL_CARD: [(&str, &str); 11] = [
    ("base_model", "model_name_or_path"),
    ("learning_rate", "learning_rate"),
    ("train_batch_size", "per_device_train_batch_size"),
    ("eval_batch_size", "per_device_eval_batch_size"),
    ("seed", "seed"),
    ("gradient_accumulation_steps", "gradient_accumulation_steps"),
    ("lr_scheduler_type", "lr_scheduler_type"),
    ("lr_scheduler_warmup_ratio", "warmup_ratio"),
    ("lr_scheduler_warmup_steps", "warmup_steps"),
    ("num_epochs", "num_train_epochs"),
    ("training_steps", "max_steps"),
];

/// Names in PEFT's `adapter_config.json`, and ours.
const ADAPTER: [(&str, &str); 6] = [
    ("base_model_name_or_path", "model_name_or_path"),
    ("r", "lora_rank"),
    ("lora_alpha", "lora_alpha"),
    ("lora_dropout", "lora_dropout"),
    ("use_rslora", "use_rslora"),
    ("use_dora", "use_dora"),
];

/// Key and value of each setting as [`fields::get`] would show it, in the order of the table, unknown keys last.
/// `training_args.yaml` tells all; without it the model card, the adapter and the trainer's state tell some.
pub fn read(run_dir: &Path) -> Map<String, Value> {
    let text = |name: &str| std::fs::read_to_string(run_dir.join(name)).unwrap_or_default();
    let mut found = Map::new();
    let mut put = |key: &str, value: &Value| {
        found.entry(key).or_insert_with(|| shown(key, value).into());
    };
    if let Ok(Value::Object(args)) = serde_yaml_ng::from_str(&text(TRAINING_ARGS)) {
        args.iter().for_each(|(key, value)| put(key, value));
    }
    if let Some(adapter) = read::object(&text("adapter_config.json")) {
        let known = ADAPTER.iter().filter_map(|(theirs, ours)| Some((ours, adapter.get(*theirs)?)));
        known.for_each(|(key, value)| put(key, value));
    }
    model_card(&text("README.md")).iter().for_each(|(key, value)| put(key, &Value::from(*value)));
    if let Ok(state) = TrainerState::read(run_dir) {
        let batch = state.train_batch_size.map_or(Value::Null, Value::from);
        put("per_device_train_batch_size", &batch);
        put("num_train_epochs", &state.num_train_epochs.into());
        put("logging_steps", &state.logging_steps.into());
        put("save_steps", &state.save_steps.into());
    }
    ordered(found)
}

/// Whether the folder holds all settings, so that one that is not named had its default.
pub fn complete(run_dir: &Path) -> bool {
    run_dir.join(TRAINING_ARGS).exists()
}

/// `- learning_rate: 5e-05` lines and `base_model: x`, under our names.
fn model_card(text: &str) -> Vec<(&'static str, &str)> {
    let pairs = text.lines().filter_map(|line| line.trim_start_matches("- ").split_once(": "));
    let ours = |key: &str| MODEL_CARD.iter().find(|(theirs, _)| *theirs == key).map(|(_, ours)| *ours);
    pairs.filter_map(|(key, value)| Some((ours(key)?, value.trim()))).collect()
}

/// A value as the editor shows it, so that `5e-05` and `0.00005` are one.
fn shown(key: &str, value: &Value) -> String {
    let kind = fields::field(key).map(|f| f.kind);
    let number = |x: f64| match kind {
        Some(Kind::Float { .. }) => fields::number(x),
        _ if x.fract() == 0.0 && x.abs() < 9e15 => format!("{}", x as i64),
        _ => fields::number(x),
    };
    match value {
        Value::Null => String::new(),
        Value::Number(n) => number(n.as_f64().unwrap_or_default()),
        Value::String(s) => match (kind, s.parse::<f64>()) {
            (Some(Kind::Float { .. } | Kind::Int { .. }), Ok(x)) => number(x),
            _ => s.clone(),
        },
        Value::Array(items) => items.iter().map(|v| shown("", v)).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn ordered(mut found: Map<String, Value>) -> Map<String, Value> {
    let known = fields::all().iter().filter_map(|f| Some((f.key.to_string(), found.shift_remove(f.key)?)));
    let mut all: Map<String, Value> = known.collect();
    all.extend(found);
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_model_card_and_an_adapter_tell_what_they_know() {
        let dir = tempfile::tempdir().unwrap();
        let put =
            |name: &str, text: &str| crate::files::write(&dir.path().join(name), text.as_bytes()).unwrap();
        put(
            "README.md",
            "---\nbase_model: /m/qwen\n---\n# x\n\n- learning_rate: 5e-05\n- train_batch_size: 2\n- optimizer: Use y\n",
        );
        put(
            "adapter_config.json",
            r#"{"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "base_model_name_or_path": "/m"}"#,
        );
        let found = read(dir.path());
        let get = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or("-").to_string();
        let all = ["model_name_or_path", "learning_rate", "per_device_train_batch_size", "lora_rank", "seed"]
            .map(get);
        assert_eq!(all, ["/m", "5e-5", "2", "16", "-"]);
        assert!(!complete(dir.path()));
    }

    #[test]
    fn training_args_win_and_numbers_have_one_form() {
        let dir = tempfile::tempdir().unwrap();
        let yaml = "learning_rate: 5.0e-05\nlora_rank: 8\ndataset: [a, b]\nbf16: true\nours_not: 3\n";
        crate::files::write(&dir.path().join(TRAINING_ARGS), yaml.as_bytes()).unwrap();
        crate::files::write(&dir.path().join("adapter_config.json"), br#"{"r": 64}"#).unwrap();
        let found = read(dir.path());
        let expected = [("dataset", "a,b"), ("lora_rank", "8"), ("learning_rate", "5e-5"), ("bf16", "true")];
        for (key, value) in expected {
            assert_eq!(found.get(key).and_then(Value::as_str), Some(value), "{key}");
        }
        assert_eq!(found.keys().next_back().map(String::as_str), Some("ours_not"));
    }
}

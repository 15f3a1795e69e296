//! One run with its settings and its final metrics: a row of the task centre.

use super::{RunInfo, list, read, results, settings};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::Path;

/// What is known of a run without reading its whole log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    pub info: RunInfo,
    /// As text, see [`settings::read`].
    pub settings: Map<String, Value>,
    /// Whether `settings` are all of them.
    pub complete: bool,
    /// Numbers of `all_results.json`.
    pub metrics: Map<String, Value>,
    /// Whether there is a checkpoint to go on from.
    pub resumable: bool,
}

impl Detail {
    /// The run in `dir`; `None` if it is no run folder.
    pub fn look(root: &Path, dir: &Path) -> Option<Self> {
        Some(Self::of(list::look(root, dir)?))
    }

    pub fn of(info: RunInfo) -> Self {
        let dir = info.path.clone();
        let mut metrics = results::read(&dir);
        metrics.retain(|_, value| read::number(value).is_some());
        Self {
            settings: settings::read(&dir),
            complete: settings::complete(&dir),
            metrics,
            resumable: has_checkpoint(&dir),
            info,
        }
    }

    /// A setting as text; empty where it is not known.
    pub fn setting(&self, key: &str) -> &str {
        self.settings.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The settings that say most, in a few words: `lr 5e-5 ep 3 r 8 b 2 × 8`.
    pub fn gist(&self) -> String {
        let known = GIST.iter().filter(|(key, _)| !self.setting(key).is_empty());
        known.map(|(key, short)| format!("{short} {}", self.setting(key))).collect::<Vec<_>>().join(" ")
    }

    /// A final metric.
    pub fn metric(&self, key: &str) -> Option<f64> {
        self.metrics.get(key).and_then(read::number)
    }
}

/// Settings that say most about a run, and how they are told in a row.
const GIST: [(&str, &str); 5] = [
    ("learning_rate", "lr"),
    ("num_train_epochs", "ep"),
    ("lora_rank", "r"),
    ("per_device_train_batch_size", "b"),
    ("gradient_accumulation_steps", "×"),
];

/// Whether a checkpoint holds what training goes on from. LLaMA-Factory's (`optimizer.pt`) are another format.
fn has_checkpoint(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else { return false };
    let checkpoint = |name: &str| name.starts_with("checkpoint-");
    let mut dirs = entries.flatten().filter(|e| e.file_name().to_str().is_some_and(checkpoint));
    dirs.any(|e| !e.path().join("optimizer.pt").exists() && e.path().join("adapter_config.json").exists())
}

/// All runs below `root` with their details, the latest first. Error if `root` cannot be read.
pub fn all(root: &Path) -> crate::error::Result<Vec<Detail>> {
    Ok(list::list(root)?.into_iter().map(Detail::of).collect())
}

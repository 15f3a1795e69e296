//! One run with its settings and its final metrics: a row of the task centre.

use super::{RunInfo, list, read, results, settings};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

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
    /// The newest checkpoint that training can go on from.
    pub checkpoint: Option<PathBuf>,
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
            checkpoint: newest_checkpoint(&dir),
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

/// The newest checkpoint of ours. LLaMA-Factory's (`optimizer.pt`) are in another format.
fn newest_checkpoint(dir: &Path) -> Option<PathBuf> {
    let number = |dir: &Path| dir.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse::<u64>().ok();
    let found = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path());
    let ours = found.filter(|p| p.join("adapter_config.json").exists() && !p.join("optimizer.pt").exists());
    let numbered = ours.filter_map(|p| Some((number(&p)?, p)));
    numbered.max_by_key(|(n, _)| *n).map(|(_, path)| path)
}

/// All runs below `root` with their details, the latest first. Error if `root` cannot be read.
pub fn all(root: &Path) -> crate::error::Result<Vec<Detail>> {
    Ok(list::list(root)?.into_iter().map(Detail::of).collect())
}

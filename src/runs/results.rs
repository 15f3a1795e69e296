//! `train_results.json`, `predict_results.json` and the two together in `all_results.json`.

use super::{ALL_RESULTS, python_json};
use crate::error::Result;
use crate::files;
use serde_json::{Map, Value};
use std::path::Path;

/// What a whole training run did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrainTotals {
    pub epoch: f64,
    /// Floating-point operations, as far as they are counted.
    pub total_flos: f64,
    /// Mean of the loss over all updates.
    pub train_loss: f64,
    /// Seconds.
    pub train_runtime: f64,
    /// Samples and updates that were asked for (epochs x samples).
    pub samples: f64,
    pub steps: usize,
}

impl TrainTotals {
    /// The keys of `train_results.json`, rounded as transformers' `speed_metrics` does.
    pub fn metrics(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("epoch".into(), self.epoch.into());
        map.insert("total_flos".into(), self.total_flos.into());
        map.insert("train_loss".into(), self.train_loss.into());
        map.insert("train_runtime".into(), round(self.train_runtime, 4).into());
        if self.train_runtime > 0.0 {
            let per_second = |n: f64| round(n / self.train_runtime, 3).into();
            map.insert("train_samples_per_second".into(), per_second(self.samples));
            map.insert("train_steps_per_second".into(), per_second(self.steps as f64));
        }
        map
    }
}

/// Writes `{split}_results.json` (`train`, `eval`, `predict`) and merges it into `all_results.json`.
pub fn write(run_dir: &Path, split: &str, metrics: &Map<String, Value>) -> Result<()> {
    let own = run_dir.join(format!("{split}_results.json"));
    files::write(&own, python_json::sorted(metrics, 4).as_bytes())?;
    let mut all = read(run_dir);
    all.extend(metrics.clone());
    files::write(&run_dir.join(ALL_RESULTS), python_json::sorted(&all, 4).as_bytes())
}

/// The results so far; empty when there are none or they do not read.
pub fn read(run_dir: &Path) -> Map<String, Value> {
    std::fs::read_to_string(run_dir.join(ALL_RESULTS))
        .ok()
        .and_then(|text| super::read::object(&text))
        .unwrap_or_default()
}

/// Python's `round(x, digits)`.
fn round(x: f64, digits: usize) -> f64 {
    format!("{x:.digits$}").parse().unwrap_or(x)
}

//! The run directory: its files, reading them, listing runs.
//!
//! The files are those of LLaMA-Factory (`trainer_log.jsonl`, `trainer_state.json`, `all_results.json`), so that
//! either program reads the other's runs, and `events.jsonl`, which keeps everything a job said.

pub mod adapters;
pub mod append;
pub mod column;
pub mod compare;
pub mod delete;
pub mod detail;
pub mod events;
pub mod export;
pub mod import;
pub mod list;
pub mod lock;
pub mod log;
pub mod metric;
mod pixels;
pub mod plot;
pub mod predictions;
pub mod python_json;
pub mod read;
pub mod results;
pub mod settings;
pub mod smooth;
pub mod state;

use std::path::{Path, PathBuf};

pub use compare::Comparison;
pub use detail::Detail;
pub use events::EventLog;
pub use list::{RunInfo, Status};
pub use lock::RunLock;
pub use log::TrainerLog;
pub use metric::{Axis, Columns, Metric};
pub use read::Curve;
pub use state::TrainerState;

/// One JSON line per log, as LLaMA-Factory's web page reads it.
pub const TRAINER_LOG: &str = "trainer_log.jsonl";
/// transformers' `TrainerState`, with the whole log history.
pub const TRAINER_STATE: &str = "trainer_state.json";
/// Every `Event` of the jobs in this folder, one JSON line each.
pub const EVENTS: &str = "events.jsonl";
/// There while a process works in the folder, and locked by it.
pub const LOCK: &str = "run.lock";
/// Prompt, prediction and label of each evaluated sample, as LLaMA-Factory writes them.
pub const PREDICTIONS: &str = "generated_predictions.jsonl";
/// Each evaluated sample with its pictures and scores.
pub const EVALUATED: &str = "evaluated_samples.jsonl";
/// The same while the evaluation goes on: what is here is not predicted again.
pub const EVALUATED_SO_FAR: &str = "evaluated_samples.partial.jsonl";
/// All measures of an evaluation, with intervals and by group.
pub const EVALUATION: &str = "evaluation.json";
/// Results of training and evaluation together.
pub const ALL_RESULTS: &str = "all_results.json";
/// The settings of the run, as a configuration file.
pub const TRAINING_ARGS: &str = "training_args.yaml";

/// Where the runs of a workspace lie: what the workbench shows, and `lorascope runs` without a folder.
pub fn of_workspace(workspace: &Path) -> PathBuf {
    workspace.join("runs")
}

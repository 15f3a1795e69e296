//! The only vocabulary between threads: a `Job` is asked for, an engine answers with `Event`s and takes `Command`s.
//!
//! The command line builds a `Job` from arguments and prints its events; the workbench builds the same `Job`
//! from its panes and draws them; a run directory keeps them, one JSON line each.

use crate::config::TrainConfig;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Something to do, with everything it needs to know. Plain data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// parquet files → pictures + ShareGPT JSON + registration.
    Convert(ConvertJob),
    /// Look a registered data set over.
    Check(CheckJob),
    /// LoRA SFT as the configuration says.
    Train(Box<TrainConfig>),
    /// Generate answers for `eval_dataset` and score them.
    Evaluate(Box<TrainConfig>),
    /// One question to a model that is not being trained.
    Ask(AskJob),
    /// Write the model with the adapter folded into it.
    Export(ExportJob),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConvertJob {
    /// Parquet files, folders or globs.
    pub inputs: Vec<PathBuf>,
    /// The data folder: `mllm_data/`, `mllm_train_data.json`, `mllm_val_data.json`, `dataset_info.json`.
    pub out: PathBuf,
    /// Share of rows held out, 0..1.
    pub val_ratio: f64,
    pub seed: u64,
    /// The user's turn after `<image>`.
    pub question: String,
    /// A bad row is an error instead of being skipped.
    pub strict: bool,
    /// Names in `dataset_info.json`: train, validation.
    pub names: [String; 2],
    pub image_column: String,
    pub id_column: String,
    pub caption_column: String,
    /// Rows with one value in this column stay on one side of the split (a patient, a study).
    #[serde(default)]
    pub group_column: Option<String>,
    /// Rows that hold a path instead of a picture may name files below this folder.
    #[serde(default)]
    pub image_root: Option<PathBuf>,
    #[serde(default)]
    pub format: RowFormat,
    /// Only the first rows.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Only this many rows, drawn by the seed.
    #[serde(default)]
    pub sample: Option<usize>,
    /// Pictures to a sub-folder. 0: none. Not set: none for small sets, see `data::convert`.
    #[serde(default)]
    pub shard_pictures: Option<usize>,
    /// Pictures with more pixels are refused by their header.
    #[serde(default = "default_max_pixels")]
    pub max_pixels: u64,
    /// Afterwards remove pictures that no registered set names.
    #[serde(default)]
    pub prune: bool,
}

/// How the rows of a set are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFormat {
    /// One array.
    #[default]
    Json,
    /// An object on each line.
    Jsonl,
}

impl RowFormat {
    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            RowFormat::Json => "json",
            RowFormat::Jsonl => "jsonl",
        }
    }
}

/// 10,000 x 10,000. Pillow, which LLaMA-Factory opens pictures with, warns from 89 million on.
pub const DEFAULT_MAX_PIXELS: u64 = 100_000_000;

fn default_max_pixels() -> u64 {
    DEFAULT_MAX_PIXELS
}

/// The tutorial's question ("what is the diagnosis in the picture?").
pub const DEFAULT_QUESTION: &str = "图片中的诊断结果是怎样?";

impl ConvertJob {
    pub fn new(inputs: Vec<PathBuf>, out: PathBuf) -> Self {
        Self {
            inputs,
            out,
            val_ratio: 0.2,
            seed: 42,
            question: DEFAULT_QUESTION.into(),
            strict: false,
            names: ["mllm_train_data".into(), "mllm_val_data".into()],
            image_column: "image".into(),
            id_column: "id".into(),
            caption_column: "caption".into(),
            group_column: None,
            image_root: None,
            format: RowFormat::Json,
            limit: None,
            sample: None,
            shard_pictures: None,
            max_pixels: DEFAULT_MAX_PIXELS,
            prune: false,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckJob {
    pub dataset: String,
    pub dataset_dir: PathBuf,
    /// With a model folder the check also counts tokens against `cutoff_len`.
    pub model: Option<PathBuf>,
    pub config: Box<TrainConfig>,
    /// Validation sets that must share nothing with this one. Empty: the configuration's `eval_dataset`, else a
    /// registered sibling (`x_val_data` of `x_train_data`).
    #[serde(default)]
    pub against: Vec<String>,
    /// Decode every picture fully instead of reading its header and its end.
    #[serde(default)]
    pub deep: bool,
    /// Write a cleaned copy under this name.
    #[serde(default)]
    pub fix: Option<String>,
}

impl CheckJob {
    /// A check without a model, with default settings.
    pub fn new(dataset: impl Into<String>, dataset_dir: impl Into<PathBuf>) -> Self {
        Self {
            dataset: dataset.into(),
            dataset_dir: dataset_dir.into(),
            model: None,
            config: Box::default(),
            against: Vec::new(),
            deep: false,
            fix: None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AskJob {
    pub model: PathBuf,
    pub adapter: Option<PathBuf>,
    pub turn: Turn,
    pub config: Box<TrainConfig>,
}

/// `config` says which model and adapter, and where to (`export_dir`, `export_size`, `export_device`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportJob {
    pub config: Box<TrainConfig>,
    /// Compare the merged model's logits with those of model and adapter before it counts as done. Needs memory for
    /// the model.
    pub compare: bool,
}

/// One question about pictures, with the talk before it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Turn {
    pub system: Option<String>,
    /// Earlier (question, answer) pairs.
    pub history: Vec<(String, String)>,
    /// Pictures of the whole talk, in the order of their `<image>` marks; a question without a mark gets them in front.
    pub images: Vec<PathBuf>,
    pub question: String,
    /// Answer with the adapter switched off.
    pub use_base: bool,
    pub sampling: Sampling,
}

/// How the next token is chosen. `temperature` 0 is greedy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    pub temperature: f32,
    pub top_p: f32,
    pub top_k: usize,
    pub repetition_penalty: f32,
    pub max_new_tokens: usize,
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            max_new_tokens: 256,
            seed: 42,
        }
    }
}

/// What can be said to a running job. Served between two micro-steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    Pause,
    Resume,
    SaveNow,
    /// Another value of a setting from the next update on: a value, or a factor of the present one (`x0.5`).
    Set {
        key: String,
        value: String,
    },
    /// `save: true` writes a checkpoint first.
    Stop {
        save: bool,
    },
    /// A question to the model as it is now; `Event::Token`s with this `id` answer it.
    Ask {
        id: u64,
        turn: Turn,
    },
    /// Stop the answer `id`.
    CancelAsk {
        id: u64,
    },
}

/// The phase a `Progress` belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Loading,
    Converting,
    Checking,
    Encoding,
    Vision,
    WarmingUp,
    Training,
    Evaluating,
    Saving,
    Merging,
    Comparing,
}

impl Phase {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Loading => "loading",
            Phase::Converting => "converting",
            Phase::Checking => "checking",
            Phase::Encoding => "encoding",
            Phase::Vision => "vision features",
            Phase::WarmingUp => "warming up",
            Phase::Training => "training",
            Phase::Evaluating => "evaluating",
            Phase::Saving => "saving",
            Phase::Merging => "merging (MB)",
            Phase::Comparing => "comparing",
        }
    }
}

/// What a job says. No tensors; one JSON line each in `events.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A training or evaluation job is set up.
    Started {
        run_dir: PathBuf,
        device: String,
        total_steps: usize,
        trainable: u64,
        parameters: u64,
        targets: Vec<TargetRow>,
    },
    Progress {
        phase: Phase,
        done: usize,
        total: usize,
    },
    /// How the rows of a conversion went so far.
    Rows {
        kept: usize,
        skipped: usize,
    },
    Step(StepRow),
    /// A metric. `step` is the optimizer step it belongs to; `None` for a finished evaluation.
    Score {
        name: String,
        value: f64,
        step: Option<usize>,
    },
    /// Something found in the data or the model.
    Finding(Finding),
    /// A piece of the answer to the question `id`; `done` with the last one.
    Token {
        id: u64,
        text: String,
        done: bool,
    },
    /// One finished prediction of an evaluation.
    Predicted {
        index: usize,
        predict: String,
        label: String,
    },
    Saved {
        step: usize,
        path: PathBuf,
    },
    /// A setting has another value from the update on that follows `step` updates.
    Changed {
        step: usize,
        key: String,
        value: String,
        was: String,
    },
    Paused(#[serde(with = "paused")] bool),
    Log {
        level: Level,
        line: String,
    },
    /// Exactly one per job, on panic too.
    Finished(Outcome),
}

/// One optimizer update, as logged every `logging_steps` (averages since the last log).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    pub step: usize,
    pub total_steps: usize,
    pub epoch: f64,
    pub loss: f64,
    pub lr: f64,
    pub grad_norm: f64,
    /// Samples, tokens (without padding) and label tokens since the last log.
    pub samples: usize,
    pub tokens: usize,
    pub label_tokens: usize,
    /// Wall-clock seconds since the last log, and the part of them spent waiting for data.
    pub seconds: f64,
    pub data_wait: f64,
    /// Where those seconds went, as far as it is known.
    #[serde(default)]
    pub split: TimeSplit,
    /// Seconds since the start of this process's training, and the estimate of what is left.
    pub elapsed: f64,
    pub remaining: f64,
    /// Resident memory of the process (or used memory of the GPU) in bytes.
    pub memory: u64,
}

/// Seconds spent on each part of training. What is computed on a GPU counts where its result is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeSplit {
    /// Reading, decoding and resizing pictures while training waits for them.
    pub data: f64,
    /// The frozen vision tower.
    pub vision: f64,
    pub forward: f64,
    /// Final norm, logits and cross-entropy, with their gradients.
    pub head: f64,
    pub backward: f64,
    /// Gradient norm, clipping and AdamW.
    pub optimizer: f64,
    pub evaluation: f64,
    pub saving: f64,
}

/// One line of the target report: a module family, how many matrices, parameters, and whether it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetRow {
    pub family: String,
    pub matrices: usize,
    pub parameters: u64,
    pub trainable: u64,
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

/// Something worth knowing about a data set: what, how often, where, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub level: Level,
    /// Stable machine name, such as `broken_picture`.
    pub code: String,
    pub message: String,
    pub count: usize,
    /// The first rows concerned (at most 20), counted from 0 in the file.
    pub rows: Vec<usize>,
    pub fix: String,
}

/// How a job ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// `summary` is a JSON object: what the job's `--json` prints at the end.
    Done {
        summary: serde_json::Value,
    },
    Stopped {
        summary: serde_json::Value,
    },
    Failed {
        error: Error,
    },
}

/// Where a job's events go. A dropped receiver is not an error and not the end of the job.
pub type Emit<'a> = &'a (dyn Fn(Event) + Sync);

/// An internally tagged variant holds a map only: `{"event":"paused","paused":true}`.
mod paused {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Paused {
        paused: bool,
    }

    pub fn serialize<S: Serializer>(paused: &bool, to: S) -> Result<S::Ok, S::Error> {
        Paused { paused: *paused }.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
        Paused::deserialize(from).map(|p| p.paused)
    }
}

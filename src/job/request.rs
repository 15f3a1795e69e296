//! What can be asked for: a [`Job`] and what it needs to know.

use crate::config::TrainConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Something to do, with everything it needs to know. Plain data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// parquet files → pictures + ShareGPT JSON + registration.
    Convert(Box<ConvertJob>),
    /// Look a registered data set over.
    Check(CheckJob),
    /// LoRA SFT as the configuration says.
    Train(Box<TrainConfig>),
    /// Generate answers for `eval_dataset` and score them.
    Evaluate(Box<TrainConfig>),
    /// One question to a model that is not being trained.
    Ask(Box<AskJob>),
    /// A model that stands ready: it answers every `Command::Ask`, several at the same time, until it is stopped.
    Talk(TalkJob),
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

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TalkJob {
    pub model: PathBuf,
    /// Who answers a turn that names no adapter.
    pub adapter: Option<PathBuf>,
    pub config: Box<TrainConfig>,
    /// Answers that are written at the same time.
    pub slots: usize,
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
    /// Files, pictures in parquet files, or `data:` URLs.
    pub images: Vec<PathBuf>,
    pub question: String,
    /// Answer with the adapter switched off.
    pub use_base: bool,
    /// Another adapter than the job's. A model in training answers as it is.
    #[serde(default)]
    pub adapter: Option<PathBuf>,
    pub sampling: Sampling,
    /// How sure the model is of each token, with so many of the likeliest ones.
    #[serde(default)]
    pub odds: Option<usize>,
    /// The pictures are seen through this window. Not set: as stored.
    #[serde(default)]
    pub brightness: Option<Brightness>,
}

/// The window of brightness that pictures are seen through: what becomes middle grey, and what is spread from black to
/// white, in thousandths of the full range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brightness {
    /// From the 0.5th to the 99.5th percentile of each picture.
    Auto,
    Set {
        centre: i32,
        width: i32,
    },
}

/// How the next token is chosen. `temperature` 0 is greedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    pub temperature: f32,
    pub top_p: f32,
    pub top_k: usize,
    /// Only tokens at least this likely, as a share of the likeliest one's probability.
    pub min_p: f32,
    pub repetition_penalty: f32,
    pub max_new_tokens: usize,
    pub seed: u64,
    /// Any of these texts ends the answer, and is not part of it.
    pub stop: Vec<String>,
    /// So many tokens may be guessed at a time, from what followed the same ones before; the answer stays what it is.
    pub guesses: usize,
}

impl Sampling {
    /// A top-k of more than this asks for all logits: to find the largest ones would take as long.
    const MOST: usize = 256;

    /// How many of the largest logits tell the next token; `None` where all have to be known. Where a number is given, answers
    /// read a copy of the head in 8 bits (`model::ops::screened`).
    pub fn enough(&self) -> Option<usize> {
        if self.repetition_penalty != 1.0 {
            return None;
        }
        if self.temperature <= 0.0 {
            return Some(1);
        }
        (1..=Self::MOST).contains(&self.top_k).then_some(self.top_k)
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_new_tokens: 256,
            seed: 42,
            stop: Vec::new(),
            guesses: 7,
        }
    }
}

//! What is said to a running job, and what it says.

use super::answer::{Answer, Odds, Prediction, ScoreRow, SlotRow};
use super::request::Turn;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
        turn: Box<Turn>,
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
    /// How sure the model is of the next token of the answer `id`; comes before its text.
    Odds {
        id: u64,
        odds: Odds,
    },
    /// The answer `id` is finished, or there is none.
    Answered {
        id: u64,
        answer: Option<Answer>,
        error: Option<Error>,
    },
    /// The scores of an evaluation so far.
    Scores {
        done: usize,
        total: usize,
        /// Estimate of the seconds left.
        remaining: f64,
        rows: Vec<ScoreRow>,
        /// Facts told right, where a label file is given; all together last.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        slots: Vec<SlotRow>,
    },
    /// One finished prediction of an evaluation.
    Predicted(Prediction),
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
    /// What the GPU was doing; not there without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUse>,
}

/// How much of a GPU is in use, by whomever, as its driver tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuUse {
    /// Share of the last moments in which a kernel ran, in percent; a part of a GPU (MIG) does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Bytes in use, and bytes there are.
    pub memory: u64,
    pub total: u64,
}

impl std::fmt::Display for GpuUse {
    /// `GPU 87 %, 12.3/79.6 GiB`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GPU ")?;
        if let Some(percent) = self.percent {
            write!(f, "{percent} %, ")?;
        }
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        write!(f, "{:.1}/{:.1} GiB", gib(self.memory), gib(self.total))
    }
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

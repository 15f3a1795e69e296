//! Where a run stands: what a checkpoint keeps besides adapter and optimizer.
//!
//! Random numbers and data order follow from seeds and position, so they need no saving.

use super::changes::Change;
use super::plateau::Plateau;
use serde::{Deserialize, Serialize};

/// The state of a run between two updates. A resumed run goes on from it bit for bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Optimizer updates done, skipped ones among them.
    pub step: usize,
    /// Micro-batches done since the start of the run: the seed of the dropout masks.
    pub micro_steps: u64,
    /// Tokens as a padded batch would have them; transformers counts its `total_flos` from these.
    pub padded_tokens: u64,
    /// Sum of the losses of all updates: `train_loss` is its mean.
    pub loss_sum: f64,
    pub seed: u64,
    /// Samples in the training set, and what they were put together into, to notice that the data changed.
    pub samples: usize,
    pub items: usize,
    /// What has been counted since the last log line.
    pub since_log: Counts,
    /// The step of the last evaluation that was finished.
    pub evaluated: Option<usize>,
    pub best: Option<Best>,
    /// Evaluations in a row without a better metric.
    pub no_better: usize,
    pub plateau: Plateau,
    pub skipped: Skipped,
    /// Settings changed while the run went on, until here.
    pub changes: Vec<Change>,
}

/// Counts between two log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Sum of the losses of `updates`.
    pub loss: f64,
    pub updates: usize,
    pub samples: usize,
    pub tokens: usize,
    pub label_tokens: usize,
}

impl Counts {
    pub fn add(&mut self, more: &Self) {
        self.loss += more.loss;
        self.updates += more.updates;
        self.samples += more.samples;
        self.tokens += more.tokens;
        self.label_tokens += more.label_tokens;
    }
}

/// The best evaluation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub value: f64,
    pub step: usize,
}

/// What was passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skipped {
    /// Updates that were not made, and how many of them are the last ones.
    pub updates: usize,
    pub in_a_row: usize,
    /// Samples left out because a picture could not be read, counted each time.
    pub samples: usize,
}

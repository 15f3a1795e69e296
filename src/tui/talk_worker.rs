//! Files of talks and evaluations, read and written on the worker's thread.

use crate::data::conversation::{self, Conversation};
use crate::data::dropped;
use crate::error::Result;
use crate::job::{Prediction, ScoreRow};
use crate::runs::append::Appender;
use crate::runs::{EVALUATION, predictions};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Talks of a run, a line each.
pub const TALKS: &str = "chat.jsonl";
/// Where the evaluation of the base model lies, below that of the tuned one.
pub const BASE: &str = "base";

/// Something to do.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Pasted text: files that were dropped, or words.
    Dropped(String),
    /// An answered question, for the history of a run.
    Keep { dir: PathBuf, line: String },
    /// A row for a data set.
    Add { dir: PathBuf, name: String, talk: Box<Conversation> },
    /// The evaluation in a folder.
    Evaluation(PathBuf),
}

/// What came of it.
pub enum Told {
    Files(Vec<PathBuf>),
    Words(String),
    Kept(Result<()>),
    Added(Result<PathBuf>),
    /// Of the tuned model, and of the base model.
    Evaluation {
        dir: PathBuf,
        sides: [Option<Side>; 2],
    },
}

/// One side of an evaluation on disk.
#[derive(Clone, Debug, Default)]
pub struct Side {
    pub samples: Vec<Prediction>,
    /// Empty while it has not ended.
    pub scores: Vec<ScoreRow>,
}

pub fn answer(ask: Ask) -> Told {
    match ask {
        Ask::Dropped(text) => dropped::files(&text).map_or(Told::Words(text), Told::Files),
        Ask::Keep { dir, line } => Told::Kept(keep(&dir, &line)),
        Ask::Add { dir, name, talk } => Told::Added(conversation::add_to(&dir, &name, &talk)),
        Ask::Evaluation(dir) => {
            let sides = [side(&dir), side(&dir.join(BASE))];
            Told::Evaluation { dir, sides }
        }
    }
}

fn keep(dir: &Path, line: &str) -> Result<()> {
    // A run that was never started has no folder, and its talk no history.
    if !dir.is_dir() {
        return Ok(());
    }
    Appender::open(dir.join(TALKS))?.push(line)
}

fn side(dir: &Path) -> Option<Side> {
    let samples = predictions::read(dir).ok()?;
    let text = std::fs::read_to_string(dir.join(EVALUATION)).unwrap_or_default();
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let scores = serde_json::from_value(value["measures"].clone()).unwrap_or_default();
    Some(Side { samples, scores })
}

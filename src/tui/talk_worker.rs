//! Files of talks and evaluations, read and written on the worker's thread.

use super::state::talk::answerer::Choice;
use crate::data::conversation::{self, Conversation};
use crate::data::dropped::{self, Named};
use crate::data::{ImageRef, picture, windowed};
use crate::error::{Error, Result};
use crate::job::{Brightness, Prediction, ScoreRow, SlotRow};
use crate::runs::append::Appender;
use crate::runs::{EVALUATION, adapters, predictions};
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
    /// A text that was written and could be paths: pictures, or a question.
    Written(String),
    /// An answered question, for the history of a run.
    Keep { dir: PathBuf, line: String },
    /// A row for a data set, each picture as it was seen.
    Add { dir: PathBuf, name: String, talk: Box<Conversation>, seen: Vec<Option<Brightness>> },
    /// A talk as a file; one that is there is written `again` only if it is the talk's own.
    Save { path: PathBuf, talk: Box<Conversation>, seen: Vec<Option<Brightness>>, again: bool },
    /// A talk from a file.
    Load(PathBuf),
    /// The adapters below the runs, to choose one.
    Adapters { runs: PathBuf, choice: Choice },
    /// The evaluation in a folder.
    Evaluation(PathBuf),
}

/// What came of it.
pub enum Told {
    Files(Named),
    Words(String),
    /// What was written names no files.
    Question(String),
    /// What was written names files, none of which can be asked about.
    NotAsked {
        text: String,
        error: Error,
    },
    /// A file that was dropped does not open as a picture.
    NoPicture(Error),
    Kept(Result<()>),
    Added(Result<PathBuf>),
    Saved(Result<PathBuf>),
    /// The first row of the file, and how many there are.
    Loaded(Result<(Box<Conversation>, usize)>),
    Adapters {
        found: Vec<PathBuf>,
        choice: Choice,
    },
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
    pub slots: Vec<SlotRow>,
}

pub fn answer(ask: Ask) -> Told {
    match ask {
        Ask::Dropped(text) => match dropped::files(&text) {
            Some(named) if named.files.is_empty() => Told::Words(text),
            Some(named) => pictures(named).map_or_else(Told::NoPicture, Told::Files),
            None => Told::Words(text),
        },
        Ask::Written(text) => match dropped::files(&text).map(pictures) {
            Some(Ok(named)) => Told::Files(named),
            Some(Err(error)) => Told::NotAsked { text, error },
            None => Told::Question(text),
        },
        Ask::Keep { dir, line } => Told::Kept(keep(&dir, &line)),
        Ask::Add { dir, name, talk, seen } => {
            Told::Added(as_seen(*talk, &seen).and_then(|talk| conversation::add_to(&dir, &name, &talk)))
        }
        Ask::Save { path, talk, seen, again } => Told::Saved(save(*talk, &seen, &path, again).map(|()| path)),
        Ask::Load(path) => {
            Told::Loaded(Conversation::load(&path, 0).map(|(talk, rows)| (Box::new(talk), rows)))
        }
        Ask::Adapters { runs, choice } => Told::Adapters { found: adapters::newest_first(&runs), choice },
        Ask::Evaluation(dir) => {
            let sides = match is_of_base(&dir) {
                true => [None, side(&dir)],
                false => [side(&dir), side(&dir.join(BASE))],
            };
            Told::Evaluation { dir, sides }
        }
    }
}

/// The files, if each opens as a picture: one that does not would stand in the way of every later question. At least one
/// must be there.
fn pictures(named: Named) -> Result<Named> {
    for file in &named.files {
        picture::open(&ImageRef::Path(file.clone()))?;
    }
    match named.lost.first().filter(|_| named.files.is_empty()) {
        Some(lost) => Err(dropped::not_found(lost)),
        None => Ok(named),
    }
}

/// The talk with the pictures as the model saw them.
fn as_seen(talk: Conversation, seen: &[Option<Brightness>]) -> Result<Conversation> {
    let through = |(image, seen): (PathBuf, &Option<Brightness>)| match seen {
        Some(window) => windowed::seen(&image, *window),
        None => Ok(image),
    };
    let images = talk.images.into_iter().zip(seen).map(through).collect::<Result<_>>()?;
    Ok(Conversation { images, ..talk })
}

fn save(talk: Conversation, seen: &[Option<Brightness>], path: &Path, again: bool) -> Result<()> {
    if path.exists() && !again {
        return Err(Error::usage(format!("{} is there already", path.display())).hint("take another name"));
    }
    as_seen(talk, seen)?.save(path)
}

fn keep(dir: &Path, line: &str) -> Result<()> {
    // A run that was never started has no folder, and its talk no history.
    if !dir.is_dir() {
        return Ok(());
    }
    Appender::open(dir.join(TALKS))?.push(line)
}

/// What the evaluation in a folder says of itself; null while it has not ended.
fn results(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join(EVALUATION)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Whether the evaluation in a folder is of a model without an adapter.
fn is_of_base(dir: &Path) -> bool {
    results(dir).get("adapter").is_some_and(Value::is_null)
}

fn side(dir: &Path) -> Option<Side> {
    let samples = predictions::read(dir).ok()?;
    let value = results(dir);
    let scores = serde_json::from_value(value["measures"].clone()).unwrap_or_default();
    let slots = serde_json::from_value(value["slots"]["rows"].clone()).unwrap_or_default();
    Some(Side { samples, scores, slots })
}

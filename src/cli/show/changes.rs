//! Changes to a sample for `lorascope show`: edits, exclusion, the list of changes, undo.

use crate::cli::output::Out;
use crate::data::overlay::{self, Change, Overlay};
use crate::data::reader::Reader;
use crate::error::{At, Error, Result};
use clap::Args;
use serde_json::json;
use std::io::Read;
use std::path::Path;

#[derive(Args, Debug)]
pub struct ChangeArgs {
    /// Another caption; - reads it from standard input
    #[arg(long, value_name = "TEXT")]
    pub edit_caption: Option<String>,
    /// Another question; without <image> the pictures stand in front
    #[arg(long, value_name = "TEXT")]
    pub edit_question: Option<String>,
    /// The caption and question of the source again
    #[arg(long)]
    pub restore: bool,
    /// Leave the row out of training
    #[arg(long, conflicts_with = "include")]
    pub exclude: bool,
    /// Take the row in again
    #[arg(long)]
    pub include: bool,
    /// Take the last change to the data set back
    #[arg(long)]
    pub undo: bool,
    /// List the changes to the row, or without a row all of them
    #[arg(long)]
    pub changes: bool,
}

impl ChangeArgs {
    /// Whether a row is to be changed, or its changes listed.
    pub fn any(&self) -> bool {
        self.changes || self.edits()
    }

    fn edits(&self) -> bool {
        self.edit_caption.is_some()
            || self.edit_question.is_some()
            || self.restore
            || self.exclude
            || self.include
    }

    /// Whether it is about the data set as a whole.
    pub fn of_the_set(&self, row: Option<usize>) -> bool {
        self.undo || (self.changes && row.is_none())
    }
}

/// Lists all changes, or takes the last one back.
pub fn of_the_set(args: &ChangeArgs, dir: &Path, name: &str, out: &Out) -> Result<()> {
    crate::data::registry::Registry::open(dir)?.entry(name)?;
    let mut overlay = Overlay::open(dir, name)?;
    if args.undo {
        let undone = overlay.undo()?;
        let change =
            undone.ok_or_else(|| Error::usage(format!("data set `{name}` has no change to take back")))?;
        out.line(format!("taken back: {}", change.describe()));
        out.object(&json!({ "undone": change }));
        return Ok(());
    }
    list(&overlay, None, out);
    Ok(())
}

/// Changes a row as the arguments say and prints what was done, or lists its changes.
pub fn run(args: &ChangeArgs, reader: &Reader, dir: &Path, row: usize, out: &Out) -> Result<()> {
    let mut overlay = Overlay::open(dir, &reader.name)?;
    if !args.edits() {
        list(&overlay, Some(row), out);
        return Ok(());
    }
    let sample = reader.original(row)?;
    let (caption, question) = (overlay::caption_turn(&sample), overlay::question_turn(&sample));
    let mut changes = Vec::new();
    for (turn, text) in [(question, &args.edit_question), (caption, &args.edit_caption)] {
        let Some(text) = text else { continue };
        let turn = turn.ok_or_else(|| Error::usage(format!("row {row} has no such turn")))?;
        changes.push(Change::turn(&sample, turn, &given(text)?)?);
    }
    if args.restore {
        for turn in [question, caption].into_iter().flatten() {
            changes.push(Change::turn(&sample, turn, &sample.messages[turn].content)?);
        }
    }
    if args.exclude || args.include {
        changes.push(Change::exclude(&sample, args.exclude));
    }
    for change in &changes {
        overlay.push(change.clone())?;
        out.line(change.describe());
    }
    out.note(format!("kept in {}; the data file stays as it is", overlay.path().display()));
    out.object(&json!({ "path": overlay.path(), "changes": changes }));
    Ok(())
}

fn list(overlay: &Overlay, row: Option<usize>, out: &Out) {
    let changes: Vec<&Change> =
        overlay.changes().iter().filter(|c| row.is_none_or(|row| c.row == row)).collect();
    if changes.is_empty() {
        out.note("there are no changes");
    }
    for change in &changes {
        out.line(change.describe());
    }
    out.object(&json!({ "path": overlay.path(), "changes": changes }));
}

/// The text of an argument; `-` reads standard input without its last line end.
fn given(text: &str) -> Result<String> {
    if text != "-" {
        return Ok(text.to_string());
    }
    let mut read = String::new();
    std::io::stdin().read_to_string(&mut read).at("read", "standard input")?;
    Ok(read.strip_suffix('\n').unwrap_or(&read).to_string())
}

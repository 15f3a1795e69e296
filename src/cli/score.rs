//! `lorascope score`: BLEU-4 and ROUGE of a predictions file.

use super::columns;
use super::output::Out;
use crate::data::clean;
use crate::error::{At, Error, Kind, Result};
use crate::eval::scores;
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, json};
use std::path::{Path, PathBuf};

/// Score predictions as LLaMA-Factory does: BLEU-4 over characters, ROUGE over jieba words
///
/// Takes generated_predictions.jsonl of this program or of LLaMA-Factory: one object a line with "predict" and
/// "label".
#[derive(Args, Debug)]
pub struct ScoreArgs {
    /// The predictions
    #[arg(value_name = "PREDICTIONS.jsonl")]
    pub file: PathBuf,
    /// Take a broken line as an error instead of leaving it out
    #[arg(long)]
    pub strict: bool,
}

#[derive(Deserialize)]
struct Line {
    predict: String,
    label: String,
}

pub fn run(args: &ScoreArgs, out: &Out) -> Result<()> {
    let pairs = read(&args.file, args.strict, out)?;
    if pairs.is_empty() {
        return Err(Error::input(format!("{} holds no predictions", args.file.display()))
            .hint("each line is an object with \"predict\" and \"label\""));
    }
    let mean = scores::mean(&scores::score_all(&pairs));
    let rows: Vec<Vec<String>> = mean
        .named()
        .iter()
        .map(|(name, value)| vec![format!("predict_{name}"), format!("{value:.4}")])
        .collect();
    let widths = columns::widths(&["score", "mean"], &rows);
    for row in &rows {
        out.line(columns::row(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
    }
    out.line(format!("{} predictions", pairs.len()));
    let mut object = Map::new();
    for (name, value) in mean.named() {
        object.insert(format!("predict_{name}"), json!(value));
        object.insert(name.into(), json!(value));
    }
    object.insert("samples".into(), json!(pairs.len()));
    out.object(&object);
    Ok(())
}

/// (prediction, label) of every good line; a bad one is named and left out.
fn read(file: &Path, strict: bool, out: &Out) -> Result<Vec<(String, String)>> {
    let text = std::fs::read(file).at("read", file)?;
    let text = String::from_utf8_lossy(&text);
    let mut pairs = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        match serde_json::from_str::<Line>(line) {
            Ok(Line { predict, label }) => pairs.push((predict, label)),
            Err(e) => {
                let what =
                    format!("{}, line {}: {}", file.display(), i + 1, clean::for_terminal(&e.to_string()));
                if strict {
                    return Err(Error::new(Kind::Check, what));
                }
                out.note(format!("left out: {what}"));
            }
        }
    }
    Ok(pairs)
}

//! `lorascope score`: BLEU-4, ROUGE and more of a predictions file.

use super::measures;
use super::output::Out;
use crate::data::clean;
use crate::error::{At, Error, Kind, Result};
use crate::eval::groups::{self, Groups};
use crate::eval::measures::{Summary, measure_all};
use crate::eval::slots::{Labels, SlotReport};
use crate::eval::{modality, scores};
use clap::Args;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Score predictions as LLaMA-Factory does: BLEU-4 over characters, ROUGE over jieba words; and beyond
///
/// Takes generated_predictions.jsonl of this program or of LLaMA-Factory: one object a line with "predict" and
/// "label". Also tells BLEU over words, exact matches, lengths, 95 % intervals, and scores by kind of picture where
/// the references name it.
#[derive(Args, Debug)]
pub struct ScoreArgs {
    /// The predictions
    #[arg(value_name = "PREDICTIONS.jsonl")]
    pub file: PathBuf,
    /// Count how many facts are told right: a label file (see the README), by "id", or line by line where predictions
    /// have no ids
    #[arg(long, value_name = "LABELS.jsonl")]
    pub labels: Option<PathBuf>,
    /// Scores by group: a key of the predictions, or with --dataset of the rows that were asked
    #[arg(long, value_name = "KEY")]
    pub group_by: Option<String>,
    /// The data set of the predictions, by "id", or row by row where they have no ids
    #[arg(long, value_name = "NAME", requires = "group_by")]
    pub dataset: Option<String>,
    /// Its data folder
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub dataset_dir: PathBuf,
    /// Where its pictures are, as media_dir of the evaluation; a row without its pictures was not evaluated
    #[arg(long, value_name = "DIR")]
    pub media_dir: Option<PathBuf>,
    /// Take a broken line, also of the labels, as an error instead of leaving it out
    #[arg(long)]
    pub strict: bool,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default, deserialize_with = "id")]
    id: Option<String>,
    predict: String,
    label: String,
    #[serde(default)]
    group: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// An id may be a number.
fn id<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<String>, D::Error> {
    Ok(groups::text(&Value::deserialize(from)?))
}

impl Line {
    /// What the line has under a key.
    fn field(&self, key: &str) -> Option<String> {
        match key {
            "id" => self.id.clone(),
            "group" => self.group.clone(),
            key => self.more.get(key).and_then(groups::text),
        }
    }
}

pub fn run(args: &ScoreArgs, out: &Out) -> Result<()> {
    let lines = read(&args.file, args.strict, out)?;
    if lines.is_empty() {
        return Err(Error::input(format!("{} holds no predictions", args.file.display())).hint(
            "it should look like generated_predictions.jsonl, an object a line: {\"predict\": \"...\", \"label\": \"...\"}",
        ));
    }
    let pairs: Vec<(&str, &str)> = lines.iter().map(|l| (l.predict.as_str(), l.label.as_str())).collect();
    let groups = match &args.group_by {
        Some(key) => grouped(&lines, key, args)?.into_iter().map(Some).collect(),
        None => lines.iter().map(kind).collect::<Vec<_>>(),
    };
    let mut summary = Summary::of_rows(&measure_all(&pairs), groups.iter().map(Option::as_deref));
    summary.grouped_by.clone_from(&args.group_by);
    if let Some(path) = &args.labels {
        let labels = labels(path, args.strict, out)?;
        summary.slots = Some(slots(&lines, &labels, path)?);
    }
    measures::print(&summary, out);
    out.line(format!("{} predictions", lines.len()));
    out.object(&object(&summary, scores::mean(&scores::score_all(&pairs))));
    Ok(())
}

/// The kind of picture, where it is known.
fn kind(line: &Line) -> Option<String> {
    line.group.clone().or_else(|| modality::of(&line.label).map(Into::into))
}

/// The group of each prediction by a key, its own or its row's.
fn grouped(lines: &[Line], key: &str, args: &ScoreArgs) -> Result<Vec<String>> {
    let none = || Groups::none(key);
    let Some(name) = &args.dataset else {
        if lines.iter().all(|l| l.field(key).is_none()) {
            return Err(Error::input(format!("no prediction has {key}"))
                .hint("where the rows have it, say which: --dataset NAME --dataset-dir DIR"));
        }
        return Ok(lines.iter().map(|l| l.field(key).unwrap_or_else(none)).collect());
    };
    let groups = Groups::read(&args.dataset_dir, std::slice::from_ref(name), args.media_dir.as_deref(), key)?;
    let rows = groups.in_order();
    if lines.iter().all(|l| l.id.is_some()) {
        let by_id = groups.by_id();
        let of = |l: &Line| l.id.as_deref().and_then(|id| by_id.get(id).cloned());
        return Ok(lines.iter().map(|l| of(l).unwrap_or_else(none)).collect());
    }
    if rows.len() != lines.len() {
        return Err(Error::input(format!(
            "{name} has {} rows for {} predictions, which have no ids",
            rows.len(),
            lines.len()
        ))
        .hint("give evaluated_samples.jsonl, or the predictions of the whole data set"));
    }
    Ok(rows)
}

/// LLaMA-Factory's keys, short ones, and everything else.
fn object(summary: &Summary, mean: scores::Scores) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in mean.named() {
        object.insert(format!("predict_{name}"), json!(value));
        object.insert(name.into(), json!(value));
    }
    if let Value::Object(all) = json!(summary) {
        object.extend(all);
    }
    object
}

/// The label file, and what there is to say of it.
fn labels(path: &Path, strict: bool, out: &Out) -> Result<Labels> {
    let labels = Labels::read(path)?;
    if strict {
        labels.strictly()?;
    }
    labels.notes().into_iter().for_each(|(_, line)| out.note(line));
    Ok(labels)
}

/// Labels and predictions belong together by id, or by their place.
fn slots(lines: &[Line], labels: &Labels, path: &Path) -> Result<SlotReport> {
    let by_id = lines.iter().all(|l| l.id.is_some());
    let said: HashMap<String, String> = if by_id {
        lines.iter().map(|l| (l.id.clone().unwrap_or_default(), l.predict.clone())).collect()
    } else if lines.len() == labels.ids().len() && labels.left_out().is_empty() {
        labels.ids().zip(lines).map(|(id, l)| (id.to_string(), l.predict.clone())).collect()
    } else {
        let (labels, lines) = (labels.ids().len(), lines.len());
        return Err(Error::input(format!(
            "{} has {labels} labels for {lines} predictions, which have no ids",
            path.display()
        ))
        .hint("give evaluated_samples.jsonl, or as many labels as predictions, in the same order"));
    };
    labels.score_said(&said).ok_or_else(|| {
        Error::input(format!("no label of {} has the id of a prediction", path.display()))
            .hint("is it the label file of this data set?")
    })
}

/// Bad lines that are named; of more it is said how many.
const NAMED: usize = 5;

/// Every good line; a bad one is left out, and named among the first.
fn read(file: &Path, strict: bool, out: &Out) -> Result<Vec<Line>> {
    let text = std::fs::read(file).at("read", file)?;
    let text = String::from_utf8_lossy(clean::without_bom(&text));
    let (mut lines, mut bad) = (Vec::new(), 0);
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => lines.push(line),
            Err(e) => {
                let what =
                    format!("{}, line {}: {}", file.display(), i + 1, clean::for_terminal(&e.to_string()));
                if strict {
                    return Err(Error::new(Kind::Check, what));
                }
                bad += 1;
                if bad <= NAMED {
                    out.note(format!("left out: {what}"));
                }
            }
        }
    }
    if bad > NAMED {
        out.note(format!("left out: {} more lines, {bad} of {}", bad - NAMED, bad + lines.len()));
    }
    Ok(lines)
}

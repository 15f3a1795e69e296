//! The report of an evaluation: Markdown, and one HTML file with pictures that needs nothing else.

mod html;
mod markdown;

use super::bootstrap::{self, DRAWS};
use super::groups::Groups;
use super::measures::{self, NAMES, Summary};
use crate::config::TrainConfig;
use crate::error::{At, Error, Result};
use crate::files;
use crate::job::{Prediction, ScoreRow, SlotRow};
use crate::runs::{EVALUATED_SO_FAR, EVALUATION, predictions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the evaluation of the base model is looked for, below that of the tuned one.
pub const BASE: &str = "base";
/// Samples shown at each end.
const SHOWN: usize = 6;
/// The measure that samples are sorted by.
const SORTED_BY: &str = "rouge-l";

/// Everything a report says.
pub struct Report {
    title: String,
    model: String,
    adapter: String,
    loss: Option<f64>,
    tuned: Summary,
    base: Option<Base>,
    best: Vec<Shown>,
    worst: Vec<Shown>,
}

/// The evaluation that is compared with.
struct Base {
    summary: Summary,
    loss: Option<f64>,
    /// What tuning changed, sample by sample, with intervals.
    gain: Vec<ScoreRow>,
    /// Samples that both evaluated.
    common: usize,
}

/// A heading and rows.
type Table = (Vec<String>, Vec<Vec<String>>);

/// A sample, and what the base model said.
struct Shown {
    prediction: Prediction,
    base: Option<String>,
}

/// Writes `report.md` and `report.html` of the evaluation in `dir`, compared with that in `base` (or in `dir/base`).
/// Returns the path of the HTML file.
///
/// # Errors
/// There is no finished evaluation, or the files cannot be written.
pub fn write(dir: &Path, base: Option<&Path>) -> Result<PathBuf> {
    write_by(dir, base, None)
}

/// [`write()`] with groups by a key of the rows that were evaluated, where it is given.
///
/// # Errors
/// As [`write()`], and where the data cannot be read.
pub fn write_by(dir: &Path, base: Option<&Path>, key: Option<&str>) -> Result<PathBuf> {
    let report = Report::read(dir, base, key)?;
    files::write(&dir.join("report.md"), markdown::write(&report).as_bytes())?;
    let path = dir.join("report.html");
    files::write(&path, html::write(&report).as_bytes())?;
    Ok(path)
}

impl Report {
    fn read(dir: &Path, base: Option<&Path>, key: Option<&str>) -> Result<Self> {
        let mut all = predictions::read(dir)?;
        let mut evaluation = Evaluation::read(dir, &all)?;
        let groups = key.map(|key| evaluation.groups(dir, key)).transpose()?;
        if let (Some(groups), Some(key)) = (&groups, key) {
            evaluation.regroup(&mut all, groups, key);
        }
        let beside = dir.join(BASE);
        let base_dir = base.or_else(|| beside.join(EVALUATION).exists().then_some(&beside));
        let other = match base_dir {
            Some(base) => {
                let mut predicted = predictions::read(base)?;
                let mut evaluation = Evaluation::read(base, &predicted)?;
                if let (Some(groups), Some(key)) = (&groups, key) {
                    evaluation.regroup(&mut predicted, groups, key);
                }
                Some((evaluation, predicted))
            }
            None => None,
        };
        let said: HashMap<&str, &Prediction> =
            other.iter().flat_map(|(_, all)| all).map(|p| (p.id.as_str(), p)).collect();
        let shown = |p: &&Prediction| Shown {
            prediction: (*p).clone(),
            base: said.get(p.id.as_str()).map(|b| b.predict.clone()),
        };
        let mut sorted: Vec<&Prediction> = all.iter().collect();
        let score = |p: &Prediction| p.score(SORTED_BY).unwrap_or_default();
        sorted.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.index.cmp(&b.index)));
        let best = sorted.iter().take(SHOWN).map(shown).collect();
        let rest = sorted.len().saturating_sub(SHOWN).min(SHOWN);
        let worst = sorted.iter().rev().take(rest).map(shown).collect();
        let base = other.as_ref().map(|(evaluation, _)| {
            let pairs: Vec<_> = all.iter().filter_map(|p| Some((p, *said.get(p.id.as_str())?))).collect();
            let gain: Vec<Vec<f64>> = pairs.iter().map(|(p, b)| difference(p, b)).collect();
            Base {
                summary: evaluation.summary.clone(),
                loss: evaluation.loss,
                // Nothing in common is no gain of zero.
                gain: if gain.is_empty() { Vec::new() } else { bootstrap::intervals(&NAMES, &gain, DRAWS) },
                common: pairs.len(),
            }
        });
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Evaluation { model, adapter, loss, summary: tuned, .. } = evaluation;
        Ok(Self { title: format!("Evaluation of {name}"), model, adapter, loss, tuned, base, best, worst })
    }

    /// The tables that have rows, each with its title, heading and rows.
    fn tables(&self) -> impl Iterator<Item = (String, Table)> {
        let by = self.tuned.grouped_by.as_deref().unwrap_or("kind of picture");
        let all = [
            ("Measures".to_string(), self.measures()),
            (format!("By {by}"), self.groups()),
            ("Facts told right".to_string(), self.slots()),
            ("Fields of the label file that are no facts".to_string(), self.no_slots()),
            ("Rows of the label file that were left out".to_string(), self.left_out()),
        ];
        all.into_iter().filter(|(_, (_, rows))| !rows.is_empty())
    }

    /// The samples that are shown, under their titles.
    fn shown(&self) -> impl Iterator<Item = (&'static str, &[Shown])> {
        let all = [("Best samples", self.best.as_slice()), ("Worst samples", self.worst.as_slice())];
        all.into_iter().filter(|(_, samples)| !samples.is_empty())
    }

    /// Heading and rows of the table of measures.
    fn measures(&self) -> Table {
        let mut heading: Vec<String> = vec!["measure".into()];
        heading.extend(self.base.iter().map(|_| "base".to_string()));
        heading.push(if self.base.is_some() { "tuned" } else { "mean" }.into());
        heading.push("95 % interval".into());
        heading.extend(self.base.iter().flat_map(|_| ["gain".to_string(), "95 % interval".into()]));
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (i, row) in self.tuned.measures.iter().enumerate() {
            let mut cells = vec![row.name.clone()];
            cells.extend(self.base.as_ref().map(|b| number(b.summary.measures.get(i).map(|r| r.mean))));
            cells.extend([number(Some(row.mean)), interval(row)]);
            cells.extend(self.base.iter().flat_map(|b| match b.gain.get(i) {
                Some(gain) => [format!("{:+.2}", gain.mean), interval(gain)],
                None => [number(None), String::new()],
            }));
            rows.push(cells);
        }
        if self.loss.is_some() {
            let loss = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.4}"));
            let mut cells = vec!["loss".to_string()];
            cells.extend(self.base.as_ref().map(|b| loss(b.loss)));
            cells.extend([loss(self.loss), String::new()]);
            cells.extend(self.base.iter().flat_map(|_| [String::new(), String::new()]));
            rows.push(cells);
        }
        (heading, rows)
    }

    /// A table by group: samples and the main measures, base beside tuned.
    fn groups(&self) -> Table {
        const MAIN: [&str; 5] = ["bleu-4", "rouge-1", "rouge-2", "rouge-l", "exact-match"];
        let by = self.tuned.grouped_by.clone().unwrap_or_else(|| "pictures".into());
        let mut heading: Vec<String> = vec![by, "samples".into()];
        for name in MAIN {
            heading.extend(self.base.iter().map(|_| format!("{name}, base")));
            heading.push(if self.base.is_some() { format!("{name}, tuned") } else { name.into() });
        }
        let of = |rows: &[ScoreRow], name: &str| rows.iter().find(|r| r.name == name).map(|r| r.mean);
        let rows = self.tuned.groups.iter().map(|group| {
            let before = self
                .base
                .as_ref()
                .map(|b| b.summary.groups.iter().find(|g| g.name == group.name).map(|g| &g.measures[..]));
            let mut cells = vec![group.name.clone(), group.samples.to_string()];
            for name in MAIN {
                cells.extend(before.map(|rows| number(rows.and_then(|rows| of(rows, name)))));
                cells.push(number(of(&group.measures, name)));
            }
            cells
        });
        let rows = rows.collect();
        (heading, rows)
    }

    /// A table of slots: how many are told right, base beside tuned, what a blind answer reaches, and what is said
    /// where it is not right.
    fn slots(&self) -> Table {
        let percent = |x: Option<f64>| x.map_or("–".into(), |x| format!("{:.1} %", x * 100.0));
        let base = self.base.as_ref().and_then(|b| b.summary.slots.as_ref());
        let pair = |name: &str| match base {
            Some(_) => vec![format!("{name}, base"), format!("{name}, tuned")],
            None => vec![name.to_string()],
        };
        let mut heading: Vec<String> = vec!["told right".into(), "samples".into()];
        match base {
            Some(_) => heading.extend(["base".to_string(), "tuned".into()]),
            None => heading.push("share".into()),
        }
        heading.push("blind".into());
        heading.extend(["not stated", "something else"].into_iter().flat_map(pair));
        let rows = self.tuned.slots.iter().flat_map(|report| &report.rows).map(|row| {
            let before = base.map(|base| base.rows.iter().find(|r| r.slot == row.slot));
            let both = |of: fn(&SlotRow) -> Option<f64>| {
                let base = before.map(|before| percent(before.and_then(of)));
                base.into_iter().chain([percent(of(row))])
            };
            let mut cells = vec![row.slot.replace('_', " "), row.n.to_string()];
            cells.extend(both(|r| Some(r.accuracy)));
            cells.push(percent(Some(row.blind)));
            cells.extend(both(|r| r.not_stated).chain(both(|r| r.other_stated)));
            cells
        });
        let rows = rows.collect();
        (heading, rows)
    }

    fn no_slots(&self) -> Table {
        let all = self.tuned.slots.iter().flat_map(|report| &report.no_slots);
        (vec!["field".into(), "why".into()], all.map(|n| vec![n.field.clone(), n.why.clone()]).collect())
    }

    fn left_out(&self) -> Table {
        /// Rows that are named one by one.
        const NAMED: usize = 50;
        let all = self.tuned.slots.as_ref().map_or(&[][..], |report| &report.left_out);
        let mut rows: Vec<Vec<String>> =
            all.iter().take(NAMED).map(|l| vec![l.line.to_string(), l.why.clone()]).collect();
        if all.len() > NAMED {
            rows.push(vec![format!("{} in all", all.len()), format!("the rest is in {EVALUATION}")]);
        }
        (vec!["line".into(), "why".into()], rows)
    }
}

/// What `evaluation.json` says.
struct Evaluation {
    model: String,
    adapter: String,
    loss: Option<f64>,
    summary: Summary,
    data: Option<Data>,
}

/// The data sets that were evaluated, so that their rows can be looked at again.
#[derive(Serialize, Deserialize)]
pub struct Data {
    dataset_dir: PathBuf,
    media_dir: Option<PathBuf>,
    names: Vec<String>,
}

impl Data {
    /// Of a configuration; paths hold from any folder.
    pub fn of(config: &TrainConfig) -> Self {
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        Self {
            dataset_dir: whole(&config.dataset_dir),
            media_dir: config.media_dir.as_ref().map(whole),
            names: config.evaluated().clone(),
        }
    }
}

impl Evaluation {
    /// The groups of the rows by a key.
    fn groups(&self, dir: &Path, key: &str) -> Result<Groups> {
        let unknown = || {
            Error::input(format!("{} does not say which data were evaluated", dir.join(EVALUATION).display()))
                .hint("wait until the evaluation has ended, or evaluate with --group-by")
        };
        let data = self.data.as_ref().ok_or_else(unknown)?;
        Groups::read(&data.dataset_dir, &data.names, data.media_dir.as_deref(), key)
    }

    /// Other groups than those that were found while evaluating.
    fn regroup(&mut self, all: &mut [Prediction], groups: &Groups, key: &str) {
        let by_id = groups.by_id();
        for p in all.iter_mut() {
            p.group = Some(by_id.get(p.id.as_str()).cloned().unwrap_or_else(|| Groups::none(key)));
        }
        self.summary.groups = Summary::of(all, None).groups;
        self.summary.grouped_by = Some(key.into());
    }

    fn read(dir: &Path, all: &[Prediction]) -> Result<Self> {
        let path = dir.join(EVALUATION);
        if !path.exists() || dir.join(EVALUATED_SO_FAR).exists() {
            // It has not ended yet, or one after it has not: what is there is reported.
            let summary = Summary::of(all, None);
            return Ok(Self {
                model: String::new(),
                adapter: String::new(),
                loss: None,
                summary,
                data: None,
            });
        }
        let text = std::fs::read_to_string(&path).at("read", &path)?;
        let broken = |e: serde_json::Error| {
            Error::input(format!("{}: {e}", path.display())).hint("run the evaluation again")
        };
        let value: Value = serde_json::from_str(&text).map_err(broken)?;
        let word = |key: &str| value[key].as_str().unwrap_or("none").to_string();
        Ok(Self {
            model: word("model"),
            adapter: word("adapter"),
            loss: value["eval_loss"].as_f64(),
            summary: serde_json::from_value(value.clone()).map_err(broken)?,
            data: serde_json::from_value(value["data"].clone()).ok(),
        })
    }
}

fn difference(tuned: &Prediction, base: &Prediction) -> Vec<f64> {
    measures::values(tuned).into_iter().zip(measures::values(base)).map(|(t, b)| t - b).collect()
}

fn number(x: Option<f64>) -> String {
    x.map_or("–".into(), |x| format!("{x:.2}"))
}

fn interval(row: &ScoreRow) -> String {
    format!("{:.2} to {:.2}", row.low, row.high)
}

#[cfg(test)]
mod tests;

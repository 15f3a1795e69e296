//! How many facts of a label file answers tell right: each slot's accuracy, beside the blind rate.

pub mod drawn;
mod read;
pub mod stated;

use crate::data::clean;
use crate::error::{At, Error, Kind, Result};
pub use crate::job::SlotRow;
use crate::job::{Emit, Event, Level};
use drawn::SlotLabel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stated::{Said, Vocabulary};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The row of all slots together.
pub const ALL_SLOTS: &str = "all_slots";

/// The facts of pictures, as a label file has them.
///
/// Each line is an object: `id`, by which it belongs to a sample, and fields. A field whose values are words or whole
/// numbers is a slot; null is a fact that the label does not state, and that is not asked for. What drawn scans have
/// (see [`drawn`]) is read as their captions say it; all else by the values of each field, see [`stated`].
#[derive(Debug)]
pub struct Labels {
    path: PathBuf,
    slots: Vec<Slot>,
    rows: Vec<Labelled>,
    places: HashMap<String, usize>,
    drawn: bool,
    no_slots: Vec<NoSlot>,
    left_out: Vec<LeftOut>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    vocabulary: Vocabulary,
}

/// One label.
#[derive(Debug)]
struct Labelled {
    id: String,
    /// By slot; `None` is not stated, and not asked for.
    values: Vec<Option<String>>,
    /// What the best constant answer would have to say to be right in every slot.
    whole: String,
    /// The kind of picture, where the label tells it.
    modality: Option<String>,
}

/// A field that is no slot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoSlot {
    pub field: String,
    pub why: String,
}

/// A row of a label file that cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its line, from 1.
    pub line: usize,
    pub why: String,
}

/// One row per slot and, last, [`ALL_SLOTS`]: the share of answers right in every slot that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlotReport {
    pub rows: Vec<SlotRow>,
    /// Fields of the label file that are no slots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_slots: Vec<NoSlot>,
    /// Its rows that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

impl SlotReport {
    /// The row of all slots together.
    pub fn all(&self) -> Option<&SlotRow> {
        self.rows.last()
    }

    /// `{"modality": {"n", "blind", "accuracy"}, …, "all_slots": …}`, rates with 4 decimals.
    pub fn to_json(&self) -> Value {
        let round = |x: f64| (x * 1e4).round() / 1e4;
        let row = |r: &SlotRow| serde_json::json!({"n": r.n, "blind": round(r.blind), "accuracy": round(r.accuracy)});
        Value::Object(self.rows.iter().map(|r| (r.slot.clone(), row(r))).collect())
    }
}

/// How an answer does in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It states the label's value and no other.
    Right,
    /// It states none of the slot's values.
    Nothing,
    /// It states another value, or several.
    Other,
}

/// An answer against its label; `None` in a slot that the label does not state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    row: usize,
    slots: Vec<Option<Verdict>>,
}

/// The label file of a configuration, where it has one; what there is to say of it is said.
///
/// # Errors
/// As [`Labels::read`].
pub fn of_config(path: Option<&Path>, emit: Emit) -> Result<Option<Labels>> {
    let Some(path) = path else { return Ok(None) };
    let labels = Labels::read(path)?;
    labels.notes().into_iter().for_each(|(level, line)| emit(Event::Log { level, line }));
    Ok(Some(labels))
}

/// What tells one label file from another; `None` where there is none.
///
/// # Errors
/// It cannot be read.
pub fn fingerprint(path: Option<&Path>) -> Result<Option<String>> {
    let hash = |path: &Path| Ok(blake3::hash(&std::fs::read(path).at("read", path)?).to_hex().to_string());
    path.map(hash).transpose()
}

impl Labels {
    /// Reads a label file, an object on each line. Rows that cannot be used are left out.
    ///
    /// # Errors
    /// It cannot be read, no row can be used, no field is a slot, or one has true and false.
    pub fn read(path: &Path) -> Result<Self> {
        read::read(path)
    }

    /// The labels of drawn scans.
    pub fn of_drawn(path: &Path, labels: Vec<SlotLabel>) -> Self {
        let slot =
            |name: &&str| Slot { name: (*name).into(), vocabulary: Vocabulary::of(std::iter::empty()) };
        let row = |label: SlotLabel| Labelled {
            values: label.slots().into(),
            id: label.id,
            whole: label.caption,
            modality: Some(label.modality),
        };
        let slots = drawn::SLOTS.iter().map(slot).collect();
        Self { drawn: true, ..Self::of(path, slots, labels.into_iter().map(row).collect()) }
    }

    fn of(path: &Path, slots: Vec<Slot>, rows: Vec<Labelled>) -> Self {
        let places = rows.iter().enumerate().map(|(at, row)| (row.id.clone(), at)).collect();
        let (no_slots, left_out) = Default::default();
        Self { path: path.into(), slots, rows, places, drawn: false, no_slots, left_out }
    }

    /// The ids of all labels, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &str> {
        self.rows.iter().map(|row| row.id.as_str())
    }

    /// The kind of each picture by id, where labels tell it.
    pub fn kinds(&self) -> HashMap<&str, &str> {
        self.rows.iter().filter_map(|row| Some((row.id.as_str(), row.modality.as_deref()?))).collect()
    }

    /// Rows that were left out.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// # Errors
    /// A row was left out.
    pub fn strictly(&self) -> Result<()> {
        let Some(first) = self.left_out.first() else { return Ok(()) };
        Err(Error::new(Kind::Check, format!("{}; strict: nothing was evaluated", self.line(first)))
            .hint("mend the row, or leave out --strict to go on without it"))
    }

    /// # Errors
    /// No label is of one of these samples.
    pub fn must_fit(&self, ids: &HashSet<&str>) -> Result<()> {
        if self.rows.iter().any(|row| ids.contains(row.id.as_str())) {
            return Ok(());
        }
        let what = format!("no label of {} has the id of a sample", self.path.display());
        Err(Error::input(what).hint("is it the label file of this data set?"))
    }

    fn line(&self, left: &LeftOut) -> String {
        format!("{}, line {}: {}", self.path.display(), left.line, clean::for_terminal(&left.why))
    }

    /// What there is to say of the file: its slots, what is none, and the rows that are left out.
    pub fn notes(&self) -> Vec<(Level, String)> {
        /// Rows that are named one by one.
        const NAMED: usize = 10;
        let path = self.path.display();
        let names = self.slots.iter().map(|slot| slot.name.as_str()).collect::<Vec<_>>().join(", ");
        let how = if self.drawn { " (captions of drawn scans)" } else { "" };
        let mut notes = vec![(Level::Info, format!("slots of {path}: {names}{how}"))];
        if !self.no_slots.is_empty() {
            let none = self.no_slots.iter().map(|none| format!("{} ({})", none.field, none.why));
            notes.push((Level::Info, format!("no slots: {}", none.collect::<Vec<_>>().join(", "))));
        }
        for left in self.left_out.iter().take(NAMED) {
            notes.push((Level::Warning, format!("left out: {}", self.line(left))));
        }
        if self.left_out.len() > NAMED {
            let (all, of) = (self.left_out.len(), self.left_out.len() + self.rows.len());
            let line = format!("left out: {all} of {of} rows of {path}; the results list them all");
            notes.push((Level::Warning, line));
        }
        notes.into_iter().map(|(level, line)| (level, clean::for_terminal(&line))).collect()
    }

    /// An answer to the sample `id`; `None` where no label is of it.
    pub fn judge(&self, id: &str, answer: &str) -> Option<Judged> {
        self.places.get(id).map(|&row| self.judge_row(row, Some(answer)))
    }

    /// What is said to a label; an answer that is missing states nothing.
    fn judge_row(&self, row: usize, answer: Option<&str>) -> Judged {
        let said = match answer {
            Some(answer) => self.said(answer),
            None => vec![Said::Nothing; self.slots.len()],
        };
        let verdict = |(value, said): (&Option<String>, Said)| {
            let value = value.as_ref()?;
            Some(match said {
                Said::One(said) if said == *value => Verdict::Right,
                Said::Nothing => Verdict::Nothing,
                _ => Verdict::Other,
            })
        };
        Judged { row, slots: self.rows[row].values.iter().zip(said).map(verdict).collect() }
    }

    /// What an answer says, by slot.
    fn said(&self, answer: &str) -> Vec<Said> {
        if self.drawn {
            return drawn::parse(answer).into_iter().map(|s| s.map_or(Said::Nothing, Said::One)).collect();
        }
        let answer = stated::normal(answer);
        self.slots.iter().map(|slot| slot.vocabulary.said(&answer)).collect()
    }

    /// Compares answers with all labels. `said` maps ids to answers; a missing one is wrong in every slot.
    pub fn score(&self, said: &HashMap<String, String>) -> SlotReport {
        let judge = |row: usize| self.judge_row(row, said.get(&self.rows[row].id).map(String::as_str));
        self.report(&(0..self.rows.len()).into_par_iter().map(judge).collect::<Vec<_>>())
    }

    /// Compares answers with the labels that are of them; `None` where none is.
    pub fn score_said(&self, said: &HashMap<String, String>) -> Option<SlotReport> {
        let judge = |row: usize| Some(self.judge_row(row, Some(said.get(&self.rows[row].id)?)));
        let judged: Vec<Judged> = (0..self.rows.len()).into_par_iter().filter_map(judge).collect();
        (!judged.is_empty()).then(|| self.report(&judged))
    }

    /// What judged answers come to.
    fn report(&self, judged: &[Judged]) -> SlotReport {
        let (no_slots, left_out) = (self.no_slots.clone(), self.left_out.clone());
        SlotReport { rows: self.tally(judged), no_slots, left_out }
    }

    /// A row for each slot and one for all.
    pub fn tally(&self, judged: &[Judged]) -> Vec<SlotRow> {
        let mut rows = Vec::with_capacity(self.slots.len() + 1);
        for (s, slot) in self.slots.iter().enumerate() {
            let verdicts: Vec<Verdict> = judged.iter().filter_map(|j| j.slots[s]).collect();
            let n = verdicts.len();
            let count = |which: Verdict| share(verdicts.iter().filter(|v| **v == which).count(), n);
            let values = judged.iter().filter_map(|j| self.rows[j.row].values[s].as_ref());
            rows.push(SlotRow {
                slot: slot.name.clone(),
                n,
                accuracy: count(Verdict::Right),
                blind: share(commonest(values), n),
                not_stated: Some(count(Verdict::Nothing)),
                other_stated: Some(count(Verdict::Other)),
            });
        }
        let asked: Vec<&Judged> = judged.iter().filter(|j| j.slots.iter().any(Option::is_some)).collect();
        let right = |j: &&&Judged| j.slots.iter().flatten().all(|v| *v == Verdict::Right);
        let n = asked.len();
        rows.push(SlotRow {
            slot: ALL_SLOTS.into(),
            n,
            accuracy: share(asked.iter().filter(right).count(), n),
            blind: share(commonest(asked.iter().map(|j| &self.rows[j.row].whole)), n),
            not_stated: None,
            other_stated: None,
        });
        rows
    }
}

fn share(part: usize, n: usize) -> f64 {
    part as f64 / n.max(1) as f64
}

fn commonest<T: Eq + std::hash::Hash>(values: impl Iterator<Item = T>) -> usize {
    let mut counts: HashMap<T, usize> = HashMap::new();
    values.for_each(|v| *counts.entry(v).or_default() += 1);
    counts.into_values().max().unwrap_or(0)
}

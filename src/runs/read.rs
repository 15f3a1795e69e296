//! Reads a run folder, ours or LLaMA-Factory's, into a curve.

use super::{EVENTS, TRAINER_LOG, TRAINER_STATE, TrainerState, events};
use crate::error::{Error, Result};
use crate::job::{Event, StepRow};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// What a run did, step by step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curve {
    /// One row per log, steps rising.
    pub steps: Vec<StepRow>,
    pub evals: Vec<EvalPoint>,
    pub total_steps: usize,
}

/// A metric at a step, such as `eval_loss`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalPoint {
    pub step: usize,
    pub name: String,
    pub value: f64,
}

impl Curve {
    /// Reads `events.jsonl`, else `trainer_log.jsonl` with the gradient norms of `trainer_state.json`.
    /// Error when the folder has none of them.
    pub fn read(run_dir: &Path) -> Result<Self> {
        let from_events = Self::from_events(events::each(run_dir));
        if !from_events.is_empty() {
            return Ok(from_events);
        }
        let mut curve = Self::from_log(&run_dir.join(TRAINER_LOG));
        if let Ok(state) = TrainerState::read(run_dir) {
            curve.take_history(&state);
        }
        let known = [EVENTS, TRAINER_LOG, TRAINER_STATE];
        if curve.is_empty() && !known.iter().any(|name| run_dir.join(name).exists()) {
            return Err(Error::input(format!("{} is not a run folder", run_dir.display()))
                .hint(format!("a run folder has one of {}", known.join(", "))));
        }
        Ok(curve)
    }

    /// The curve that a stream of events draws.
    pub fn from_events(events: impl IntoIterator<Item = Event>) -> Self {
        let mut curve = Self::default();
        for event in events {
            curve.take(event);
        }
        curve
    }

    /// Adds an event; those that are no part of the curve are passed over.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Step(row) => self.push(row),
            Event::Score { name, value, step: Some(step) } => {
                self.evals.push(EvalPoint { step, name, value })
            }
            Event::Started { total_steps, .. } if total_steps > 0 => self.total_steps = total_steps,
            _ => {}
        }
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.evals.is_empty()
    }

    /// The losses of all rows.
    pub fn losses(&self) -> Vec<f64> {
        self.steps.iter().map(|row| row.loss).collect()
    }

    /// Adds a row. A run that went on from a checkpoint does steps again: the later row counts.
    fn push(&mut self, row: StepRow) {
        if self.steps.last().is_some_and(|last| row.step <= last.step) {
            self.steps.retain(|old| old.step < row.step);
            self.evals.retain(|old| old.step < row.step);
        }
        self.total_steps = self.total_steps.max(row.total_steps);
        self.steps.push(row);
    }

    fn from_log(path: &Path) -> Self {
        let mut curve = Self::default();
        for line in lines(path).filter_map(|line| object(&line)) {
            let number = |key| line.get(key).and_then(number);
            let Some(step) = number("current_steps").map(|x| x as usize) else { continue };
            let total_steps = number("total_steps").unwrap_or(0.0) as usize;
            for (name, value) in line.iter().filter(|(name, _)| name.starts_with("eval_")) {
                let point = self::number(value).map(|value| EvalPoint { step, name: name.clone(), value });
                curve.evals.extend(point);
            }
            let Some(loss) = number("loss") else { continue };
            let clock = |key| line.get(key).and_then(Value::as_str).map_or(0.0, seconds);
            curve.push(StepRow {
                step,
                total_steps,
                loss,
                lr: number("lr").unwrap_or(0.0),
                epoch: number("epoch").unwrap_or(0.0),
                tokens: number("total_tokens").unwrap_or(0.0) as usize,
                elapsed: clock("elapsed_time"),
                remaining: clock("remaining_time"),
                ..StepRow::default()
            });
        }
        curve
    }

    /// Takes what only the history has: gradient norms, and whole rows where there is no log.
    fn take_history(&mut self, state: &TrainerState) {
        let without_log = self.steps.is_empty();
        for entry in &state.log_history {
            let number = |key| entry.get(key).and_then(number);
            let (Some(step), Some(loss)) = (number("step").map(|x| x as usize), number("loss")) else {
                continue;
            };
            let grad_norm = number("grad_norm").unwrap_or(0.0);
            if let Ok(at) = self.steps.binary_search_by_key(&step, |row| row.step) {
                self.steps[at].grad_norm = grad_norm;
            } else if without_log {
                let (lr, epoch) = (number("learning_rate").unwrap_or(0.0), number("epoch").unwrap_or(0.0));
                let total_steps = state.max_steps;
                self.push(StepRow { step, total_steps, loss, lr, epoch, grad_norm, ..StepRow::default() });
            }
        }
        self.total_steps = self.total_steps.max(state.max_steps);
    }
}

/// The lines of a text file, without their ends; none if it cannot be read. Bytes that are no UTF-8 are replaced.
pub(super) fn lines(path: &Path) -> impl Iterator<Item = String> + use<> {
    let reader = File::open(path).ok().map(BufReader::new);
    reader
        .into_iter()
        .flat_map(|r| r.split(b'\n').map_while(std::io::Result::ok))
        .map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_string())
        .filter(|line| !line.is_empty())
}

/// A JSON object as Python writes it.
pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
    match python_value(text)? {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// JSON as Python writes it: `NaN` and `Infinity` become text that [`number`] understands.
pub(super) fn python_value(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| {
        let mut quoted = text.to_string();
        for lead in [": ", "[", ", "] {
            for word in ["NaN", "-Infinity", "Infinity"] {
                quoted = quoted.replace(&format!("{lead}{word}"), &format!("{lead}\"{word}\""));
            }
        }
        serde_json::from_str(&quoted).ok()
    })
}

/// A number, or Python's words for those that JSON lacks.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(word) => word.parse().ok(),
        _ => None,
    }
}

/// Seconds of a `timedelta` text: `1 day, 2:03:04`.
fn seconds(text: &str) -> f64 {
    let (days, clock) = match text.split_once(" day") {
        Some((days, rest)) => (days.parse().unwrap_or(0.0), rest.trim_start_matches(['s', ',', ' '])),
        None => (0.0, text),
    };
    days * 86_400.0 + clock.split(':').fold(0.0, |total, part| total * 60.0 + part.parse().unwrap_or(0.0))
}

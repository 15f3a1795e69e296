//! `trainer_log.jsonl`: a line per log, key for key what LLaMA-Factory writes.

use super::append::Appender;
use super::{TRAINER_LOG, python_json};
use crate::error::Result;
use crate::files;
use crate::job::StepRow;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::Path;

/// One line, in LLaMA-Factory's order of keys; `None` is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    pub current_steps: usize,
    pub total_steps: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// Other metrics of an evaluation, such as `eval_bleu-4`.
    #[serde(flatten)]
    pub metrics: Map<String, Value>,
    /// A setting that changed, and its new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<f64>,
    /// Share done in percent, two decimals.
    pub percentage: f64,
    pub elapsed_time: String,
    pub remaining_time: String,
    /// Tokens per second since the start; only where tokens are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<usize>,
}

impl Line {
    /// `elapsed` and `remaining` in seconds.
    pub fn new(step: usize, total: usize, elapsed: f64, remaining: f64) -> Self {
        let percentage = if total == 0 { 100.0 } else { round(step as f64 / total as f64 * 100.0) };
        Self {
            current_steps: step,
            total_steps: total,
            percentage,
            elapsed_time: timedelta(elapsed),
            remaining_time: timedelta(remaining),
            ..Self::default()
        }
    }
}

/// The log of a training run, open for appending.
pub struct TrainerLog {
    lines: Appender,
}

impl TrainerLog {
    /// Opens the log of `run_dir`. Lines after `resumed_step` are dropped: 0 begins anew.
    pub fn open(run_dir: &Path, resumed_step: usize) -> Result<Self> {
        let path = run_dir.join(TRAINER_LOG);
        files::write(&path, kept(&path, resumed_step).as_bytes())?;
        Ok(Self { lines: Appender::open(path)? })
    }

    /// Appends the line of a training log.
    pub fn step(&mut self, row: &StepRow) -> Result<()> {
        let line = Line::new(row.step, row.total_steps, row.elapsed, row.remaining);
        self.push(&Line { loss: Some(row.loss), lr: Some(row.lr), epoch: Some(row.epoch), ..line })
    }

    /// Appends the line of an evaluation after the step `at`.
    pub fn evaluated(
        &mut self,
        at: &StepRow,
        eval_loss: Option<f64>,
        metrics: Map<String, Value>,
    ) -> Result<()> {
        let line = Line::new(at.step, at.total_steps, at.elapsed, at.remaining);
        self.push(&Line { eval_loss, metrics, epoch: Some(at.epoch), ..line })
    }

    /// Appends the line of a setting that changed after the step `at`.
    pub fn changed(&mut self, at: &StepRow, key: &str, value: &str) -> Result<()> {
        let line = Line::new(at.step, at.total_steps, at.elapsed, at.remaining);
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        let changed = Some(Map::from_iter([(key.to_string(), value)]));
        self.push(&Line { changed, epoch: Some(at.epoch), ..line })
    }

    /// Appends the last line of a run: no loss, nothing remaining. `at` is the last step.
    pub fn end(&mut self, at: &StepRow, elapsed: f64) -> Result<()> {
        let line = Line::new(at.step, at.total_steps, elapsed, 0.0);
        self.push(&Line { epoch: Some(at.epoch), ..line })
    }

    /// Appends a line and hands it to the system, so that a reader sees it at once. What cannot be written (a full
    /// disk) is kept, and comes with the next line.
    pub fn push(&mut self, line: &Line) -> Result<()> {
        self.lines.push(&(python_json::line(line) + "\n"))
    }
}

/// The lines of an earlier part of the run, up to `resumed_step`. A torn or foreign line is dropped.
fn kept(path: &Path, resumed_step: usize) -> String {
    let mut text = String::new();
    if resumed_step == 0 {
        return text;
    }
    for line in super::read::lines(path) {
        let step = super::read::object(&line).and_then(|o| o.get("current_steps")?.as_u64());
        if step.is_some_and(|step| step <= resumed_step as u64) {
            text += &line;
            text.push('\n');
        }
    }
    text
}

/// Two decimals, ties as Python's `round` has them (on the exact binary value).
fn round(x: f64) -> f64 {
    format!("{x:.2}").parse().unwrap_or(x)
}

/// Seconds as Python's `str(timedelta(seconds=int(seconds)))`: `H:MM:SS`, with days in front from 24 hours on.
pub fn timedelta(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    let clock = format!("{}:{:02}:{:02}", s / 3600 % 24, s / 60 % 60, s % 60);
    match s / 86_400 {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_pythons() {
        let cases = [
            (0.0, "0:00:00"),
            (59.99, "0:00:59"),
            (3661.0, "1:01:01"),
            (86_399.0, "23:59:59"),
            (86_400.0, "1 day, 0:00:00"),
            (200_000.0, "2 days, 7:33:20"),
            (-3.0, "0:00:00"),
            (f64::NAN, "0:00:00"),
        ];
        for (seconds, text) in cases {
            assert_eq!(timedelta(seconds), text);
        }
    }

    #[test]
    fn percentages_have_two_decimals() {
        let of = |a, b| Line::new(a, b, 0.0, 0.0).percentage;
        assert_eq!((of(1, 12), of(11, 12), of(12, 12), of(0, 0)), (8.33, 91.67, 100.0, 100.0));
    }
}

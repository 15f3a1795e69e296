//! A training run as its events tell it: where it stands, its curves, its log.

use super::JobId;
use crate::data::clean;
use crate::engine::watch::Controls;
use crate::error::Error;
use crate::job::{Event, Level, Outcome, Phase, StepRow, TargetRow};
use std::collections::VecDeque;
use std::path::PathBuf;

/// Where a run stands.
#[derive(Clone, Debug)]
pub enum Status {
    /// Submitted; loading, encoding and so on as `phase` says.
    Starting,
    Running,
    Paused,
    Stopping,
    Done,
    Stopped,
    Failed(Error),
}

/// Columns of the step log, one value per logged step.
#[derive(Default)]
pub struct Curves {
    pub step: Vec<f64>,
    pub loss: Vec<f64>,
    /// As LLaMA-Factory smooths; brought up to date by [`Run::smooth`].
    pub smooth: Vec<f64>,
    pub lr: Vec<f64>,
    pub grad_norm: Vec<f64>,
    pub tokens_per_second: Vec<f64>,
    pub eval_step: Vec<f64>,
    pub eval_loss: Vec<f64>,
}

/// One run.
pub struct Run {
    pub job: JobId,
    pub status: Status,
    pub run_dir: PathBuf,
    pub device: String,
    pub total_steps: usize,
    pub trainable: u64,
    pub parameters: u64,
    pub targets: Vec<TargetRow>,
    pub phase: Option<(Phase, usize, usize)>,
    pub last: Option<StepRow>,
    pub curves: Curves,
    pub scores: Vec<(String, f64)>,
    pub saved: Option<(usize, PathBuf)>,
    pub log: VecDeque<(Level, String)>,
    /// Whether this screen may command, and how many watch.
    pub controls: Controls,
}

const LOG_LINES: usize = 10_000;

impl Run {
    pub fn new(job: JobId, run_dir: PathBuf) -> Self {
        Self {
            job,
            status: Status::Starting,
            run_dir,
            device: String::new(),
            total_steps: 0,
            trainable: 0,
            parameters: 0,
            targets: Vec::new(),
            phase: None,
            last: None,
            curves: Curves::default(),
            scores: Vec::new(),
            saved: None,
            log: VecDeque::new(),
            controls: Controls { yours: true, watching: 1 },
        }
    }

    /// A run of another process, which is only watched at first.
    pub fn watched(job: JobId, run_dir: PathBuf) -> Self {
        Self { controls: Controls { yours: false, watching: 1 }, ..Self::new(job, run_dir) }
    }

    /// Whether the job goes on.
    pub fn alive(&self) -> bool {
        !matches!(self.status, Status::Done | Status::Stopped | Status::Failed(_))
    }

    pub fn error(&self) -> Option<&Error> {
        match &self.status {
            Status::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// One word for the status line.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Starting => self.phase.map_or("starting", |p| p.0.name()),
            Status::Running => "training",
            Status::Paused => "paused",
            Status::Stopping => "stopping",
            Status::Done => "done",
            Status::Stopped => "stopped",
            Status::Failed(_) => "failed",
        }
    }

    /// The optimizer step the run has reached.
    pub fn step(&self) -> usize {
        self.last.as_ref().map_or(0, |r| r.step)
    }

    /// Takes in one event of the job.
    pub fn on_event(&mut self, event: Event) {
        match event {
            // Its folder is known: as another process names it, it may be relative to another place.
            Event::Started { run_dir: _, device, total_steps, trainable, parameters, targets } => {
                (self.total_steps, self.targets) = (total_steps, targets);
                self.device = clean::for_terminal(&device);
                (self.trainable, self.parameters) = (trainable, parameters);
            }
            Event::Progress { phase, done, total } => {
                self.phase = (done < total || total == 0).then_some((phase, done, total));
            }
            Event::Step(row) => self.on_step(row),
            Event::Score { name, value, step } => self.on_score(&name, value, step),
            Event::Saved { step, path } => {
                self.note(Level::Info, &format!("saved step {step}: {}", path.display()));
                self.saved = Some((step, path));
            }
            Event::Paused(paused) => {
                self.status = if paused { Status::Paused } else { Status::Running };
                self.note(Level::Info, if paused { "paused" } else { "resumed" });
            }
            Event::Log { level, line } => self.note(level, &line),
            Event::Finding(f) => self.note(f.level, &format!("{} ({}×). {}", f.message, f.count, f.fix)),
            Event::Finished(outcome) => self.on_finished(outcome),
            Event::Token { .. } | Event::Predicted { .. } | Event::Changed { .. } | Event::Rows { .. } => {}
        }
    }

    fn on_step(&mut self, row: StepRow) {
        if matches!(self.status, Status::Starting) {
            self.status = Status::Running;
        }
        self.phase = None;
        self.total_steps = row.total_steps.max(self.total_steps);
        let c = &mut self.curves;
        c.step.push(row.step as f64);
        c.loss.push(row.loss);
        c.lr.push(row.lr);
        c.grad_norm.push(row.grad_norm);
        c.tokens_per_second.push(per_second(row.tokens, row.seconds));
        if !row.loss.is_finite() {
            self.note(Level::Error, &format!("step {}: the loss is {}", row.step, row.loss));
        }
        self.last = Some(row);
    }

    fn on_score(&mut self, name: &str, value: f64, step: Option<usize>) {
        if name == "eval_loss" {
            self.curves.eval_step.push(step.unwrap_or_else(|| self.step()) as f64);
            self.curves.eval_loss.push(value);
        }
        let name = clean::for_terminal(name);
        self.note(Level::Info, &format!("{name} {value:.4}"));
        self.scores.retain(|s| s.0 != name);
        self.scores.push((name, value));
    }

    fn on_finished(&mut self, outcome: Outcome) {
        self.phase = None;
        self.status = match outcome {
            Outcome::Done { .. } => Status::Done,
            Outcome::Stopped { .. } => Status::Stopped,
            Outcome::Failed { error } => {
                self.note(Level::Error, &error.message);
                if let Some(hint) = &error.hint {
                    self.note(Level::Error, &format!("hint: {hint}"));
                }
                Status::Failed(error)
            }
        };
        if self.error().is_none() {
            let line = format!("{} at step {}: {}", self.word(), self.step(), self.run_dir.display());
            self.note(Level::Info, &line);
        }
    }

    fn note(&mut self, level: Level, line: &str) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back((level, clean::for_terminal(line)));
    }

    /// Brings the smoothed loss up to date. Its weight depends on the length, so all of it is computed again,
    /// at most once per frame.
    pub fn smooth(&mut self) {
        if self.curves.smooth.len() != self.curves.loss.len() {
            self.curves.smooth = crate::runs::smooth::smooth(&self.curves.loss);
        }
    }

    /// Seconds left, as the trainer estimates.
    pub fn remaining(&self) -> Option<f64> {
        self.last.as_ref().filter(|_| self.alive()).map(|r| r.remaining)
    }
}

/// A rate, 0 when no time has passed.
pub fn per_second(n: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { n as f64 / seconds } else { 0.0 }
}

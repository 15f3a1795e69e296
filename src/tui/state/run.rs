//! A training run as its events tell it: where it stands, its curves, its log.

use super::JobId;
use crate::config::{TrainConfig, fields};
use crate::data::clean;
use crate::engine::watch::Controls;
use crate::error::Error;
use crate::job::{Event, Level, Outcome, Phase, StepRow, TargetRow};
use crate::runs::{self, Columns};
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

/// A setting that changed while the run went on.
#[derive(Clone, Debug)]
pub struct Changed {
    pub step: usize,
    pub key: String,
    pub value: String,
    pub was: String,
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
    pub curves: Columns,
    pub scores: Vec<(String, f64)>,
    pub saved: Option<(usize, PathBuf)>,
    pub log: VecDeque<(Level, String)>,
    /// Whether this screen may command, and how many watch.
    pub controls: Controls,
    /// The settings it runs with, where they are known.
    pub config: Option<Box<TrainConfig>>,
    pub changes: Vec<Changed>,
    /// How it stood in its folder, if it was read from there instead of being run here.
    pub opened: Option<runs::Status>,
    /// Its folder holds an evaluation and no training.
    pub evaluation: bool,
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
            curves: Columns::default(),
            scores: Vec::new(),
            saved: None,
            log: VecDeque::new(),
            controls: Controls { yours: true, watching: 1 },
            config: None,
            changes: Vec::new(),
            opened: None,
            evaluation: false,
        }
    }

    /// A run of another process, which is only watched at first.
    pub fn watched(job: JobId, run_dir: PathBuf) -> Self {
        Self { controls: Controls { yours: false, watching: 1 }, ..Self::new(job, run_dir) }
    }

    /// A run of a folder, not run here; its events are to follow.
    pub fn of_folder(run_dir: PathBuf, status: runs::Status) -> Self {
        Self { opened: Some(status), ..Self::new(0, run_dir) }
    }

    /// Whether the job goes on.
    pub fn alive(&self) -> bool {
        self.opened.is_none() && !matches!(self.status, Status::Done | Status::Stopped | Status::Failed(_))
    }

    pub fn error(&self) -> Option<&Error> {
        match &self.status {
            Status::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// One word for the status line.
    pub fn word(&self) -> &'static str {
        if let Some(status) = self.opened {
            return status.name();
        }
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
            Event::Changed { step, key, value, was } => self.on_changed(Changed { step, key, value, was }),
            Event::Token { .. } | Event::Odds { .. } | Event::Answered { .. } | Event::Scores { .. } => {}
            Event::Predicted(_) | Event::Rows { .. } => {}
        }
    }

    fn on_step(&mut self, row: StepRow) {
        if matches!(self.status, Status::Starting) {
            self.status = Status::Running;
        }
        self.phase = None;
        self.total_steps = row.total_steps.max(self.total_steps);
        self.curves.push(&row);
        if !row.loss.is_finite() {
            self.note(Level::Error, &format!("step {}: the loss is {}", row.step, row.loss));
        }
        self.last = Some(row);
    }

    /// The trainer says it in the log too.
    fn on_changed(&mut self, changed: Changed) {
        let Changed { key, value, .. } = &changed;
        if let Some(config) = &mut self.config {
            // The trainer has checked it.
            let _ = fields::set(config, key, value);
        }
        self.changes.push(changed);
    }

    fn on_score(&mut self, name: &str, value: f64, step: Option<usize>) {
        if name == "eval_loss" {
            self.curves.push_eval(step.unwrap_or_else(|| self.step()), value);
        }
        self.curves.push_score(name, value);
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

    /// Seconds left, as the trainer estimates.
    pub fn remaining(&self) -> Option<f64> {
        self.last.as_ref().filter(|_| self.alive()).map(|r| r.remaining)
    }
}

/// A rate, 0 when no time has passed.
pub fn per_second(n: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { n as f64 / seconds } else { 0.0 }
}

//! The training loop: updates, logging, evaluation, saving, and commands in between.

mod answers;
mod bad_batch;
mod batch;
mod evaluate;
mod finish;
mod forecast;
mod progress;
mod rehearse;
mod save;
mod serve;
mod start;
mod update;

pub use bad_batch::BAD_BATCH;

use super::changes::Change;
use super::clock::Clock;
use super::commands::{Control, Inbox};
use super::optimizer::AdamW;
use super::output::Output;
use super::position::Position;
use super::sampler::{Items, MicroBatch};
use super::split::Split;
use crate::config::steps::Steps;
use crate::config::{Every, Strategy, TrainConfig};
use crate::data::encode::Encoder;
use crate::error::{self, Result};
use crate::job::{Command, Emit, Event, Level, Phase};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use forecast::Forecast;
use save::Retry;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::time::Instant;

/// What a training job works with.
pub struct Setup<'a> {
    pub model: &'a mut Qwen3Vl,
    pub encoder: &'a Encoder,
    pub config: &'a TrainConfig,
    /// What the device is called, for people.
    pub device: String,
}

/// Trains to the end, to a stop, or to an error. The summary holds LLaMA-Factory's `all_results.json` and paths.
pub fn run(setup: Setup, inbox: &Receiver<Command>, emit: Emit) -> Result<Value> {
    match start::prepare(setup, inbox, emit)? {
        start::Ready::Done(summary) => Ok(summary),
        start::Ready::Train(mut trainer, chosen) => trainer.train(&chosen),
    }
}

fn log(emit: Emit, level: Level, line: String) {
    emit(Event::Log { level, line });
}

/// A run in progress.
struct Trainer<'a> {
    model: &'a mut Qwen3Vl,
    encoder: &'a Encoder,
    /// The job's settings, with the changes made since.
    config: TrainConfig,
    emit: Emit<'a>,
    inbox: Inbox<'a>,
    plan: Steps,
    items: Items,
    data: Split,
    output: Output,
    adapter: Adapter,
    optimizer: AdamW,
    position: Position,
    /// Changes of an earlier part of the run that are still to be made again.
    to_come: Vec<Change>,
    clock: Clock,
    /// Since when `position.since_log` is counted here.
    since: Instant,
    began: Instant,
    first_step: usize,
    /// Learning rate and gradient norm of the last update.
    last: (f64, f64),
    forecast: Forecast,
    /// Samples whose pictures are read while a micro-batch is computed.
    soon: Vec<usize>,
    retry: Retry,
    /// Samples whose pictures could not be read, each told once.
    unreadable: BTreeSet<usize>,
    log_is_broken: bool,
}

/// How an update ended.
enum Update {
    Done,
    /// Nothing was learned from it.
    Skipped,
    Stop {
        save: bool,
    },
}

impl Trainer<'_> {
    /// Trains; `chosen` is rehearsed first.
    fn train(&mut self, chosen: &[MicroBatch]) -> Result<Value> {
        if let Control::Stop { save } = self.rehearse(chosen)? {
            return self.stopped(save);
        }
        // A run that was stopped during an evaluation does that first.
        let here = self.position.step;
        if here > 0
            && !self.data.eval.is_empty()
            && self.is_due(self.config.evaluates())
            && self.position.evaluated != Some(here)
            && let Control::Stop { save } = self.evaluate_and_save()?
        {
            return self.stopped(save);
        }
        let mut next = None;
        while self.position.step < self.plan.total && !self.is_stopped_early() {
            self.make_changes();
            let step = self.position.step;
            if step == self.first_step + 2 {
                error::panic_for_test("trainer");
            }
            let micro_batches = next.take().unwrap_or_else(|| self.micro_batches(step));
            let after = if step + 1 < self.plan.total { self.micro_batches(step + 1) } else { Vec::new() };
            let began = Instant::now();
            if let Update::Stop { save } = self.update(&micro_batches, &after)? {
                return self.stopped(save);
            }
            next = Some(after);
            self.took(began.elapsed().as_secs_f64());
            if let Control::Stop { save } = self.after_update()? {
                return self.stopped(save);
            }
        }
        self.finish()
    }

    fn micro_batches(&mut self, step: usize) -> Vec<MicroBatch> {
        let per_epoch = self.plan.updates_per_epoch;
        self.items.update(step / per_epoch, step % per_epoch)
    }

    /// Logs, evaluates and saves where it is time to.
    fn after_update(&mut self) -> Result<Control> {
        let step = self.position.step;
        if step.is_multiple_of(self.config.logging_steps) || step == self.plan.total {
            self.log_step();
        }
        (self.emit)(Event::Progress { phase: Phase::Training, done: step, total: self.plan.total });
        self.evaluate_and_save()
    }

    fn evaluate_and_save(&mut self) -> Result<Control> {
        let best_before = self.position.best;
        if self.is_due(self.config.evaluates())
            && let Control::Stop { save } = self.evaluate()?
        {
            return Ok(Control::Stop { save });
        }
        let due = match self.config.save_strategy {
            Strategy::No => false,
            Strategy::Steps => self.is_due(Every::Steps(self.config.save_steps)),
            Strategy::Epoch => self.is_due(Every::Epoch),
            Strategy::Best => self.position.best != best_before,
        };
        let early = self.is_stopped_early() && self.config.save_strategy != Strategy::No;
        if due || early || self.retry.is_due(self.position.step) {
            self.save_or_warn();
        }
        Ok(Control::GoOn)
    }

    /// Whether something is due now, between two updates. The last update counts for all of them.
    fn is_due(&self, every: Every) -> bool {
        let step = self.position.step;
        match every {
            Every::Never => false,
            Every::Steps(n) => step.is_multiple_of(n) || step == self.plan.total,
            Every::Epoch => step.is_multiple_of(self.plan.updates_per_epoch) || step == self.plan.total,
        }
    }

    /// Whether `early_stopping_steps` evaluations in a row were no better (transformers' `EarlyStoppingCallback`).
    fn is_stopped_early(&self) -> bool {
        self.config.early_stopping_steps.is_some_and(|limit| self.position.no_better >= limit)
    }

    /// Epochs done, as transformers counts them: by micro-batches.
    fn epoch(&self) -> f64 {
        let (step, per_epoch) = (self.position.step, self.plan.updates_per_epoch);
        let (whole, updates) = (step / per_epoch, step % per_epoch);
        let micro = updates * self.config.gradient_accumulation_steps;
        whole as f64 + micro as f64 / self.plan.micro_batches_per_epoch as f64
    }
}

//! The training loop: micro-batches, accumulation, updates, logging, saving, and commands in between.

mod evaluate;
mod progress;
mod save;
mod serve;
mod start;
mod update;

use super::checkpoint::{self, Position};
use super::clock::Clock;
use super::commands::Inbox;
use super::optimizer::AdamW;
use super::output::Output;
use super::split::{self, Split};
use super::{report, sampler};
use crate::config::TrainConfig;
use crate::config::steps::{Steps, steps};
use crate::data::encode::Encoder;
use crate::error::Result;
use crate::job::{Command, Emit, Event, Level, Phase};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::runs::results::TrainTotals;
use progress::Window;
use serde_json::{Map, Value, json};
use std::sync::atomic::AtomicBool;
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
    let Setup { model, encoder, config, device } = setup;
    let stop = AtomicBool::new(false);
    let data = split::load(config, encoder, emit, &stop)?;
    let resume = super::output::resume_folder(config)?;
    let start = start::begin(model, config, &data.train, resume.as_ref(), emit)?;
    model.attach(&start.adapter)?;
    let plan = steps(config, data.train.all.len(), 1);
    if start.position.step >= plan.total {
        log(emit, Level::Info, format!("all {} steps are done; raise num_train_epochs to go on", plan.total));
        let results = crate::runs::results::read(&config.output_dir);
        return Ok(summary(config, start.position.step, results));
    }
    let output = Output::open(config, &plan, &start.position)?;
    emit(Event::Started {
        run_dir: config.output_dir.clone(),
        device,
        total_steps: plan.total,
        trainable: start.adapter.parameters(),
        parameters: model.parameters + start.adapter.parameters(),
        targets: report::targets(model, &start.adapter),
    });
    let mut trainer = Trainer {
        model,
        encoder,
        config,
        emit,
        plan,
        window: Window::new(),
        clock: Clock::default(),
        began: Instant::now(),
        first_step: start.position.step,
        data,
        output,
        adapter: start.adapter,
        optimizer: start.optimizer,
        position: start.position,
        inbox: Inbox::new(inbox),
        last: (0.0, 0.0),
    };
    trainer.train()
}

/// What a training job hands back.
fn summary(config: &TrainConfig, steps: usize, results: Map<String, Value>) -> Value {
    json!({ "output_dir": config.output_dir, "steps": steps, "results": results })
}

fn log(emit: Emit, level: Level, line: String) {
    emit(Event::Log { level, line });
}

struct Trainer<'a> {
    model: &'a mut Qwen3Vl,
    encoder: &'a Encoder,
    config: &'a TrainConfig,
    emit: Emit<'a>,
    inbox: Inbox<'a>,
    plan: Steps,
    data: Split,
    output: Output,
    adapter: Adapter,
    optimizer: AdamW,
    position: Position,
    window: Window,
    clock: Clock,
    began: Instant,
    first_step: usize,
    /// Learning rate and gradient norm of the last update.
    last: (f64, f64),
}

impl Trainer<'_> {
    fn train(&mut self) -> Result<Value> {
        let mut epoch_order: Option<(usize, Vec<usize>)> = None;
        while self.position.step < self.plan.total {
            let (epoch, update) = (
                self.position.step / self.plan.updates_per_epoch,
                self.position.step % self.plan.updates_per_epoch,
            );
            if epoch_order.as_ref().is_none_or(|(e, _)| *e != epoch) {
                let shuffle = !self.config.disable_shuffling;
                let n = self.data.train.all.len();
                epoch_order = Some((epoch, sampler::order(n, self.config.seed, epoch, shuffle)));
            }
            let order = &epoch_order.as_ref().expect("set above").1;
            let micro_batches: Vec<Vec<usize>> = order
                .chunks(self.config.per_device_train_batch_size)
                .skip(update * self.config.gradient_accumulation_steps)
                .take(self.config.gradient_accumulation_steps)
                .map(<[usize]>::to_vec)
                .collect();
            if let Some(save) = self.update(&micro_batches)? {
                return self.stopped(save);
            }
            self.after_update(epoch, update, micro_batches.len())?;
        }
        self.finish()
    }

    /// Logs, evaluates and saves where it is time to.
    fn after_update(&mut self, epoch: usize, update: usize, micro: usize) -> Result<()> {
        let step = self.position.step;
        let last = step == self.plan.total;
        let every = |n: usize| n > 0 && step.is_multiple_of(n);
        let in_epoch = update * self.config.gradient_accumulation_steps + micro;
        let at = epoch as f64 + in_epoch as f64 / self.plan.micro_batches_per_epoch as f64;
        if every(self.config.logging_steps) || last {
            self.log_step(at)?;
        }
        (self.emit)(Event::Progress { phase: Phase::Training, done: step, total: self.plan.total });
        if every(self.config.eval_steps) {
            self.evaluate(at)?;
        }
        if every(self.config.save_steps) || last {
            self.save_or_warn();
        }
        Ok(())
    }

    /// transformers' `floating_point_ops`: 6 · tokens · parameters without embeddings (arXiv 2001.08361, C ≈ 6ND).
    fn flops(&self) -> f64 {
        let (text, vision) = (&self.model.config.text, &self.model.config.vision);
        let embeddings =
            text.vocab_size * text.hidden_size + vision.num_position_embeddings * vision.hidden_size;
        let counted = self.model.parameters + self.adapter.parameters() - embeddings as u64;
        6.0 * self.position.padded_tokens as f64 * counted as f64
    }

    fn finish(&mut self) -> Result<Value> {
        let epochs = self.position.step as f64 / self.plan.updates_per_epoch as f64;
        if self.config.eval_steps == 0 && self.data.eval.is_some() {
            self.evaluate(epochs)?;
        }
        let dir = self.config.output_dir.clone();
        checkpoint::save_adapter(&dir, &self.adapter, self.model, self.config)?;
        let totals = TrainTotals {
            epoch: epochs,
            total_flos: self.flops(),
            train_loss: self.position.loss_sum / self.position.step.max(1) as f64,
            train_runtime: self.began.elapsed().as_secs_f64(),
            samples: epochs * self.data.train.all.len() as f64,
            steps: self.position.step,
        };
        let results = self.output.finish(&totals)?;
        Ok(summary(self.config, self.position.step, results))
    }
}

//! The training loop: micro-batches, accumulation, updates, logging, saving, and commands in between.

use super::checkpoint::{self, Position};
use super::commands::{Control, Inbox};
use super::optimizer::{self, AdamW};
use super::output::Output;
use super::split::{self, Split};
use super::step::{self, Keep};
use super::{init, report, sampler, schedule};
use crate::config::TrainConfig;
use crate::config::steps::{Steps, steps};
use crate::data::encode::Encoder;
use crate::error::{Error, Kind, Result};
use crate::eval::loss;
use crate::eval::samples::Samples;
use crate::job::{Command, Emit, Event, Level, Phase, StepRow};
use crate::model::lora::{Adapter, Grads, Pass};
use crate::model::ops::dropout::mix;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::runs::results::TrainTotals;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
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
    let start = begin(model, config, &data.train, resume.as_ref(), emit)?;
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
        targets: report::targets(&model.config, &report::of_adapter(&start.adapter), config),
    });
    let mut trainer = Trainer {
        model,
        encoder,
        config,
        emit,
        plan,
        window: Window::new(),
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

/// Where a run starts: from nothing, from an adapter, or from a checkpoint.
fn begin(
    model: &mut Qwen3Vl,
    config: &TrainConfig,
    train: &Samples,
    resume: Option<&PathBuf>,
    emit: Emit,
) -> Result<checkpoint::Loaded> {
    if let Some(dir) = resume {
        let loaded = checkpoint::load(dir, model, config)?;
        let p = &loaded.position;
        if p.samples != train.all.len() || p.seed != config.seed {
            return Err(Error::usage(format!(
                "cannot resume from {}: it was trained on {} samples with seed {}, now there are {} with seed {}",
                dir.display(), p.samples, p.seed, train.all.len(), config.seed
            ))
            .hint("use the same data and seed, or set overwrite_output_dir: true to start anew"));
        }
        log(emit, Level::Info, format!("resumed from {} at step {}", dir.display(), p.step));
        return Ok(loaded);
    }
    let adapter = match &config.adapter_name_or_path {
        Some(dir) if !config.create_new_adapter => init::from_folder(model, dir)?,
        Some(dir) => {
            let old = init::from_folder(model, dir)?;
            model.attach(&old)?;
            model.merge(&old);
            init::fresh(model, config)?
        }
        None => init::fresh(model, config)?,
    };
    let optimizer = AdamW::new(config, &adapter);
    let (seed, samples) = (config.seed, train.all.len());
    let position = Position { step: 0, micro_steps: 0, padded_tokens: 0, loss_sum: 0.0, seed, samples };
    Ok(checkpoint::Loaded { adapter, optimizer, position })
}

/// What a training job hands back.
fn summary(config: &TrainConfig, steps: usize, results: Map<String, Value>) -> Value {
    json!({ "output_dir": config.output_dir, "steps": steps, "results": results })
}

fn log(emit: Emit, level: Level, line: String) {
    emit(Event::Log { level, line });
}

/// What has been counted since the last log line.
struct Window {
    since: Instant,
    loss: f64,
    updates: usize,
    samples: usize,
    tokens: usize,
    label_tokens: usize,
}

impl Window {
    fn new() -> Self {
        let since = Instant::now();
        Self { since, loss: 0.0, updates: 0, samples: 0, tokens: 0, label_tokens: 0 }
    }
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

    /// One optimizer update. `Some(save)` when a stop was asked for instead.
    fn update(&mut self, micro_batches: &[Vec<usize>]) -> Result<Option<bool>> {
        let mut grads = Grads::new(self.adapter.pairs.len());
        let share = 1.0 / micro_batches.len() as f32;
        let mut loss = 0.0;
        let micro_steps = self.position.micro_steps;
        for (i, places) in micro_batches.iter().enumerate() {
            if let Control::Stop { save } = self.serve()? {
                return Ok(Some(save));
            }
            let (pack, targets) = self.data.train.pack(self.model, self.encoder, places)?;
            let key = mix(self.config.seed, micro_steps + i as u64);
            let pass = Pass { adapter: Some(&self.adapter), dropout_key: Some(key) };
            let mean =
                step::forward_backward(self.model, &pass, (&pack, &targets), (share, Keep::All), &mut grads);
            let mean = f64::from(mean.into_data().try_to_vec::<f32>().expect("the loss is f32")[0]);
            if !mean.is_finite() {
                return Err(self.not_finite("the loss", mean, places));
            }
            loss += mean * f64::from(share);
            self.window.samples += places.len();
            self.window.tokens += pack.ids.len();
            self.window.label_tokens += targets.len();
        }
        let norm = optimizer::global_norm(&grads);
        if !norm.is_finite() {
            return Err(self.not_finite("the gradient norm", norm, &micro_batches.concat()));
        }
        let lr = schedule::lr(self.config, self.plan.total, self.position.step);
        let clip = optimizer::clip_factor(norm, self.config.max_grad_norm);
        self.optimizer.step(&mut self.adapter, grads, lr, clip);
        self.position.micro_steps += micro_batches.len() as u64;
        self.position.padded_tokens +=
            micro_batches.iter().map(|places| self.data.train.padded_tokens(places)).sum::<u64>();
        self.position.step += 1;
        self.position.loss_sum += loss;
        self.window.loss += loss;
        self.window.updates += 1;
        self.last = (lr, norm);
        Ok(None)
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

    /// Where the run stands: step, epoch and times.
    fn now(&self, epoch: f64) -> StepRow {
        let elapsed = self.began.elapsed().as_secs_f64();
        let done = (self.position.step - self.first_step).max(1) as f64;
        let left = (self.plan.total - self.position.step) as f64;
        StepRow {
            step: self.position.step,
            total_steps: self.plan.total,
            epoch,
            elapsed,
            remaining: elapsed / done * left,
            memory: super::memory::resident(),
            ..StepRow::default()
        }
    }

    fn log_step(&mut self, epoch: f64) -> Result<()> {
        let w = std::mem::replace(&mut self.window, Window::new());
        let row = StepRow {
            loss: w.loss / w.updates.max(1) as f64,
            lr: self.last.0,
            grad_norm: self.last.1,
            samples: w.samples,
            tokens: w.tokens,
            label_tokens: w.label_tokens,
            seconds: w.since.elapsed().as_secs_f64(),
            data_wait: self.data.train.take_data_wait(),
            ..self.now(epoch)
        };
        self.output.step(&row)?;
        (self.emit)(Event::Step(row));
        Ok(())
    }

    /// Mean loss over the evaluation samples, as transformers' `eval_loss` (weighted by samples per batch).
    fn evaluate(&mut self, epoch: f64) -> Result<()> {
        let Some(eval) = &mut self.data.eval else { return Ok(()) };
        let n = eval.all.len();
        let places: Vec<usize> = (0..n).collect();
        let (mut sum, mut done) = (0.0, 0);
        for batch in places.chunks(self.config.per_device_eval_batch_size) {
            let (pack, targets) = eval.pack(self.model, self.encoder, batch)?;
            let mean = loss::mean(self.model, Some(&self.adapter), &pack, &targets);
            sum += f64::from(mean.into_data().try_to_vec::<f32>().expect("the loss is f32")[0])
                * batch.len() as f64;
            done += batch.len();
            (self.emit)(Event::Progress { phase: Phase::Evaluating, done, total: n });
        }
        let value = sum / n as f64;
        self.output.evaluated(&self.now(epoch), value)?;
        (self.emit)(Event::Score { name: "eval_loss".into(), value, step: Some(self.position.step) });
        Ok(())
    }

    /// Serves what was said since the last look; waits while paused.
    fn serve(&mut self) -> Result<Control> {
        loop {
            match self.inbox.next(self.emit) {
                None => return Ok(Control::GoOn),
                Some(Command::Stop { save }) => return Ok(Control::Stop { save }),
                Some(Command::SaveNow) => self.save_or_warn(),
                Some(Command::Ask { id, turn }) => {
                    let who = crate::generate::ask::Who {
                        model: self.model,
                        encoder: self.encoder,
                        adapter: Some(&self.adapter),
                    };
                    self.inbox.answer(who, id, &turn, self.emit);
                }
                Some(Command::Pause | Command::Resume | Command::CancelAsk { .. }) => {}
            }
        }
    }

    /// Saves a checkpoint; a failure (a full disk) is told and the run goes on.
    fn save_or_warn(&mut self) {
        if let Err(e) = self.save() {
            let hint = e.hint.map(|h| format!(" ({h})")).unwrap_or_default();
            log(
                self.emit,
                Level::Error,
                format!("checkpoint not saved, training goes on: {}{hint}", e.message),
            );
        }
    }

    fn save(&mut self) -> Result<PathBuf> {
        let state = |dir: &std::path::Path| self.output.fill(dir);
        let what = (&self.adapter, &*self.model, self.config);
        let path = checkpoint::save(&self.config.output_dir, what, &self.optimizer, &self.position, &state)?;
        checkpoint::rotate(&self.config.output_dir, self.config.save_total_limit)?;
        (self.emit)(Event::Saved { step: self.position.step, path: path.clone() });
        Ok(path)
    }

    fn not_finite(&mut self, what: &str, value: f64, places: &[usize]) -> Error {
        let saved = match self.save() {
            Ok(path) => format!("the state before this batch is in {}", path.display()),
            Err(e) => format!("saving the state before this batch failed: {}", e.message),
        };
        let names = self.data.train.names(places);
        let step = self.position.step + 1;
        Error::new(Kind::Training, format!("{what} became {value} at step {step}; {saved}. Samples: {names}"))
            .hint("look at these samples with `show`, or lower the learning rate")
    }

    fn stopped(&mut self, save: bool) -> Result<Value> {
        if save {
            self.save()?;
        }
        let step = self.position.step;
        let hint = match checkpoint::list(&self.config.output_dir).last() {
            Some((at, dir)) => format!("start it again to go on from {} (step {at})", dir.display()),
            None => "nothing was saved".into(),
        };
        Err(Error::new(Kind::Stopped, format!("training stopped at step {step} of {}", self.plan.total))
            .hint(hint))
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

//! Where a run starts: from nothing, from an adapter, or from a checkpoint.

use super::forecast::Forecast;
use super::rehearse::Chosen;
use super::save::Retry;
use super::{Setup, Trainer, finish, log};
use crate::config::TrainConfig;
use crate::config::steps::steps;
use crate::data::encode::Encoder;
use crate::error::{Error, Result};
use crate::eval::listen::while_listening;
use crate::eval::samples::Samples;
use crate::job::{Command, Emit, Event, Level};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::train::clock::Clock;
use crate::train::commands::Inbox;
use crate::train::optimizer::AdamW;
use crate::train::output::{self, Output};
use crate::train::position::Position;
use crate::train::sampler::{Items, MicroBatch};
use crate::train::split::{self, Split};
use crate::train::{changes, checkpoint, init, report};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Instant;

/// A run that can begin, or one that has nothing left to do.
pub(super) enum Ready<'a> {
    /// And the micro-batches to rehearse.
    Train(Box<Trainer<'a>>, Vec<MicroBatch>),
    Done(Value),
}

/// Loads the data, and the state that the run starts from.
pub(super) fn prepare<'a>(
    setup: Setup<'a>,
    inbox: &'a Receiver<Command>,
    emit: Emit<'a>,
) -> Result<Ready<'a>> {
    let Setup { model, encoder, config, device } = setup;
    let (data, waiting) = load_data(config, encoder, inbox, emit)?;
    super::evaluate::check_metric(config, &data)?;
    let lengths: Vec<usize> = data.train.all.iter().map(|s| s.encoded.input_ids.len()).collect();
    let mut items = Items::new(config, &lengths);
    refuse_nothing(config, items.len())?;
    let resume = output::resume_folder(config)?;
    let mut start = begin(model, config, (&data.train, items.len()), resume.as_ref(), emit)?;
    model.attach(&start.adapter)?;
    let plan = steps(config, items.len(), 1);
    if let Some(why) = nothing_left(config, &start.position, plan.total) {
        log(emit, Level::Info, why);
        let results = crate::runs::results::read(&config.output_dir);
        return Ok(Ready::Done(finish::summary(config, &start.position, results)));
    }
    let output = Output::open(config, &plan, &start.position)?;
    emit(started(config, model, &start.adapter, device, plan.total));
    let rest = (start.position.step..plan.total, plan.updates_per_epoch);
    let chosen = Chosen::new(&mut items, &data.train, rest, model.on_cpu());
    let how = (chosen.worst(), chosen.long);
    let forecast = Forecast::new(config, model, &data.train.all, how, emit);
    let rehearsed = if chosen.long { chosen.all } else { Vec::new() };
    let to_come = changes_to_come(config, resume.as_deref(), &mut start.position);
    let trainer = Trainer {
        model,
        encoder,
        config: config.clone(),
        emit,
        inbox: Inbox::new(inbox, waiting),
        plan,
        items,
        data,
        output,
        adapter: start.adapter,
        optimizer: start.optimizer,
        first_step: start.position.step,
        position: start.position,
        to_come,
        clock: Clock::default(),
        since: Instant::now(),
        began: Instant::now(),
        last: (0.0, 0.0),
        forecast,
        soon: Vec::new(),
        retry: Retry::default(),
        unreadable: BTreeSet::new(),
        log_is_broken: false,
    };
    Ok(Ready::Train(Box::new(trainer), rehearsed))
}

/// What is told of a run that begins.
fn started(
    config: &TrainConfig,
    model: &Qwen3Vl,
    adapter: &Adapter,
    device: String,
    total_steps: usize,
) -> Event {
    Event::Started {
        run_dir: config.output_dir.clone(),
        device,
        total_steps,
        trainable: adapter.parameters(),
        parameters: model.parameters + adapter.parameters(),
        targets: report::targets(&model.config, &report::of_adapter(adapter), config),
    }
}

/// An error where `dataloader_drop_last` leaves none of `samples`.
fn refuse_nothing(config: &TrainConfig, samples: usize) -> Result<()> {
    if config.dataloader_drop_last && samples < config.per_device_train_batch_size {
        return Err(Error::usage(format!("{samples} samples are less than one micro-batch")).hint(
            "dataloader_drop_last leaves nothing: set it to false, or lower per_device_train_batch_size",
        ));
    }
    Ok(())
}

/// Reads and encodes the samples on another thread, so that a stop is heard meanwhile. Other commands are handed
/// back: they are served when training has begun.
fn load_data(
    config: &TrainConfig,
    encoder: &Encoder,
    inbox: &Receiver<Command>,
    emit: Emit,
) -> Result<(Split, Vec<Command>)> {
    let heard = while_listening(inbox, |stop| split::load(config, encoder, emit, stop));
    let data = heard.done?;
    if heard.stopped {
        return Err(Error::new(crate::error::Kind::Stopped, "stopped after encoding the samples"));
    }
    Ok((data, heard.waiting))
}

/// Why there is nothing to train, if so.
fn nothing_left(config: &TrainConfig, position: &Position, total: usize) -> Option<String> {
    if position.step >= total {
        return Some(format!("all {total} steps are done; raise num_train_epochs to go on"));
    }
    let limit = config.early_stopping_steps?;
    (position.no_better >= limit).then(|| {
        format!("training ended early at step {}; raise early_stopping_steps to go on", position.step)
    })
}

/// The state of a checkpoint, of an adapter, or a new one. `items` are the samples or packs of an epoch.
fn begin(
    model: &mut Qwen3Vl,
    config: &TrainConfig,
    (train, items): (&Samples, usize),
    resume: Option<&PathBuf>,
    emit: Emit,
) -> Result<checkpoint::Loaded> {
    if let Some(dir) = resume {
        let loaded = checkpoint::load(dir, model, config)?;
        same_data(dir, config, &loaded.position, (train.all.len(), items))?;
        log(emit, Level::Info, format!("resumed from {} at step {}", dir.display(), loaded.position.step));
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
    let position = Position { seed: config.seed, samples: train.all.len(), items, ..Position::default() };
    Ok(checkpoint::Loaded { adapter, optimizer, position })
}

/// A checkpoint stands at a place of a data order, which must be the same again.
fn same_data(dir: &Path, config: &TrainConfig, p: &Position, now: (usize, usize)) -> Result<()> {
    // A checkpoint of an earlier version has no number of items.
    let items = if p.items == 0 { p.samples } else { p.items };
    if (p.samples, items, p.seed) == (now.0, now.1, config.seed) {
        return Ok(());
    }
    let of = |samples: usize, items: usize, seed: u64| match samples == items {
        true => format!("{samples} samples with seed {seed}"),
        false => format!("{samples} samples in {items} packs with seed {seed}"),
    };
    Err(Error::usage(format!(
        "cannot resume from {}: it was trained on {}, now there are {}",
        dir.display(),
        of(p.samples, items, p.seed),
        of(now.0, now.1, config.seed)
    ))
    .hint("use the same data, packing and seed, or set overwrite_output_dir: true to start anew"))
}

/// The changes that were made to this run: those of its folder, else those that the checkpoint knows.
fn changes_to_come(
    config: &TrainConfig,
    resume: Option<&Path>,
    position: &mut Position,
) -> Vec<changes::Change> {
    let known = std::mem::take(&mut position.changes);
    let here = resume.is_some_and(|dir| dir.parent() == Some(&config.output_dir));
    match changes::read(&config.output_dir) {
        Some(all) if here && all.starts_with(&known) => all,
        _ => known,
    }
}

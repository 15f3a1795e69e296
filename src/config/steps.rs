//! Numbers that follow from the settings and the size of the data: batches, updates, warmup.
//!
//! The rules are transformers' (`Trainer.set_initial_training_values`, `TrainingArguments.get_warmup_steps`).

use super::TrainConfig;

/// The shape of a run.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Steps {
    /// Samples per update: batch x accumulation x devices.
    pub effective_batch: usize,
    /// Micro-batches of one device in one epoch. The last may be smaller, and is trained.
    pub micro_batches_per_epoch: usize,
    /// Updates in one epoch. The last may have fewer micro-batches.
    pub updates_per_epoch: usize,
    /// Updates of the whole run.
    pub total: usize,
    /// Updates over which the learning rate rises.
    pub warmup: usize,
    /// Epochs begun: `total` as whole passes over the data.
    pub epochs: usize,
}

/// The shape of a run over `samples` training samples on `devices` devices (both at least 1).
pub fn steps(config: &TrainConfig, samples: usize, devices: usize) -> Steps {
    let (batch, accumulation) = (config.per_device_train_batch_size, config.gradient_accumulation_steps);
    // ceil(ceil(N / b) / W), then ceil(. / GA): nothing is dropped at the end of an epoch.
    // With dataloader_drop_last the last, smaller micro-batch is.
    let batches = if config.dataloader_drop_last { samples / batch } else { samples.div_ceil(batch) };
    let micro_batches_per_epoch = batches.div_ceil(devices).max(1);
    let updates_per_epoch = micro_batches_per_epoch.div_ceil(accumulation).max(1);
    let total = match config.max_steps {
        given if given > 0 => given as usize,
        _ => (config.num_train_epochs * updates_per_epoch as f64).ceil() as usize,
    };
    Steps {
        effective_batch: batch * accumulation * devices,
        micro_batches_per_epoch,
        updates_per_epoch,
        total,
        warmup: warmup(config, total),
        epochs: total.div_ceil(updates_per_epoch),
    }
}

/// Updates over which the learning rate rises, of `total`. A ratio above 0 takes the place of `warmup_steps`.
pub fn warmup(config: &TrainConfig, total: usize) -> usize {
    let asked = if config.warmup_ratio > 0.0 { config.warmup_ratio } else { config.warmup_steps };
    if asked >= 1.0 { asked as usize } else { (total as f64 * asked).ceil() as usize }
}

/// How many of `samples` are held out by `val_size`: a share (rounded up) to 1, a number above 1.
pub fn held_out(val_size: f64, samples: usize) -> usize {
    if val_size > 1.0 { val_size as usize } else { (val_size * samples as f64).ceil() as usize }
}

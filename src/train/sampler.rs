//! The order of samples: torch's `randperm` from a generator seeded with seed + epoch, as accelerate's
//! `SeedableRandomSampler` draws it, so that a run can be replayed against LLaMA-Factory.

use super::packing;
use crate::config::TrainConfig;
use crate::config::steps::held_out;
use rand_mt::Mt;
use std::ops::Range;

/// Places of all `n` samples in the order of `epoch` (from 0). Without `shuffle` as they are in the file.
pub fn order(n: usize, seed: u64, epoch: usize, shuffle: bool) -> Vec<usize> {
    if shuffle { randperm(n, seed.wrapping_add(epoch as u64)) } else { (0..n).collect() }
}

/// What a micro-batch is made of: samples, or packs of samples.
pub struct Items {
    all: Vec<Vec<usize>>,
    batch: usize,
    accumulation: usize,
    drop_last: bool,
    /// `None`: the order of the file.
    seed: Option<u64>,
    /// The epoch whose order was drawn last.
    drawn: Option<(usize, Vec<usize>)>,
}

/// What goes through the model at once.
#[derive(Clone, Debug)]
pub struct MicroBatch {
    /// Places of its samples in the training set.
    pub places: Vec<usize>,
    /// Samples or packs.
    pub items: usize,
}

impl Items {
    /// The items of a training set whose samples have `lengths` tokens.
    pub fn new(config: &TrainConfig, lengths: &[usize]) -> Self {
        let all = if config.packs() {
            packing::packs(lengths, config.longest(), config.preprocessing_batch_size)
        } else {
            (0..lengths.len()).map(|place| vec![place]).collect()
        };
        let seed = config.data_seed.unwrap_or(config.seed);
        Self {
            all,
            batch: config.per_device_train_batch_size,
            accumulation: config.gradient_accumulation_steps,
            drop_last: config.dataloader_drop_last,
            seed: (!config.disable_shuffling).then_some(seed),
            drawn: None,
        }
    }

    /// Samples or packs.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The micro-batches of the updates `steps` of a run with `per_epoch` updates in an epoch.
    pub fn of_steps(&mut self, steps: Range<usize>, per_epoch: usize) -> impl Iterator<Item = MicroBatch> {
        steps.flat_map(move |step| self.update(step / per_epoch, step % per_epoch))
    }

    /// The micro-batches of an update (from 0) of an epoch.
    pub fn update(&mut self, epoch: usize, update: usize) -> Vec<MicroBatch> {
        if self.drawn.as_ref().is_none_or(|(e, _)| *e != epoch) {
            let order = order(self.all.len(), self.seed.unwrap_or(0), epoch, self.seed.is_some());
            self.drawn = Some((epoch, order));
        }
        let order = &self.drawn.as_ref().expect("set above").1;
        let whole = order.len() - if self.drop_last { order.len() % self.batch } else { 0 };
        order[..whole]
            .chunks(self.batch)
            .skip(update * self.accumulation)
            .take(self.accumulation)
            .map(|items| MicroBatch {
                places: items.iter().flat_map(|&i| self.all[i].iter().copied()).collect(),
                items: items.len(),
            })
            .collect()
    }
}

/// torch 2.11 on the CPU: mt19937 seeded with the low 32 bits; for each i, swap i with i + u32 mod (n − i).
fn randperm(n: usize, seed: u64) -> Vec<usize> {
    let mut rng = Mt::new(seed as u32);
    let mut all: Vec<usize> = (0..n).collect();
    for i in 0..n.saturating_sub(1) {
        let z = rng.next_u32() as usize % (n - i);
        all.swap(i, i + z);
    }
    all
}

/// Places for training and for evaluation: `val_size` of `n` held out by seed, as `train_test_split` of the
/// `datasets` library (which LLaMA-Factory calls) picks and orders them.
pub fn val_split(n: usize, val_size: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let held = held_out(val_size, n).min(n.saturating_sub(1));
    let mut eval = crate::data::numpy::permutation(n, seed);
    let train = eval.split_off(held);
    (train, eval)
}

//! Before the first update of a long run: its worst micro-batch forward and back, so that what does not fit shows now.

use super::update::Micro;
use super::{Trainer, log};
use crate::error::Result;
use crate::eval::samples::Samples;
use crate::job::{Event, Level, Phase};
use crate::model::lora::Grads;
use crate::plan::lengths::Length;
use crate::train::commands::Control;
use crate::train::sampler::{Items, MicroBatch};
use crate::train::step::Keep;
use crate::train::{memory, optimizer, out_of_memory};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

/// Micro-batches of a run that is worth a rehearsal: on the CPU, and on a GPU, where kernels are compiled meanwhile.
const LONG: [usize; 2] = [64, 8];

/// Micro-batches at most beside the worst one.
const OTHERS: usize = 8;

/// The micro-batches of a run that are rehearsed, the largest first; none of a run without updates.
pub(super) struct Chosen {
    pub all: Vec<MicroBatch>,
    /// Whether the run is long enough.
    pub long: bool,
}

impl Chosen {
    /// Of the updates `steps` of a run. On a GPU also the first ones of every other alignment of shapes: kernels are
    /// chosen, and so compiled, by whether sizes can be divided by 2, 4 or 8.
    pub fn new(
        items: &mut Items,
        samples: &Samples,
        (steps, per_epoch): (Range<usize>, usize),
        on_cpu: bool,
    ) -> Self {
        let length = |place: &usize| Length::of(&samples.all[*place].encoded);
        let (mut count, mut most, mut worst) = (0, 0, None);
        let (mut others, mut seen) = (Vec::new(), BTreeSet::new());
        for micro in items.of_steps(steps, per_epoch) {
            count += 1;
            let lengths: Vec<Length> = micro.places.iter().map(length).collect();
            let tokens: usize = lengths.iter().map(|l| l.tokens).sum();
            let new = alignments(&lengths).into_iter().filter(|a| seen.insert(*a)).count() > 0;
            if tokens > most {
                most = tokens;
                worst = Some(micro.clone());
            }
            if new && !on_cpu && others.len() < OTHERS {
                others.push(micro);
            }
        }
        let all: Vec<MicroBatch> = worst.into_iter().chain(others).collect();
        Self { all, long: count >= LONG[usize::from(!on_cpu)] }
    }

    /// Samples of the largest micro-batch.
    pub fn worst(&self) -> &[usize] {
        self.all.first().map_or(&[], |micro| &micro.places)
    }
}

/// What kernels are chosen by: how far lengths of sequences, their labels and pictures are powers of two.
fn alignments(lengths: &[Length]) -> Vec<(u8, u32)> {
    let by = |n: usize| n.trailing_zeros().min(3);
    let labels = lengths.iter().map(|l| l.labels).sum();
    let each = lengths.iter().flat_map(|l| [(0, by(l.tokens)), (1, by(l.largest))]);
    each.chain([(2, by(labels))]).collect()
}

impl Trainer<'_> {
    /// Forward and back without an update, for each of `chosen`. Numbers, order and randomness of the run do not depend
    /// on it. A stop breaks it off.
    pub(super) fn rehearse(&mut self, chosen: &[MicroBatch]) -> Result<Control> {
        if chosen.is_empty() {
            return Ok(Control::GoOn);
        }
        let (began, total) = (Instant::now(), chosen.len());
        let skipped = self.position.skipped;
        for (done, micro) in chosen.iter().enumerate() {
            (self.emit)(Event::Progress { phase: Phase::WarmingUp, done, total });
            let (began, mut grads) = (Instant::now(), Grads::new(self.adapter.pairs.len()));
            let ended = self.dry(micro, &mut grads)?;
            self.position.skipped = skipped;
            if let Micro::Stop { save } = ended {
                return Ok(Control::Stop { save });
            }
            if let (0, Micro::Done(counts)) = (done, &ended) {
                let held = memory::held(&self.model.device);
                self.held(counts.tokens, began.elapsed().as_secs_f64(), held);
            }
            if done == 0 && !self.model.on_cpu() {
                self.dry_update(grads);
            }
        }
        (self.emit)(Event::Progress { phase: Phase::WarmingUp, done: total, total });
        self.data.train.take_data_wait();
        self.clock.take(0.0);
        self.since = Instant::now();
        self.forecast.rehearsed = began.elapsed().as_secs_f64();
        Ok(Control::GoOn)
    }

    /// A micro-batch, whose layers are computed again where all activations do not fit and the settings let it choose.
    fn dry(&mut self, micro: &MicroBatch, grads: &mut Grads) -> Result<Micro> {
        let ended = out_of_memory::catch(|| self.micro_step(micro, (1.0, 0), grads));
        match ended {
            Ok(ended) => ended,
            Err(_) if self.forecast.free && self.forecast.keep == Keep::All => {
                self.forecast.keep = Keep::Inputs;
                let line = "out of memory with all activations kept: layers are computed again from here on";
                log(self.emit, Level::Warning, line.into());
                *grads = Grads::new(self.adapter.pairs.len());
                // What the pass before took in pages for its many tensors is given back: the next one has other sizes.
                self.model.device.memory_cleanup();
                self.guarded(micro, (1.0, 0), grads)
            }
            Err(panic) => Err(self.too_large(micro, &panic)),
        }
    }

    /// The update's kernels, on copies.
    fn dry_update(&self, grads: Grads) {
        let (mut optimizer, mut adapter) = (self.optimizer.clone(), self.adapter.clone());
        let norm = optimizer::global_norm(&grads);
        optimizer.step(&mut adapter, grads, 0.0, optimizer::clip_factor(norm, self.config.max_grad_norm));
    }
}

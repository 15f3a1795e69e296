//! One optimizer update: micro-batches, accumulation, clipping, AdamW.

use super::bad_batch::Bad;
use super::{Trainer, Update, batch};
use crate::config::LrScheduler;
use crate::error::{Error, Result};
use crate::model::lora::{Grads, Pass};
use crate::model::ops::dropout::mix;
use crate::train::clock::Part;
use crate::train::commands::Control;
use crate::train::position::Counts;
use crate::train::sampler::MicroBatch;
use crate::train::step::{self, Keep, Watch};
use crate::train::{memory, optimizer, out_of_memory, schedule};

/// Micro-batches whose pictures are read while another one is computed.
const AHEAD: usize = 2;

/// How a micro-batch ended.
pub(super) enum Micro {
    /// Its mean loss is added, and this was counted.
    Done(Counts),
    /// None of its samples could be read.
    Empty,
    /// The loss is no number.
    Bad(f64),
    Stop {
        save: bool,
    },
}

impl Trainer<'_> {
    /// One optimizer update, or none where the batch is bad and may be skipped. `next` is the one after it, whose
    /// pictures are read meanwhile.
    pub(super) fn update(&mut self, micro_batches: &[MicroBatch], next: &[MicroBatch]) -> Result<Update> {
        let mut grads = Grads::new(self.adapter.pairs.len());
        let mut counts = Counts::default();
        let share = 1.0 / micro_batches.len() as f32;
        for (i, micro) in micro_batches.iter().enumerate() {
            let key = mix(self.config.seed, self.position.micro_steps + i as u64);
            let after = micro_batches[i + 1..].iter().chain(next).take(AHEAD);
            self.soon = after.flat_map(|m| m.places.iter().copied()).collect();
            match self.guarded(micro, (share, key), &mut grads)? {
                Micro::Done(more) => counts.add(&more),
                Micro::Empty => {}
                Micro::Stop { save } => return Ok(Update::Stop { save }),
                Micro::Bad(loss) => {
                    self.bad_batch(&Bad { what: "the loss", value: loss, places: &micro.places })?;
                    return Ok(self.skip(micro_batches));
                }
            }
        }
        if counts.samples == 0 {
            self.nothing_to_learn(micro_batches)?;
            return Ok(self.skip(micro_batches));
        }
        let norm = self.clock.time(Part::Optimizer, || optimizer::global_norm(&grads));
        if !norm.is_finite() {
            let places: Vec<usize> = micro_batches.iter().flat_map(|m| m.places.iter().copied()).collect();
            self.bad_batch(&Bad { what: "the gradient norm", value: norm, places: &places })?;
            return Ok(self.skip(micro_batches));
        }
        self.learn(grads, norm);
        self.position.skipped.in_a_row = 0;
        self.position.loss_sum += counts.loss;
        self.position.since_log.add(&Counts { updates: 1, ..counts });
        self.advance(micro_batches);
        Ok(Update::Done)
    }

    /// A micro-batch; a device that runs out of memory is an error that says what to do.
    pub(super) fn guarded(
        &mut self,
        micro: &MicroBatch,
        how: (f32, u64),
        grads: &mut Grads,
    ) -> Result<Micro> {
        self.clock.stop();
        out_of_memory::catch(|| self.micro_step(micro, how, grads))
            .unwrap_or_else(|panic| Err(self.too_large(micro, &panic)))
    }

    /// The error of a micro-batch that did not fit.
    pub(super) fn too_large(&self, micro: &MicroBatch, panic: &str) -> Error {
        let tokens = micro.places.iter().map(|&p| self.data.train.all[p].encoded.input_ids.len()).sum();
        let at = out_of_memory::At {
            part: self.clock.now(),
            samples: micro.places.len(),
            tokens,
            recomputed: self.forecast.keep == Keep::Inputs,
        };
        out_of_memory::error(panic, &self.config, at, memory::in_use(&self.model.device))
    }

    pub(super) fn micro_step(
        &mut self,
        micro: &MicroBatch,
        (share, key): (f32, u64),
        grads: &mut Grads,
    ) -> Result<Micro> {
        if let Control::Stop { save } = self.serve() {
            return Ok(Micro::Stop { save });
        }
        let model = &*self.model;
        let with = (model, self.encoder);
        let train = &mut self.data.train;
        let read = self.clock.time(Part::Vision, || batch::read(train, with, &micro.places))?;
        self.data.train.read_ahead(model, self.encoder, &self.soon);
        self.note_lost(&read.lost);
        let Some((pack, targets)) = read.pack else { return Ok(Micro::Empty) };
        // Pictures may have taken a while.
        if let Control::Stop { save } = self.serve() {
            return Ok(Micro::Stop { save });
        }
        let pass = Pass { adapter: Some(&self.adapter), dropout_key: Some(key) };
        let (model, keep) = (&*self.model, self.forecast.keep);
        let watch = Watch { clock: &mut self.clock, stop: &mut || self.inbox.stop_waits() };
        let mean = step::watched(model, &pass, (&pack, &targets), (share, keep), (grads, watch));
        let Some(mean) = mean else {
            self.clock.stop();
            return Ok(Micro::Stop { save: matches!(self.serve(), Control::Stop { save: true }) });
        };
        let mean = f64::from(mean.into_data().try_to_vec::<f32>().expect("the loss is f32")[0]);
        self.clock.stop();
        if !mean.is_finite() {
            return Ok(Micro::Bad(mean));
        }
        Ok(Micro::Done(Counts {
            loss: mean * f64::from(share),
            updates: 0,
            samples: read.samples,
            tokens: pack.ids.len(),
            label_tokens: targets.len(),
        }))
    }

    fn learn(&mut self, grads: Grads, norm: f64) {
        let lr = match self.config.lr_scheduler_type {
            LrScheduler::ReduceLrOnPlateau => self.position.plateau.lr(&self.config),
            _ => schedule::lr(&self.config, self.plan.total, self.position.step),
        };
        let clip = optimizer::clip_factor(norm, self.config.max_grad_norm);
        let (optimizer, adapter) = (&mut self.optimizer, &mut self.adapter);
        self.clock.time(Part::Optimizer, || optimizer.step(adapter, grads, lr, clip));
        self.last = (lr, norm);
    }

    fn skip(&mut self, micro_batches: &[MicroBatch]) -> Update {
        self.position.skipped.updates += 1;
        self.position.skipped.in_a_row += 1;
        self.advance(micro_batches);
        Update::Skipped
    }

    fn advance(&mut self, micro_batches: &[MicroBatch]) {
        let padded = |micro: &MicroBatch| match self.config.packs() {
            true => (micro.items * self.config.cutoff_len.next_multiple_of(8)) as u64,
            false => self.data.train.padded_tokens(&micro.places),
        };
        self.position.padded_tokens += micro_batches.iter().map(padded).sum::<u64>();
        self.position.micro_steps += micro_batches.len() as u64;
        self.position.step += 1;
    }
}

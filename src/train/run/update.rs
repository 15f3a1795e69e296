//! One optimizer update: micro-batches, accumulation, clipping, AdamW.

use super::Trainer;
use crate::error::Result;
use crate::model::lora::{Grads, Pass};
use crate::model::ops::dropout::mix;
use crate::train::clock::Part;
use crate::train::commands::Control;
use crate::train::step::{self, Keep};
use crate::train::{optimizer, schedule};

impl Trainer<'_> {
    /// One optimizer update. `Some(save)` when a stop was asked for instead.
    pub(super) fn update(&mut self, micro_batches: &[Vec<usize>]) -> Result<Option<bool>> {
        let mut grads = Grads::new(self.adapter.pairs.len());
        let share = 1.0 / micro_batches.len() as f32;
        let mut loss = 0.0;
        let micro_steps = self.position.micro_steps;
        for (i, places) in micro_batches.iter().enumerate() {
            if let Control::Stop { save } = self.serve()? {
                return Ok(Some(save));
            }
            let (train, model, encoder) = (&mut self.data.train, &*self.model, self.encoder);
            let (pack, targets) = self.clock.time(Part::Vision, || train.pack(model, encoder, places))?;
            let key = mix(self.config.seed, micro_steps + i as u64);
            let pass = Pass { adapter: Some(&self.adapter), dropout_key: Some(key) };
            let mean = self.clock.time(Part::Backward, || {
                let batch = (&pack, &targets);
                let mean = step::forward_backward(model, &pass, batch, (share, Keep::All), &mut grads);
                f64::from(mean.into_data().try_to_vec::<f32>().expect("the loss is f32")[0])
            });
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
        let (optimizer, adapter) = (&mut self.optimizer, &mut self.adapter);
        self.clock.time(Part::Optimizer, || optimizer.step(adapter, grads, lr, clip));
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
}

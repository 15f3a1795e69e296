//! What is counted and logged while a run goes on.

use super::Trainer;
use crate::error::Result;
use crate::job::{Event, StepRow};
use crate::train::memory;
use std::time::Instant;

/// What has been counted since the last log line.
pub(super) struct Window {
    pub(super) since: Instant,
    pub(super) loss: f64,
    pub(super) updates: usize,
    pub(super) samples: usize,
    pub(super) tokens: usize,
    pub(super) label_tokens: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        let since = Instant::now();
        Self { since, loss: 0.0, updates: 0, samples: 0, tokens: 0, label_tokens: 0 }
    }
}

impl Trainer<'_> {
    /// Where the run stands: step, epoch and times.
    pub(super) fn now(&self, epoch: f64) -> StepRow {
        let elapsed = self.began.elapsed().as_secs_f64();
        let done = (self.position.step - self.first_step).max(1) as f64;
        let left = (self.plan.total - self.position.step) as f64;
        StepRow {
            step: self.position.step,
            total_steps: self.plan.total,
            epoch,
            elapsed,
            remaining: elapsed / done * left,
            memory: memory::resident(),
            ..StepRow::default()
        }
    }

    pub(super) fn log_step(&mut self, epoch: f64) -> Result<()> {
        let w = std::mem::replace(&mut self.window, Window::new());
        let data_wait = self.data.train.take_data_wait();
        let row = StepRow {
            loss: w.loss / w.updates.max(1) as f64,
            lr: self.last.0,
            grad_norm: self.last.1,
            samples: w.samples,
            tokens: w.tokens,
            label_tokens: w.label_tokens,
            seconds: w.since.elapsed().as_secs_f64(),
            data_wait,
            split: self.clock.take(data_wait),
            ..self.now(epoch)
        };
        self.output.step(&row)?;
        (self.emit)(Event::Step(row));
        Ok(())
    }
}

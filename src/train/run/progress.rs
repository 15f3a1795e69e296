//! What is logged while a run goes on.

use super::{Trainer, log};
use crate::error::Result;
use crate::job::{Event, Level, StepRow};
use crate::train::memory;
use std::time::Instant;

impl Trainer<'_> {
    /// Where the run stands: step, epoch and times.
    pub(super) fn now(&self) -> StepRow {
        let elapsed = self.began.elapsed().as_secs_f64();
        StepRow {
            step: self.position.step,
            total_steps: self.plan.total,
            epoch: self.epoch(),
            elapsed,
            remaining: self.remaining(),
            memory: memory::in_use(&self.model.device),
            gpu: memory::gpu(&self.model.device),
            ..StepRow::default()
        }
    }

    /// Logs what was counted since the last time. Where every update was skipped there is no loss to log.
    pub(super) fn log_step(&mut self) {
        let counts = self.position.since_log;
        if counts.updates == 0 {
            return;
        }
        self.position.since_log = Default::default();
        let data_wait = self.data.train.take_data_wait();
        let split = self.clock.take(data_wait);
        self.forecast.looked += split.data + split.vision;
        let row = StepRow {
            loss: counts.loss / counts.updates as f64,
            lr: self.last.0,
            grad_norm: self.last.1,
            samples: counts.samples,
            tokens: counts.tokens,
            label_tokens: counts.label_tokens,
            seconds: self.since.elapsed().as_secs_f64(),
            data_wait,
            split,
            ..self.now()
        };
        self.since = Instant::now();
        let written = self.output.step(&row);
        self.log_or_warn(written);
        (self.emit)(Event::Step(row));
    }

    /// A log that cannot be written (a full disk) is told once, and written later.
    pub(super) fn log_or_warn(&mut self, written: Result<()>) {
        match written {
            Ok(()) => self.log_is_broken = false,
            Err(_) if self.log_is_broken => {}
            Err(e) => {
                self.log_is_broken = true;
                log(self.emit, Level::Error, format!("the log is behind, training goes on: {}", e.message));
            }
        }
    }
}

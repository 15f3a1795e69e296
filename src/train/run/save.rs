//! Checkpoints while training; a full disk costs a checkpoint, not the run.

use super::{Trainer, log};
use crate::error::Result;
use crate::job::{Event, Level, Phase};
use crate::train::checkpoint;
use crate::train::clock::Part;
use std::path::PathBuf;

/// When a checkpoint that could not be saved is tried again: after 1, 2, 4, ... updates.
#[derive(Default)]
pub(super) struct Retry {
    at: Option<usize>,
    wait: usize,
}

impl Retry {
    /// Updates between two attempts at most.
    const MOST: usize = 64;

    pub(super) fn is_due(&self, step: usize) -> bool {
        self.at.is_some_and(|at| step >= at)
    }

    fn failed(&mut self, step: usize) -> usize {
        self.wait = (2 * self.wait).clamp(1, Self::MOST);
        self.at = Some(step + self.wait);
        step + self.wait
    }
}

impl Trainer<'_> {
    /// Saves a checkpoint; a failure (a full disk) is told, tried again later, and the run goes on.
    pub(super) fn save_or_warn(&mut self) {
        if let Err(e) = self.save() {
            let again = self.retry.failed(self.position.step);
            let hint = e.hint.map(|h| format!(" ({h})")).unwrap_or_default();
            let what = format!("checkpoint not saved, training goes on: {}{hint}", e.message);
            log(self.emit, Level::Error, format!("{what}; tried again at step {again}"));
        }
    }

    pub(super) fn save(&mut self) -> Result<PathBuf> {
        let step = self.position.step;
        (self.emit)(Event::Progress { phase: Phase::Saving, done: 0, total: 1 });
        let epoch = self.epoch();
        self.output.stands(&self.position, epoch);
        self.clock.start(Part::Saving);
        let dir = &self.config.output_dir;
        let state = |dir: &std::path::Path| self.output.fill(dir);
        let what = (&self.adapter, &*self.model, &self.config);
        let saved = checkpoint::save(dir, what, &self.optimizer, &self.position, &state);
        self.clock.stop();
        let path = saved?;
        self.retry = Retry::default();
        checkpoint::rotate(dir, self.config.save_total_limit, self.position.best.map(|b| b.step))?;
        (self.emit)(Event::Saved { step, path: path.clone() });
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer() {
        let mut retry = Retry::default();
        assert!(!retry.is_due(5));
        let mut at = vec![5];
        while at.len() < 10 {
            let next = retry.failed(at[at.len() - 1]);
            assert!(!retry.is_due(next - 1) && retry.is_due(next));
            at.push(next);
        }
        assert_eq!(at, [5, 6, 8, 12, 20, 36, 68, 132, 196, 260]);
    }
}

//! Checkpoints while training, and what is saved when a run ends early.

use super::{Trainer, log};
use crate::error::{Error, Kind, Result};
use crate::job::{Event, Level};
use crate::train::checkpoint;
use serde_json::Value;
use std::path::PathBuf;

impl Trainer<'_> {
    /// Saves a checkpoint; a failure (a full disk) is told and the run goes on.
    pub(super) fn save_or_warn(&mut self) {
        if let Err(e) = self.save() {
            let hint = e.hint.map(|h| format!(" ({h})")).unwrap_or_default();
            log(
                self.emit,
                Level::Error,
                format!("checkpoint not saved, training goes on: {}{hint}", e.message),
            );
        }
    }

    pub(super) fn save(&mut self) -> Result<PathBuf> {
        let state = |dir: &std::path::Path| self.output.fill(dir);
        let what = (&self.adapter, &*self.model, self.config);
        let path = checkpoint::save(&self.config.output_dir, what, &self.optimizer, &self.position, &state)?;
        checkpoint::rotate(&self.config.output_dir, self.config.save_total_limit)?;
        (self.emit)(Event::Saved { step: self.position.step, path: path.clone() });
        Ok(path)
    }

    pub(super) fn not_finite(&mut self, what: &str, value: f64, places: &[usize]) -> Error {
        let saved = match self.save() {
            Ok(path) => format!("the state before this batch is in {}", path.display()),
            Err(e) => format!("saving the state before this batch failed: {}", e.message),
        };
        let names = self.data.train.names(places);
        let step = self.position.step + 1;
        Error::new(Kind::Training, format!("{what} became {value} at step {step}; {saved}. Samples: {names}"))
            .hint("look at these samples with `show`, or lower the learning rate")
    }

    pub(super) fn stopped(&mut self, save: bool) -> Result<Value> {
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
}

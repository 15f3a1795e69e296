//! The end of a run: the best adapter, results, and what a stopped run leaves.

use super::{Trainer, log};
use crate::config::{Every, TrainConfig};
use crate::error::{Error, Kind, Result};
use crate::job::Level;
use crate::runs::results::TrainTotals;
use crate::train::commands::Control;
use crate::train::position::Position;
use crate::train::{checkpoint, init, memory};
use serde_json::{Map, Value, json};

/// What a training job hands back.
pub(super) fn summary(config: &TrainConfig, position: &Position, results: Map<String, Value>) -> Value {
    json!({
        "output_dir": config.output_dir, "steps": position.step, "results": results,
        "peak_memory": memory::peak(),
        "best": position.best, "skipped_updates": position.skipped.updates,
        "skipped_samples": position.skipped.samples,
    })
}

impl Trainer<'_> {
    pub(super) fn finish(&mut self) -> Result<Value> {
        if self.config.evaluates() == Every::Never
            && let Control::Stop { save } = self.evaluate()?
        {
            return self.stopped(save);
        }
        if self.is_stopped_early() {
            let (step, limit) = (self.position.step, self.position.no_better);
            log(
                self.emit,
                Level::Info,
                format!("ended early at step {step}: {limit} evaluations without a better one"),
            );
        }
        self.load_best()?;
        let (dir, step) = (self.config.output_dir.clone(), self.position.step);
        checkpoint::save_adapter(&dir, &self.adapter, self.model, &self.config)
            .map_err(|e| self.not_saved(e))?;
        let epochs = step as f64 / self.plan.updates_per_epoch as f64;
        let learned = (step - self.position.skipped.updates).max(1);
        let totals = TrainTotals {
            epoch: epochs,
            total_flos: self.flops(),
            train_loss: self.position.loss_sum / learned as f64,
            train_runtime: self.began.elapsed().as_secs_f64(),
            samples: epochs * self.items.len() as f64,
            steps: step,
        };
        let epoch = self.epoch();
        self.output.stands(&self.position, epoch);
        let results = self.output.finish(&totals)?;
        Ok(summary(&self.config, &self.position, results))
    }

    /// The work is done but cannot be written.
    fn not_saved(&self, error: Error) -> Error {
        let from = match checkpoint::list(&self.config.output_dir).last() {
            Some((step, _)) => format!("goes on from step {step}"),
            None => "begins anew".into(),
        };
        error.hint(format!("free some space and start it again: it {from}"))
    }

    /// `load_best_model_at_end`: the adapter of the best checkpoint becomes the result.
    fn load_best(&mut self) -> Result<()> {
        let Some(best) = self.position.best.filter(|_| self.config.load_best_model_at_end) else {
            return Ok(());
        };
        let dir = checkpoint::folder(&self.config.output_dir, best.step);
        if !dir.exists() {
            let line =
                format!("the best checkpoint {} is gone; the last adapter is the result", dir.display());
            log(self.emit, Level::Warning, line);
            return Ok(());
        }
        self.adapter.pairs = init::from_folder(self.model, &dir)?.pairs;
        self.output.evaluated_best(best.step)?;
        log(self.emit, Level::Info, format!("the result is the best adapter, of step {}", best.step));
        Ok(())
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

    /// transformers' `floating_point_ops`: 6 · tokens · parameters without embeddings (arXiv 2001.08361, C ≈ 6ND).
    fn flops(&self) -> f64 {
        let (text, vision) = (&self.model.config.text, &self.model.config.vision);
        let embeddings =
            text.vocab_size * text.hidden_size + vision.num_position_embeddings * vision.hidden_size;
        let counted = self.model.parameters + self.adapter.parameters() - embeddings as u64;
        6.0 * self.position.padded_tokens as f64 * counted as f64
    }
}

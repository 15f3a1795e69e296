//! The loss on held-out samples while training, and which step was the best.

use super::{Trainer, batch, log};
use crate::config::{LrScheduler, TrainConfig};
use crate::error::{Error, Result};
use crate::eval::loss;
use crate::eval::samples::Samples;
use crate::job::{Event, Level, Phase};
use crate::train::clock::Part;
use crate::train::commands::Control;
use crate::train::position::Best;
use crate::train::split::{EvalSet, Split};

/// The metric for the best model must be one that is computed.
pub(super) fn check_metric(config: &TrainConfig, data: &Split) -> Result<()> {
    let Some(wanted) = config.best_metric() else { return Ok(()) };
    let known: Vec<&str> = data.eval.iter().map(|set| set.metric.as_str()).collect();
    if known.is_empty() || known.contains(&wanted.as_str()) {
        return Ok(());
    }
    Err(Error::usage(format!("metric_for_best_model: {wanted} is not computed while training"))
        .hint(format!("there is {}", known.join(", "))))
}

impl Trainer<'_> {
    /// Computes, logs and judges the losses of the evaluation sets. A stop breaks it off: it is done again on resume.
    pub(super) fn evaluate(&mut self) -> Result<Control> {
        if self.data.eval.is_empty() {
            return Ok(Control::GoOn);
        }
        let mut sets = std::mem::take(&mut self.data.eval);
        let losses = self.losses(&mut sets);
        self.clock.stop();
        self.data.eval = sets;
        let losses = match losses? {
            Ok(losses) => losses,
            Err(stop) => return Ok(stop),
        };
        let now = self.now();
        let written = self.output.evaluated(&now, &losses);
        self.log_or_warn(written);
        for (name, value) in &losses {
            (self.emit)(Event::Score { name: name.clone(), value: *value, step: Some(now.step) });
        }
        self.position.evaluated = Some(now.step);
        self.judge(&losses);
        Ok(Control::GoOn)
    }

    /// The loss of each set, or the stop that was asked for.
    fn losses(&mut self, sets: &mut [EvalSet]) -> Result<Result<Vec<(String, f64)>, Control>> {
        let mut losses = Vec::new();
        for set in sets {
            match self.eval_loss(&mut set.samples)? {
                Ok(loss) => losses.push((set.metric.clone(), loss)),
                Err(stop) => return Ok(Err(stop)),
            }
        }
        Ok(Ok(losses))
    }

    /// Mean loss over the samples, as transformers' `eval_loss` (weighted by samples per batch), or the stop that
    /// was asked for.
    fn eval_loss(&mut self, set: &mut Samples) -> Result<Result<f64, Control>> {
        let n = set.all.len();
        let places: Vec<usize> = (0..n).collect();
        let (mut sum, mut read, mut done) = (0.0, 0, 0);
        let mut batches = places.chunks(self.config.per_device_eval_batch_size).peekable();
        while let Some(places) = batches.next() {
            self.clock.start(Part::Evaluation);
            let batch = batch::read(set, (self.model, self.encoder), places)?;
            set.read_ahead(self.model, self.encoder, batches.peek().copied().unwrap_or_default());
            // Pictures may have taken a while.
            let control = self.serve_evaluating();
            if matches!(control, Control::Stop { .. }) {
                return Ok(Err(control));
            }
            self.clock.start(Part::Evaluation);
            for (_, why) in &batch.lost {
                log(self.emit, Level::Warning, format!("left out of the evaluation: {why}"));
            }
            if let Some((pack, targets)) = &batch.pack {
                let mean = loss::mean(self.model, Some(&self.adapter), pack, targets);
                let mean = mean.into_data().try_to_vec::<f32>().expect("the loss is f32")[0];
                sum += f64::from(mean) * batch.samples as f64;
                read += batch.samples;
            }
            done += places.len();
            (self.emit)(Event::Progress { phase: Phase::Evaluating, done, total: n });
            let control = self.serve_evaluating();
            if matches!(control, Control::Stop { .. }) {
                return Ok(Err(control));
            }
        }
        Ok(Ok(sum / read as f64))
    }

    /// Keeps the best step, counts evaluations without a better one, and steps `reduce_lr_on_plateau`.
    fn judge(&mut self, losses: &[(String, f64)]) {
        let Some(wanted) = self.config.best_metric() else { return };
        let Some((_, value)) = losses.iter().find(|(name, _)| *name == wanted).cloned() else { return };
        let larger = self.config.larger_is_better();
        let better = match self.position.best {
            Some(best) if larger => value > best.value,
            Some(best) => value < best.value,
            None => true,
        };
        if better {
            self.position.best = Some(Best { value, step: self.position.step });
            self.position.no_better = 0;
        } else {
            self.position.no_better += 1;
        }
        if self.config.lr_scheduler_type == LrScheduler::ReduceLrOnPlateau {
            self.position.plateau.step(&self.config, value);
        }
    }
}

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
use crate::train::split::Split;
use serde_json::{Map, Value};

/// The evaluation sets and the names of their losses.
fn names(data: &Split) -> Vec<String> {
    data.eval.iter().map(|_| "eval_loss".to_string()).collect()
}

/// The metric for the best model must be one that is computed.
pub(super) fn check_metric(config: &TrainConfig, data: &Split) -> Result<()> {
    let (Some(wanted), known) = (config.best_metric(), names(data)) else { return Ok(()) };
    if known.is_empty() || known.contains(&wanted) {
        return Ok(());
    }
    Err(Error::usage(format!("metric_for_best_model: {wanted} is not computed while training"))
        .hint(format!("there is {}", known.join(", "))))
}

impl Trainer<'_> {
    /// Computes, logs and judges the losses of the evaluation sets. A stop breaks it off: it is done again on resume.
    pub(super) fn evaluate(&mut self) -> Result<Control> {
        let Some(mut set) = self.data.eval.take() else { return Ok(Control::GoOn) };
        let loss = self.eval_loss(&mut set);
        self.clock.stop();
        self.data.eval = Some(set);
        let mut metrics = Map::new();
        match loss? {
            Ok(loss) => metrics.insert("eval_loss".into(), loss.into()),
            Err(stop) => return Ok(stop),
        };
        let now = self.now();
        let written = self.output.evaluated(&now, &metrics);
        self.log_or_warn(written);
        for (name, value) in &metrics {
            let value = value.as_f64().unwrap_or(f64::NAN);
            (self.emit)(Event::Score { name: name.clone(), value, step: Some(now.step) });
        }
        self.position.evaluated = Some(now.step);
        self.judge(&metrics);
        Ok(Control::GoOn)
    }

    /// Mean loss over the samples, as transformers' `eval_loss` (weighted by samples per batch), or the stop that
    /// was asked for.
    fn eval_loss(&mut self, set: &mut Samples) -> Result<Result<f64, Control>> {
        let n = set.all.len();
        let places: Vec<usize> = (0..n).collect();
        let (mut sum, mut read, mut done) = (0.0, 0, 0);
        for places in places.chunks(self.config.per_device_eval_batch_size) {
            let control = self.serve_evaluating();
            if matches!(control, Control::Stop { .. }) {
                return Ok(Err(control));
            }
            self.clock.start(Part::Evaluation);
            let batch = batch::read(set, (self.model, self.encoder), places)?;
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
        }
        Ok(Ok(sum / read as f64))
    }

    /// Keeps the best step, counts evaluations without a better one, and steps `reduce_lr_on_plateau`.
    fn judge(&mut self, metrics: &Map<String, Value>) {
        let Some(name) = self.config.best_metric() else { return };
        let Some(value) = metrics.get(&name).and_then(Value::as_f64) else { return };
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

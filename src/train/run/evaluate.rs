//! The loss on held-out samples while training, and which step was the best.

use super::{Trainer, answers, batch, log};
use crate::config::{LrScheduler, TrainConfig};
use crate::error::{Error, Result};
use crate::eval::loss;
use crate::eval::samples::Samples;
use crate::job::{Event, Level, Phase};
use crate::train::clock::Part;
use crate::train::commands::Control;
use crate::train::position::Best;
use crate::train::split::{EvalSet, Split};

/// Metrics of a data set by name.
pub(super) type Metrics = Vec<(String, f64)>;
/// What was computed, or the stop that was heard meanwhile.
pub(super) type Heard<T> = std::result::Result<T, Control>;

/// The metric for the best model must be one that is computed.
pub(super) fn check_metric(config: &TrainConfig, data: &Split) -> Result<()> {
    let Some(wanted) = config.best_metric() else { return Ok(()) };
    let of_set = |set: &EvalSet| {
        let answers = answers::names(&set.metric).filter(|_| !set.asked.is_empty());
        std::iter::once(set.metric.clone()).chain(answers).collect::<Vec<_>>()
    };
    let known: Vec<String> = data.eval.iter().flat_map(of_set).collect();
    if known.is_empty() || known.contains(&wanted) {
        return Ok(());
    }
    Err(Error::usage(format!("metric_for_best_model: {wanted} is not computed while training"))
        .hint(format!("there is {}; BLEU and ROUGE with eval_generate_samples", known.join(", "))))
}

impl Trainer<'_> {
    /// Computes, logs and judges the losses of the evaluation sets, and the scores of answers where they are asked for.
    /// A stop breaks it off: it is done again on resume.
    pub(super) fn evaluate(&mut self) -> Result<Control> {
        if self.data.eval.is_empty() {
            return Ok(Control::GoOn);
        }
        let mut sets = std::mem::take(&mut self.data.eval);
        let found = self.metrics(&mut sets);
        self.clock.stop();
        self.data.eval = sets;
        let found = match found? {
            Ok(found) => found,
            Err(stop) => return Ok(stop),
        };
        let now = self.now();
        let written = self.output.evaluated(&now, &found);
        self.log_or_warn(written);
        let all = found.concat();
        for (name, value) in &all {
            (self.emit)(Event::Score { name: name.clone(), value: *value, step: Some(now.step) });
        }
        self.position.evaluated = Some(now.step);
        self.judge(&all);
        Ok(Control::GoOn)
    }

    /// The metrics of each set, its loss first, or the stop that was asked for.
    fn metrics(&mut self, sets: &mut [EvalSet]) -> Result<Heard<Vec<Metrics>>> {
        let mut all = Vec::new();
        for set in sets {
            let loss = match self.eval_loss(&mut set.samples)? {
                Ok(loss) => loss,
                Err(stop) => return Ok(Err(stop)),
            };
            let scores = match self.answer_scores(set)? {
                Ok(scores) => scores,
                Err(stop) => return Ok(Err(stop)),
            };
            all.push([vec![(set.metric.clone(), loss)], scores].concat());
        }
        Ok(Ok(all))
    }

    /// Mean loss over the samples, as transformers' `eval_loss` (weighted by samples per batch), or the stop that
    /// was asked for.
    fn eval_loss(&mut self, set: &mut Samples) -> Result<Heard<f64>> {
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

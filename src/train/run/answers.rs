//! Scores of answers to some evaluation samples while training, on request (`eval_generate_samples`).

use super::evaluate::{Heard, Metrics};
use super::{Trainer, log};
use crate::error::Result;
use crate::eval::predict::Setup;
use crate::eval::sampled::{self, Asked, Ready};
use crate::eval::samples::Samples;
use crate::eval::{Scores, scores};
use crate::job::{Event, Level, Phase};
use crate::train::clock::Part;
use crate::train::commands::Control;
use crate::train::split::EvalSet;

/// Names of the scores of a set whose loss is called `loss`: `eval_bleu-4`, `eval_NAME_rouge-l`.
pub(super) fn names(loss: &str) -> impl Iterator<Item = String> {
    let prefix = loss.trim_end_matches("loss").to_string();
    Scores::default().named().into_iter().map(move |(name, _)| format!("{prefix}{name}"))
}

impl Trainer<'_> {
    /// The mean scores of the answers to the samples of a set that are asked, or the stop that was asked for.
    /// Commands are heard between rounds of as many answers as are written at the same time, a stop at once.
    pub(super) fn answer_scores(&mut self, set: &mut EvalSet) -> Result<Heard<Metrics>> {
        let EvalSet { metric, samples, asked } = set;
        let (mut all, mut done, total) = (Vec::new(), 0, asked.len());
        for round in asked.chunks(self.config.per_device_eval_batch_size) {
            let control = self.serve_evaluating();
            if matches!(control, Control::Stop { .. }) {
                return Ok(Err(control));
            }
            self.clock.start(Part::Evaluation);
            let ready = self.seen(samples, round);
            let setup = Setup {
                model: &*self.model,
                encoder: self.encoder,
                config: &self.config,
                adapter: Some(&self.adapter),
            };
            let inbox = &mut self.inbox;
            match sampled::answer(&setup, &ready, &mut || inbox.stop_waits())? {
                Some(scores) => all.extend(scores),
                None => return Ok(Err(self.stop_heard())),
            }
            done += round.len();
            (self.emit)(Event::Progress { phase: Phase::Evaluating, done, total });
        }
        if all.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let values = scores::mean(&all).named().map(|(_, value)| value);
        Ok(Ok(names(metric).zip(values).collect()))
    }

    /// The stop that waits, with what was said before it.
    fn stop_heard(&mut self) -> Control {
        match self.serve_evaluating() {
            Control::GoOn => Control::Stop { save: false },
            stop => stop,
        }
    }

    /// The samples whose pictures can be read; the others are told.
    fn seen<'b>(&self, samples: &mut Samples, round: &'b [Asked]) -> Vec<Ready<'b>> {
        let mut ready = Vec::new();
        for asked in round {
            match samples.seen((&*self.model, &self.adapter), self.encoder, asked.place) {
                Ok(features) => ready.push((asked, features)),
                Err(e) => {
                    log(self.emit, Level::Warning, format!("left out of the evaluation: {}", e.message));
                }
            }
        }
        ready
    }
}

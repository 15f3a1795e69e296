//! The loss on held-out samples while training.

use super::Trainer;
use crate::error::Result;
use crate::eval::loss;
use crate::job::{Event, Phase};

impl Trainer<'_> {
    /// Mean loss over the evaluation samples, as transformers' `eval_loss` (weighted by samples per batch).
    pub(super) fn evaluate(&mut self, epoch: f64) -> Result<()> {
        let Some(eval) = &mut self.data.eval else { return Ok(()) };
        let n = eval.all.len();
        let places: Vec<usize> = (0..n).collect();
        let (mut sum, mut done) = (0.0, 0);
        for batch in places.chunks(self.config.per_device_eval_batch_size) {
            let (pack, targets) = eval.pack(self.model, self.encoder, batch)?;
            let mean = loss::mean(self.model, Some(&self.adapter), &pack, &targets);
            sum += f64::from(mean.into_data().try_to_vec::<f32>().expect("the loss is f32")[0])
                * batch.len() as f64;
            done += batch.len();
            (self.emit)(Event::Progress { phase: Phase::Evaluating, done, total: n });
        }
        let value = sum / n as f64;
        self.output.evaluated(&self.now(epoch), value)?;
        (self.emit)(Event::Score { name: "eval_loss".into(), value, step: Some(self.position.step) });
        Ok(())
    }
}

//! Training and evaluation samples of a run.

use super::sampler;
use crate::config::TrainConfig;
use crate::data::encode::Encoder;
use crate::error::{Error, Result};
use crate::eval::samples::{Samples, encode, read};
use crate::job::Emit;
use std::sync::atomic::AtomicBool;

/// Training samples, and evaluation samples where there are any.
pub struct Split {
    pub train: Samples,
    pub eval: Option<Samples>,
}

/// Loads and encodes what `config` names. What cannot be trained on is left out and reported as findings.
pub fn load(config: &TrainConfig, encoder: &Encoder, emit: Emit, stop: &AtomicBool) -> Result<Split> {
    let mut train = read(config, &config.dataset, emit)?;
    let mut eval = read(config, &config.eval_dataset, emit)?;
    if eval.is_empty() && config.val_size > 0.0 {
        let (t, e) = sampler::val_split(train.len(), config.val_size, config.seed);
        eval = e.iter().map(|&i| train[i].clone()).collect();
        train = t.iter().map(|&i| train[i].clone()).collect();
    }
    let train = encode(config, encoder, &train, emit, stop)?;
    if train.all.is_empty() {
        return Err(
            Error::input("no sample is left to train on").hint("see the findings above, or run `check`")
        );
    }
    let eval = if eval.is_empty() { None } else { Some(encode(config, encoder, &eval, emit, stop)?) };
    Ok(Split { train, eval: eval.filter(|e| !e.all.is_empty()) })
}

//! Training and evaluation samples of a run.

use super::sampler;
use crate::config::TrainConfig;
use crate::data::encode::Encoder;
use crate::data::numpy::RandomState;
use crate::data::sample::Sample;
use crate::error::{Error, Result};
use crate::eval::sampled::{self, Asked};
use crate::eval::samples::{self, Rows, Samples, encode, read_each};
use crate::job::Emit;
use std::sync::atomic::AtomicBool;

/// Training samples, and evaluation samples where there are any.
pub struct Split {
    pub train: Samples,
    pub eval: Vec<EvalSet>,
}

/// Samples that are evaluated together.
pub struct EvalSet {
    /// What its loss is called: `eval_loss`, or `eval_NAME_loss` with `eval_on_each_dataset`.
    pub metric: String,
    pub samples: Samples,
    /// Samples that are answered at each evaluation.
    pub asked: Vec<Asked>,
}

/// Loads and encodes what `config` names. What cannot be trained on is left out and reported as findings.
pub fn load(config: &TrainConfig, encoder: &Encoder, emit: Emit, stop: &AtomicBool) -> Result<Split> {
    // LLaMA-Factory seeds numpy once, then loads data set after data set.
    let mut draws = RandomState::new(config.seed);
    let mut train = samples::read(config, &config.dataset, &mut draws, emit, stop)?;
    let mut eval = match config.eval_on_each_dataset {
        true => read_each(config, &config.eval_dataset, &mut draws, emit, stop)?
            .into_iter()
            .map(|(name, rows)| (format!("eval_{name}_loss"), rows))
            .collect(),
        false => vec![(
            "eval_loss".to_string(),
            samples::read(config, &config.eval_dataset, &mut draws, emit, stop)?,
        )],
    };
    if config.eval_dataset.is_empty() && config.val_size > 0.0 {
        let (t, e) = sampler::val_split(train.len(), config.val_size, config.seed);
        let mut take = |places: Vec<usize>| places.into_iter().map(|at| train[at].take()).collect::<Rows>();
        eval = vec![("eval_loss".into(), take(e))];
        train = take(t);
    }
    let read = |rows: Rows| rows.into_iter().flatten().collect::<Vec<Sample>>();
    let train = encode(config, encoder, &read(train), emit, stop)?;
    if train.all.is_empty() {
        return Err(
            Error::input("no sample is left to train on").hint("see the findings above, or run `check`")
        );
    }
    let mut sets = Vec::new();
    for (metric, rows) in eval.into_iter().filter(|(_, rows)| rows.iter().any(Option::is_some)) {
        let rows = read(rows);
        let samples = encode(config, encoder, &rows, emit, stop)?;
        if !samples.all.is_empty() {
            let asked = sampled::choose(config, encoder, &rows, &samples)?;
            sets.push(EvalSet { metric, samples, asked });
        }
    }
    Ok(Split { train, eval: sets })
}

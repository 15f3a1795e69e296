//! Where a run starts: from nothing, from an adapter, or from a checkpoint.

use super::log;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::eval::samples::Samples;
use crate::job::{Emit, Level};
use crate::model::qwen3_vl::Qwen3Vl;
use crate::train::checkpoint::{self, Position};
use crate::train::init;
use crate::train::optimizer::AdamW;
use std::path::PathBuf;

/// Where a run starts: from nothing, from an adapter, or from a checkpoint.
pub(super) fn begin(
    model: &mut Qwen3Vl,
    config: &TrainConfig,
    train: &Samples,
    resume: Option<&PathBuf>,
    emit: Emit,
) -> Result<checkpoint::Loaded> {
    if let Some(dir) = resume {
        let loaded = checkpoint::load(dir, model, config)?;
        let p = &loaded.position;
        if p.samples != train.all.len() || p.seed != config.seed {
            return Err(Error::usage(format!(
                "cannot resume from {}: it was trained on {} samples with seed {}, now there are {} with seed {}",
                dir.display(), p.samples, p.seed, train.all.len(), config.seed
            ))
            .hint("use the same data and seed, or set overwrite_output_dir: true to start anew"));
        }
        log(emit, Level::Info, format!("resumed from {} at step {}", dir.display(), p.step));
        return Ok(loaded);
    }
    let adapter = match &config.adapter_name_or_path {
        Some(dir) if !config.create_new_adapter => init::from_folder(model, dir)?,
        Some(dir) => {
            let old = init::from_folder(model, dir)?;
            model.attach(&old)?;
            model.merge(&old);
            init::fresh(model, config)?
        }
        None => init::fresh(model, config)?,
    };
    let optimizer = AdamW::new(config, &adapter);
    let (seed, samples) = (config.seed, train.all.len());
    let position = Position { step: 0, micro_steps: 0, padded_tokens: 0, loss_sum: 0.0, seed, samples };
    Ok(checkpoint::Loaded { adapter, optimizer, position })
}

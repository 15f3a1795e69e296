//! Configuration of `train` and `eval`: a YAML file and key=value, checked before anything is loaded.

use super::output::Out;
use crate::config::{TrainConfig, layers, validate};
use crate::error::{Error, Result};
use std::path::Path;

/// Loads the settings, prints notes about keys without effect, and refuses what cannot work.
pub fn load(path: &Path, overrides: &[String], out: &Out) -> Result<TrainConfig> {
    checked(read(path, overrides, out)?, path, out, &[])
}

/// [`load`] where nothing is trained: `eval_dataset` alone will do.
pub fn load_to_evaluate(path: &Path, overrides: &[String], out: &Out) -> Result<TrainConfig> {
    let mut config = read(path, overrides, out)?;
    if config.dataset.is_empty() {
        config.dataset = config.eval_dataset.clone();
    }
    // The adapter is taken as it is.
    checked(config, path, out, &["lora_rank"])
}

fn read(path: &Path, overrides: &[String], out: &Out) -> Result<TrainConfig> {
    let (config, notes) = layers::load_with_notes(Some(path), overrides)?;
    for note in notes {
        out.note(note);
    }
    Ok(config)
}

/// Tells what is wrong with the settings, but for notes on those that have no part in it.
fn checked(config: TrainConfig, path: &Path, out: &Out, apart: &[&str]) -> Result<TrainConfig> {
    let (fatal, other): (Vec<_>, Vec<_>) = validate::problems(&config).into_iter().partition(|p| p.fatal);
    for problem in other.iter().filter(|p| !apart.contains(&p.key)) {
        out.note(format!("{}: {}", problem.key, problem.message));
    }
    match fatal.first() {
        Some(p) => Err(Error::usage(format!("{}: {}", p.key, p.message)).hint(format!(
            "set it in {} or as {}=VALUE",
            path.display(),
            p.key
        ))),
        None => Ok(config),
    }
}

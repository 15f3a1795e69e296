//! Configuration of `train` and `eval`: a YAML file and key=value, checked before anything is loaded.

use super::output::Out;
use crate::config::{TrainConfig, layers, validate};
use crate::error::{Error, Result};
use std::path::Path;

/// Loads the settings, prints notes about keys without effect, and refuses what cannot work.
pub fn load(path: &Path, overrides: &[String], out: &Out) -> Result<TrainConfig> {
    let (config, notes) = layers::load_with_notes(Some(path), overrides)?;
    for note in notes {
        out.note(note);
    }
    let (fatal, other): (Vec<_>, Vec<_>) = validate::problems(&config).into_iter().partition(|p| p.fatal);
    for problem in other {
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

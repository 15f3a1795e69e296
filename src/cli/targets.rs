//! `lorascope targets`: what a configuration would train, from the model's `config.json` alone.

use super::output::Out;
use super::{params, train};
use crate::config::layers;
use crate::error::{Error, Result};
use crate::model::{ModelConfig, targets};
use crate::train::report;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// List module families: matrices, parameters, what is trained and why the rest is frozen
///
/// Needs the model's config.json, not its weights.
#[derive(Args, Debug)]
pub struct TargetsArgs {
    /// A YAML file with LLaMA-Factory's keys, and key=value pairs that override it
    #[arg(value_name = "CONFIG.yaml|key=value")]
    pub inputs: Vec<String>,
    /// Model folder
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

pub fn run(args: &TargetsArgs, out: &Out) -> Result<()> {
    let (file, overrides) = params::split(&args.inputs);
    let (mut config, notes) = layers::load_with_notes(file.as_deref(), &overrides)?;
    if let Some(model) = &args.model {
        config.model_name_or_path.clone_from(model);
    }
    if config.model_name_or_path.as_os_str().is_empty() {
        return Err(Error::usage("no model is set").hint("give --model DIR, or set model_name_or_path"));
    }
    for note in &notes {
        out.note(note);
    }
    let model = ModelConfig::load(&config.model_name_or_path)?;
    let chosen = targets::choose(&model, &config)?;
    let trained = report::of_modules(&chosen, &config);
    let rows = report::targets(&model, &trained, &config);
    let [parameters, trainable] =
        rows.iter().fold([0, 0], |[p, t], row| [p + row.parameters, t + row.trainable]);
    for line in train::target_lines(&rows) {
        out.line(line);
    }
    let share = trainable as f64 / (parameters + trainable) as f64 * 100.0;
    out.line(format!("{trainable} parameters are trained, {share:.3} % of {}", parameters + trainable));
    out.object(&json!({
        "targets": rows, "parameters": parameters, "trainable": trainable, "share": share,
        "modules": chosen.iter().map(|m| m.path.as_str()).collect::<Vec<_>>(),
    }));
    Ok(())
}

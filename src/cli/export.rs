//! `lorascope export`: a model with its adapter folded in, for servers that take no adapters.

use super::job;
use super::output::Out;
use crate::config::{TrainConfig, layers};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::job::{ExportJob, Job};
use crate::runs::TRAINING_ARGS;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Merge an adapter into its model and write the result as a model folder
///
/// Weights keep their type (bfloat16 is rounded once, as peft does). Before the folder appears, the merged model's
/// logits are compared with those of model and adapter on samples of the run's data. Never overwrites.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// A YAML file with LLaMA-Factory's keys (model_name_or_path, adapter_name_or_path, export_dir, export_size), and
    /// key=value pairs that override it
    #[arg(value_name = "CONFIG.yaml|key=value")]
    pub inputs: Vec<String>,
    /// Model folder
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Adapter folder
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Do not compare logits: for a machine whose memory does not hold the model
    #[arg(long)]
    pub skip_compare: bool,
}

/// The file's settings, or those of the run that made the adapter (template, picture sizes, data), then the options.
fn settings(args: &ExportArgs) -> Result<TrainConfig> {
    let (file, overrides) = super::params::split(&args.inputs);
    let dirs = args.adapter.iter().flat_map(|dir| [Some(dir.as_path()), dir.parent()]).flatten();
    let trained = dirs.map(|dir| dir.join(TRAINING_ARGS)).find(|file| file.exists());
    let mut config = layers::load(file.or(trained).as_deref(), &overrides)?;
    if let Some(model) = &args.model {
        config.model_name_or_path.clone_from(model);
    }
    config.adapter_name_or_path = args.adapter.clone().or(config.adapter_name_or_path);
    config.export_dir = args.out.clone().or(config.export_dir);
    if config.model_name_or_path.as_os_str().is_empty() {
        return Err(Error::usage("no model is set").hint("give --model DIR, or set model_name_or_path"));
    }
    Ok(config)
}

pub fn run(args: &ExportArgs, out: &Out) -> Result<()> {
    let config = Box::new(settings(args)?);
    let export = ExportJob { config, compare: !args.skip_compare };
    let summary = job::run(&Engine::start(), Job::Export(export), out, &mut |_| {})?;
    out.line(format!("done: the merged model is in {}", summary["export_dir"].as_str().unwrap_or_default()));
    out.line(compared(&summary["compared"]));
    out.object(&summary);
    Ok(())
}

fn compared(c: &Value) -> String {
    if c.is_null() {
        return "its answers were not compared".into();
    }
    let number = |key: &str| c[key].as_f64().unwrap_or_default();
    format!(
        "compared on {}: logits differ by {:.1e} of their size ({:.0e} allowed for {}), the adapter moves them by {:.1e}; \
         the best token is the same at {} of {} positions",
        c["input"].as_str().unwrap_or_default(),
        number("difference"),
        number("allowed"),
        c["stored_as"].as_str().unwrap_or_default(),
        number("adapter_effect"),
        c["same_best_token"],
        c["positions"],
    )
}

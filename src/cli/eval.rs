//! `lorascope eval`: predictions for a data set, and their scores.

use super::output::Out;
use super::{config_file, job};
use crate::engine::Engine;
use crate::error::Result;
use crate::job::Job;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Answer every sample of eval_dataset and score the answers
///
/// Writes generated_predictions.jsonl, predict_results.json and all_results.json into output_dir. Stopped or
/// killed, the same command goes on where it was.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// The configuration; adapter_name_or_path says which adapter, none evaluates the base model
    #[arg(value_name = "CONFIG.yaml")]
    pub config: PathBuf,
    /// Settings that come after the file, such as do_sample=false
    #[arg(value_name = "key=value")]
    pub overrides: Vec<String>,
}

pub fn run(args: &EvalArgs, out: &Out) -> Result<()> {
    let config = config_file::load_to_evaluate(&args.config, &args.overrides, out)?;
    let mut summary = job::run(&Engine::start(), Job::Evaluate(Box::new(config)), out, &mut |_| {})?;
    print(&summary, out);
    if let Value::Object(map) = &mut summary {
        // The predictions are in the file.
        map.remove("by_id");
    }
    out.object(&summary);
    Ok(())
}

fn print(summary: &Value, out: &Out) {
    if let Some(results) = summary["results"].as_object() {
        for (name, value) in results {
            out.line(format!("{name:32} {value}"));
        }
    }
    out.line(format!("{:32} {}", "eval_loss", summary["eval_loss"]));
    out.line(format!("predictions: {}", summary["predictions"].as_str().unwrap_or_default()));
}

//! `lorascope eval`: predictions for a data set, and their scores.

use super::output::Out;
use super::{config_file, job, measures};
use crate::config::TrainConfig;
use crate::engine::Engine;
use crate::error::Result;
use crate::eval::measures::Summary;
use crate::eval::slots::Labels;
use crate::eval::{predict, report};
use crate::job::{Event, Job};
use crate::runs::log::timedelta;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Answer every sample of eval_dataset and score the answers
///
/// Writes generated_predictions.jsonl, predict_results.json and all_results.json as LLaMA-Factory does, and
/// evaluated_samples.jsonl, evaluation.json, report.md and report.html into output_dir. Stopped or killed, the same
/// command goes on where it was.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// The configuration; adapter_name_or_path says which adapter, none evaluates the base model
    #[arg(value_name = "CONFIG.yaml")]
    pub config: PathBuf,
    /// First evaluate the base model too, into output_dir/base: the report compares both
    #[arg(long)]
    pub with_base: bool,
    /// Scores by group too: a key of the rows, or a column of a parquet file (as eval_group_by=KEY)
    #[arg(long, value_name = "KEY")]
    pub group_by: Option<String>,
    /// Take a bad row of the label file (slot_labels) as an error instead of leaving it out
    #[arg(long)]
    pub strict: bool,
    /// Settings that come after the file, such as do_sample=false
    #[arg(value_name = "key=value")]
    pub overrides: Vec<String>,
}

pub fn run(args: &EvalArgs, out: &Out) -> Result<()> {
    let mut config = config_file::load_to_evaluate(&args.config, &args.overrides, out)?;
    config.eval_group_by = args.group_by.clone().or(config.eval_group_by);
    if let Some(path) = config.slot_labels.as_deref().filter(|_| args.strict) {
        Labels::read(path)?.strictly()?;
    }
    let engine = Engine::start();
    if args.with_base && config.adapter_name_or_path.is_some() {
        let output_dir = config.output_dir.join(report::BASE);
        let base = TrainConfig { adapter_name_or_path: None, output_dir, ..config.clone() };
        // A base evaluation that has ended stays as it is, unless it was one of other data or settings.
        if !predict::has_ended(&base)? {
            out.note("the base model first");
            evaluate(&engine, base, out)?;
        }
    }
    let mut summary = evaluate(&engine, config, out)?;
    print(&summary, out);
    if let Value::Object(map) = &mut summary {
        // The predictions are in the file.
        map.remove("by_id");
    }
    out.object(&summary);
    Ok(())
}

fn evaluate(engine: &Engine, config: TrainConfig, out: &Out) -> Result<Value> {
    let mut tenth = 0;
    job::run(engine, Job::Evaluate(Box::new(config)), out, &mut |event| {
        if let Event::Scores { done, total, remaining, rows, slots } = event {
            let shown = rows.iter().filter(|row| ["bleu-4", "rouge-l"].contains(&row.name.as_str()));
            let text = shown.map(|r| format!("{} {:.1} ({:.1} to {:.1})", r.name, r.mean, r.low, r.high));
            let facts = slots.last().map(|all| format!("all facts right {:.1} %", all.accuracy * 100.0));
            let text = text.chain(facts).collect::<Vec<_>>().join(" · ");
            out.beside_bar(&text);
            // A log has no bar: a line for every tenth.
            let now = done * 10 / total.max(&1);
            if !Out::has_bar() && now > tenth {
                tenth = now;
                let left = timedelta(*remaining);
                out.note(format!("{done} of {total} predictions  ETA {left}  {text}"));
            }
        }
    })
}

fn print(summary: &Value, out: &Out) {
    if let Ok(measured) = serde_json::from_value::<Summary>(summary["evaluation"].clone()) {
        measures::print(&measured, out);
    }
    for key in ["predict_runtime", "predict_samples_per_second"] {
        out.line(format!("{key:28} {}", summary["results"][key]));
    }
    out.line(format!("{:28} {}", "eval_loss", summary["eval_loss"]));
    out.line(format!("predictions: {}", summary["predictions"].as_str().unwrap_or_default()));
    out.line(format!("report: {}", summary["report"].as_str().unwrap_or_default()));
}

//! `lorascope params`: the table of settings, with the values of a configuration.

use super::columns;
use super::output::Out;
use crate::config::fields::{self, Field, Group};
use crate::config::{TrainConfig, advice, layers, reference, validate};
use crate::error::Result;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// List all settings: value, default, range, meaning
///
/// With a configuration or key=value pairs it shows the values a run would have, and what is wrong with them.
#[derive(Args, Debug)]
pub struct ParamsArgs {
    /// A YAML file with LLaMA-Factory's keys, and key=value pairs that override it
    #[arg(value_name = "CONFIG.yaml|key=value")]
    pub inputs: Vec<String>,
    /// Print the README's reference table of the defaults
    #[arg(long)]
    pub markdown: bool,
}

/// Cells of key, value, default and range: 80 with the gaps between.
const WIDTHS: [usize; 4] = [30, 14, 9, 21];

pub fn run(args: &ParamsArgs, out: &Out) -> Result<()> {
    if args.markdown {
        out.line(reference::markdown().trim_end_matches('\n'));
        return Ok(());
    }
    let (file, overrides) = split(&args.inputs);
    let (config, notes) = layers::load_with_notes(file.as_deref(), &overrides)?;
    // Without a configuration "no model is set" is no news.
    let problems = if args.inputs.is_empty() { Vec::new() } else { validate::problems(&config) };
    for group in Group::ALL {
        out.line(format!("\n{}", group.title()));
        out.line(columns::row(&["  key", "value", "default", "range"], &WIDTHS));
        for field in fields::all().iter().filter(|f| f.group == group) {
            out.line(text(field, &config));
        }
    }
    for note in &notes {
        out.note(note);
    }
    for problem in &problems {
        let weight = if problem.fatal { "error" } else { "warning" };
        out.line(format!("{weight}: {}: {}", problem.key, problem.message));
    }
    let rows: Vec<Value> = fields::all().iter().map(|field| object(field, &config)).collect();
    out.object(&json!({ "parameters": rows, "notes": notes, "problems": problems }));
    Ok(())
}

/// The configuration file, if the first input is one, and the `key=value` pairs.
pub fn split(inputs: &[String]) -> (Option<PathBuf>, Vec<String>) {
    match inputs.split_first() {
        Some((first, rest)) if !first.contains('=') || PathBuf::from(first).exists() => {
            (Some(PathBuf::from(first)), rest.to_vec())
        }
        _ => (None, inputs.to_vec()),
    }
}

fn text(field: &Field, config: &TrainConfig) -> String {
    let key = format!("  {}", field.key);
    let value = or_dash(fields::get(config, field.key));
    let range = match field.unit {
        "" => field.range(),
        unit => format!("{} ({unit})", field.range()),
    };
    let mut text = columns::row(&[&key, &value, &or_dash(field.default_text()), &range], &WIDTHS);
    let advice = advice::advice(field.key).map(|a| format!("advice: {} ({})", a.text, a.source));
    for line in [Some(field.help.to_string()), advice].iter().flatten() {
        for part in columns::wrap(line, 72) {
            text += &format!("\n      {part}");
        }
    }
    text
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

fn object(field: &Field, config: &TrainConfig) -> Value {
    let typed = |c: &TrainConfig| serde_json::to_value(c).map(|v| v[field.key].clone()).unwrap_or_default();
    json!({
        "group": field.group,
        "key": field.key,
        "value": typed(config),
        "default": typed(&TrainConfig::default()),
        "range": field.range(),
        "unit": field.unit,
        "help": field.help,
        "advice": advice::advice(field.key),
    })
}

//! `lorascope runs show`: one run with its settings and final metrics.

use super::list::age;
use super::number;
use crate::cli::columns;
use crate::cli::output::Out;
use crate::config::fields;
use crate::data::clean;
use crate::error::{Error, Result};
use crate::runs::{Curve, Detail};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The run's folder
    pub run: PathBuf,
    /// All settings, not only those that differ from the defaults
    #[arg(long)]
    pub all: bool,
    /// With --json: every logged step too
    #[arg(long)]
    pub curve: bool,
}

pub fn run(args: &ShowArgs, out: &Out) -> Result<()> {
    let run = Detail::look(&args.run, &args.run).ok_or_else(|| {
        Error::input(format!("{} is not a run folder", args.run.display()))
            .hint("`lorascope runs list DIR` finds the runs below a folder")
    })?;
    let info = &run.info;
    let loss = info.loss.map_or_else(String::new, |loss| format!(" · loss {}", number(loss)));
    let age = age(info.age_seconds);
    out.line(format!("{} · {}/{} steps{loss} · {age} ago", info.status.name(), info.step, info.total_steps));
    if let Some(checkpoint) = &run.checkpoint {
        out.line(format!("training can go on from {}", checkpoint.display()));
    }
    let differs = |key: &str, value: &str| fields::field(key).is_none_or(|f| f.default_text() != value);
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let settings: Vec<(&String, String)> = run.settings.iter().map(|(k, v)| (k, text(v))).collect();
    let shown: Vec<_> = settings.iter().filter(|(k, v)| args.all || differs(k, v)).collect();
    out.line(if args.all { "\nsettings" } else { "\nsettings that differ from the defaults" });
    table(shown.iter().map(|(k, v)| vec![clean::for_terminal(k), or_dash(v)]).collect(), out);
    if !run.complete {
        out.line("  (its folder does not tell all of them)");
    }
    out.line("\nmetrics");
    let metrics = run.metrics.keys().filter_map(|k| Some((k, run.metric(k)?)));
    table(metrics.map(|(k, v)| vec![clean::for_terminal(k), number(v)]).collect(), out);
    let curve = if args.curve { Some(Curve::read(&args.run)?) } else { None };
    out.object(&json!({ "run": run, "curve": curve }));
    Ok(())
}

fn table(rows: Vec<Vec<String>>, out: &Out) {
    let widths = columns::widths(&["", ""], &rows);
    for row in &rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        out.line(format!("  {}", columns::row(&cells, &widths)));
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".into() } else { clean::for_terminal(text) }
}

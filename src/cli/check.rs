//! `lorascope check`: looks a registered data set over.

use super::output::Out;
use super::{findings, interrupt, profile};
use crate::config::layers;
use crate::data::check;
use crate::error::Result;
use crate::files;
use crate::job::{CheckJob, Event};
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Look a registered data set over: format, roles, pictures, answers, characters, copies, leaks, length
///
/// Ends with a verdict: 符合 (fits, perhaps with warnings) or 不符合 (does not; exit code 4). With --json the report
/// is one object on standard output; if the verdict is bad, the error follows on a line of its own. Ctrl-C ends it
/// with what was found so far (exit code 130).
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The data set's name in dataset_info.json
    pub name: String,
    /// Settings, such as cutoff_len=1024
    #[arg(value_name = "key=value")]
    pub settings: Vec<String>,
    /// The data folder, with dataset_info.json
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// A model folder: count tokens with its tokenizer against cutoff_len
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// A configuration: its limits, and its eval_dataset to compare with
    #[arg(long, value_name = "CONFIG.yaml")]
    pub config: Option<PathBuf>,
    /// A validation set that must share no picture, row or id with this one; without it eval_dataset, or the
    /// registered sibling of a name with `train`
    #[arg(long, value_name = "NAME")]
    pub against: Vec<String>,
    /// Decode every picture fully, instead of reading its header and its end
    #[arg(long)]
    pub deep: bool,
    /// Write the whole report into a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write and register a cleaned copy under this name: without rows with errors, copies and leaks, its text
    /// without control tokens and control characters. The original and the pictures stay as they are
    #[arg(long, value_name = "NAME")]
    pub fix: Option<String>,
}

pub fn run(args: &CheckArgs, out: &Out) -> Result<()> {
    let config = Box::new(layers::load(args.config.as_deref(), &args.settings)?);
    let job = CheckJob {
        dataset: args.name.clone(),
        dataset_dir: args.data.clone(),
        model: args.model.clone(),
        config,
        against: args.against.clone(),
        deep: args.deep,
        fix: args.fix.clone(),
    };
    let stop = interrupt::stop_flag()?;
    let result = check::report(&job, &stop, &|event| match &event {
        // The findings are the result: on standard output.
        Event::Finding(finding) => out.line(findings::text(finding)),
        other => findings::print(out, other),
    });
    out.clear_bar();
    let report = result?;
    if let Some(path) = &args.report {
        files::write_json(path, &report)?;
    }
    profile::print(&report, out);
    print_fix(&report["fix"], out);
    for other in report["against"].as_array().into_iter().flatten() {
        out.line(format!("compared with {}", other.as_str().unwrap_or_default()));
    }
    out.line(report["line"].as_str().unwrap_or_default());
    out.object(&report);
    check::refusal(&report).map_or(Ok(()), Err)
}

/// What the cleaned copy leaves out and changes.
fn print_fix(fix: &Value, out: &Out) {
    let Some(name) = fix["name"].as_str() else { return };
    let counts = |what: &str| {
        let rules = fix[what].as_object().into_iter().flatten();
        let rules = rules.map(|(code, rows)| format!("{} {code}", rows.as_array().map_or(0, Vec::len)));
        let text = rules.collect::<Vec<_>>().join(", ");
        if text.is_empty() { "nothing".to_string() } else { text }
    };
    out.line(format!("wrote {name}: {} rows, {}", fix["rows"], fix["file"].as_str().unwrap_or_default()));
    out.line(format!("  left out: {}", counts("dropped")));
    out.line(format!("  changed:  {}", counts("changed")));
}

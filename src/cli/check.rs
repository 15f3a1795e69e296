//! `lorascope check`: looks a registered data set over.

use super::output::Out;
use super::{findings, interrupt};
use crate::config::layers;
use crate::data::check;
use crate::error::Result;
use crate::job::{CheckJob, Event};
use clap::Args;
use std::path::PathBuf;

/// Look a registered data set over: format, roles, pictures, answers, length
///
/// Ends with a verdict: 符合 (fits, perhaps with warnings) or 不符合 (does not; exit code 4). With --json the report
/// is one object on standard output; if the verdict is bad, the error follows on a line of its own.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The data set's name in dataset_info.json
    pub name: String,
    /// The data folder, with dataset_info.json
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// A model folder: count tokens with its tokenizer against cutoff_len
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Settings, such as cutoff_len=1024
    #[arg(value_name = "key=value")]
    pub settings: Vec<String>,
}

pub fn run(args: &CheckArgs, out: &Out) -> Result<()> {
    let config = Box::new(layers::load(None, &args.settings)?);
    let job = CheckJob { model: args.model.clone(), config, ..CheckJob::new(&args.name, &args.data) };
    let stop = interrupt::stop_flag()?;
    let result = check::report(&job, &stop, &|event| match &event {
        // The findings are the result: on standard output.
        Event::Finding(finding) => out.line(findings::text(finding)),
        other => findings::print(out, other),
    });
    out.clear_bar();
    let report = result?;
    out.line(report["line"].as_str().unwrap_or_default());
    out.object(&report);
    check::refusal(&report).map_or(Ok(()), Err)
}

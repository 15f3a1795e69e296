//! `lorascope stats`: the numbers of a registered data set.

use super::output::Out;
use super::{findings, interrupt, profile};
use crate::config::layers;
use crate::data::check::stats;
use crate::error::{Error, Kind, Result};
use crate::job::CheckJob;
use clap::Args;
use std::path::PathBuf;

/// Show the numbers of a registered data set: rows, turns, pictures, words, tokens, kinds of picture
///
/// It counts and does not judge; `check` does.
#[derive(Args, Debug)]
pub struct StatsArgs {
    /// The data set's name in dataset_info.json
    pub name: String,
    /// Settings, such as image_max_pixels=262144
    #[arg(value_name = "key=value")]
    pub settings: Vec<String>,
    /// The data folder, with dataset_info.json
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// A model folder: count tokens with its tokenizer
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

pub fn run(args: &StatsArgs, out: &Out) -> Result<()> {
    let config = Box::new(layers::load(None, &args.settings)?);
    let job = CheckJob { model: args.model.clone(), config, ..CheckJob::new(&args.name, &args.data) };
    let stop = interrupt::stop_flag()?;
    let result = stats::stats(&job, &stop, &|event| findings::print(out, &event));
    out.clear_bar();
    let stats = result?;
    let (rows, looked) = (&stats["rows"], &stats["looked_at"]);
    out.line(format!("{}: {rows} rows, {} of them usable", args.name, stats["profile"]["usable"]));
    profile::print(&stats, out);
    let words = &stats["words"];
    profile::print_texts("kinds of picture", &words["modalities"], out);
    profile::print_texts("frequent words", &words["frequent"], out);
    profile::print_texts("openings", &words["openings"], out);
    out.object(&stats);
    match stats["finished"].as_bool() {
        Some(false) => Err(Error::new(Kind::Stopped, format!("stopped after {looked} of {rows} rows"))),
        _ => Ok(()),
    }
}

//! The command line: one file per subcommand, each building a `Job` and printing its events.

pub mod ask;
pub mod ask_many;
pub mod bench;
mod bench_quantized;
mod bench_screen;
mod bench_workspace;
pub mod chat;
pub mod check;
pub mod columns;
pub mod config_file;
pub mod convert;
pub mod datasets;
pub mod demo;
pub mod eval;
pub mod export;
pub mod findings;
mod flow;
pub mod interrupt;
pub mod job;
pub mod measures;
pub mod output;
pub mod params;
pub mod plan;
pub mod profile;
pub mod report;
pub mod runs;
pub mod score;
pub mod serve;
pub mod show;
pub mod stats;
pub mod talk;
pub mod targets;
pub mod train;
pub mod watch;
pub mod workbench;

use crate::error::Result;
use clap::{Args, Parser, Subcommand};
use output::Out;
use std::path::PathBuf;

/// The folder of the workbench where no other is named.
const WORKSPACE: &str = "lorascope-workspace";

/// LoRA fine-tuning of Qwen3-VL on medical images, in the terminal.
///
/// Without a subcommand it opens the workbench.
///
/// Exit codes: 0 done, 2 wrong usage or setting, 3 bad input, 4 check failed or plan does not fit,
/// 5 cannot read or write, 6 training stopped on NaN/Inf or memory, 70 bug, 130 stopped by the user.
#[derive(Parser)]
#[command(name = "lorascope", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Cmd>,
    #[command(flatten)]
    pub global: Global,
    /// Folder of the workbench: data, model, runs
    #[arg(long, value_name = "DIR", default_value = WORKSPACE)]
    pub workspace: PathBuf,
    #[command(flatten)]
    pub looks: workbench::LooksArgs,
}

/// Options every subcommand takes.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Print results as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print results and errors only, no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum Cmd {
    Demo(demo::DemoArgs),
    Convert(Box<convert::ConvertArgs>),
    Datasets(datasets::DatasetsArgs),
    Check(check::CheckArgs),
    Stats(stats::StatsArgs),
    Show(show::ShowArgs),
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Score(score::ScoreArgs),
    Report(report::ReportArgs),
    Ask(ask::AskArgs),
    Chat(chat::ChatArgs),
    Serve(serve::ServeArgs),
    Bench(bench::BenchArgs),
    Export(export::ExportArgs),
    Targets(targets::TargetsArgs),
    Params(params::ParamsArgs),
    Plan(plan::PlanArgs),
    Runs(runs::RunsArgs),
    Watch(watch::WatchArgs),
}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> Result<()> {
    let out = Out::new(cli.global.json, cli.global.quiet);
    match cli.command {
        None => workbench::run(cli.workspace, cli.looks, &out),
        Some(Cmd::Watch(args)) => {
            let looks = cli.looks;
            watch::run(&args, &out, |run, control| workbench::watch(run, control, looks, &out))
        }
        Some(Cmd::Demo(args)) => demo::run(&args, &out),
        Some(Cmd::Convert(args)) => convert::run(&args, &out),
        Some(Cmd::Datasets(args)) => datasets::run(&args, &out),
        Some(Cmd::Check(args)) => check::run(&args, &out),
        Some(Cmd::Stats(args)) => stats::run(&args, &out),
        Some(Cmd::Train(args)) => train::run(&args, &out),
        Some(Cmd::Eval(args)) => eval::run(&args, &out),
        Some(Cmd::Score(args)) => score::run(&args, &out),
        Some(Cmd::Report(args)) => report::run(&args, &out),
        Some(Cmd::Ask(args)) => ask::run(&args, &out),
        Some(Cmd::Chat(args)) => chat::run(&args, &out),
        Some(Cmd::Serve(args)) => serve::run(&args, &out),
        Some(Cmd::Bench(args)) => bench::run(&args, &out),
        Some(Cmd::Export(args)) => export::run(&args, &out),
        Some(Cmd::Targets(args)) => targets::run(&args, &out),
        Some(Cmd::Params(args)) => params::run(&args, &out),
        Some(Cmd::Plan(args)) => plan::run(&args, &out),
        Some(Cmd::Runs(args)) => runs::run(&args, &cli.workspace, &out),
        Some(Cmd::Show(args)) => show::run(&args, &out),
    }
}

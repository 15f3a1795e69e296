//! `lorascope runs`: list, show, compare, export, delete and import runs.

mod change;
mod compare;
mod list;
mod show;

use super::output::Out;
use crate::error::Result;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// List runs, look at them, compare them, export their curves, delete and import them
///
/// `lorascope runs DIR` lists the runs below a folder, `lorascope runs` those of the workspace.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// The folder to search; without it the runs of the workbench: `runs` of the folder that `lorascope` opens
    /// (lorascope-workspace, or --workspace before the subcommand)
    pub dir: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum RunsCommand {
    /// List the runs below a folder: status, progress, last loss, age
    List(list::ListArgs),
    /// Show one run: status, settings, final metrics
    Show(show::ShowArgs),
    /// Compare runs: settings that differ, metrics side by side
    Compare(compare::CompareArgs),
    /// Write the curves of runs as PNG, SVG or CSV
    Export(change::ExportArgs),
    /// Delete runs; without --yes it only says what would go
    Delete(change::DeleteArgs),
    /// Take a run of LLaMA-Factory in: its records and its adapter
    Import(change::ImportArgs),
}

/// `workspace` is the folder that the workbench would open.
pub fn run(args: &RunsArgs, workspace: &Path, out: &Out) -> Result<()> {
    match &args.command {
        None => list::run(args.dir.as_deref(), workspace, out),
        Some(RunsCommand::List(args)) => list::run(args.dir.as_deref(), workspace, out),
        Some(RunsCommand::Show(args)) => show::run(args, out),
        Some(RunsCommand::Compare(args)) => compare::run(args, out),
        Some(RunsCommand::Export(args)) => change::export(args, out),
        Some(RunsCommand::Delete(args)) => change::delete(args, out),
        Some(RunsCommand::Import(args)) => change::import(args, out),
    }
}

/// A number of a table: whole ones whole, others with four significant places.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => value.to_string(),
        a if value.fract() == 0.0 && a < 1e15 => format!("{value:.0}"),
        a if a >= 100.0 => format!("{value:.2}"),
        a if a >= 1e-3 => format!("{value:.4}"),
        _ => format!("{value:.3e}"),
    }
}

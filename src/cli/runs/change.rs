//! `lorascope runs export`, `delete` and `import`.

use crate::cli::output::Out;
use crate::data::clean;
use crate::error::{Error, Result};
use crate::runs::delete::{self, Doomed};
use crate::runs::export::{self, View};
use crate::runs::{Axis, Columns, Curve, Metric, import};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The runs' folders; several are drawn over each other
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The file to write; its ending is the format: .png, .svg or .csv
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// The curve to plot; a CSV file has all of them
    #[arg(long, default_value = "loss", value_parser = PossibleValuesParser::new(Metric::ALL.map(Metric::name)))]
    pub metric: String,
    /// What stands along the bottom
    #[arg(long, default_value = "step", value_parser = PossibleValuesParser::new(Axis::ALL.map(Axis::name)))]
    pub axis: String,
    /// A logarithmic axis for the values
    #[arg(long)]
    pub log: bool,
}

pub fn export(args: &ExportArgs, out: &Out) -> Result<()> {
    let metric = Metric::ALL.into_iter().find(|m| m.name() == args.metric).unwrap_or(Metric::Loss);
    let axis = Axis::ALL.into_iter().find(|a| a.name() == args.axis).unwrap_or_default();
    let mut runs = Vec::new();
    for dir in &args.runs {
        runs.push((clean::for_terminal(&dir.display().to_string()), Columns::of(&Curve::read(dir)?)));
    }
    let named: Vec<(String, &Columns)> = runs.iter().map(|(name, c)| (name.clone(), c)).collect();
    export::write(&args.output, &named, View { metric, axis, log_y: args.log })?;
    out.line(format!("wrote {}", args.output.display()));
    out.object(
        &json!({ "written": args.output, "steps": runs.iter().map(|r| r.1.len()).collect::<Vec<_>>() }),
    );
    Ok(())
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    /// The runs' folders
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Delete them
    #[arg(long)]
    pub yes: bool,
}

/// All are looked at before the first is deleted.
pub fn delete(args: &DeleteArgs, out: &Out) -> Result<()> {
    let doomed = args.runs.iter().map(|dir| delete::look(dir)).collect::<Result<Vec<Doomed>>>()?;
    if args.yes {
        args.runs.iter().try_for_each(|dir| delete::delete(dir).map(drop))?;
    }
    for d in &doomed {
        let mib = d.bytes as f64 / f64::from(1 << 20);
        out.line(format!(
            "{}{}: {} files, {mib:.1} MiB, {} checkpoints",
            if args.yes { "deleted " } else { "" },
            d.path.display(),
            d.files,
            d.checkpoints
        ));
    }
    out.object(&json!({ "deleted": args.yes, "runs": doomed }));
    if args.yes {
        return Ok(());
    }
    Err(Error::usage("nothing was deleted").hint("add --yes to delete these runs for good"))
}

#[derive(Args, Debug)]
pub struct ImportArgs {
    /// An output folder of LLaMA-Factory
    pub from: PathBuf,
    /// The folder of runs it goes into
    #[arg(long, value_name = "DIR", default_value = "saves")]
    pub into: PathBuf,
    /// Its name there
    #[arg(long)]
    pub name: Option<String>,
}

pub fn import(args: &ImportArgs, out: &Out) -> Result<()> {
    let to = import::import(&args.from, &args.into, args.name.as_deref())?;
    out.line(format!("imported to {}", to.display()));
    out.object(&json!({ "run": to }));
    Ok(())
}

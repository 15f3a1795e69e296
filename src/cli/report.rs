//! `lorascope report`: an evaluation as a page to read and to hand on.

use super::output::Out;
use crate::error::{Result, must_exist};
use crate::eval::report;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Write report.md and report.html of an evaluation, compared with that of another model
///
/// The HTML file holds its pictures and loads nothing from elsewhere. Also for an evaluation that still goes on.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// output_dir of the evaluation
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// output_dir of the evaluation to compare with. Not given: DIR/base, if there is one
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Scores by group: a key of the rows that were evaluated, or a column of their parquet file
    #[arg(long, value_name = "KEY")]
    pub group_by: Option<String>,
}

pub fn run(args: &ReportArgs, out: &Out) -> Result<()> {
    must_exist(&args.dir, "evaluation")?;
    let page = report::write_by(&args.dir, args.base.as_deref(), args.group_by.as_deref())?;
    out.line(format!("{}", page.display()));
    out.object(&json!({ "html": page, "markdown": args.dir.join("report.md") }));
    Ok(())
}

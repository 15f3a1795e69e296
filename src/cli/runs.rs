//! `lorascope runs`: the runs below a folder.

use super::columns;
use super::output::Out;
use crate::error::Result;
use crate::runs::{RunInfo, list};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// List the runs below a folder: status, progress, last loss, age
#[derive(Args, Debug)]
pub struct RunsArgs {
    /// The folder to search
    #[arg(default_value = "saves")]
    pub dir: PathBuf,
}

pub fn run(args: &RunsArgs, out: &Out) -> Result<()> {
    let runs = list::list(&args.dir)?;
    if runs.is_empty() {
        out.line(format!("no runs below {}", args.dir.display()));
    } else {
        let heading = ["run", "status", "steps", "loss", "age"];
        let rows: Vec<Vec<String>> = runs.iter().map(cells).collect();
        let widths = columns::widths(&heading, &rows);
        out.line(columns::row(&heading, &widths));
        for row in &rows {
            out.line(columns::row(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
        }
    }
    out.object(&json!({ "runs": runs }));
    Ok(())
}

fn cells(run: &RunInfo) -> Vec<String> {
    vec![
        crate::data::clean::for_terminal(&run.name),
        run.status.name().to_string(),
        if run.total_steps == 0 { "-".to_string() } else { format!("{}/{}", run.step, run.total_steps) },
        run.loss.map_or_else(|| "-".to_string(), |loss| format!("{loss:.4}")),
        age(run.age_seconds),
    ]
}

/// The largest unit is enough: `45 s`, `12 min`, `3 h`, `2 d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

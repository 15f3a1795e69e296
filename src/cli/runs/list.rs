//! `lorascope runs list`: the runs below a folder.

use crate::cli::columns;
use crate::cli::output::Out;
use crate::data::clean;
use crate::error::Result;
use crate::runs::{self, Detail, detail};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct ListArgs {
    /// The folder to search; without it the runs of the workbench: `runs` of the folder that `lorascope` opens
    /// (lorascope-workspace, or --workspace before the subcommand)
    pub dir: Option<PathBuf>,
}

/// Lists the runs below `dir`, else those that the workbench shows of `workspace`, which may have none yet.
pub fn run(dir: Option<&Path>, workspace: &Path, out: &Out) -> Result<()> {
    let own = runs::of_workspace(workspace);
    let below = dir.unwrap_or(&own);
    let missing = dir.is_none() && !below.exists();
    let runs = if missing { Vec::new() } else { detail::all(below)? };
    if runs.is_empty() {
        out.line(format!("no runs below {}", below.display()));
        if dir.is_none() {
            out.note("name another folder to search: lorascope runs list DIR");
        }
    } else {
        let heading = ["run", "status", "steps", "loss", "eval", "age", "settings"];
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

fn cells(run: &Detail) -> Vec<String> {
    let info = &run.info;
    let or_dash = |loss: Option<f64>| loss.map_or_else(|| "-".to_string(), |loss| format!("{loss:.4}"));
    vec![
        clean::for_terminal(&info.name),
        info.status.name().to_string(),
        if info.total_steps == 0 { "-".to_string() } else { format!("{}/{}", info.step, info.total_steps) },
        or_dash(info.loss),
        or_dash(run.metric("eval_loss")),
        age(info.age_seconds),
        clean::for_terminal(&run.gist()),
    ]
}

/// The largest unit is enough: `45 s`, `12 min`, `3 h`, `2 d`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

//! `lorascope runs list`: the runs below a folder.

use crate::cli::columns;
use crate::cli::output::Out;
use crate::data::clean;
use crate::error::Result;
use crate::runs::{Detail, detail};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ListArgs {
    /// The folder to search
    #[arg(default_value = "saves")]
    pub dir: PathBuf,
}

pub fn run(args: &ListArgs, out: &Out) -> Result<()> {
    let runs = detail::all(&args.dir)?;
    if runs.is_empty() {
        out.line(format!("no runs below {}", args.dir.display()));
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

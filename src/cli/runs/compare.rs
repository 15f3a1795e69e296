//! `lorascope runs compare`: runs side by side.

use super::number;
use crate::cli::columns;
use crate::cli::output::Out;
use crate::data::clean;
use crate::error::Result;
use crate::runs::Comparison;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct CompareArgs {
    /// The runs' folders, two or more
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub runs: Vec<PathBuf>,
}

/// Widest column of a run.
const WIDEST: usize = 28;

pub fn run(args: &CompareArgs, out: &Out) -> Result<()> {
    let compared = Comparison::read(Path::new(""), &args.runs)?;
    let names = compared.runs.iter().map(|r| clean::for_terminal(&r.info.name));
    let heading: Vec<String> = std::iter::once(String::new()).chain(names).collect();
    let setting = |value: &Option<String>| match value.as_deref() {
        None => "?".to_string(),
        Some("") => "-".to_string(),
        Some(value) => clean::for_terminal(value),
    };
    let settings = compared.settings.iter().map(|row| {
        std::iter::once(clean::for_terminal(&row.key)).chain(row.values.iter().map(setting)).collect()
    });
    let metrics = compared.metrics.iter().map(|row| {
        let value = |(i, v): (usize, &Option<f64>)| {
            let mark = if row.best == Some(i) { " *" } else { "" };
            v.map_or_else(|| "-".to_string(), |v| format!("{}{mark}", number(v)))
        };
        std::iter::once(clean::for_terminal(&row.name))
            .chain(row.values.iter().enumerate().map(value))
            .collect()
    });
    let (settings, metrics): (Vec<Vec<String>>, Vec<Vec<String>>) = (settings.collect(), metrics.collect());
    let all: Vec<_> = settings.iter().chain(&metrics).cloned().collect();
    let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
    let widths: Vec<usize> = columns::widths(&heading, &all).into_iter().map(|w| w.min(WIDEST)).collect();
    let row = |cells: &[String]| columns::row(&cells.iter().map(String::as_str).collect::<Vec<_>>(), &widths);
    out.line(columns::row(&heading, &widths));
    out.line(if settings.is_empty() { "the settings are the same" } else { "settings that differ" });
    settings.iter().for_each(|cells| out.line(row(cells)));
    out.line("metrics (* is the best)");
    metrics.iter().for_each(|cells| out.line(row(cells)));
    out.object(&compared);
    Ok(())
}

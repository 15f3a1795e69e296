//! The report as Markdown.

use super::{Report, SORTED_BY, Shown};
use crate::data::clean;
use std::fmt::Write;

/// All of it.
pub(super) fn write(report: &Report) -> String {
    let mut out = format!("# {}\n\n", line(&report.title));
    let about = [("Model", &report.model), ("Adapter", &report.adapter)];
    for (name, value) in about.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "- {name}: `{}`", line(value));
    }
    let _ = writeln!(out, "- Samples: {}", report.tuned.samples);
    if let Some(base) = &report.base {
        let _ = writeln!(out, "- Compared with the base model on {} samples", base.common);
    }
    out += "\nNot a medical device: for research, no diagnosis.\n";
    for (title, (heading, rows)) in report.tables() {
        let _ = write!(out, "\n## {}\n\n{}", line(&title), table(&heading, &rows));
    }
    for (title, samples) in report.shown() {
        let _ = writeln!(out, "\n## {title}\n");
        samples.iter().for_each(|s| out += &sample(s));
    }
    out
}

fn table(heading: &[String], rows: &[Vec<String>]) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|c| line(c).replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", " --- |".repeat(heading.len()));
    std::iter::once(row(heading)).chain([rule]).chain(rows.iter().map(|r| row(r))).collect()
}

fn sample(shown: &Shown) -> String {
    let p = &shown.prediction;
    let score = p.score(SORTED_BY).unwrap_or_default();
    let mut out = format!("### {} ({SORTED_BY} {score:.2})\n\n", line(&p.id));
    let mut item = |name: &str, text: &str| {
        let _ = writeln!(out, "- {name}: {}", line(text));
    };
    p.images.iter().for_each(|image| item("Picture", image));
    item("Question", &p.question);
    item("Reference", &p.label);
    if let Some(base) = &shown.base {
        item("Base", base);
    }
    item("Tuned", &p.predict);
    out + "\n"
}

/// Text from data on one line, without control characters.
fn line(text: &str) -> String {
    clean::for_terminal(text.trim())
}

//! Prints the events of jobs on data: progress, findings, log lines.

use super::output::Out;
use crate::job::{Event, Finding, Level};

/// Prints an event on standard error.
pub fn print(out: &Out, event: &Event) {
    match event {
        Event::Progress { .. } | Event::Rows { .. } => out.progress(event),
        Event::Finding(finding) => out.note(text(finding)),
        Event::Log { line, level } if *level > Level::Debug => out.note(line),
        _ => {}
    }
}

/// "warning: what" and, where there is something to do, a line with it.
pub fn text(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info | Level::Debug => "note",
    };
    let fix = if finding.fix.is_empty() { String::new() } else { format!("\n  fix: {}", finding.fix) };
    format!("{level}: {}{fix}", finding.message)
}

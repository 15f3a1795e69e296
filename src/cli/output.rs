//! What the command line prints: results on standard output, progress and notices on standard error.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use super::flow::Flow;
use crate::error::{Error, Kind, Result};
use crate::job::{Event, Phase};
use crate::tui::prompt::terminal_columns;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, OnceLock};

/// Why results could not be written to standard output, if so.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints results, notices and progress by the global options, `NO_COLOR` and whether it is a terminal.
pub struct Out {
    pub json: bool,
    pub quiet: bool,
    bar: Mutex<Option<(Phase, ProgressBar)>>,
    /// The text that is being written to a terminal.
    flow: Mutex<Flow>,
}

impl Out {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, bar: Mutex::new(None), flow: Mutex::default() }
    }

    /// A line of result text; not printed with `--json`.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.clear_bar();
            self.end_text();
            put(&printable(text.as_ref()));
        }
    }

    /// Result text in which the pieces with `true` stand out: by colour on a terminal, else between ⟦ and ⟧.
    pub fn highlighted(&self, pieces: &[(bool, String)]) {
        if self.json {
            return;
        }
        let colours =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let paint = |(stands_out, text): &(bool, String)| match (colours, stands_out) {
            (true, true) => format!("\x1b[1;32m{}\x1b[0m", printable(text)),
            (true, false) => format!("\x1b[36m{}\x1b[0m", printable(text)),
            (false, true) => format!("⟦{}⟧", printable(text)),
            (false, false) => printable(text),
        };
        self.clear_bar();
        put(&pieces.iter().map(paint).collect::<String>());
    }

    /// A piece of a text that is still being written; `done` ends the line. On a terminal lines end between words.
    pub fn piece(&self, text: &str, done: bool) {
        if self.json {
            return;
        }
        self.clear_bar();
        let mut text = printable(text);
        if std::io::stdout().is_terminal() {
            let mut flow = self.flow.lock().expect("no panic while the text is held");
            let columns = terminal_columns();
            text = flow.push(&text, columns);
            if done {
                text.push_str(&flow.end(columns));
            }
        } else if done {
            text.push('\n');
        }
        write_text(&text);
    }

    /// Ends a text that was broken off on a terminal, so that what follows does not stand in its last line.
    pub fn end_text(&self) {
        let mut flow = self.flow.lock().expect("no panic while the text is held");
        if *flow != Flow::default() {
            write_text(&flow.end(terminal_columns()));
        }
    }

    /// The result object of `--json`, on one line.
    pub fn object(&self, value: &impl serde::Serialize) {
        if self.json {
            self.clear_bar();
            put(&serde_json::to_string(value).expect("plain data serialises"));
        }
    }

    /// A line of a result that is JSON whatever was asked for.
    pub fn raw(&self, line: &str) {
        self.clear_bar();
        put(line);
    }

    /// A notice for people, on standard error; nothing with `--quiet`.
    pub fn note(&self, text: impl AsRef<str>) {
        self.end_text();
        if !self.quiet {
            self.clear_bar();
            let _ = writeln!(std::io::stderr(), "{}", printable(text.as_ref()));
        }
    }

    /// Moves the progress bar on an `Event::Progress`, and puts the counts of `Event::Rows` beside it; other events are left
    /// to the caller.
    pub fn progress(&self, event: &Event) {
        if let Event::Rows { kept, skipped } = event {
            let bar = self.bar.lock().expect("no panic while the bar is held");
            bar.iter().for_each(|(_, bar)| bar.set_prefix(format!("  {kept} kept, {skipped} skipped")));
        }
        let Event::Progress { phase, done, total } = event else { return };
        if self.quiet || !Self::has_bar() {
            return;
        }
        let mut bar = self.bar.lock().expect("no panic while the bar is held");
        if bar.as_ref().is_none_or(|(p, _)| p != phase) {
            if let Some((_, b)) = bar.take() {
                b.finish_and_clear();
            }
            *bar = Some((*phase, new_bar(*phase)));
        }
        if let Some((_, b)) = bar.as_ref() {
            b.set_length(*total as u64);
            b.set_position(*done as u64);
        }
    }

    /// Whether progress is a bar, on a terminal; a log has lines instead.
    pub fn has_bar() -> bool {
        std::io::stderr().is_terminal()
    }

    /// Puts words beside the progress bar.
    pub fn beside_bar(&self, text: &str) {
        let bar = self.bar.lock().expect("no panic while the bar is held");
        bar.iter().for_each(|(_, bar)| bar.set_prefix(format!("  {}", printable(text))));
    }

    /// Removes the progress bar from the screen.
    pub fn clear_bar(&self) {
        if let Some((_, b)) = self.bar.lock().expect("no panic while the bar is held").take() {
            b.finish_and_clear();
        }
    }
}

fn new_bar(phase: Phase) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{msg:16} {bar:28} {pos}/{len}  {per_sec}  ETA {eta}{prefix}")
        .expect("a constant template");
    bar.set_style(style);
    bar.set_message(phase.name());
    bar
}

/// Prints an error with its hint, or as JSON on standard output with `--json`.
pub fn print_error(error: &Error, json: bool) {
    if json {
        put(&serde_json::json!({ "error": error }).to_string());
    }
    let mut err = std::io::stderr();
    let _ = writeln!(err, "error: {}", printable(&error.message));
    if let Some(hint) = &error.hint {
        let _ = writeln!(err, "  hint: {}", printable(hint));
    }
}

fn write_text(text: &str) {
    let mut out = std::io::stdout();
    notice(write!(out, "{text}").and_then(|()| out.flush()));
}

fn put(text: &str) {
    notice(writeln!(std::io::stdout(), "{text}"));
}

/// Remembers the first write that failed. A closed pipe (`| head`) is not an error of ours.
fn notice(written: std::io::Result<()>) {
    if let Err(e) = written
        && e.kind() != ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| e.to_string());
    }
}

/// Whether everything that was printed so far has got to where standard output leads.
///
/// # Errors
/// Something has not: the disk is full, as a rule.
pub fn written() -> Result<()> {
    LOST.get().map_or(Ok(()), |why| {
        Err(Error::new(Kind::Io, format!("cannot write to standard output: {why}"))
            .hint("what was written there is not complete: free some space, or write it elsewhere"))
    })
}

/// Text from data made harmless for a terminal.
fn printable(text: &str) -> String {
    crate::data::clean::for_terminal_lines(text)
}

//! Runs a job on an engine and hands its events to a subcommand; Ctrl-C asks the job to stop.

use super::interrupt;
use super::output::Out;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::job::{Command, Event, Job, Level, Outcome};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Runs `job` to its end; `on_event` gets every event but the last. The first Ctrl-C (or SIGTERM) stops and saves,
/// a second one ends the program at once. Training and evaluation go on when their terminal is closed (SIGHUP), other
/// jobs stop.
pub fn run(engine: &Engine, job: Job, out: &Out, on_event: &mut dyn FnMut(&Event)) -> Result<Value> {
    let run_dir = run_dir(&job);
    let signals = interrupt::listen(run_dir.is_some())?;
    let (send, events) = channel();
    let handle = engine.submit(job, move |event| {
        let _ = send.send(event);
    });
    let mut asked = false;
    loop {
        if signals.stop.load(Ordering::Relaxed) && !asked {
            asked = true;
            let what = if run_dir.is_some() { "stopping and saving" } else { "stopping" };
            out.note(format!("{what}; Ctrl-C again ends at once"));
            handle.send(Command::Stop { save: true });
        }
        if signals.hangup.swap(false, Ordering::Relaxed) {
            let dir = run_dir.as_deref().unwrap_or(Path::new("")).display();
            out.note(format!("the terminal is gone, the run goes on: `lorascope watch {dir}` shows it"));
        }
        let event = match events.recv_timeout(Duration::from_millis(100)) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("the job ended without a result"));
            }
        };
        match event {
            Event::Finished(outcome) => {
                out.clear_bar();
                return finish(outcome);
            }
            event => {
                common(&event, out);
                on_event(&event);
            }
        }
    }
}

/// The folder of a job that can be watched from elsewhere.
fn run_dir(job: &Job) -> Option<PathBuf> {
    match job {
        Job::Train(config) | Job::Evaluate(config) => Some(config.output_dir.clone()),
        _ => None,
    }
}

/// What every subcommand shows alike: progress, findings, notices.
pub(super) fn common(event: &Event, out: &Out) {
    match event {
        Event::Progress { .. } | Event::Rows { .. } => out.progress(event),
        Event::Finding(_) => super::findings::print(out, event),
        Event::Log { level: Level::Error, line } => out.note(format!("error: {line}")),
        Event::Log { level: Level::Warning, line } => out.note(format!("warning: {line}")),
        Event::Log { line, .. } => out.note(line),
        _ => {}
    }
}

/// The result of a job by its end.
pub(super) fn finish(outcome: Outcome) -> Result<Value> {
    match outcome {
        Outcome::Done { summary } => Ok(summary),
        Outcome::Failed { error } => Err(error),
        Outcome::Stopped { summary } => {
            let text = |key: &str| summary[key].as_str().unwrap_or_default().to_string();
            let error = Error::new(Kind::Stopped, text("message"));
            Err(if summary["hint"].is_string() { error.hint(text("hint")) } else { error })
        }
    }
}

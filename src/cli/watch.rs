//! `lorascope watch`: a run seen, or commanded, from another shell.

use super::output::Out;
use super::{job, train};
use crate::engine::watch::{self, Heard, Take};
use crate::error::{Error, Kind, Result};
use crate::job::{Command, Event, Level};
use crate::runs::lock;
use clap::Args;
use std::io::{IsTerminal, stdin, stdout};
use std::path::{Path, PathBuf};

/// Watch a run from another shell, or take its controls
///
/// On a terminal the workbench opens on the run; `q` ends the watching, not the run. With --plain, --json or without a
/// terminal the run's events are printed as `train` prints them, from the first step on, until it ends; then the
/// exit code is the run's. Any number can watch. One has the controls at a time; when it leaves they fall back to the
/// one before.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The run folder
    pub run: PathBuf,
    /// Take the controls, not only watch
    #[arg(long)]
    pub control: bool,
    /// Lines instead of a screen
    #[arg(long)]
    pub plain: bool,
    /// Say this to the run, wait until it is done, and end: pause, resume, save, stop (saves first), stop-now, or
    /// KEY=VALUE for a setting (learning_rate=x0.5, logging_steps=1, save_steps=50)
    #[arg(long, value_name = "COMMAND", value_parser = command)]
    pub tell: Option<Command>,
}

fn command(text: &str) -> std::result::Result<Command, String> {
    Ok(match text {
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        "save" => Command::SaveNow,
        "stop" => Command::Stop { save: true },
        "stop-now" => Command::Stop { save: false },
        _ => match text.split_once('=') {
            Some((key, value)) => Command::Set { key: key.trim().into(), value: value.trim().into() },
            None => return Err("one of pause, resume, save, stop, stop-now, KEY=VALUE".into()),
        },
    })
}

/// Opens the screen, or prints.
pub fn run(args: &WatchArgs, out: &Out, screen: impl FnOnce(PathBuf, bool) -> Result<()>) -> Result<()> {
    crate::error::must_exist(&args.run, "run folder")?;
    if let Some(command) = &args.tell {
        return tell(&args.run, command, out);
    }
    if !args.plain && !out.json && stdin().is_terminal() && stdout().is_terminal() {
        return screen(args.run.clone(), args.control);
    }
    if !watch::is_running(&args.run) {
        return print_past(&args.run, out);
    }
    let (connection, link) = watch::connect(&args.run)?;
    if args.control {
        link.control(Take::Take);
    }
    let mut end = None;
    connection.follow(&mut |heard| {
        match heard {
            Heard::Event(Event::Finished(outcome)) => end = Some(job::finish(outcome)),
            Heard::Event(event) => print(&event, out),
            Heard::Refused(why) => out.note(why),
            Heard::Control(_) | Heard::Gone => {}
        }
        end.is_none()
    });
    if end.is_some() {
        lock::until_free(&args.run);
    }
    out.clear_bar();
    end.unwrap_or_else(|| Err(interrupted(&args.run))).map(|summary| out.object(&summary))
}

fn print(event: &Event, out: &Out) {
    job::common(event, out);
    train::print(event, out);
    if !matches!(event, Event::Progress { .. }) {
        out.object(event);
    }
}

/// A run that has ended, as it went.
fn print_past(run: &Path, out: &Out) -> Result<()> {
    for event in watch::history(run)? {
        match event {
            Event::Finished(outcome) => return job::finish(outcome).map(|summary| out.object(&summary)),
            event => print(&event, out),
        }
    }
    Err(interrupted(run))
}

fn interrupted(run: &Path) -> Error {
    Error::new(Kind::Stopped, format!("{}: no process works on this run, and it has no end", run.display()))
        .hint("the command that began it goes on from its newest checkpoint")
}

/// Says something to a run and waits for what comes of it.
fn tell(run: &Path, command: &Command, out: &Out) -> Result<()> {
    let (connection, link) = watch::connect(run)?;
    link.control(Take::Take);
    let (mut said, mut paused, mut ended) = (false, false, false);
    let mut done = None;
    connection.follow(&mut |heard| {
        ended |= said && matches!(heard, Heard::Event(Event::Finished(_)));
        match heard {
            // The past has been told by now.
            Heard::Control(controls) if controls.yours && !said => {
                done = already(command, paused).map(Ok);
                said = done.is_some() || link.send(command.clone());
            }
            Heard::Refused(why) if said => done = Some(Err(Error::usage(why))),
            Heard::Event(Event::Paused(now)) if !said => paused = now,
            Heard::Event(event) if said => done = answer(command, &event),
            Heard::Gone => done = Some(Err(interrupted(run))),
            _ => {}
        }
        done.is_none()
    });
    if ended {
        // Its end is told a moment before it lets go of the folder, which the next command may want.
        lock::until_free(run);
    }
    let line = done.unwrap_or_else(|| Err(interrupted(run)))?;
    out.line(&line);
    out.object(&serde_json::json!({ "run": run, "done": line }));
    Ok(())
}

/// Nothing comes of a pause that is one already.
fn already(command: &Command, paused: bool) -> Option<String> {
    match command {
        Command::Pause if paused => Some("paused".into()),
        Command::Resume if !paused => Some("goes on".into()),
        _ => None,
    }
}

/// What an event says about a command; `None` while it is not done.
fn answer(command: &Command, event: &Event) -> Option<Result<String>> {
    match (command, event) {
        (Command::Pause, Event::Paused(true)) => Some(Ok("paused".into())),
        (Command::Resume, Event::Paused(false)) => Some(Ok("goes on".into())),
        (Command::SaveNow, Event::Saved { path, .. }) => Some(Ok(format!("saved {}", path.display()))),
        (Command::SaveNow, Event::Log { level: Level::Warning | Level::Error, line })
            if line.contains("not saved") =>
        {
            Some(Err(Error::new(Kind::Io, line.clone())))
        }
        (Command::Set { key, .. }, Event::Changed { key: changed, value, was, step }) if key == changed => {
            Some(Ok(format!("{key} is {value} from step {} on (it was {was})", step + 1)))
        }
        (Command::Set { .. }, Event::Log { level: Level::Error, line }) => {
            Some(Err(Error::usage(line.clone())))
        }
        (Command::Stop { .. }, Event::Finished(_)) => Some(Ok("stopped".into())),
        (_, Event::Finished(_)) => Some(Ok("the run has ended".into())),
        _ => None,
    }
}

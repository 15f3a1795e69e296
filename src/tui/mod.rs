//! The workbench: four panes over the jobs. This file is its loop; what it knows and shows is in `app`.

pub mod action;
pub mod app;
pub mod browse;
mod clipboard;
mod detect;
pub mod effects;
pub mod inline;
pub mod panes;
pub mod picture_worker;
pub mod pictures;
pub mod prompt;
pub mod run_worker;
mod screen;
pub mod settings_worker;
pub mod state;
pub mod talk_worker;
mod terminal;
pub mod text;
pub mod theme;
mod widgets;
mod worker;

use crate::config::TrainConfig;
use crate::error::{Error, Kind, Result};
use crate::job::{Command, Event, Level};
use app::App;
use crossterm::event::{KeyEvent, MouseEvent};
use crossterm::execute;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use effects::{Effect, Loaded, Runner};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use state::JobId;
use std::io::{Stdout, stdout};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// What the workbench starts with.
pub struct Options {
    /// Holds data/, model/, runs/ and demo.yaml; need not exist yet.
    pub workspace: PathBuf,
    pub config: TrainConfig,
}

/// Everything that can reach the workbench.
pub enum Msg {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Paste(String),
    Resize,
    /// An event of a job.
    Job {
        id: JobId,
        event: Event,
    },
    /// Something a worker has loaded.
    Loaded(Loaded),
    /// The system asks the program to end.
    Signal(i32),
}

/// Time between two frames after a key and the like: at most 10 a second.
const FRAME: Duration = Duration::from_millis(100);
/// Time between two frames when only a job had something to say: a curve that grows costs bytes over SSH.
const JOB_FRAME: Duration = Duration::from_millis(250);
/// Time between two frames when what a frame missed has come: rows and pictures that scroll into view.
const ANSWER_FRAME: Duration = Duration::from_millis(30);
/// Messages taken in before the next frame, so that a flood of them cannot starve the screen.
const BURST: usize = 4096;
/// How long a job may take to save when the system asks the program to end.
const LAST_SAVE: Duration = Duration::from_secs(60);

/// Opens the workbench on the terminal and stays until the user leaves.
pub fn run(options: Options) -> Result<()> {
    let theme = theme::Theme::choose(|name| std::env::var(name).ok());
    let colours = theme.colours;
    let (out, inbox) = channel();
    // The panic hook must be there before any other thread is.
    let guard = terminal::Guard::take(options.workspace.join("lorascope.log"))?;
    let mut workbench = Workbench {
        app: App::new(options.workspace, options.config, theme),
        runner: Runner::start(out.clone()),
        terminal: Terminal::new(CrosstermBackend::new(stdout())).map_err(|e| screen_error(&e))?,
    };
    watch_signals(out.clone())?;
    for effect in workbench.app.start() {
        workbench.runner.run(effect);
    }
    workbench.draw()?;
    // The terminal is asked before its keys are read, and after the first frame: an answer may take a while.
    let wish = std::env::var("LORASCOPE_PICTURES").ok();
    let detected = detect::detect(wish.as_deref(), colours);
    workbench.app.set_pictures(detected.picker.as_ref().map(|p| p.protocol_type()), detected.reason);
    workbench.runner.pictures = detected.picker.map(|p| picture_worker::start(p, out.clone()));
    for key in detected.keys {
        let _ = out.send(Msg::Key(key)); // the receiver is ours
    }
    read_keys(out)?;
    let ended = workbench.turn(&inbox);
    drop(guard);
    match ended {
        Ok(None) => Ok(()),
        Ok(Some(signal)) => {
            workbench.save_and_end(&inbox);
            Err(Error::new(Kind::Stopped, format!("ended by signal {signal}")))
        }
        // The terminal went away before the signal for it came.
        Err(error) => {
            workbench.save_and_end(&inbox);
            Err(error)
        }
    }
}

struct Workbench {
    app: App,
    runner: Runner,
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Workbench {
    /// Takes messages and draws until someone wants to leave; gives the signal if it was one.
    fn turn(&mut self, inbox: &Receiver<Msg>) -> Result<Option<i32>> {
        let mut last = Instant::now();
        let mut due = Some(last); // when to draw, if anything changed
        loop {
            let first = match due {
                Some(due) => match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Disconnected) => return Ok(None),
                    other => other.ok(),
                },
                None => inbox.recv().ok(),
            };
            for msg in first.into_iter().chain(inbox.try_iter().take(BURST)) {
                if let Msg::Signal(signal) = msg {
                    return Ok(Some(signal));
                }
                let frame = last + frame_after(&msg);
                due = Some(due.map_or(frame, |due| due.min(frame)));
                if !self.take(msg)? {
                    return Ok(None);
                }
            }
            if due.is_some_and(|due| Instant::now() >= due) {
                self.draw()?;
                (due, last) = (None, Instant::now());
            }
        }
    }

    /// Updates by one message and does what comes of it; `false` to leave.
    fn take(&mut self, msg: Msg) -> Result<bool> {
        let ended = match &msg {
            Msg::Job { id, event: Event::Finished(_) } => Some(*id),
            _ => None,
        };
        for effect in self.app.update(msg) {
            match effect {
                Effect::Quit => return Ok(false),
                Effect::Copy { what, text } => self.copy(&what, &text)?,
                Effect::Repaint => self.terminal.clear().map_err(|e| screen_error(&e))?,
                effect => self.runner.run(effect),
            }
        }
        if let Some(id) = ended {
            self.runner.ended(id);
        }
        Ok(true)
    }

    /// Copies to the clipboard and says so.
    fn copy(&mut self, what: &str, text: &str) -> Result<()> {
        let sent =
            clipboard::copy(&mut stdout(), text, clipboard::in_tmux()).map_err(|e| screen_error(&e))?;
        let all = text.chars().count();
        let much = if sent < all { format!("the first {sent} of {all}") } else { sent.to_string() };
        let tmux = if clipboard::in_tmux() { ", through tmux" } else { "" };
        self.app.state.notify(Level::Info, format!("{what} copied by OSC 52: {much} characters{tmux}"));
        Ok(())
    }

    /// Sends what changed to the terminal, in one piece where it can.
    fn draw(&mut self) -> Result<()> {
        execute!(stdout(), BeginSynchronizedUpdate).map_err(|e| screen_error(&e))?;
        self.terminal.draw(|frame| self.app.draw(frame)).map_err(|e| screen_error(&e))?;
        execute!(stdout(), EndSynchronizedUpdate).map_err(|e| screen_error(&e))?;
        for effect in self.app.wanted() {
            self.runner.run(effect);
        }
        Ok(())
    }

    /// Lets a training job write its last checkpoint after the screen is gone.
    fn save_and_end(&mut self, inbox: &Receiver<Msg>) {
        for effect in self.app.state.tell(Command::Stop { save: true }) {
            self.runner.run(effect);
        }
        let deadline = Instant::now() + LAST_SAVE;
        while self.app.state.training() {
            match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(msg @ Msg::Job { .. }) => drop(self.app.update(msg)),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// How soon after the last frame a message is shown.
fn frame_after(msg: &Msg) -> Duration {
    match msg {
        Msg::Job { .. } => JOB_FRAME,
        Msg::Loaded(Loaded::Browse(_) | Loaded::Picture { .. }) => ANSWER_FRAME,
        _ => FRAME,
    }
}

fn screen_error(e: &std::io::Error) -> Error {
    Error::new(Kind::Io, format!("cannot draw on the terminal: {e}"))
}

/// Starts the thread that reads keys, mouse and resizes.
fn read_keys(out: Sender<Msg>) -> Result<()> {
    use crossterm::event::Event as Input;
    let read = move || {
        while let Ok(event) = crossterm::event::read() {
            let msg = match event {
                Input::Key(key) => Msg::Key(key),
                // Moves without a button mean nothing here: they must not cause a frame.
                Input::Mouse(mouse) if mouse.kind == crossterm::event::MouseEventKind::Moved => continue,
                Input::Mouse(mouse) => Msg::Mouse(mouse),
                Input::Paste(pasted) => Msg::Paste(pasted),
                Input::Resize(..) => Msg::Resize,
                Input::FocusGained | Input::FocusLost => continue,
            };
            if out.send(msg).is_err() {
                return;
            }
        }
        let _ = out.send(Msg::Signal(SIGHUP)); // the terminal is gone
    };
    spawn("keys", read)
}

/// Starts the thread that waits for the signals that end programs.
fn watch_signals(out: Sender<Msg>) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGHUP, SIGINT])
        .map_err(|e| Error::new(Kind::Io, format!("cannot listen for signals: {e}")))?;
    spawn("signals", move || {
        for signal in signals.forever() {
            if out.send(Msg::Signal(signal)).is_err() {
                return;
            }
        }
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().name(name.into());
    thread.spawn(work).map(drop).map_err(|e| Error::new(Kind::Io, format!("cannot start a thread: {e}")))
}

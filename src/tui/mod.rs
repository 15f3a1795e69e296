//! The workbench: four panes over the jobs. This file is its loop; what it knows and shows is in `app`.

pub mod action;
pub mod app;
mod ascii;
pub mod browse;
mod cells;
mod clipboard;
mod detect;
pub mod effects;
pub mod headless;
pub mod inline;
mod keys;
pub mod layout;
pub mod pace;
pub mod panes;
pub mod picture_worker;
pub mod pictures;
pub mod prompt;
mod remembered;
pub mod run_worker;
mod said;
mod screen;
pub mod settings_worker;
pub mod state;
pub mod talk_worker;
mod terminal;
pub mod text;
pub mod theme;
mod widgets;
pub mod wire;
pub mod words;
mod worker;

use crate::config::TrainConfig;
use crate::engine::watch::{Heard, Take};
use crate::error::{self, Error, Kind, Result};
use crate::job::{Event, Level};
use action::Keymap;
use app::App;
use crossterm::event::{KeyEvent, MouseEvent};
use effects::{Effect, Loaded, Runner};
use pace::{Pace, Reason};
use ratatui::Terminal;
use remembered::Remembered;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use state::JobId;
use std::io::{Stdout, stdout};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;
use wire::{Rate, Wire};
use words::{Language, Words};

/// What the workbench starts with.
pub struct Options {
    /// Holds data/, model/, runs/ and demo.yaml; need not exist yet.
    pub workspace: PathBuf,
    pub config: TrainConfig,
    /// A run to watch, and whether to take its controls.
    pub watch: Option<(PathBuf, bool)>,
    pub looks: Looks,
}

/// How it looks, where the command line says so.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// `en` or `zh`.
    pub language: Option<String>,
    pub theme: Option<String>,
    pub ascii: bool,
    pub low_bandwidth: bool,
}

/// What is left when the workbench is closed.
#[derive(Debug, Default)]
pub struct Left {
    /// The run that goes on without it.
    pub running: Option<PathBuf>,
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
    /// What the connection to a run of another process says about itself.
    Link {
        id: JobId,
        heard: Heard,
    },
    /// Something a worker has loaded.
    Loaded(Loaded),
    /// The system asks the program to end.
    Signal(i32),
}

/// Messages taken in before the next frame, so that a flood of them cannot starve the screen.
const BURST: usize = 4096;

/// Opens the workbench on the terminal and stays until the user leaves. Runs are processes of their own: they go on
/// whatever ends this.
pub fn run(options: Options) -> Result<Left> {
    let (out, inbox) = channel();
    let before = Remembered::read(env);
    let watch = options.watch.clone();
    let log = options.workspace.join("lorascope.log");
    let mut app = app(options, &before)?;
    // The panic hook must be there before any other thread is.
    let guard = terminal::Guard::take(log)?;
    let effects = match watch {
        Some((run, control)) => app.start_watching(run, control.then_some(Take::Take)),
        None => app.start(),
    };
    let slow = app.state.line.slow;
    let mut workbench = Workbench {
        app,
        runner: Runner::start(out.clone()),
        terminal: Terminal::new(Wire::new(stdout())).map_err(|e| screen_error(&e))?,
        pace: Pace::new(Instant::now(), slow),
        rate: Rate::default(),
    };
    watch_signals(out.clone())?;
    for effect in effects {
        workbench.runner.run(effect);
    }
    workbench.draw(Reason::Use)?;
    workbench.ask_for_pictures(&out);
    read_keys(out)?;
    let ended = workbench.turn(&inbox);
    drop(guard);
    let state = &workbench.app.state;
    Remembered::of(state, &before).write(&before, env);
    let running = state.left_running().map(|run| std::path::absolute(&run).unwrap_or(run));
    let goes_on = |error: Error| match &running {
        Some(run) => {
            let run = run.display();
            error.hint(format!("the run goes on: `lorascope watch {run}` shows it"))
        }
        None => error,
    };
    match ended {
        Ok(None) => Ok(Left { running }),
        Ok(Some(signal)) => Err(goes_on(Error::new(Kind::Stopped, format!("ended by signal {signal}")))),
        // The terminal went away before the signal for it came.
        Err(error) => Err(goes_on(error)),
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The workbench by what the command line, the environment and the user's files say.
fn app(options: Options, before: &Remembered) -> Result<App> {
    let looks = options.looks;
    let theme = match looks.theme {
        Some(name) => {
            theme::Theme::choose(|k| if k == "LORASCOPE_THEME" { Some(name.clone()) } else { env(k) }, None)
        }
        None => theme::Theme::choose(env, before.variant()),
    };
    let mut app = App::new(options.workspace, options.config, theme);
    let state = &mut app.state;
    state.ascii = looks.ascii || ascii::wanted(env);
    let named = looks.language.as_deref().and_then(Language::named).or(before.language());
    // Chinese cannot be read in ASCII.
    let language = if state.ascii { Language::English } else { named.unwrap_or_else(|| Language::of(env)) };
    state.words = Words { language };
    state.line.slow = looks.low_bandwidth;
    state.split = before.split.map_or(state.split, |(x, y)| (x.clamp(20, 80), y.clamp(20, 80)));
    if let Some(path) = remembered::keys_path(env).filter(|p| p.exists()) {
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
        state.keys = Keymap::embedded().with(&text, &path.display().to_string())?;
    }
    Ok(app)
}

struct Workbench {
    app: App,
    runner: Runner,
    terminal: Terminal<Wire<Stdout>>,
    pace: Pace,
    rate: Rate,
}

impl Workbench {
    /// The terminal is asked how it shows pictures before its keys are read, and after the first frame: an answer may
    /// take a while.
    fn ask_for_pictures(&mut self, out: &Sender<Msg>) {
        let state = &self.app.state;
        let wish = env("LORASCOPE_PICTURES").or_else(|| state.ascii.then(|| "off".into()));
        let detected = detect::detect(wish.as_deref(), state.theme.colours);
        self.app.set_pictures(detected.picker.as_ref().map(|p| p.protocol_type()), detected.reason);
        self.runner.pictures = detected.picker.map(|p| picture_worker::start(p, out.clone()));
        for key in detected.keys {
            let _ = out.send(Msg::Key(key)); // the receiver is ours
        }
    }

    /// Takes messages and draws until someone wants to leave; gives the signal if it was one.
    fn turn(&mut self, inbox: &Receiver<Msg>) -> Result<Option<i32>> {
        let mut wanted = Some(Reason::Use);
        loop {
            let first = match wanted.map(|reason| self.pace.due(reason)) {
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
                let news = is_news(&msg) && wanted != Some(Reason::Use);
                wanted = Some(if news { Reason::News } else { Reason::Use });
                if !self.take(msg)? {
                    return Ok(None);
                }
            }
            if let Some(reason) = wanted.filter(|reason| Instant::now() >= self.pace.due(*reason)) {
                self.draw(reason)?;
                wanted = None;
            }
        }
    }

    /// Updates by one message and does what comes of it; `false` to leave.
    fn take(&mut self, msg: Msg) -> Result<bool> {
        if matches!(msg, Msg::Key(_)) {
            error::panic_for_test("screen");
        }
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
        self.pace.set_slow(self.app.state.line.slow);
        Ok(true)
    }

    /// Copies to the clipboard and says so.
    fn copy(&mut self, what: &str, text: &str) -> Result<()> {
        let sent = clipboard::copy(self.terminal.backend_mut(), text, clipboard::in_tmux())
            .map_err(|e| screen_error(&e))?;
        let all = text.chars().count();
        let state = &mut self.app.state;
        let (words, sent, all_of) = (state.words, sent.to_string(), (sent < all).then(|| all.to_string()));
        let much = match &all_of {
            Some(all) => words.fill("notice.copied_part", &[("n", &sent), ("all", all)]),
            None => sent,
        };
        let tmux = if clipboard::in_tmux() { words.get("notice.copied_tmux") } else { "" };
        let parts = [("what", words.get(what)), ("much", &much), ("tmux", tmux)];
        state.notify(Level::Info, words.fill("notice.copied", &parts));
        Ok(())
    }

    /// Sends what changed to the terminal.
    fn draw(&mut self, reason: Reason) -> Result<()> {
        let before = self.terminal.backend().sent();
        self.app.state.line.rate = self.rate.note(Instant::now(), before);
        self.terminal.draw(|frame| self.app.draw(frame)).map_err(|e| screen_error(&e))?;
        let sent = self.terminal.backend().sent();
        self.pace.drawn(Instant::now(), reason, sent - before);
        for effect in self.app.wanted() {
            self.runner.run(effect);
        }
        Ok(())
    }
}

/// What comes in a stream and may wait; where a run stands is shown at once, and so is an answer.
fn is_news(msg: &Msg) -> bool {
    let Msg::Job { event, .. } = msg else { return false };
    matches!(event, Event::Step(_) | Event::Progress { .. } | Event::Rows { .. } | Event::Log { .. })
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

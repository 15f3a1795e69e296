//! The workbench without a terminal, for measuring: the same messages, workers, updates and frames, and what each frame took.

use super::app::App;
use super::effects::{Effect, Runner};
use super::keys::Key;
use super::state::State;
use super::theme::Theme;
use super::wire::Wire;
use super::{BURST, Msg, picture_worker, screen_error};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use ratatui_image::picker::Picker;
use std::io::{Sink, sink};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A workbench whose frames go nowhere.
pub struct Headless {
    app: App,
    runner: Runner,
    terminal: Terminal<Wire<Sink>>,
    inbox: Receiver<Msg>,
}

/// What one frame took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// All updates since the frame before, the drawing, and what the frame finds missing.
    pub time: Duration,
    /// Messages that were taken in.
    pub messages: usize,
    /// Bytes that a terminal would have got.
    pub bytes: u64,
}

/// How long the workers may take for anything.
const PATIENCE: Duration = Duration::from_secs(300);

impl Headless {
    /// Opens a workspace on a screen of `width` columns and `height` rows, pictures in half blocks.
    ///
    /// # Errors
    /// The screen cannot be set up.
    pub fn open(workspace: PathBuf, (width, height): (u16, u16)) -> Result<Self> {
        let (out, inbox) = channel();
        let mut app = App::new(workspace, TrainConfig::default(), Theme::dark());
        let picker = Picker::halfblocks();
        app.set_pictures(Some(picker.protocol_type()), "there is no terminal".into());
        let mut runner = Runner::start(out.clone());
        runner.pictures = Some(picture_worker::start(picker, out));
        let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
        let terminal = Terminal::with_options(Wire::new(sink()), TerminalOptions { viewport })
            .map_err(|e| screen_error(&e))?;
        app.start().into_iter().for_each(|effect| runner.run(effect));
        Ok(Self { app, runner, terminal, inbox })
    }

    pub fn state(&self) -> &State {
        &self.app.state
    }

    /// The focused pane alone, or as many as there is room for.
    pub fn zoom(&mut self, zoomed: bool) {
        self.app.state.zoomed = zoomed;
    }

    /// Takes in what workers and runs say, drawing whenever nothing waits, until the state is as wanted.
    ///
    /// # Errors
    /// It does not become so.
    pub fn until(&mut self, what: &str, there: impl Fn(&State) -> bool) -> Result<()> {
        while !there(&self.app.state) {
            let first = self.inbox.recv_timeout(PATIENCE).map_err(|_| {
                Error::internal(format!("the workbench waits for {what} in vain"))
                    .hint("lorascope.log in the workspace may say why")
            })?;
            self.turn(std::iter::once(first))?;
        }
        Ok(())
    }

    /// Presses a key, named as in `configs/keys.toml`, takes in what has come, and draws. Waits a moment for something
    /// to come, which is not counted.
    ///
    /// # Errors
    /// No key has that name.
    pub fn frame(&mut self, key: &str) -> Result<Cost> {
        /// A key never comes sooner after another.
        const MOMENT: Duration = Duration::from_millis(2);
        let key = Key::parse(key).ok_or_else(|| Error::usage(format!("no key is named {key:?}")))?;
        let come = self.inbox.recv_timeout(MOMENT).ok();
        self.turn(std::iter::once(Msg::Key(key.event())).chain(come))
    }

    /// One turn of the loop: these messages and those that wait, then a frame.
    fn turn(&mut self, first: impl Iterator<Item = Msg>) -> Result<Cost> {
        let messages: Vec<Msg> = first.chain(self.inbox.try_iter().take(BURST)).collect();
        let before = self.terminal.backend().sent();
        let (n, mut effects) = (messages.len(), Vec::new());
        let begun = Instant::now();
        for msg in messages {
            effects.extend(self.app.update(msg));
        }
        self.terminal.draw(|frame| self.app.draw(frame)).map_err(|e| screen_error(&e))?;
        effects.extend(self.app.wanted());
        let time = begun.elapsed();
        effects.into_iter().filter(|e| !matches!(e, Effect::Submit { .. })).for_each(|e| self.runner.run(e));
        Ok(Cost { time, messages: n, bytes: self.terminal.backend().sent() - before })
    }
}

impl Key {
    /// The key as a terminal sends it.
    fn event(self) -> KeyEvent {
        let mut modifiers = KeyModifiers::NONE;
        modifiers.set(KeyModifiers::CONTROL, self.ctrl);
        modifiers.set(KeyModifiers::ALT, self.alt);
        modifiers.set(KeyModifiers::SHIFT, self.code == KeyCode::BackTab);
        KeyEvent::new(self.code, modifiers)
    }
}

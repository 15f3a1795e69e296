//! The workbench without its terminal: `update` takes messages in, `draw` shows the state.

use super::Msg;
use super::action::{Action, Keymap};
use super::effects::{Effect, Load, Loaded};
use super::panes::{self, Canvas, Hit, Pane};
use super::picture_worker::Wanted;
use super::pictures::{PictureKey, Pictures};
use super::screen;
use super::state::{PaneId, State};
use super::theme::Theme;
use super::widgets::popup::{Answer, Popup};
use crate::config::TrainConfig;
use crate::job::{ConvertJob, Level};
use crossterm::event::{KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui_image::picker::ProtocolType;
use std::path::PathBuf;

/// State and panes.
pub struct App {
    pub state: State,
    pub(super) panes: [Box<dyn Pane>; PaneId::ALL.len()],
    /// What the last frame put where.
    hits: Vec<(Rect, Hit)>,
    wants: Vec<PictureKey>,
    ahead: Vec<PictureKey>,
}

impl App {
    pub fn new(workspace: PathBuf, config: TrainConfig, theme: Theme) -> Self {
        Self {
            state: State::new(workspace, config, theme),
            panes: panes::all(),
            hits: Vec::new(),
            wants: Vec::new(),
            ahead: Vec::new(),
        }
    }

    /// What to do first.
    pub fn start(&self) -> Vec<Effect> {
        vec![Effect::Load(Load::Workspace(self.state.workspace.clone()))]
    }

    /// The terminal's way to show pictures.
    pub fn set_pictures(&mut self, protocol: Option<ProtocolType>, reason: String) {
        self.state.pictures = Pictures::new(protocol, reason);
    }

    /// Takes one message in; gives what is to be done outside.
    pub fn update(&mut self, msg: Msg) -> Vec<Effect> {
        match msg {
            Msg::Key(key) if key.kind == KeyEventKind::Release => Vec::new(),
            Msg::Key(key) => self.on_key(key),
            Msg::Mouse(mouse) => self.on_mouse(mouse),
            Msg::Paste(pasted) => self.on_paste(&pasted),
            Msg::Job { id, event } => self.state.on_event(id, event),
            Msg::Loaded(loaded) => self.on_loaded(loaded),
            Msg::Resize | Msg::Signal(_) => Vec::new(),
        }
    }

    /// Draws everything and notes where things are and which pictures are missing.
    pub fn draw(&mut self, frame: &mut Frame) {
        let State { run, runs, .. } = &mut self.state;
        run.iter_mut().chain(runs.opened.as_deref_mut()).for_each(|run| run.curves.smooth());
        let mut popup = self.state.popup.take();
        let shown = popup.is_some();
        // Panes see that something lies over them.
        if shown {
            self.state.popup = Some(Popup::text("", Vec::new()));
        }
        let mut canvas = Canvas::new(frame, &self.state);
        screen::draw(&mut canvas, &mut self.panes);
        let Canvas { hits, wants, ahead, view, cursor, .. } = canvas;
        match &mut popup {
            Some(popup) => popup.draw(frame, &self.state.theme, &self.state.keys),
            None => cursor.into_iter().for_each(|at| frame.set_cursor_position(at)),
        }
        (self.hits, self.wants, self.ahead, self.state.popup) = (hits, wants, ahead, popup);
        if let Some(view) = view {
            self.state.data.view = view;
        }
    }

    /// What the last frame missed, to be loaded: rows, pictures, a sample as trained.
    pub fn wanted(&mut self) -> Vec<Effect> {
        let state = &mut self.state;
        let mut effects: Vec<Effect> = state.data.missing().into_iter().collect();
        effects.extend(state.wanted_trained());
        effects.extend(state.wanted_runs());
        effects.extend(state.wanted_estimate());
        effects.extend(state.wanted_evaluation());
        let (missing, ahead) = (std::mem::take(&mut self.wants), std::mem::take(&mut self.ahead));
        if let Some(keys) = state.pictures.ask(missing, ahead) {
            effects.push(Effect::Pictures(Wanted { keys, seen: state.pictures.seen }));
        }
        effects
    }

    fn focused(&mut self) -> (&mut Box<dyn Pane>, &mut State) {
        (&mut self.panes[self.state.focus as usize], &mut self.state)
    }

    fn on_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        self.state.notice = None;
        if let Some(popup) = &mut self.state.popup {
            let answer = popup.key(key);
            return self.on_answer(answer);
        }
        let (pane, state) = self.focused();
        if pane.typing(state) {
            return pane.type_key(key, state);
        }
        match state.keys.action(pane.context(), key) {
            Some(action) => self.act(action),
            None => Vec::new(),
        }
    }

    fn on_paste(&mut self, pasted: &str) -> Vec<Effect> {
        if let Some(popup) = &mut self.state.popup {
            popup.paste(pasted);
        } else {
            let (pane, state) = self.focused();
            if pane.typing(state) {
                return pane.paste(pasted, state);
            }
        }
        Vec::new()
    }

    fn on_answer(&mut self, answer: Answer) -> Vec<Effect> {
        if !matches!(answer, Answer::Open) {
            self.state.popup = None;
        }
        match answer {
            Answer::Open | Answer::Close => Vec::new(),
            Answer::Act(action) => self.act_anywhere(action),
            Answer::Tell(command) => self.state.tell(command),
            Answer::TellAndQuit(command) => {
                self.state.quit_after_job = true;
                self.state.notify(Level::Info, "quitting as soon as the job has ended");
                let effects = self.state.tell(command);
                if effects.is_empty() { vec![Effect::Quit] } else { effects }
            }
            Answer::QuitNow => vec![Effect::Quit],
            Answer::Load(load) => vec![Effect::Load(load)],
            Answer::Convert(typed) => vec![Effect::Load(Load::Files(typed))],
        }
    }

    /// Does an action of the palette: in the focused pane, else in the pane that has it.
    fn act_anywhere(&mut self, action: Action) -> Vec<Effect> {
        let has = |keys: &Keymap, pane: &dyn Pane| keys.bound(pane.context()).iter().any(|b| b.0 == action);
        let focus = self.state.focus;
        if !has(&self.state.keys, self.panes[focus as usize].as_ref()) {
            let other =
                PaneId::ALL.into_iter().find(|p| has(&self.state.keys, self.panes[*p as usize].as_ref()));
            self.state.focus = other.unwrap_or(focus);
        }
        self.act(action)
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        let (pane, state) = self.focused();
        if let Some(effects) = pane.act(action, state) {
            return effects;
        }
        match action {
            Action::FocusData => state.focus = PaneId::Data,
            Action::FocusParameters => state.focus = PaneId::Parameters,
            Action::FocusTraining => state.focus = PaneId::Training,
            Action::FocusChat => state.focus = PaneId::Chat,
            Action::FocusEvaluation => state.focus = PaneId::Evaluation,
            Action::FocusRuns => (state.focus, state.runs.stale) = (PaneId::Runs, true),
            Action::NextPane => state.focus = state.focus.next(1),
            Action::PreviousPane => state.focus = state.focus.next(PaneId::ALL.len() - 1),
            Action::Zoom => state.zoomed = !state.zoomed,
            Action::Narrower => state.split.0 = state.split.0.saturating_sub(5).max(20),
            Action::Wider => state.split.0 = (state.split.0 + 5).min(80),
            Action::Lower => state.split.1 = state.split.1.saturating_sub(5).max(20),
            Action::Taller => state.split.1 = (state.split.1 + 5).min(80),
            Action::Demo => return state.start_demo(),
            Action::Convert if state.busy.is_none() => state.popup = Some(Popup::Files(Default::default())),
            Action::Train => return state.start_training(),
            Action::Palette => state.popup = Some(Popup::palette()),
            Action::Help => {
                let mut notes = pane.notes();
                notes.push(format!("Pictures: {}", state.pictures.describe()));
                state.popup = Some(Popup::help(&state.keys, pane.context(), pane.name(), &notes));
            }
            Action::Repaint => return vec![Effect::Repaint],
            Action::Back if state.zoomed => state.zoomed = false,
            Action::Quit => return self.quit(),
            _ => {}
        }
        Vec::new()
    }

    fn quit(&mut self) -> Vec<Effect> {
        if self.state.training() {
            self.state.popup = Some(Popup::quit_while_training());
        } else if let Some(busy) = &self.state.busy {
            self.state.popup = Some(Popup::quit_while_busy(&busy.what));
        } else {
            return vec![Effect::Quit];
        }
        Vec::new()
    }

    fn on_mouse(&mut self, mouse: MouseEvent) -> Vec<Effect> {
        if self.state.popup.is_some() {
            return Vec::new();
        }
        let at = (mouse.column, mouse.row).into();
        let under = |hit: &&(Rect, Hit)| hit.0.contains(at);
        let Some((_, hit)) = self.hits.iter().rev().find(under).copied() else { return Vec::new() };
        let pane = self.hits.iter().rev().filter(under).find_map(|(_, hit)| match hit {
            Hit::Pane(id) => Some(*id),
            _ => None,
        });
        let ctrl = mouse.modifiers.contains(KeyModifiers::CONTROL);
        let wheel = match mouse.kind {
            MouseEventKind::ScrollDown => Some(if ctrl { Action::ZoomOut } else { Action::Down }),
            MouseEventKind::ScrollUp => Some(if ctrl { Action::ZoomIn } else { Action::Up }),
            MouseEventKind::Down(MouseButton::Left) => None,
            _ => return Vec::new(),
        };
        if let Some(id) = pane {
            self.state.focus = id;
        }
        match (wheel, hit) {
            (Some(action), _) => {
                let (pane, state) = self.focused();
                pane.act(action, state).unwrap_or_default()
            }
            (None, Hit::Row(id, row)) => {
                self.panes[id as usize].click(row, &mut self.state);
                Vec::new()
            }
            (None, Hit::Act(action)) => self.act(action),
            (None, Hit::Pane(_)) => Vec::new(),
        }
    }

    fn on_loaded(&mut self, loaded: Loaded) -> Vec<Effect> {
        let state = &mut self.state;
        match loaded {
            Loaded::Config(config) => {
                // Settings given on the command line win over the workspace's own.
                if state.config == TrainConfig::default() {
                    (state.config, state.preset) = (*config.clone(), *config);
                }
            }
            Loaded::Adapter(adapter) => state.adapter = adapter,
            Loaded::Registry(Ok(names)) => {
                let first = state.config.dataset.first();
                let open = names.iter().position(|n| Some(n) == first).unwrap_or(0);
                (state.data.names, state.data.open, state.data.error) = (names, open, None);
                return state.open_dataset(0);
            }
            Loaded::Registry(Err(error)) => {
                state.data.loading = false;
                state.data.error = Some(crate::data::clean::for_terminal(&error.message));
                state.fail(&error);
            }
            Loaded::Browse(told) => return state.on_told(told),
            Loaded::Demo(Ok((paths, config))) => {
                (state.config, state.preset) = (*config.clone(), *config);
                return state.start_conversions(paths.conversions().into());
            }
            Loaded::Files(Ok(files)) => {
                let out = state.workspace.join("data");
                return state.start_conversions([ConvertJob::new(files, out)].into());
            }
            Loaded::FreeRunDir(Ok(config)) => return state.submit_training(*config),
            Loaded::Demo(Err(error)) => {
                state.busy = None;
                state.fail(&error);
            }
            Loaded::Files(Err(error)) | Loaded::FreeRunDir(Err(error)) => state.fail(&error),
            Loaded::Runs(told) => return state.on_runs(told),
            Loaded::Talk(told) => return state.on_talk(told),
            Loaded::Settings(told) => state.on_settings(told),
            Loaded::Picture { number, key, found } => state.pictures.take(number, key, found),
        }
        Vec::new()
    }
}

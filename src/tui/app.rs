//! The workbench without its terminal: `update` takes messages in, `draw` shows the state.

use super::Msg;
use super::action::{Action, Keymap};
use super::ascii;
use super::effects::{Effect, Load, Loaded};
use super::layout::{self, SHARES, Split};
use super::panes::{self, Canvas, Hit, Pane};
use super::picture_worker::Wanted;
use super::pictures::{PictureKey, Pictures};
use super::screen;
use super::state::{PaneId, State};
use super::text;
use super::theme::Theme;
use super::widgets::popup::{Answer, Popup, PopupHits};
use crate::config::TrainConfig;
use crate::engine::watch::Take;
use crate::job::{ConvertJob, Level};
use crossterm::event::{KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui_image::picker::ProtocolType;
use std::path::PathBuf;

/// State and panes.
pub struct App {
    pub state: State,
    pub(super) panes: [Box<dyn Pane>; PaneId::ALL.len()],
    /// What the last frame put where.
    hits: Vec<(Rect, Hit)>,
    popup_hits: PopupHits,
    body: Rect,
    /// The line between panes that the mouse holds.
    dragging: Option<Split>,
    wants: Vec<PictureKey>,
    ahead: Vec<PictureKey>,
}

impl App {
    pub fn new(workspace: PathBuf, config: TrainConfig, theme: Theme) -> Self {
        Self {
            state: State::new(workspace, config, theme),
            panes: panes::all(),
            hits: Vec::new(),
            popup_hits: PopupHits::default(),
            body: Rect::default(),
            dragging: None,
            wants: Vec::new(),
            ahead: Vec::new(),
        }
    }

    /// What to do first.
    pub fn start(&mut self) -> Vec<Effect> {
        self.state.reading = true;
        vec![Effect::Load(Load::Workspace(self.state.workspace.clone()))]
    }

    /// What to do first when a run is to be watched: its pane large, its data beside.
    pub fn start_watching(&mut self, run: PathBuf, take: Option<Take>) -> Vec<Effect> {
        self.state.zoomed = true;
        self.state.data.dir = self.state.config.dataset_dir.clone();
        self.state.adapter = Some(run.clone());
        let mut effects = self.state.watch(run, take);
        effects.push(Effect::Load(Load::Registry(self.state.data.dir.clone())));
        effects
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
            Msg::Link { id, heard } => self.state.on_link(id, heard),
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
        let Canvas { hits, wants, ahead, view, cursor, body, .. } = canvas;
        match &mut popup {
            Some(popup) => {
                self.popup_hits = popup.draw(frame, &self.state.theme, &self.state.keys, self.state.words);
            }
            None => cursor.into_iter().for_each(|at| frame.set_cursor_position(at)),
        }
        text::cut_towers(frame.buffer_mut());
        if self.state.ascii {
            ascii::replace(frame.buffer_mut());
        }
        (self.hits, self.wants, self.ahead, self.state.popup) = (hits, wants, ahead, popup);
        self.body = body;
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
                self.state.notify(Level::Info, self.state.words.get("notice.quitting"));
                let effects = self.state.tell(command);
                if effects.is_empty() { vec![Effect::Quit] } else { effects }
            }
            Answer::QuitNow => vec![Effect::Quit],
            Answer::Load(load) => vec![Effect::Load(load)],
            Answer::Who(choice, who) => self.state.chosen(choice, who),
            Answer::Convert(typed) => vec![Effect::Load(Load::Files(typed))],
        }
    }

    /// Does an action of the palette: in the focused pane, else in the pane that has it.
    fn act_anywhere(&mut self, action: Action) -> Vec<Effect> {
        let has = |keys: &Keymap, pane: &dyn Pane| keys.has(pane.context(), action);
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
            Action::Narrower => state.split.0 = share(state.split.0, false),
            Action::Wider => state.split.0 = share(state.split.0, true),
            Action::Lower => state.split.1 = share(state.split.1, false),
            Action::Taller => state.split.1 = share(state.split.1, true),
            Action::Demo => return state.start_demo(),
            Action::Convert if state.busy.is_none() => state.popup = Some(Popup::Files(Default::default())),
            Action::TakeControls => return state.take_controls(),
            Action::NextTheme | Action::NextLanguage | Action::LowBandwidth => state.change_looks(action),
            Action::Train => return state.start_training(),
            Action::Palette => state.popup = Some(Popup::palette()),
            Action::Help => {
                let mut notes = pane.notes(state.words);
                let how = state.pictures.describe(state.words);
                notes.push(state.words.fill("help.pictures", &[("how", &how)]));
                let name = state.words.get(pane.name());
                state.popup = Some(Popup::help(state, pane.context(), name, &notes));
            }
            Action::Repaint => return vec![Effect::Repaint],
            Action::Back if state.zoomed => state.zoomed = false,
            Action::Quit => return self.quit(),
            Action::Detach => return self.leave(),
            _ => {}
        }
        Vec::new()
    }

    /// Asks what is to become of a run that this screen commands.
    fn quit(&mut self) -> Vec<Effect> {
        let state = &mut self.state;
        let mine = state.run.as_ref().filter(|r| r.alive() && r.controls.yours);
        if let (Some(run), None) = (mine, &state.busy) {
            let dir = run.run_dir.display().to_string();
            state.popup = Some(Popup::quit_while_training(state.words, &dir));
            return Vec::new();
        }
        self.leave()
    }

    /// Leaves; a run goes on, a conversion would be broken off.
    fn leave(&mut self) -> Vec<Effect> {
        let Some(busy) = &self.state.busy else { return vec![Effect::Quit] };
        self.state.popup = Some(Popup::quit_while_busy(self.state.words, busy.what));
        Vec::new()
    }

    fn on_mouse(&mut self, mouse: MouseEvent) -> Vec<Effect> {
        let at = Position::new(mouse.column, mouse.row);
        if let Some(popup) = &mut self.state.popup {
            let answer = popup.mouse(mouse.kind, at, &self.popup_hits);
            return self.on_answer(answer);
        }
        match (mouse.kind, self.dragging) {
            (MouseEventKind::Drag(MouseButton::Left), Some(split)) => {
                let share = layout::dragged(self.body, split, (at.x, at.y));
                match split {
                    Split::Columns => self.state.split.0 = share,
                    Split::Rows => self.state.split.1 = share,
                }
                return Vec::new();
            }
            (MouseEventKind::Up(_), _) => self.dragging = None,
            _ => {}
        }
        let under = |hit: &&(Rect, Hit)| hit.0.contains(at);
        let Some((_, hit)) = self.hits.iter().rev().find(under).copied() else { return Vec::new() };
        let ctrl = mouse.modifiers.contains(KeyModifiers::CONTROL);
        let wheel = match mouse.kind {
            MouseEventKind::ScrollDown => Some(if ctrl { Action::ZoomOut } else { Action::Down }),
            MouseEventKind::ScrollUp => Some(if ctrl { Action::ZoomIn } else { Action::Up }),
            MouseEventKind::Down(MouseButton::Left) => None,
            _ => return Vec::new(),
        };
        let before = self.state.focus;
        let pane = self.hits.iter().rev().filter(under).find_map(|(_, hit)| match hit {
            Hit::Pane(id) => Some(*id),
            _ => None,
        });
        if let Some(id) = pane.filter(|_| !matches!(hit, Hit::Split(_))) {
            self.state.focus = id;
        }
        if let Some(action) = wheel {
            let (pane, state) = self.focused();
            return pane.act(action, state).unwrap_or_default();
        }
        self.click(hit, before)
    }

    fn click(&mut self, hit: Hit, before: PaneId) -> Vec<Effect> {
        match hit {
            Hit::Row(id, row) => self.panes[id as usize].click(row, &mut self.state),
            Hit::Act(action) => return self.act(action),
            // The name of the pane that has the focus already makes it large.
            Hit::Title(id) if id == before => self.state.zoomed = !self.state.zoomed,
            Hit::Split(split) => self.dragging = Some(split),
            Hit::Title(_) | Hit::Pane(_) => {}
        }
        Vec::new()
    }

    fn on_loaded(&mut self, loaded: Loaded) -> Vec<Effect> {
        let state = &mut self.state;
        match loaded {
            Loaded::Config(config) => {
                // Settings given on the command line win over the workspace's own.
                if *state.config == TrainConfig::default() {
                    state.start_from(*config);
                }
            }
            Loaded::Adapter(adapter) => state.adapter = adapter,
            Loaded::Workspace => return state.workspace_read(),
            Loaded::Running(dir) => {
                if state.run.is_none() {
                    return state.watch(dir, Some(Take::IfFree));
                }
            }
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
                state.start_from(*config);
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
            Loaded::Trouble(error) | Loaded::Files(Err(error)) | Loaded::FreeRunDir(Err(error)) => {
                state.fail(&error);
            }
            Loaded::Runs(told) => return state.on_runs(told),
            Loaded::Talk(told) => return state.on_talk(told),
            Loaded::Settings(told) => state.on_settings(told),
            Loaded::Picture { number, key, found } => state.pictures.take(number, key, found),
        }
        Vec::new()
    }
}

/// A share a step smaller or larger.
fn share(now: u16, more: bool) -> u16 {
    let next = if more { now.saturating_add(5) } else { now.saturating_sub(5) };
    next.clamp(*SHARES.start(), *SHARES.end())
}

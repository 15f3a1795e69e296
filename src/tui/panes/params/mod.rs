//! The parameter pane: every setting in a table, edited in place, checked while typing.

mod editor;
mod table;

use super::{Canvas, Pane, movement};
use crate::config::fields::{self, Field, Kind};
use crate::job::Level;
use crate::tui::action::{Action, Context};
use crate::tui::effects::{Effect, Load};
use crate::tui::settings_worker::Ask;
use crate::tui::state::State;
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::table::Scroll;
use crate::tui::words::Words;
use crossterm::event::KeyEvent;
use editor::{Edited, Editor};
use ratatui::layout::Rect;

/// What a name is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Save,
    Load,
    Diff,
}

/// How the settings are looked at.
#[derive(Default)]
pub struct ParamsPane {
    selected: usize,
    scroll: Scroll,
    editor: Option<Editor>,
    search: Option<Input>,
    wanted: String,
    only_changed: bool,
    question: Option<(Question, Input)>,
}

/// The text of every setting, and of what it is compared with: the preset, or other settings.
struct Shown<'a> {
    values: &'a [String],
    others: &'a [String],
    words: Words,
}

impl<'a> Shown<'a> {
    fn of(state: &'a State) -> Self {
        Self { values: state.config.texts(), others: state.compared().texts(), words: state.words }
    }

    fn differs(&self, at: usize) -> bool {
        self.values[at] != self.others[at]
    }
}

impl ParamsPane {
    /// The rows that are shown, as places in the table.
    fn rows(&self, shown: &Shown) -> Vec<usize> {
        let wanted = self.wanted.to_lowercase();
        let hay = |f: &Field| {
            let own = format!("{} {}", shown.words.get(table::short_group(f.group)), shown.words.help(f));
            format!("{} {} {} {own}", f.key, f.group.title(), f.help).to_lowercase()
        };
        let matches = |f: &Field| wanted.split_whitespace().all(|w| hay(f).contains(w));
        let kept = |at: usize| !self.only_changed || shown.differs(at);
        let rows = fields::all().iter().enumerate();
        rows.filter(|(at, f)| kept(*at) && (wanted.is_empty() || matches(f))).map(|(at, _)| at).collect()
    }

    /// The selected row.
    fn current(&self, state: &State) -> Option<&'static Field> {
        self.rows(&Shown::of(state)).get(self.selected).map(|at| &fields::all()[*at])
    }

    /// Sets the value; the settings before can be had back.
    fn set(&mut self, key: &str, value: &str, state: &mut State) {
        let mut config = state.config.clone();
        match fields::set(&mut config, key, value) {
            Ok(()) => state.set_config(config),
            Err(error) => state.fail(&error),
        }
    }

    fn step(&mut self, by: isize, state: &State) {
        let last = self.rows(&Shown::of(state)).len().saturating_sub(1) as isize;
        self.selected = (self.selected as isize).saturating_add(by).clamp(0, last) as usize;
    }

    /// Switches on/off, or takes the next choice.
    fn next_value(&mut self, state: &mut State) -> Vec<Effect> {
        let Some(field) = self.current(state) else { return Vec::new() };
        let now = fields::get(&state.config, field.key);
        let next = match field.kind {
            Kind::Bool => (if now == "true" { "false" } else { "true" }).to_string(),
            Kind::Choice(choices) => {
                let at = choices.iter().position(|c| *c == now).map_or(0, |i| (i + 1) % choices.len());
                choices[at].to_string()
            }
            _ => return self.edit(state),
        };
        self.set(field.key, &next, state);
        Vec::new()
    }

    fn edit(&mut self, state: &mut State) -> Vec<Effect> {
        self.editor = self.current(state).map(|field| Editor::open(field, state));
        self.editor.as_ref().map_or(Vec::new(), |editor| editor.ask_paths(state))
    }

    /// Back to the preset's value, or to that of the settings compared with.
    fn reset(&mut self, state: &mut State) {
        let Some(field) = self.current(state) else { return };
        let value = fields::get(state.compared(), field.key);
        self.set(field.key, &value, state);
        self.step(0, state);
    }

    fn time_travel(&mut self, back: bool, state: &mut State) {
        if !state.time_travel(back) {
            let said = if back { "params.nothing_undone" } else { "params.nothing_redone" };
            state.notify(Level::Info, state.words.get(said));
        }
        self.step(0, state);
    }

    /// Leaves what narrows the table: comparison, search, only what differs. `false` when nothing does.
    fn back(&mut self, state: &mut State) -> bool {
        let compared = state.settings.other.take().is_some();
        if !compared && self.wanted.is_empty() && !self.only_changed {
            return false;
        }
        if compared || self.wanted.is_empty() {
            self.only_changed = false;
        }
        self.wanted.clear();
        self.step(0, state);
        true
    }

    fn ask(&mut self, question: Question, state: &State) {
        let file = state.workspace.join("settings.yaml").display().to_string();
        let input = if question == Question::Save { Input::with(&file) } else { Input::default() };
        self.question = Some((question, input));
    }

    /// The name that was asked for is there.
    fn answer(&mut self, question: Question, name: String, state: &State) -> Vec<Effect> {
        let ask = match question {
            Question::Save => Ask::Save { path: name.into(), config: Box::new(state.config.clone()) },
            Question::Load => Ask::Load(name),
            Question::Diff => {
                (self.only_changed, self.selected) = (true, 0);
                Ask::Other(name)
            }
        };
        vec![Effect::Load(Load::Settings(ask))]
    }
}

impl Pane for ParamsPane {
    fn context(&self) -> Context {
        Context::Parameters
    }

    fn name(&self) -> &'static str {
        "Parameters"
    }

    fn title(&self, state: &State) -> String {
        let shown = Shown::of(state);
        let n = (0..shown.values.len()).filter(|at| shown.differs(*at)).count();
        let problems = state.config.problems().iter().filter(|p| p.fatal).count();
        let (mut parts, words) = (Vec::new(), state.words);
        match &state.settings.other {
            Some((name, _)) => {
                parts.push(words.fill("params.differ", &[("n", &n.to_string()), ("name", name)]));
            }
            None if n > 0 => parts.push(words.count("params.changed", n)),
            None => {}
        }
        if problems > 0 {
            parts.push(words.count("params.to_fix", problems));
        }
        parts.join(" · ")
    }

    fn hints(&self, _state: &State) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Edit, "edit"),
            (Action::NextValue, "switch"),
            (Action::Filter, "search"),
            (Action::Reset, "reset"),
            (Action::Undo, "undo"),
            (Action::LoadSettings, "load"),
            (Action::SaveSettings, "save"),
            (Action::DiffSettings, "diff"),
        ]
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::Edit => return Some(self.edit(state)),
            Action::NextValue => return Some(self.next_value(state)),
            Action::Reset => self.reset(state),
            Action::OnlyChanged => {
                self.only_changed = !self.only_changed;
                self.selected = 0;
            }
            Action::Filter => self.search = Some(Input::with(&self.wanted)),
            Action::Back if self.back(state) => {}
            Action::Undo => self.time_travel(true, state),
            Action::Redo => self.time_travel(false, state),
            Action::SaveSettings => self.ask(Question::Save, state),
            Action::LoadSettings => self.ask(Question::Load, state),
            Action::DiffSettings => self.ask(Question::Diff, state),
            action => self.step(movement(action)?, state),
        }
        Some(Vec::new())
    }

    fn typing(&self, _state: &State) -> bool {
        self.editor.is_some() || self.search.is_some() || self.question.is_some()
    }

    fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
        if let Some((question, input)) = &mut self.question {
            let (question, typed) = (*question, input.key(key));
            if !matches!(typed, Typed::Submit | Typed::Cancel) {
                return Vec::new();
            }
            let name = self.question.take().map(|(_, mut input)| input.take()).unwrap_or_default();
            let wanted = typed == Typed::Submit && !name.trim().is_empty();
            return if wanted { self.answer(question, name.trim().to_string(), state) } else { Vec::new() };
        }
        if let Some(input) = &mut self.search {
            let typed = input.key(key);
            self.wanted = input.text().to_string();
            if matches!(typed, Typed::Submit | Typed::Cancel) {
                self.search = None;
            }
            if typed == Typed::Cancel {
                self.wanted.clear();
            }
            self.step(0, state);
            return Vec::new();
        }
        let Some(editor) = &mut self.editor else { return Vec::new() };
        let edited = editor.type_key(key, state);
        state.settings.draft = editor.draft.clone();
        match edited {
            Edited::Open(effects) => return effects,
            Edited::Closed => (self.editor, state.settings.draft) = (None, None),
            Edited::Taken(value) => {
                let key = editor.field.key;
                (self.editor, state.settings.draft) = (None, None);
                self.set(key, &value, state);
            }
        }
        Vec::new()
    }

    fn paste(&mut self, pasted: &str, state: &mut State) -> Vec<Effect> {
        if let Some((_, input)) = &mut self.question {
            input.paste(pasted);
        } else if let Some(input) = &mut self.search {
            input.paste(pasted);
            self.wanted = input.text().to_string();
            self.step(0, state);
        } else if let Some(editor) = &mut self.editor {
            let effects = editor.paste(pasted, state);
            state.settings.draft = editor.draft.clone();
            return effects;
        }
        Vec::new()
    }

    fn typing_hint(&self) -> &'static str {
        match self.question {
            Some((Question::Save, _)) => "typing.save_settings",
            Some(_) => "typing.load_settings",
            None => "typing.line",
        }
    }

    fn click(&mut self, row: usize, state: &mut State) {
        (self.editor, state.settings.draft) = (None, None);
        self.selected = row;
        self.step(0, state);
    }

    fn draw(&mut self, canvas: &mut Canvas, mut area: Rect) {
        let shown = Shown::of(canvas.state);
        let rows = self.rows(&shown);
        self.selected = self.selected.min(rows.len().saturating_sub(1));
        if let Some((question, input)) = &self.question {
            let words = canvas.state.words;
            let asked = match question {
                Question::Save => words.get("params.save_to"),
                Question::Load => words.get("params.load"),
                Question::Diff => words.get("params.compare_with"),
            };
            super::runs::draw_question(canvas, area, asked, input);
            area = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
        }
        let detail = if area.height >= 10 { (area.height / 3).clamp(4, 9) } else { area.height.min(2) };
        let table = Rect { height: area.height - detail, ..area };
        self.draw_table(canvas, table, &shown, &rows);
        let below = Rect { y: table.bottom(), height: detail, ..area };
        if let Some(at) = rows.get(self.selected) {
            self.draw_detail(canvas, below, &fields::all()[*at]);
        }
    }
}

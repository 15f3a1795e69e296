//! The parameter pane: every setting in a table, edited in place, checked while typing.

use super::derived;
use super::{Canvas, Hit, Pane, movement, row};
use crate::config::fields::{self, Field, Group, Kind};
use crate::config::{TrainConfig, advice, validate};
use crate::job::Level;
use crate::tui::action::{Action, Context};
use crate::tui::effects::Effect;
use crate::tui::state::{PaneId, State};
use crate::tui::text;
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::table::{Align, Scroll, cell, row_style};
use crossterm::event::KeyEvent;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// A value being edited.
struct Editor {
    key: &'static str,
    input: Input,
    error: Option<String>,
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
    undo: Vec<TrainConfig>,
    redo: Vec<TrainConfig>,
}

impl ParamsPane {
    /// The rows that are shown.
    fn rows(&self, state: &State) -> Vec<&'static Field> {
        let wanted = self.wanted.to_lowercase();
        let hay = |f: &Field| format!("{} {} {}", f.key, f.group.title(), f.help).to_lowercase();
        let matches = |f: &&Field| wanted.split_whitespace().all(|w| hay(f).contains(w));
        let kept = |f: &&Field| !self.only_changed || changed(state, f.key);
        fields::all().iter().filter(matches).filter(kept).collect()
    }

    fn field(&self, state: &State) -> Option<&'static Field> {
        self.rows(state).get(self.selected).copied()
    }

    /// Changes the settings; the old ones can be had back.
    fn change(
        &mut self,
        state: &mut State,
        change: impl FnOnce(&mut TrainConfig) -> crate::error::Result<()>,
    ) {
        let old = state.config.clone();
        match change(&mut state.config) {
            Ok(()) if state.config != old => {
                self.undo.push(old);
                self.redo.clear();
            }
            Ok(()) => {}
            Err(error) => state.fail(&error),
        }
    }

    fn step(&mut self, rows: isize, state: &State) {
        let last = self.rows(state).len().saturating_sub(1) as isize;
        self.selected = (self.selected as isize).saturating_add(rows).clamp(0, last) as usize;
    }

    /// Switches on/off, or takes the next choice.
    fn next_value(&mut self, state: &mut State) {
        let Some(field) = self.field(state) else { return };
        let now = fields::get(&state.config, field.key);
        let next = match field.kind {
            Kind::Bool => (if now == "true" { "false" } else { "true" }).to_string(),
            Kind::Choice(choices) => {
                let at = choices.iter().position(|c| *c == now).map_or(0, |i| (i + 1) % choices.len());
                choices[at].to_string()
            }
            _ => return self.edit(state),
        };
        self.change(state, |config| fields::set(config, field.key, &next));
    }

    fn edit(&mut self, state: &mut State) {
        if let Some(field) = self.field(state) {
            let input = Input::with(&fields::get(&state.config, field.key));
            self.editor = Some(Editor { key: field.key, input, error: None });
        }
    }

    /// Goes back in `undo` or forward in `redo`.
    fn time_travel(&mut self, back: bool, state: &mut State) {
        let (from, to) =
            if back { (&mut self.undo, &mut self.redo) } else { (&mut self.redo, &mut self.undo) };
        match from.pop() {
            Some(config) => to.push(std::mem::replace(&mut state.config, config)),
            None => state.notify(Level::Info, if back { "nothing to undo" } else { "nothing to redo" }),
        }
        self.step(0, state);
    }
}

/// Whether a value differs from the preset.
fn changed(state: &State, key: &str) -> bool {
    fields::get(&state.config, key) != fields::get(&state.preset, key)
}

impl Pane for ParamsPane {
    fn context(&self) -> Context {
        Context::Parameters
    }

    fn name(&self) -> &'static str {
        "Parameters"
    }

    fn title(&self, state: &State) -> String {
        let n = fields::all().iter().filter(|f| changed(state, f.key)).count();
        let problems = validate::problems(&state.config).iter().filter(|p| p.fatal).count();
        let mut title = if n > 0 { format!("{n} changed") } else { String::new() };
        if problems > 0 {
            title.push_str(if n > 0 { " · " } else { "" });
            title.push_str(&format!("{problems} to fix"));
        }
        title
    }

    fn hints(&self, _state: &State) -> Vec<(Action, &'static str)> {
        vec![
            (Action::Edit, "edit"),
            (Action::NextValue, "switch"),
            (Action::Filter, "search"),
            (Action::Reset, "reset"),
            (Action::Undo, "undo"),
        ]
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::Edit => self.edit(state),
            Action::NextValue => self.next_value(state),
            Action::Reset => {
                if let Some(field) = self.field(state) {
                    let value = fields::get(&state.preset, field.key);
                    self.change(state, |config| fields::set(config, field.key, &value));
                    self.step(0, state);
                }
            }
            Action::OnlyChanged => {
                self.only_changed = !self.only_changed;
                self.selected = 0;
            }
            Action::Filter => self.search = Some(Input::with(&self.wanted)),
            Action::Back if !self.wanted.is_empty() || self.only_changed => {
                self.wanted.clear();
                self.only_changed = false;
                self.step(0, state);
            }
            Action::Undo => self.time_travel(true, state),
            Action::Redo => self.time_travel(false, state),
            action => self.step(movement(action)?, state),
        }
        Some(Vec::new())
    }

    fn typing(&self, _state: &State) -> bool {
        self.editor.is_some() || self.search.is_some()
    }

    fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
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
        match editor.input.key(key) {
            Typed::Changed => check(editor, state),
            Typed::Cancel => self.editor = None,
            Typed::Submit => {
                check(editor, state);
                if editor.error.is_none() {
                    let (key, value) = (editor.key, editor.input.take());
                    self.editor = None;
                    self.change(state, |config| fields::set(config, key, &value));
                }
            }
            Typed::Other => {}
        }
        Vec::new()
    }

    fn paste(&mut self, pasted: &str, state: &mut State) -> Vec<Effect> {
        if let Some(input) = &mut self.search {
            input.paste(pasted);
            self.wanted = input.text().to_string();
            self.step(0, state);
        } else if let Some(editor) = &mut self.editor {
            editor.input.paste(pasted);
            check(editor, state);
        }
        Vec::new()
    }

    fn click(&mut self, row: usize, state: &mut State) {
        self.editor = None;
        self.selected = row;
        self.step(0, state);
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        self.step(0, state);
        let detail = if area.height >= 10 { (area.height / 3).clamp(4, 8) } else { area.height.min(2) };
        let table = Rect { height: area.height - detail, ..area };
        self.draw_table(canvas, table);
        let below = Rect { y: table.bottom(), height: detail, ..area };
        self.draw_detail(canvas, below);
    }
}

/// Says at once what is wrong with a value that is being typed.
fn check(editor: &mut Editor, state: &State) {
    let mut copy = state.config.clone();
    editor.error = match fields::set(&mut copy, editor.key, editor.input.text()) {
        Err(error) => Some(error.message),
        Ok(()) => {
            validate::problems(&copy).into_iter().find(|p| p.fatal && p.key == editor.key).map(|p| p.message)
        }
    };
}

/// Widths of the table's columns; 0 where there is no room for one.
struct Columns {
    group: usize,
    key: usize,
    value: usize,
    preset: usize,
    unit: usize,
}

impl Columns {
    fn fit(columns: usize) -> Self {
        let key = 28.min(columns / 2);
        let (group, unit) = (if columns >= 64 { 13 } else { 0 }, if columns >= 56 { 9 } else { 0 });
        let rest = columns.saturating_sub(2 + key + group + unit);
        let preset = if rest >= 24 { rest * 2 / 5 } else { 0 };
        Self { group, key, value: rest - preset, preset, unit }
    }
}

impl ParamsPane {
    fn draw_table(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let theme = &state.theme;
        let c = Columns::fit(area.width.into());
        let mut head = Line::styled(
            format!(
                "  {}{}{}{}{}",
                cell("group", c.group, Align::Left),
                cell("setting", c.key, Align::Left),
                cell("value", c.value, Align::Left),
                cell("preset", c.preset, Align::Left),
                cell("unit", c.unit, Align::Left)
            ),
            theme.dim,
        );
        if self.search.is_some() || !self.wanted.is_empty() {
            head = Line::from(vec![Span::styled("/", theme.key), Span::raw(self.wanted.clone())]);
        }
        canvas.line(area, 0, head);
        if let Some(input) = &self.search {
            let at = Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..row(area, 0) };
            canvas.cursor = input.draw(at, canvas.frame.buffer_mut(), theme.strong);
        }
        let body = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
        let rows = self.rows(state);
        if rows.is_empty() {
            let clear = state.keys.hint(Action::Back);
            canvas.wrapped(body, 0, &format!("no such setting; {clear} shows all"), theme.dim);
        }
        let problems = validate::problems(&state.config);
        let shown = self.scroll.follow(self.selected, body.height.into(), rows.len());
        let mut group_above = None;
        for (y, i) in shown.enumerate() {
            let field = rows[i];
            let group = if group_above == Some(field.group) {
                String::new()
            } else {
                short_group(field.group).to_string()
            };
            group_above = Some(field.group);
            let bad = problems.iter().any(|p| p.fatal && p.key == field.key);
            canvas.hits.push((row(body, y), Hit::Row(PaneId::Parameters, i)));
            self.draw_row(canvas, row(body, y), (&c, field, &group), (i == self.selected, bad));
        }
    }

    fn draw_row(
        &self,
        canvas: &mut Canvas,
        area: Rect,
        (c, field, group): (&Columns, &Field, &str),
        (selected, bad): (bool, bool),
    ) {
        let state = canvas.state;
        let theme = &state.theme;
        let style = row_style(theme, selected, state.focus == PaneId::Parameters);
        let quiet = if selected { style } else { theme.dim };
        let differs = changed(state, field.key);
        let value = crate::data::clean::for_terminal(&fields::get(&state.config, field.key));
        let preset = crate::data::clean::for_terminal(&fields::get(&state.preset, field.key));
        let path = matches!(field.kind, Kind::Path | Kind::Folder);
        let shown = or_dash(&value);
        let shown = if path { text::tail(shown, c.value.saturating_sub(1)) } else { shown.into() };
        let (mark, mark_style) = match (bad, differs) {
            (true, _) => ("!", theme.bad),
            (_, true) => ("*", theme.key),
            _ => (" ", Style::new()),
        };
        let value_style = if differs && !selected { theme.strong } else { style };
        let line = Line::from(vec![
            Span::styled(format!("{mark} "), mark_style),
            Span::styled(cell(group, c.group, Align::Left), theme.dim),
            Span::styled(cell(field.key, c.key, Align::Left), style),
            Span::styled(cell(&shown, c.value, Align::Left), value_style),
            Span::styled(cell(if differs { or_dash(&preset) } else { "" }, c.preset, Align::Left), quiet),
            Span::styled(cell(field.unit, c.unit, Align::Left), quiet),
        ]);
        canvas.frame.render_widget(line, area);
        if let Some(editor) = self.editor.as_ref().filter(|e| selected && e.key == field.key) {
            let x = area.x + (2 + c.group + c.key) as u16;
            let width = area.right().saturating_sub(x).min((c.value + c.preset) as u16);
            let at = Rect { x, width, ..area };
            let style = if editor.error.is_some() { theme.bad } else { theme.strong };
            canvas.cursor = editor.input.draw(at, canvas.frame.buffer_mut(), style);
        }
    }

    /// What the selected setting means, what is wrong with it, what is advised, and what follows from all.
    fn draw_detail(&self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let theme = &state.theme;
        let Some(field) = self.field(state) else { return };
        if area.height == 0 {
            return;
        }
        let derived = derived::line(&state.config, state);
        canvas.line(area, usize::from(area.height) - 1, Line::styled(derived, theme.accent));
        let inner = Rect { height: area.height - 1, ..area };
        let mut y = 0;
        if area.height > 3 {
            canvas.line(inner, 0, Line::styled("─".repeat(area.width.into()), theme.border));
            y = 1;
        }
        if let Some(editor) = &self.editor {
            match &editor.error {
                Some(error) => y = canvas.wrapped(inner, y, &format!("! {error}"), theme.bad),
                None => y = canvas.wrapped(inner, y, "Enter takes it · Esc leaves it as it was", theme.dim),
            }
        } else {
            for p in validate::problems(&state.config).iter().filter(|p| p.key == field.key) {
                y = canvas.wrapped(inner, y, &p.message, if p.fatal { theme.bad } else { theme.warn });
            }
        }
        y = canvas.wrapped(inner, y, &format!("{} ({})", field.help, field.range()), Style::new());
        if let Some(advice) = advice::advice(field.key) {
            canvas.wrapped(inner, y, &format!("Advice: {} [{}]", advice.text, advice.source), theme.dim);
        }
    }
}

/// A group's heading where there are twelve columns for it.
fn short_group(group: Group) -> &'static str {
    group.title().rsplit(" and ").next().unwrap_or_default()
}

fn or_dash(value: &str) -> &str {
    if value.is_empty() { "-" } else { value }
}

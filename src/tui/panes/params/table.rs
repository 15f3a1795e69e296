//! How the settings are drawn: the table, and below it what the selected one means and what follows from all.

use super::{ParamsPane, Shown};
use crate::config::advice;
use crate::config::fields::{self, Field, Group, Kind};
use crate::tui::action::Action;
use crate::tui::panes::{Canvas, Hit, derived, row};
use crate::tui::state::PaneId;
use crate::tui::text;
use crate::tui::widgets::table::{Align, cell, row_style};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Widths of the table's columns; 0 where there is no room for one.
struct Columns {
    group: usize,
    key: usize,
    value: usize,
    preset: usize,
    unit: usize,
    meaning: usize,
}

impl Columns {
    fn fit(columns: usize) -> Self {
        let key = 28.min(columns / 2);
        let (group, unit) = (if columns >= 64 { 13 } else { 0 }, if columns >= 56 { 9 } else { 0 });
        let rest = columns.saturating_sub(2 + key + group + unit);
        // Values and presets get what they need; what is left says what a setting means.
        let (rest, meaning) = if rest > 90 { (50, rest - 50) } else { (rest, 0) };
        let preset = if rest >= 24 { rest * 2 / 5 } else { 0 };
        Self { group, key, value: rest - preset, preset, unit, meaning }
    }
}

impl ParamsPane {
    pub(super) fn draw_table(&mut self, canvas: &mut Canvas, area: Rect, shown: &Shown, rows: &[usize]) {
        let state = canvas.state;
        let theme = &state.theme;
        let c = Columns::fit(area.width.into());
        self.draw_heading(canvas, area, &c);
        let body = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
        if rows.is_empty() {
            let clear = state.keys.hint(Action::Back);
            let said = if self.wanted.is_empty() { "params.none_differs" } else { "params.none_found" };
            canvas.wrapped(body, 0, &state.words.fill(said, &[("key", &clear)]), theme.dim);
        }
        let problems = state.config.problems();
        let mut group_above = None;
        for (y, i) in self.scroll.follow(self.selected, body.height.into(), rows.len()).enumerate() {
            let at = rows[i];
            let field = &fields::all()[at];
            let group =
                if group_above == Some(field.group) { "" } else { state.words.get(short_group(field.group)) };
            group_above = Some(field.group);
            let bad = problems.iter().any(|p| p.fatal && p.key == field.key);
            canvas.hits.push((row(body, y), Hit::Row(PaneId::Parameters, i)));
            let values = (shown.values[at].as_str(), shown.others[at].as_str());
            self.draw_row(canvas, row(body, y), (&c, field, group, values), (i == self.selected, bad));
        }
    }

    fn draw_heading(&self, canvas: &mut Canvas, area: Rect, c: &Columns) {
        let state = canvas.state;
        let theme = &state.theme;
        let other = if state.settings.other.is_some() { "other" } else { "preset" };
        let name = |word, columns| cell(state.words.get(word), columns, Align::Left);
        let names = [
            name("group", c.group),
            name("setting", c.key),
            name("value", c.value),
            name(other, c.preset),
            name("unit", c.unit),
            name("meaning", c.meaning),
        ];
        let mut head = Line::styled(format!("  {}", names.concat()), theme.dim);
        if self.search.is_some() || !self.wanted.is_empty() {
            head = Line::from(vec![Span::styled("/", theme.key), Span::raw(self.wanted.clone())]);
        }
        canvas.line(area, 0, head);
        if let Some(input) = &self.search {
            let at = Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..row(area, 0) };
            canvas.cursor = input.draw(at, canvas.frame.buffer_mut(), theme.strong);
        }
    }

    fn draw_row(
        &self,
        canvas: &mut Canvas,
        area: Rect,
        (c, field, group, (value, other)): (&Columns, &Field, &str, (&str, &str)),
        (selected, bad): (bool, bool),
    ) {
        let state = canvas.state;
        let (theme, words) = (&state.theme, state.words);
        let style = row_style(theme, selected, state.focus == PaneId::Parameters);
        let quiet = if selected { style } else { theme.dim };
        let differs = value != other;
        let value = crate::data::clean::for_terminal(value);
        let other = crate::data::clean::for_terminal(other);
        let path = matches!(field.kind, Kind::Path | Kind::Folder);
        let shown = or_dash(&value);
        let shown = if path { text::tail(shown, c.value.saturating_sub(1)) } else { shown.into() };
        let (mark, mark_style) = match (bad, differs) {
            (true, _) => ("!", theme.bad),
            (_, true) => ("*", theme.key),
            _ => (" ", Style::new()),
        };
        let value_style = if differs && !selected { theme.strong } else { style };
        let meaning = match advice::advice(field.key) {
            Some(advice) if c.meaning > 0 => {
                let text = words.advice(field.key, advice.text);
                format!("{} {}", words.help(field), words.fill("params.advice", &[("text", text)]))
            }
            _ => words.help(field).to_string(),
        };
        let line = Line::from(vec![
            Span::styled(format!("{mark} "), mark_style),
            Span::styled(cell(group, c.group, Align::Left), theme.dim),
            Span::styled(cell(field.key, c.key, Align::Left), style),
            Span::styled(cell(&shown, c.value, Align::Left), value_style),
            Span::styled(cell(if differs { or_dash(&other) } else { "" }, c.preset, Align::Left), quiet),
            Span::styled(cell(words.get(field.unit), c.unit, Align::Left), quiet),
            Span::styled(cell(&meaning, c.meaning, Align::Left), quiet),
        ]);
        canvas.frame.render_widget(line, area);
        if let Some(editor) = self.editor.as_ref().filter(|e| selected && e.field.key == field.key) {
            let x = area.x + (2 + c.group + c.key) as u16;
            let width = area.right().saturating_sub(x).min((c.value + c.preset) as u16);
            let at = Rect { x, width, ..area };
            let style = if editor.error.is_some() { theme.bad } else { theme.strong };
            canvas.cursor = editor.input.draw(at, canvas.frame.buffer_mut(), style);
        }
    }

    /// What the selected setting means, what is wrong with it, what is advised, and what follows from all.
    pub(super) fn draw_detail(&self, canvas: &mut Canvas, area: Rect, field: &Field) {
        let state = canvas.state;
        let (theme, words) = (&state.theme, state.words);
        if area.height == 0 {
            return;
        }
        let mut height = area.height - 1;
        canvas.line(area, height.into(), Line::styled(derived::line(state.draft(), state), theme.accent));
        if let Some((line, fits)) = derived::estimate(state).filter(|_| height > 2) {
            height -= 1;
            let style = if fits { theme.accent } else { theme.bad };
            canvas.line(area, height.into(), Line::styled(line, style));
        }
        let inner = Rect { height, ..area };
        let mut y = 0;
        if area.height > 3 {
            canvas.line(inner, 0, Line::styled("─".repeat(area.width.into()), theme.border));
            y = 1;
        }
        y = match &self.editor {
            Some(_) => self.draw_editing(canvas, inner, y),
            None => state.config.problems().iter().filter(|p| p.key == field.key).fold(y, |y, p| {
                let style = if p.fatal { theme.bad } else { theme.warn };
                canvas.wrapped(inner, y, &words.said(&p.message), style)
            }),
        };
        let (range, help) = (field.range(), words.help(field));
        let means = words.fill("params.means", &[("help", help), ("range", &words.said(&range))]);
        y = canvas.wrapped(inner, y, &means, Style::new());
        if let Some(advice) = advice::advice(field.key) {
            let (text, source) = (words.advice(field.key, advice.text), words.said(advice.source));
            let said = words.fill("params.advice_of", &[("text", text), ("source", &source)]);
            canvas.wrapped(inner, y, &said, theme.dim);
        }
    }

    /// What is wrong with the value being typed, and what Tab offers; gives the row after it.
    fn draw_editing(&self, canvas: &mut Canvas, area: Rect, mut y: usize) -> usize {
        let Some(editor) = &self.editor else { return y };
        let theme = &canvas.state.theme;
        match &editor.error {
            Some(error) => y = canvas.wrapped(area, y, &format!("! {error}"), theme.bad),
            None => y = canvas.wrapped(area, y, canvas.state.words.get(editor.hint()), theme.dim),
        }
        for problem in &editor.problems {
            y = canvas.wrapped(area, y, problem, theme.warn);
        }
        let offers = editor.offers(canvas.state);
        if offers.len() > 1 || offers.first().is_some_and(|only| *only != editor.input.text()) {
            let names = offers.iter().map(|o| o.trim_end_matches('/').rsplit('/').next().unwrap_or(o));
            let words = names.take(20).collect::<Vec<_>>().join("  ");
            let words = text::truncate(&words, area.width.into()).into_owned();
            canvas.line(area, y, Line::styled(words, theme.key));
            y += 1;
        }
        y
    }
}

/// A group's heading where there are twelve columns for it.
pub(super) fn short_group(group: Group) -> &'static str {
    group.title().rsplit(" and ").next().unwrap_or_default()
}

fn or_dash(value: &str) -> &str {
    if value.is_empty() { "-" } else { value }
}

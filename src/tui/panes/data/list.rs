//! The list of rows with the line of the search.

use super::DataPane;
use crate::data::clean;
use crate::tui::action::Action;
use crate::tui::browse::Row;
use crate::tui::panes::{Canvas, Hit, row};
use crate::tui::state::data::Data;
use crate::tui::state::{PaneId, State};
use crate::tui::text;
use crate::tui::widgets::table::{Align, cell, row_style};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// From this width on the list stands beside the sample, else above it.
const SIDE_BY_SIDE: u16 = 50;

/// Parts the area into list and sample and draws the line between.
pub(super) fn split(canvas: &mut Canvas, area: Rect) -> [Rect; 2] {
    let border = canvas.state.theme.border;
    if area.width >= SIDE_BY_SIDE {
        let list = (area.width * 2 / 5).clamp(22, 64);
        let parts = [Constraint::Length(list), Constraint::Length(2), Constraint::Min(0)];
        let [list, gap, rest] = Layout::horizontal(parts).areas(area);
        for y in 0..usize::from(gap.height) {
            canvas.line(gap, y, Line::styled("│", border));
        }
        return [list, rest];
    }
    let list = (area.height / 2).max(1);
    let parts = [Constraint::Length(list), Constraint::Length(1), Constraint::Min(0)];
    let [list, gap, rest] = Layout::vertical(parts).areas(area);
    canvas.line(gap, 0, Line::styled("─".repeat(gap.width.into()), border));
    [list, rest]
}

impl DataPane {
    pub(super) fn draw_list(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let data = &state.data;
        let area = self.draw_search(canvas, area);
        let shown = data.shown();
        if shown == 0 {
            canvas.view = Some(0..0);
            let style = if data.error.is_some() { state.theme.bad } else { state.theme.dim };
            canvas.wrapped(area, 0, &why_empty(state), style);
            return;
        }
        let view = self.scroll.follow(data.selected, area.height.into(), shown);
        canvas.view = Some(view.clone());
        let columns = Columns::new(data, view.clone(), area.width.into());
        for (y, place) in view.enumerate() {
            canvas.line(area, y, line(state, place, &columns));
            canvas.hits.push((row(area, y), Hit::Row(PaneId::Data, place)));
        }
    }

    /// Draws the line of the search if there is one, and what is wrong with it; gives the area below.
    fn draw_search(&self, canvas: &mut Canvas, area: Rect) -> Rect {
        let state = canvas.state;
        let (theme, search) = (&state.theme, &state.data.search);
        if self.search.is_none() && search.text.is_empty() {
            return area;
        }
        let mut used = 1;
        canvas.line(area, 0, Line::from(vec![Span::styled("/", theme.key), Span::raw(search.text.clone())]));
        if let Some(input) = &self.search {
            let at = Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..row(area, 0) };
            canvas.cursor = input.draw(at, canvas.frame.buffer_mut(), theme.strong);
        }
        if let Some(error) = &search.error {
            let said = clean::for_terminal(&state.told(error));
            used = canvas.wrapped(Rect { height: area.height.min(4), ..area }, 1, &said, theme.warn);
        }
        let used = (used as u16).min(area.height);
        Rect { y: area.y + used, height: area.height - used, ..area }
    }
}

fn why_empty(state: &State) -> String {
    let (data, words) = (&state.data, state.words);
    let back = state.keys.hint(Action::Back);
    match (&data.error, data.progress) {
        (Some(error), _) => words.said(error).into_owned(),
        (None, Some((done, total))) if data.loading && total > 0 => {
            words.fill("data.finding_rows", &[("done", &text::bytes(done)), ("total", &text::bytes(total))])
        }
        _ if data.loading => words.get("data.loading").into(),
        _ if data.search.running => words.get("data.searching").into(),
        _ if data.search.found().is_some() => words.fill("data.no_match", &[("key", &back)]),
        _ => words.get("data.no_samples").into(),
    }
}

/// Widths of the columns.
struct Columns {
    number: usize,
    id: usize,
    all: usize,
}

/// Width of the column of marks: × excluded, ~ edited, ! finding.
const MARKS: usize = 2;

impl Columns {
    fn new(data: &Data, view: std::ops::Range<usize>, all: usize) -> Self {
        let number = data.rows.saturating_sub(1).to_string().len() + 1;
        let held = view.filter_map(|place| data.held(data.row_at(place)?)?.sample.as_ref().ok());
        let longest = held.map(|s| text::width(&s.id)).max().unwrap_or(0);
        // A long id, such as a UUID, tells less than the caption: it is told beside the picture.
        let most = all.saturating_sub(number + MARKS) / 3;
        let id = if longest + 1 > most && most < 12 { 0 } else { (longest + 1).min(most.max(12)) };
        Self { number, id, all }
    }
}

fn line<'a>(state: &State, place: usize, columns: &Columns) -> Line<'a> {
    let (theme, data) = (&state.theme, &state.data);
    let selected = place == data.selected;
    let focused = state.focus == PaneId::Data;
    let style = row_style(theme, selected, focused);
    let Some(row) = data.row_at(place) else { return Line::default() };
    let number = cell(&row.to_string(), columns.number, Align::Right);
    let faint = if selected && focused { style } else { theme.dim.patch(style) };
    let rest = columns.all.saturating_sub(columns.number + MARKS);
    let Some(held) = data.held(row) else {
        return Line::from(vec![
            Span::styled(number, faint),
            Span::styled(text::pad("  …", rest + MARKS), faint),
        ]);
    };
    let (mark, mark_style) = mark(state, held);
    let on_row = |s: Style| if selected && focused { style } else { s.patch(style) };
    let found =
        data.search.all_rows && data.search.found().is_some_and(|f| f.binary_search(&(row as u32)).is_ok());
    let mut spans = vec![
        Span::styled(number, if found { on_row(theme.key) } else { faint }),
        Span::styled(text::pad(mark, MARKS), on_row(mark_style)),
    ];
    match &held.sample {
        Ok(sample) => {
            let words = match held.applied.excluded {
                true => faint.add_modifier(Modifier::CROSSED_OUT),
                false => style,
            };
            spans.push(Span::styled(cell(&clean::for_terminal(&sample.id), columns.id, Align::Left), words));
            spans.push(Span::styled(text::pad(&held.line, rest.saturating_sub(columns.id)), words));
        }
        Err(_) => {
            let said = state.words.said(&held.line);
            spans.push(Span::styled(text::pad(&said, rest), on_row(theme.bad)));
        }
    }
    Line::from(spans)
}

/// The mark of a row: what matters most.
fn mark(state: &State, held: &Row) -> (&'static str, Style) {
    let theme = &state.theme;
    match held.applied {
        _ if held.sample.is_err() => ("!", theme.bad),
        applied if applied.excluded => ("×", theme.warn),
        applied if applied.stale => ("?", theme.warn),
        applied if applied.edited => ("~", theme.good),
        _ if state.data.codes(held.row).next().is_some() => ("!", theme.warn),
        _ => ("", theme.dim),
    }
}

/// What to do without any data.
pub(super) fn draw_empty(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let words = state.words;
    if let Some(busy) = &state.busy {
        let (done, total) = (busy.done.to_string(), busy.total.to_string());
        let progress = words.fill("data.of", &[("done", &done), ("total", &total)]);
        let progress = if busy.total > 0 { progress } else { String::new() };
        return canvas.empty(area, &format!("{} …", words.get(busy.what)), &[progress]);
    }
    if let Some(error) = &state.data.error {
        let lines = text::wrap(&words.said(error), area.width.into(), 6);
        return canvas.empty(area, words.get("data.unreadable"), &lines);
    }
    let lines = [
        words.fill("data.demo", &[("key", &state.keys.hint(Action::Demo))]),
        words.fill("data.convert", &[("key", &state.keys.hint(Action::Convert))]),
    ];
    canvas.empty(area, words.get("data.none"), &lines);
}

//! The list of runs, with what is known of the selected one below.

use crate::config::fields;
use crate::data::clean;
use crate::runs::{Detail, Status};
use crate::tui::action::Action;
use crate::tui::panes::{Canvas, Hit, row};
use crate::tui::state::{PaneId, State};
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widgets::table::{Align, Scroll, cell, row_style};
use crate::tui::words::Words;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use serde_json::Value;

/// How the list is looked at.
#[derive(Default)]
pub struct List {
    scroll: Scroll,
    /// Words that the runs shown have in name, status or settings.
    pub wanted: String,
}

/// Columns of status, steps, loss, evaluation loss and age.
const STATUS: usize = 13;
const STEPS: usize = 12;
const NUMBER: usize = 9;
const AGE: usize = 9;

impl List {
    /// Places in the list that are shown.
    fn shown(&self, state: &State) -> Vec<usize> {
        let wanted = self.wanted.to_lowercase();
        let hay = |r: &Detail| {
            let status = r.info.status.name();
            let status = format!("{status} {}", state.words.get(status));
            format!("{} {status} {}", r.info.name, r.gist()).to_lowercase()
        };
        let fits = |r: &Detail| wanted.split_whitespace().all(|w| hay(r).contains(w));
        state.runs.list.iter().enumerate().filter(|(_, r)| fits(r)).map(|(i, _)| i).collect()
    }

    pub fn filter(&mut self, wanted: &str, state: &mut State) {
        self.wanted = wanted.to_string();
        self.step(0, state);
    }

    /// Moves the selection among the runs shown.
    pub fn step(&mut self, by: isize, state: &mut State) {
        let shown = self.shown(state);
        let at = shown.partition_point(|i| *i < state.runs.selected) as isize;
        let last = shown.len().saturating_sub(1) as isize;
        if let Some(place) = shown.get(at.saturating_add(by).clamp(0, last) as usize) {
            state.runs.selected = *place;
        }
    }

    pub fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let theme = &state.theme;
        if state.runs.list.is_empty() {
            return draw_empty(canvas, area);
        }
        let shown = self.shown(state);
        let below = if area.height >= 16 { area.height / 2 } else { 0 };
        let rows = usize::from(area.height - below).saturating_sub(1);
        let name = name_width(state, area.width.into());
        let words = state.words;
        let heading = format!(
            "  {}{}{}{}{}{}{}",
            cell(words.get("run"), name, Align::Left),
            cell(words.get("status"), STATUS, Align::Left),
            cell(words.get("steps"), STEPS, Align::Right),
            cell(words.get("loss"), NUMBER, Align::Right),
            cell(words.get("eval"), NUMBER, Align::Right),
            cell(words.get("age"), AGE, Align::Right),
            words.get("settings")
        );
        canvas.line(area, 0, Line::styled(heading, theme.dim));
        let selected = shown.iter().position(|i| *i == state.runs.selected);
        for (y, place) in self.scroll.follow(selected.unwrap_or(0), rows, shown.len()).enumerate() {
            let at = row(area, y + 1);
            canvas.hits.push((at, Hit::Row(PaneId::Runs, shown[place])));
            let line = run_line(state, shown[place], name);
            canvas.frame.render_widget(line, at);
        }
        if let Some(run) = state.runs.list.get(state.runs.selected).filter(|_| below > 0) {
            let at = Rect { y: area.bottom() - below, height: below, ..area };
            draw_detail(canvas, at, run);
        }
    }
}

/// As wide as the names, at most what is left.
fn name_width(state: &State, columns: usize) -> usize {
    let widest = state.runs.list.iter().map(|r| text::width(&r.info.name)).max().unwrap_or(0);
    let others = 2 + STATUS + STEPS + 2 * NUMBER + AGE;
    (widest + 1).clamp(8, columns.saturating_sub(others).clamp(8, 40))
}

fn run_line(state: &State, place: usize, name: usize) -> Line<'static> {
    let theme = &state.theme;
    let run = &state.runs.list[place];
    let info = &run.info;
    let style = row_style(theme, place == state.runs.selected, true);
    let mark = if state.runs.is_marked(&info.path) { "● " } else { "  " };
    let number = |v: Option<f64>| cell(&v.map_or("-".into(), text::number), NUMBER, Align::Right);
    let steps =
        if info.total_steps == 0 { "-".into() } else { format!("{}/{}", info.step, info.total_steps) };
    Line::from(vec![
        Span::styled(mark, theme.key),
        Span::styled(cell(&clean::for_terminal(&info.name), name, Align::Left), style),
        Span::styled(
            cell(state.words.get(info.status.name()), STATUS, Align::Left),
            status_style(theme, info.status).patch(style),
        ),
        Span::styled(cell(&steps, STEPS, Align::Right), style),
        Span::styled(number(info.loss), style),
        Span::styled(number(run.metric("eval_loss")), style),
        Span::styled(cell(&age(state.words, info.age_seconds), AGE, Align::Right), style),
        Span::styled(clean::for_terminal(&run.gist()), if style == Style::new() { theme.dim } else { style }),
    ])
}

fn status_style(theme: &Theme, status: Status) -> Style {
    match status {
        Status::Running => theme.accent,
        Status::Finished => theme.good,
        Status::Failed => theme.bad,
        Status::Stopped | Status::Interrupted => theme.warn,
        Status::Unknown => theme.dim,
    }
}

/// The largest unit is enough.
fn age(words: Words, seconds: u64) -> String {
    match seconds {
        0..60 => words.get("runs.now").to_string(),
        60..3600 => words.count("runs.minutes", seconds / 60),
        3600..86_400 => words.count("runs.hours", seconds / 3600),
        _ => words.count("runs.days", seconds / 86_400),
    }
}

/// Settings that differ from the defaults, and the results.
fn draw_detail(canvas: &mut Canvas, area: Rect, run: &Detail) {
    let theme = &canvas.state.theme;
    canvas.line(area, 0, Line::styled("─".repeat(area.width.into()), theme.border));
    let path = clean::for_terminal(&run.info.path.display().to_string());
    canvas.line(area, 1, Line::styled(text::tail(&path, area.width.into()).into_owned(), theme.strong));
    let differs = |key: &str, value: &str| fields::field(key).is_none_or(|f| f.default_text() != value);
    let settings = run.settings.iter().filter_map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        differs(key, value).then(|| format!("{key}\u{a0}{}", if value.is_empty() { "-" } else { value }))
    });
    let settings = clean::for_terminal(&settings.collect::<Vec<_>>().join("   "));
    let metrics = run.metrics.iter().filter_map(|(key, value)| {
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
        Some(format!("{key}\u{a0}{}", text::number(number)))
    });
    let metrics = clean::for_terminal(&metrics.collect::<Vec<_>>().join("   "));
    let mut y = 2;
    for (title, words) in [("metrics", metrics), ("settings", settings)] {
        if !words.is_empty() {
            canvas.line(area, y, Line::styled(canvas.state.words.get(title), theme.dim));
            y = canvas.wrapped(area, y + 1, &words, Style::new());
        }
    }
    if !run.complete && run.settings.values().any(|v| v != &Value::from("")) {
        canvas.wrapped(area, y, canvas.state.words.get("runs.incomplete"), theme.dim);
    }
}

fn draw_empty(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let say = |what, action| state.words.fill(what, &[("key", &state.keys.hint(action))]);
    let lines = [say("runs.start", Action::Train), say("runs.import", Action::ImportRun)];
    let title = if state.runs.known { "runs.none" } else { "runs.looking" };
    canvas.empty(area, state.words.get(title), &lines);
}

//! The evaluation pane: scores of base and tuned model as they come, and a browser of samples.

mod facts;
mod marked;

use super::{Canvas, Hit, Pane, movement, row};
use crate::data::{ImageRef, clean};
use crate::job::Prediction;
use crate::tui::action::{Action, Context};
use crate::tui::effects::Effect;
use crate::tui::state::evaluation::{Evaluation, Judged, Order, SORTED_BY};
use crate::tui::state::{PaneId, State};
use crate::tui::text;
use crate::tui::widgets::table::{Align, Scroll, cell, row_style};
use crate::tui::widgets::wrapped;
use marked::Marked;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// How the samples are looked at.
#[derive(Default)]
pub struct EvalPane {
    scroll: Scroll,
    /// Lines of the texts scrolled away.
    skipped: usize,
    /// What base and tuned model said, compared with the reference.
    marked: [Marked; 2],
}

/// Columns from which the answers of both models stand side by side.
const SIDE_BY_SIDE: usize = 72;

/// Cells of the name of a score, of a number, and of an interval.
const NAME: usize = 14;
const NUMBER: usize = 9;
const INTERVAL: usize = 17;

impl Pane for EvalPane {
    fn context(&self) -> Context {
        Context::Evaluation
    }

    fn name(&self) -> &'static str {
        "Evaluation"
    }

    fn title(&self, state: &State) -> String {
        let e = &state.evaluation;
        let words = state.words;
        // Until the first scores come it is not known how many there are.
        let of = |total: usize| if total > 0 { format!("/{total}") } else { String::new() };
        let progress = |name: &'static str, side: &Judged| {
            let left = match side.running() && side.remaining > 0.0 {
                true => words.fill("eval.eta", &[("time", &text::duration(side.remaining))]),
                false => String::new(),
            };
            (side.total > 0 || side.running())
                .then(|| format!("{} {}{}{left}", words.get(name), side.samples.len(), of(side.total)))
        };
        let opened = state.runs.evaluation.as_ref().and_then(|dir| dir.file_name());
        let opened = opened.map(|name| clean::for_terminal(&name.to_string_lossy()));
        let all = [opened, progress("eval.base", &e.base), progress("eval.tuned", &e.tuned)];
        all.into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }

    fn hints(&self, state: &State) -> Vec<(Action, &'static str)> {
        let e = &state.evaluation;
        let first = match e.tuned.running() || e.base.running() {
            true => (Action::StopAnswer, "stop"),
            false => (Action::Evaluate, "evaluate"),
        };
        vec![first, (Action::SortSamples, e.order.name()), (Action::ScrollDown, "scroll the texts")]
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::Evaluate => return Some(state.start_evaluation()),
            Action::StopAnswer => return Some(state.stop_evaluation()),
            Action::SortSamples => state.evaluation.sort(),
            Action::ScrollDown => self.skipped += 1,
            Action::ScrollUp => self.skipped = self.skipped.saturating_sub(1),
            action => {
                state.evaluation.step(movement(action)?);
                self.skipped = 0;
            }
        }
        Some(Vec::new())
    }

    fn click(&mut self, row: usize, state: &mut State) {
        (state.evaluation.selected, self.skipped) = (row, 0);
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        let e = &canvas.state.evaluation;
        if e.is_empty() && !e.tuned.running() && !e.base.running() {
            let key = canvas.state.keys.hint_in(Context::Evaluation, Action::Evaluate);
            let words = canvas.state.words;
            let lines =
                [words.fill("eval.starts", &[("key", &key)]), words.get("eval.as_they_come").to_string()];
            return canvas.empty(area, words.get("eval.none"), &lines);
        }
        let top = scores(canvas, area);
        let rest = Rect { y: area.y + top, height: area.height.saturating_sub(top), ..area };
        let side = if area.width >= 90 { (area.width / 3).min(49) } else { 0 };
        if side == 0 {
            let rows = (rest.height / 3).max(3).min(rest.height);
            self.list(canvas, Rect { height: rows, ..rest });
            let below = Rect { y: rest.y + rows, height: rest.height - rows, ..rest };
            return self.sample(canvas, below);
        }
        self.list(canvas, Rect { width: side, ..rest });
        let right = Rect { x: rest.x + side + 2, width: rest.width.saturating_sub(side + 2), ..rest };
        self.sample(canvas, right);
    }
}

/// The table of scores; gives the rows it takes, an empty one included.
fn scores(canvas: &mut Canvas, area: Rect) -> u16 {
    let state = canvas.state;
    let (e, theme) = (&state.evaluation, &state.theme);
    let names: Vec<&str> = e.tuned.scores.iter().chain(&e.base.scores).map(|r| r.name.as_str()).collect();
    let mut shown: Vec<&str> = Vec::new();
    names.into_iter().for_each(|name| {
        if !shown.contains(&name) {
            shown.push(name)
        }
    });
    // A low screen shows the score that is looked at first, and the one that samples are sorted by.
    if area.height < 24 {
        shown.sort_by_key(|name| !["bleu-4", SORTED_BY].contains(name));
        shown.truncate(2);
    }
    shown.truncate(7);
    let find = |side: &Judged, name: &str| side.scores.iter().find(|r| r.name == name).cloned();
    let heading = ["eval.base", "eval.interval", "eval.tuned", "eval.interval"];
    let words = state.words;
    let mut line = cell(words.get("eval.score"), NAME, Align::Left);
    for (i, title) in heading.into_iter().enumerate() {
        line += &cell(words.get(title), if i % 2 == 0 { NUMBER } else { INTERVAL }, Align::Right);
    }
    canvas.line(area, 0, Line::styled(line, theme.dim));
    for (y, name) in shown.iter().enumerate() {
        let mut line = cell(name, NAME, Align::Left);
        for side in [&e.base, &e.tuned] {
            let (mean, range) = find(side, name).map_or_else(Default::default, |r| {
                let [low, high] = [r.low, r.high].map(|x| format!("{x:.2}"));
                (format!("{:.2}", r.mean), words.fill("eval.to", &[("low", &low), ("high", &high)]))
            });
            line += &cell(&mean, NUMBER, Align::Right);
            line += &cell(&range, INTERVAL, Align::Right);
        }
        canvas.line(area, y + 1, Line::raw(line));
    }
    let mut used = (shown.len() + 1).max(facts::draw(canvas, area, shown.len() + 1));
    if let Some(trouble) = &e.trouble {
        let trouble = words.said(trouble);
        used = canvas.wrapped(Rect { height: (used + 2) as u16, ..area }, used, &trouble, theme.bad);
    }
    (used as u16 + 1).min(area.height)
}

impl EvalPane {
    /// The samples with their scores.
    fn list(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let (e, theme) = (&state.evaluation, &state.theme);
        let name = usize::from(area.width).saturating_sub(3 * NUMBER);
        let heading = format!(
            "{}{}{}{}",
            cell(&order(state, name.saturating_sub(1)), name, Align::Left),
            cell(state.words.get("eval.base"), NUMBER, Align::Right),
            cell(state.words.get("eval.tuned"), NUMBER, Align::Right),
            cell(state.words.get("eval.gain"), NUMBER, Align::Right),
        );
        canvas.line(area, 0, Line::styled(heading, theme.dim));
        let rows = usize::from(area.height).saturating_sub(1);
        let number = |x: Option<f64>| x.map(|x| format!("{x:.1}")).unwrap_or_default();
        for (y, place) in self.scroll.follow(e.selected, rows, e.len()).enumerate() {
            let Some(index) = e.at(place) else { continue };
            let at = row(area, y + 1);
            canvas.hits.push((at, Hit::Row(PaneId::Evaluation, place)));
            let id = sample(e, index).map(|p| clean::for_terminal(&p.id)).unwrap_or_default();
            let gain = e.gain(index).map(|g| format!("{g:+.1}")).unwrap_or_default();
            let line = format!(
                "{}{}{}{}",
                cell(&text::truncate(&id, name.saturating_sub(1)), name, Align::Left),
                cell(&number(e.base.score(index)), NUMBER, Align::Right),
                cell(&number(e.tuned.score(index)), NUMBER, Align::Right),
                cell(&gain, NUMBER, Align::Right),
            );
            let style = row_style(theme, place == e.selected, state.focus == PaneId::Evaluation);
            canvas.line(area, y + 1, Line::styled(line, style));
        }
    }

    /// Picture, reference and what both models said, differences marked.
    fn sample(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let (e, theme) = (&state.evaluation, &state.theme);
        let Some(p) = e.current().and_then(|index| sample(e, index)) else { return };
        let index = p.index;
        let (picture, words) = rooms(area);
        match p.images.first() {
            // Drawing opens no file, and what lies in a parquet file has to be looked for there.
            Some(name) if name.contains(".parquet#") => {
                canvas.wrapped(picture, 0, &clean::for_terminal(name), theme.dim);
            }
            Some(name) => canvas.picture(picture, &ImageRef::Path(name.into())),
            None => {}
        }
        let columns = usize::from(words.width);
        let mut lines = Vec::new();
        let group = p.group.as_deref().map(|g| format!(" · {}", clean::for_terminal(g))).unwrap_or_default();
        lines.push(Line::styled(format!("{}{group}", clean::for_terminal(&p.id)), theme.strong));
        let plain = |lines: &mut Vec<Line<'static>>, name: &str, text: &str| {
            lines.push(Line::styled(name.to_string(), theme.dim));
            let text = clean::for_terminal_lines(text.trim());
            lines.extend(text::wrap(&text, columns, 400).into_iter().map(Line::raw));
        };
        plain(&mut lines, state.words.get("eval.question"), &p.question);
        plain(&mut lines, state.words.get("eval.reference"), &p.label);
        let both = e.base.samples.contains_key(&index) && e.tuned.samples.contains_key(&index);
        let half = (both && columns >= SIDE_BY_SIDE).then_some(columns.saturating_sub(2) / 2);
        let sides = [("eval.base", &e.base), ("eval.tuned", &e.tuned)].into_iter().zip(&mut self.marked);
        let mut answers = Vec::new();
        for ((name, side), marked) in sides {
            let Some(said) = side.samples.get(&index) else { continue };
            let score = said.score(SORTED_BY).map(|s| format!(" · {SORTED_BY} {s:.1}")).unwrap_or_default();
            let mut answer = vec![Line::styled(format!("{}{score}", state.words.get(name)), theme.dim)];
            answer.extend(marked.take(&said.label, &said.predict).lines(half.unwrap_or(columns), theme));
            answers.push(answer);
        }
        match (half, answers.len()) {
            (Some(half), 2) => {
                let tuned = answers.split_off(1);
                let one = |all: Vec<Vec<_>>| all.into_iter().flatten().collect();
                lines.extend(wrapped::beside(one(answers), one(tuned), half));
            }
            _ => lines.extend(answers.into_iter().flatten()),
        }
        let height = usize::from(words.height);
        self.skipped = self.skipped.min(lines.len().saturating_sub(height));
        for (y, line) in lines.into_iter().skip(self.skipped).take(height).enumerate() {
            canvas.line(words, y, line);
        }
    }
}

/// The order of the samples and the score beside them, as far as there is room; that they are in no order says least.
fn order(state: &State, columns: usize) -> String {
    let order = state.evaluation.order;
    let name = state.words.get(order.name());
    match format!("{name} · {SORTED_BY}") {
        both if text::width(&both) <= columns => both,
        _ if order == Order::AsAsked => SORTED_BY.into(),
        _ => name.into(),
    }
}

/// Where picture and texts are: one above the other, on a low screen side by side.
fn rooms(area: Rect) -> (Rect, Rect) {
    if area.height >= 14 {
        let tall = area.height * 2 / 5;
        let texts = Rect { y: area.y + tall, height: area.height - tall, ..area };
        return (Rect { height: tall, ..area }, texts);
    }
    // A cell is twice as high as it is wide.
    let wide = if area.width >= 56 { (2 * area.height).min(area.width * 2 / 5) } else { 0 };
    let used = if wide > 0 { wide + 2 } else { 0 };
    (Rect { width: wide, ..area }, Rect { x: area.x + used, width: area.width - used, ..area })
}

/// What is known of a sample.
fn sample(e: &Evaluation, index: usize) -> Option<&Prediction> {
    e.tuned.samples.get(&index).or_else(|| e.base.samples.get(&index))
}

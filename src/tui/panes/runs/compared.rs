//! Runs side by side: curves over each other, settings that differ, metrics.

use crate::data::clean;
use crate::runs::column::Column;
use crate::runs::export::View;
use crate::runs::{Axis, Columns, Comparison, Metric};
use crate::tui::action::Action;
use crate::tui::panes::train::by;
use crate::tui::panes::{Canvas, Hit, movement};
use crate::tui::state::PaneId;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widgets::chart::{Chart, Series, x_text};
use crate::tui::widgets::table::{Align, cell};
use crate::tui::words::Words;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// How a comparison is looked at.
pub struct Compared {
    metric: Metric,
    axis: Axis,
    log_y: bool,
    /// The measured loss too, not only the smoothed.
    raw: bool,
    scroll: usize,
    /// The place on the axis whose values are read.
    cursor: Option<f64>,
    /// First and last x of each column of the chart as it was drawn, for a click.
    columns: Vec<f64>,
}

impl Default for Compared {
    fn default() -> Self {
        Self {
            metric: Metric::Loss,
            axis: Axis::Step,
            log_y: false,
            raw: false,
            scroll: 0,
            cursor: None,
            columns: Vec::new(),
        }
    }
}

/// Columns of a key or the name of a metric, and of a run at most.
const KEY: usize = 30;
const RUN: usize = 24;

impl Compared {
    /// Does an action; `false` for one that is not about the comparison.
    pub fn act(&mut self, action: Action, compared: &Comparison) -> bool {
        let curves = &compared.curves;
        match action {
            Action::NextCurve => self.next_metric(1, curves),
            Action::PreviousCurve => self.next_metric(Metric::ALL.len() - 1, curves),
            Action::XAxis => self.next_axis(curves),
            Action::LogY => self.log_y = !self.log_y,
            Action::Smoothing => self.raw = !self.raw,
            Action::Left => self.cursor = moved(self.cursor, false, self.axis, curves),
            Action::Right => self.cursor = moved(self.cursor, true, self.axis, curves),
            Action::Back if self.cursor.is_some() => self.cursor = None,
            action => {
                let by = match action {
                    Action::ScrollDown => Some(1),
                    Action::ScrollUp => Some(-1),
                    action => movement(action),
                };
                let Some(by) = by else { return false };
                let rows = compared.settings.len() + compared.metrics.len() + 2;
                self.scroll = (self.scroll as isize).saturating_add(by).clamp(0, rows as isize) as usize;
            }
        }
        true
    }

    /// The next metric that one of the runs has.
    fn next_metric(&mut self, by: usize, curves: &[Columns]) {
        self.metric = self.metric.next(by, |m| curves.iter().any(|c| c.has(m)));
    }

    /// Another axis; the cursor goes to where the first run that is there has the row that was read.
    fn next_axis(&mut self, curves: &[Columns]) {
        let (from, to) = (self.axis, self.axis.next());
        let at = |x| curves.iter().find_map(|c| Some(c.axis(to).values()[row_at(c, from, x)?]));
        (self.cursor, self.axis) = (self.cursor.and_then(at), to);
    }

    /// Reads the values at a column of the chart.
    pub fn click(&mut self, column: usize) {
        self.cursor = self.columns.get(column).copied().or(self.cursor);
    }

    /// What a plot of it shows.
    pub fn view(&self) -> View {
        View { metric: self.metric, axis: self.axis, log_y: self.log_y }
    }

    pub fn draw(&mut self, canvas: &mut Canvas, area: Rect, compared: &Comparison) {
        let height = if area.height >= 12 { area.height / 2 } else { area.height / 3 };
        let top = Rect { height, ..area };
        let rest = Rect { y: area.y + height, height: area.height - height, ..area };
        self.draw_curves(canvas, top, compared);
        self.draw_tables(canvas, rest, compared);
    }

    fn draw_curves(&mut self, canvas: &mut Canvas, area: Rect, compared: &Comparison) {
        let theme = &canvas.state.theme;
        self.cursor = self.cursor.zip(span(self.axis, &compared.curves)).map(|(x, (a, b))| x.clamp(a, b));
        let mut series = Vec::new();
        for (i, curves) in compared.curves.iter().enumerate() {
            let (xs, style) = (curves.axis(self.axis), style(theme, i));
            let loss = self.metric == Metric::Loss;
            if loss && self.raw {
                series.push(Series { xs, ys: curves.metric(Metric::Loss), style: theme.raw });
            }
            series.push(Series { xs, ys: self.column(curves), style });
            if loss {
                series.push(Series { xs: curves.eval_axis(self.axis), ys: &curves.evals, style });
            }
        }
        let legend = self.legend(canvas, compared);
        canvas.line(area, 0, legend);
        let chart = Chart { log_y: self.log_y, cursor: self.cursor, ..Chart::new(series, self.axis, theme) };
        let below = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
        self.columns.clear();
        if let Some((plot, x0, x1)) = chart.place(below) {
            for column in 0..plot.width {
                let share = (f64::from(column) + 0.5) / f64::from(plot.width);
                let at = Rect { x: plot.x + column, width: 1, ..plot };
                canvas.hits.push((at, Hit::Row(PaneId::Runs, column.into())));
                self.columns.push(x0 + share * (x1 - x0));
            }
        }
        canvas.frame.render_widget(chart, below);
    }

    /// The curve of a run that is drawn in its colour.
    fn column<'c>(&self, curves: &'c Columns) -> &'c Column {
        if self.metric == Metric::Loss { &curves.smooth } else { curves.metric(self.metric) }
    }

    /// The names of the runs, at the cursor each with its value there; a run that is not there has none.
    fn legend(&self, canvas: &Canvas, compared: &Comparison) -> Line<'static> {
        let (theme, words) = (&canvas.state.theme, canvas.state.words);
        let mut spans = vec![Span::styled(words.get(self.metric.title()), theme.strong)];
        for (i, (run, curves)) in compared.runs.iter().zip(&compared.curves).enumerate() {
            let value = self.cursor.map(|x| match row_at(curves, self.axis, x) {
                Some(row) => self.reading(curves, row),
                None => " -".to_string(),
            });
            let name = clean::for_terminal(&run.info.name);
            let said = format!("  ⠒ {name}{}", value.unwrap_or_default());
            spans.push(Span::styled(said, style(theme, i)));
        }
        let mut notes = match self.cursor {
            Some(x) => vec![at_x(words, self.axis, x)],
            None => vec![by(words, self.axis)],
        };
        if self.log_y {
            notes.push(words.get("chart.log").into());
        }
        spans.push(Span::styled(format!("  ({})", notes.join(", ")), theme.dim));
        Line::from(spans)
    }

    /// What a run is at a row: the value of its curve, with the measured loss before the smoothed where both are drawn.
    fn reading(&self, curves: &Columns, row: usize) -> String {
        let value = |column: &Column| {
            let value = column.values().get(row).filter(|v| !v.is_nan());
            value.map_or("-".to_string(), |v| text::number(*v))
        };
        match self.metric == Metric::Loss && self.raw {
            true => format!(" {} ({})", value(curves.metric(Metric::Loss)), value(&curves.smooth)),
            false => format!(" {}", value(self.column(curves))),
        }
    }

    fn draw_tables(&mut self, canvas: &mut Canvas, area: Rect, compared: &Comparison) {
        let (theme, words) = (&canvas.state.theme, canvas.state.words);
        let runs = compared.runs.len().max(1);
        let key = KEY.min(usize::from(area.width) / 3);
        let column = (usize::from(area.width).saturating_sub(key) / runs).min(RUN);
        let mut heading = vec![Span::raw(" ".repeat(key))];
        for (i, run) in compared.runs.iter().enumerate() {
            let name = cell(&clean::for_terminal(&run.info.name), column, Align::Right);
            heading.push(Span::styled(name, style(theme, i)));
        }
        canvas.line(area, 0, Line::from(heading));
        let mut lines: Vec<Line> = vec![Line::styled(words.get("metrics"), theme.dim)];
        for row in &compared.metrics {
            let mut spans = vec![Span::raw(cell(&clean::for_terminal(&row.name), key, Align::Left))];
            spans.extend(row.values.iter().enumerate().map(|(i, value)| {
                let shown = value.map_or("-".into(), number);
                let style = if row.best == Some(i) { theme.good } else { Style::new() };
                let shown = if row.best == Some(i) { format!("{shown} *") } else { format!("{shown}  ") };
                Span::styled(cell(&shown, column, Align::Right), style)
            }));
            lines.push(Line::from(spans));
        }
        let title = if compared.settings.is_empty() { "runs.same_settings" } else { "runs.differing" };
        lines.push(Line::styled(words.get(title), theme.dim));
        for row in &compared.settings {
            let mut spans = vec![Span::raw(cell(&clean::for_terminal(&row.key), key, Align::Left))];
            spans.extend(row.values.iter().map(|value| {
                let shown = match value.as_deref() {
                    None => "?",
                    Some("") => "-",
                    Some(value) => value,
                };
                let shown = clean::for_terminal(shown);
                let shown = format!("{}  ", text::tail(&shown, column.saturating_sub(3)));
                Span::raw(cell(&shown, column, Align::Right))
            }));
            lines.push(Line::from(spans));
        }
        let rows = usize::from(area.height).saturating_sub(1);
        self.scroll = self.scroll.min(lines.len().saturating_sub(rows));
        for (y, line) in lines.into_iter().skip(self.scroll).take(rows).enumerate() {
            canvas.line(area, y + 1, line);
        }
    }
}

/// First and last x of all curves.
fn span(axis: Axis, curves: &[Columns]) -> Option<(f64, f64)> {
    let ends = |c: &Columns| Some((*c.axis(axis).values().first()?, *c.axis(axis).values().last()?));
    curves.iter().filter_map(ends).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// The row of a run nearest to `x`; `None` before its first and after its last one.
fn row_at(curves: &Columns, axis: Axis, x: f64) -> Option<usize> {
    let xs = curves.axis(axis).values();
    let inside = *xs.first()? <= x && x <= *xs.last()?;
    curves.nearest(axis, x).filter(|_| inside)
}

/// The cursor moved by about a hundredth of all that is drawn, to a place that a run has logged; from the end at first.
fn moved(cursor: Option<f64>, right: bool, axis: Axis, curves: &[Columns]) -> Option<f64> {
    let (first, last) = span(axis, curves)?;
    let Some(now) = cursor else { return Some(last) };
    let by = (last - first) / 100.0;
    let all = curves.iter().map(|c| c.axis(axis).values());
    let next = match right {
        // Strictly on: between two places of a coarse log the next one is further than a hundredth.
        true => all
            .filter_map(|xs| xs.get(xs.partition_point(|x| *x < now + by || *x <= now)).copied())
            .reduce(f64::min),
        false => all
            .filter_map(|xs| xs[..xs.partition_point(|x| *x <= now - by && *x < now)].last().copied())
            .reduce(f64::max),
    };
    Some(next.unwrap_or(if right { last } else { first }))
}

/// A place on an axis in words.
fn at_x(words: Words, axis: Axis, x: f64) -> String {
    let x = x_text(axis, x);
    match axis {
        Axis::Step => words.count("chart.at_step", x),
        Axis::Epoch => words.count("train.epoch", x),
        Axis::Time => x,
    }
}

/// Whole numbers whole.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e6 { format!("{value:.0}") } else { text::number(value) }
}

/// A style for each run, in an order that is told apart.
fn style(theme: &Theme, run: usize) -> Style {
    let all = [theme.smooth, theme.eval, theme.curve, theme.warn, theme.bad, theme.key];
    all[run % all.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::StepRow;

    /// Curves that log every `every` steps up to `last`.
    fn columns(every: usize, last: usize) -> Columns {
        let mut columns = Columns::default();
        for step in (every..=last).step_by(every) {
            columns.push(&StepRow { step, epoch: step as f64 / 10.0, loss: 1.0, ..StepRow::default() });
        }
        columns
    }

    #[test]
    fn the_cursor_goes_over_the_places_of_all_runs() {
        let curves = [columns(10, 100), columns(25, 200)];
        let go = |from, right| moved(from, right, Axis::Step, &curves);
        assert_eq!(go(None, false), Some(200.0), "from the end at first");
        assert_eq!(go(Some(200.0), false), Some(175.0));
        assert_eq!(go(Some(125.0), false), Some(100.0));
        assert_eq!(go(Some(100.0), false), Some(90.0), "the denser run has more places");
        assert_eq!(go(Some(70.0), true), Some(75.0));
        assert_eq!(go(Some(100.0), true), Some(125.0));
        assert_eq!((go(Some(200.0), true), go(Some(10.0), false)), (Some(200.0), Some(10.0)));
        assert_eq!(moved(Some(3.0), true, Axis::Step, &[Columns::default()]), None, "nothing is there");
    }

    #[test]
    fn a_run_that_is_not_at_the_cursor_has_no_row_there() {
        let curves = columns(10, 100);
        assert_eq!(row_at(&curves, Axis::Step, 52.0), Some(4));
        assert_eq!((row_at(&curves, Axis::Step, 101.0), row_at(&curves, Axis::Step, 9.0)), (None, None));
        assert_eq!(row_at(&Columns::default(), Axis::Step, 1.0), None);
    }
}

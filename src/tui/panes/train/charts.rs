//! The curves of a run: which one is large, over which axis, which part of it, and the cursor that reads values.

use super::below;
use crate::runs::column::Column;
use crate::runs::{Axis, Columns, Metric};
use crate::tui::action::Action;
use crate::tui::panes::{Canvas, Hit};
use crate::tui::state::PaneId;
use crate::tui::state::run::Run;
use crate::tui::text;
use crate::tui::widgets::chart::{Chart, Series, x_text};
use crate::tui::words::Words;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

/// A part of the x axis: how wide, and where it ends; without an end it follows the newest step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    width: f64,
    end: Option<f64>,
}

/// How the curves are looked at.
pub struct Charts {
    pub log_y: bool,
    pub hide_smooth: bool,
    pub axis: Axis,
    pub metric: Metric,
    part: Option<Part>,
    /// The logged row whose values are read.
    pub cursor: Option<usize>,
}

impl Default for Charts {
    fn default() -> Self {
        let (axis, metric) = (Axis::Step, Metric::Loss);
        Self { log_y: false, hide_smooth: false, axis, metric, part: None, cursor: None }
    }
}

/// Width of a small chart.
const SMALL: usize = 34;

impl Charts {
    /// Does an action that is about the charts; `false` for another one.
    pub fn act(&mut self, action: Action, columns: &Columns) -> bool {
        match action {
            Action::LogY => self.log_y = !self.log_y,
            Action::Smoothing => self.hide_smooth = !self.hide_smooth,
            Action::XAxis => self.next_axis(columns),
            Action::NextCurve => self.next_metric(1, columns),
            Action::PreviousCurve => self.next_metric(Metric::ALL.len() - 1, columns),
            Action::ZoomIn | Action::Up => self.zoom(0.5, columns),
            Action::ZoomOut | Action::Down => self.zoom(2.0, columns),
            Action::Fit => self.part = None,
            Action::PanLeft => self.pan(-0.25, columns),
            Action::PanRight => self.pan(0.25, columns),
            Action::Left => self.move_cursor(-1, columns),
            Action::Right => self.move_cursor(1, columns),
            Action::Back if self.cursor.is_some() => self.cursor = None,
            Action::Back if self.part.is_some() => self.part = None,
            _ => return false,
        }
        true
    }

    /// The next metric that the run has.
    fn next_metric(&mut self, by: usize, columns: &Columns) {
        self.metric = self.metric.next(by, |metric| columns.has(metric));
    }

    /// The other axis shows the same rows.
    fn next_axis(&mut self, columns: &Columns) {
        let old = self.window(columns);
        let (from, to) = (self.axis, self.axis.next());
        self.axis = to;
        let (Some((x0, x1)), Some(part)) = (old, self.part) else { return };
        let at = |x| columns.nearest(from, x).map(|row| columns.axis(to).values()[row]);
        self.part = match (at(x0), at(x1)) {
            (Some(a), Some(b)) if b > a => Some(Part { width: b - a, end: part.end.map(|_| b) }),
            _ => None,
        };
    }

    /// First and last x there are.
    fn whole(&self, columns: &Columns) -> Option<(f64, f64)> {
        let xs = columns.axis(self.axis).values();
        Some((*xs.first()?, *xs.last()?)).filter(|(a, b)| b > a)
    }

    /// The part that is shown; `None` for all of it.
    pub fn window(&self, columns: &Columns) -> Option<(f64, f64)> {
        let (part, (first, last)) = (self.part?, self.whole(columns)?);
        let end = part.end.unwrap_or(last).clamp(first, last);
        Some(((end - part.width).max(first), end))
    }

    /// Shows `factor` times as much, around the cursor or up to the same end.
    fn zoom(&mut self, factor: f64, columns: &Columns) {
        let Some((first, last)) = self.whole(columns) else { return };
        let (x0, x1) = self.window(columns).unwrap_or((first, last));
        // Four rows stay on screen.
        let least = (last - first) * 4.0 / columns.len() as f64;
        let width = ((x1 - x0) * factor).max(least.min(x1 - x0));
        if width >= last - first {
            self.part = None;
            return;
        }
        let follows = self.part.is_none_or(|p| p.end.is_none());
        let end = match self.cursor.and_then(|row| columns.axis(self.axis).values().get(row)) {
            Some(at) => Some(at + (x1 - at) * width / (x1 - x0)),
            None if follows => None,
            None => Some(x1),
        };
        let end = end.map(|end| end.max(first + width)).filter(|end| *end < last);
        self.part = Some(Part { width, end });
    }

    /// Moves the part by a share of its width. At the newest step it follows again.
    fn pan(&mut self, share: f64, columns: &Columns) {
        let (Some(part), Some((x0, x1)), Some((first, last))) =
            (self.part, self.window(columns), self.whole(columns))
        else {
            return;
        };
        let end = (x1 + share * (x1 - x0)).max(first + part.width);
        self.part = Some(Part { end: Some(end).filter(|end| *end < last), ..part });
    }

    /// Moves the cursor by about a hundredth of what is shown, from the newest row at first.
    fn move_cursor(&mut self, by: isize, columns: &Columns) {
        let xs = columns.axis(self.axis).values();
        let Some(last) = xs.len().checked_sub(1) else { return };
        let (a, b) = match self.window(columns) {
            Some((x0, x1)) => {
                (xs.partition_point(|x| *x < x0), xs.partition_point(|x| *x <= x1).saturating_sub(1))
            }
            None => (0, last),
        };
        let stride = (b.saturating_sub(a) / 100).max(1) as isize;
        let now = self.cursor.unwrap_or(b).clamp(a, b.max(a)) as isize;
        self.cursor = Some((now + by * stride).clamp(a as isize, b.max(a) as isize) as usize);
    }

    /// The large chart with its heading.
    pub fn draw_large(&mut self, canvas: &mut Canvas, area: Rect, run: &Run) {
        let theme = &canvas.state.theme;
        let c = &run.curves;
        self.cursor = self.cursor.map(|row| row.min(c.len().saturating_sub(1))).filter(|_| !c.is_empty());
        let heading = self.heading(canvas, run);
        canvas.line(area, 0, heading);
        let xs = c.axis(self.axis);
        let mut series = Vec::new();
        if self.metric == Metric::Loss {
            series.push(Series { xs, ys: c.metric(Metric::Loss), style: theme.raw });
            if !self.hide_smooth {
                series.push(Series { xs, ys: &c.smooth, style: theme.smooth });
            }
            series.push(Series { xs: c.eval_axis(self.axis), ys: &c.evals, style: theme.eval });
        } else {
            series.push(Series { xs, ys: c.metric(self.metric), style: theme.curve });
        }
        let marks = self.marks(run);
        let chart = Chart {
            log_y: self.log_y,
            window: self.window(c),
            cursor: self.cursor.map(|row| xs.values()[row]),
            marks: &marks,
            ..Chart::new(series, self.axis, theme)
        };
        if let Some((plot, x0, x1)) = chart.place(below(area)) {
            // A click on a column reads the values there.
            for column in 0..plot.width {
                let share = (f64::from(column) + 0.5) / f64::from(plot.width);
                if let Some(row) = c.nearest(self.axis, x0 + share * (x1 - x0)) {
                    let at = Rect { x: plot.x + column, width: 1, ..plot };
                    canvas.hits.push((at, Hit::Row(PaneId::Training, row)));
                }
            }
        }
        canvas.frame.render_widget(chart, below(area));
    }

    /// Where settings were changed.
    fn marks(&self, run: &Run) -> Vec<f64> {
        let c = &run.curves;
        let row = |step: usize| c.nearest(Axis::Step, step as f64);
        run.changes
            .iter()
            .filter_map(|change| row(change.step))
            .map(|row| c.axis(self.axis).values()[row])
            .collect()
    }

    fn heading(&self, canvas: &Canvas, run: &Run) -> Line<'static> {
        let (theme, words) = (&canvas.state.theme, canvas.state.words);
        let mut spans = vec![Span::styled(words.get(self.metric.title()), theme.strong)];
        if let Some(row) = self.cursor {
            spans.push(Span::raw(format!("  {}", self.reading(words, row, run))));
            return Line::from(spans);
        }
        let mut legend = |name, style| spans.push(Span::styled(format!("  ⠒ {}", words.get(name)), style));
        if self.metric == Metric::Loss {
            legend("measured", theme.raw);
            if !self.hide_smooth {
                legend("smoothed", theme.smooth);
            }
            if !run.curves.evals.is_empty() {
                legend("evaluation", theme.eval);
            }
        }
        let mut notes = Vec::new();
        if self.axis != Axis::Step {
            notes.push(by(words, self.axis));
        }
        if self.log_y {
            notes.push(words.get("chart.log").to_string());
        }
        if let Some((x0, x1)) = self.window(&run.curves) {
            let (from, to) = (x_text(self.axis, x0), x_text(self.axis, x1));
            notes.push(words.fill("chart.span", &[("from", &from), ("to", &to)]));
        }
        if !notes.is_empty() {
            spans.push(Span::styled(format!("  ({})", notes.join(", ")), theme.dim));
        }
        Line::from(spans)
    }

    /// What the curves are at a row.
    fn reading(&self, words: Words, row: usize, run: &Run) -> String {
        let c = &run.curves;
        let value = |column: &Column| {
            column.values().get(row).filter(|v| !v.is_nan()).map_or("-".into(), |v| text::number(*v))
        };
        let of = |metric: Metric| value(c.metric(metric));
        let at = Axis::ALL.map(|axis| x_text(axis, c.axis(axis).values()[row]));
        let mut line = words.count("chart.at_step", &at[0]);
        match self.axis {
            Axis::Step => {}
            Axis::Epoch => line.push_str(&words.count("chart.at_epoch", &at[1])),
            Axis::Time => line.push_str(&words.fill("chart.at_time", &[("time", &at[2])])),
        }
        let [loss, smooth, lr, grad] =
            [of(Metric::Loss), value(&c.smooth), of(Metric::LearningRate), of(Metric::GradNorm)];
        line + &match self.metric {
            Metric::Loss => words
                .fill("chart.loss", &[("loss", &loss), ("smooth", &smooth), ("lr", &lr), ("grad", &grad)]),
            metric => words.fill("chart.other", &[("value", &of(metric)), ("loss", &loss)]),
        }
    }

    /// The other curves, as many as fit in `area`.
    pub fn draw_small(&self, canvas: &mut Canvas, area: Rect, run: &Run) {
        let (theme, words) = (&canvas.state.theme, canvas.state.words);
        if area.height < 3 {
            return;
        }
        let across = (usize::from(area.width) / SMALL).clamp(1, 3);
        let down = (usize::from(area.height) / 7).clamp(1, 2);
        let known = |m: &Metric| *m != self.metric && run.curves.has(*m);
        let mut shown = Metric::ALL.into_iter().filter(known);
        for band in Layout::vertical(vec![Constraint::Fill(1); down]).split(area).iter() {
            let parts = Layout::horizontal(vec![Constraint::Fill(1); across]).spacing(2).split(*band);
            for (part, metric) in parts.iter().zip(shown.by_ref()) {
                canvas.line(*part, 0, Line::styled(words.get(metric.title()), theme.strong));
                let xs = run.curves.axis(self.axis);
                let series = vec![Series { xs, ys: run.curves.metric(metric), style: theme.curve }];
                let chart = Chart {
                    window: self.window(&run.curves),
                    cursor: self.cursor.and_then(|row| xs.values().get(row).copied()),
                    ..Chart::new(series, self.axis, theme)
                };
                canvas.frame.render_widget(chart, below(*part));
            }
        }
    }
}

/// By which axis a chart is drawn.
pub fn by(words: Words, axis: Axis) -> String {
    words.fill("chart.by", &[("axis", words.get(axis.name()))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::StepRow;

    fn columns(n: usize) -> Columns {
        let mut columns = Columns::default();
        for step in 1..=n {
            columns.push(&StepRow { step, epoch: step as f64 / 10.0, loss: 1.0, ..StepRow::default() });
        }
        columns
    }

    #[test]
    fn a_zoomed_chart_follows_the_newest_step_until_it_is_moved_away() {
        let mut charts = Charts::default();
        charts.act(Action::ZoomIn, &columns(101));
        assert_eq!(charts.window(&columns(101)), Some((51.0, 101.0)));
        assert_eq!(charts.window(&columns(201)), Some((151.0, 201.0)), "it follows");
        charts.act(Action::PanLeft, &columns(101));
        assert_eq!(charts.window(&columns(201)), Some((38.5, 88.5)), "it stays");
        for _ in 0..20 {
            charts.act(Action::PanLeft, &columns(101));
        }
        assert_eq!(charts.window(&columns(101)), Some((1.0, 51.0)));
        for _ in 0..20 {
            charts.act(Action::PanRight, &columns(101));
        }
        assert_eq!(charts.window(&columns(201)), Some((151.0, 201.0)), "at the end it follows again");
        charts.act(Action::ZoomOut, &columns(101));
        assert_eq!(charts.window(&columns(101)), None);
    }

    #[test]
    fn another_axis_shows_the_same_rows_and_zooming_keeps_the_cursor() {
        let mut charts = Charts { cursor: Some(20), ..Charts::default() };
        let columns = columns(101);
        charts.act(Action::ZoomIn, &columns);
        assert_eq!(charts.window(&columns), Some((11.0, 61.0)));
        charts.act(Action::XAxis, &columns);
        let (x0, x1) = charts.window(&columns).unwrap_or_default();
        assert!((x0 - 1.1).abs() < 1e-9 && (x1 - 6.1).abs() < 1e-9, "{x0} {x1}");
        for _ in 0..50 {
            charts.act(Action::ZoomIn, &columns);
        }
        let (x0, x1) = charts.window(&columns).unwrap_or_default();
        assert!(x1 - x0 > 0.2 && x1 - x0 < 0.9, "a few rows stay: {x0} {x1}");
    }
}

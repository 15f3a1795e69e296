//! Runs side by side: curves over each other, settings that differ, metrics.

use crate::data::clean;
use crate::runs::export::View;
use crate::runs::{Axis, Comparison, Metric};
use crate::tui::action::Action;
use crate::tui::panes::{Canvas, movement};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widgets::chart::{Chart, Series};
use crate::tui::widgets::table::{Align, cell};
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
}

impl Default for Compared {
    fn default() -> Self {
        Self { metric: Metric::Loss, axis: Axis::Step, log_y: false, raw: false, scroll: 0 }
    }
}

/// Columns of a key or the name of a metric, and of a run at most.
const KEY: usize = 30;
const RUN: usize = 24;

impl Compared {
    /// Does an action; `false` for one that is not about the comparison.
    pub fn act(&mut self, action: Action, state: &State) -> bool {
        let metric = |by: usize| Metric::ALL[(self.metric as usize + by) % Metric::ALL.len()];
        match action {
            Action::NextCurve => self.metric = metric(1),
            Action::PreviousCurve => self.metric = metric(Metric::ALL.len() - 1),
            Action::XAxis => self.axis = self.axis.next(),
            Action::LogY => self.log_y = !self.log_y,
            Action::Smoothing => self.raw = !self.raw,
            action => {
                let by = match action {
                    Action::ScrollDown => Some(1),
                    Action::ScrollUp => Some(-1),
                    action => movement(action),
                };
                let Some(by) = by else { return false };
                let rows = state.runs.compared.as_ref().map_or(0, |c| c.settings.len() + c.metrics.len() + 2);
                self.scroll = (self.scroll as isize).saturating_add(by).clamp(0, rows as isize) as usize;
            }
        }
        true
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

    fn draw_curves(&self, canvas: &mut Canvas, area: Rect, compared: &Comparison) {
        let theme = &canvas.state.theme;
        let mut legend = vec![Span::styled(self.metric.title(), theme.strong)];
        let mut series = Vec::new();
        for (i, (run, curves)) in compared.runs.iter().zip(&compared.curves).enumerate() {
            let style = style(theme, i);
            legend.push(Span::styled(format!("  ⠒ {}", clean::for_terminal(&run.info.name)), style));
            let xs = curves.axis(self.axis);
            let loss = self.metric == Metric::Loss;
            if loss && self.raw {
                series.push(Series { xs, ys: curves.metric(Metric::Loss), style: theme.raw });
            }
            let ys = if loss { &curves.smooth } else { curves.metric(self.metric) };
            series.push(Series { xs, ys, style });
            if loss {
                series.push(Series { xs: curves.eval_axis(self.axis), ys: &curves.evals, style });
            }
        }
        let mut notes = vec![format!("by {}", self.axis.name())];
        if self.log_y {
            notes.push("log".into());
        }
        legend.push(Span::styled(format!("  ({})", notes.join(", ")), theme.dim));
        canvas.line(area, 0, Line::from(legend));
        let chart = Chart { log_y: self.log_y, ..Chart::new(series, self.axis, theme) };
        let below = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
        canvas.frame.render_widget(chart, below);
    }

    fn draw_tables(&mut self, canvas: &mut Canvas, area: Rect, compared: &Comparison) {
        let theme = &canvas.state.theme;
        let runs = compared.runs.len().max(1);
        let key = KEY.min(usize::from(area.width) / 3);
        let column = (usize::from(area.width).saturating_sub(key) / runs).min(RUN);
        let mut heading = vec![Span::raw(" ".repeat(key))];
        for (i, run) in compared.runs.iter().enumerate() {
            let name = cell(&clean::for_terminal(&run.info.name), column, Align::Right);
            heading.push(Span::styled(name, style(theme, i)));
        }
        canvas.line(area, 0, Line::from(heading));
        let mut lines: Vec<Line> = vec![Line::styled("metrics", theme.dim)];
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
        let title =
            if compared.settings.is_empty() { "the settings are the same" } else { "settings that differ" };
        lines.push(Line::styled(title, theme.dim));
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

/// Whole numbers whole.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e6 { format!("{value:.0}") } else { text::number(value) }
}

/// A style for each run, in an order that is told apart.
fn style(theme: &Theme, run: usize) -> Style {
    let all = [theme.smooth, theme.eval, theme.curve, theme.warn, theme.bad, theme.key];
    all[run % all.len()]
}

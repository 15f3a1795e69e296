//! A line chart in braille dots that keeps every peak: each dot column shows the span of all values in it.

use super::raster::Raster;
use crate::runs::column::{Column, Extremes};
use crate::runs::metric::Axis;
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;
use std::ops::Range;

/// One curve. `xs` never fall; values that are not finite leave a gap.
pub struct Series<'a> {
    pub xs: &'a Column,
    pub ys: &'a Column,
    pub style: Style,
}

/// Curves over a common x axis; later ones are drawn over earlier ones.
pub struct Chart<'a> {
    pub series: Vec<Series<'a>>,
    pub axis: Axis,
    pub log_y: bool,
    /// The part of the x axis that is shown; all of it without one.
    pub window: Option<(f64, f64)>,
    /// An x to read values at.
    pub cursor: Option<f64>,
    /// Places that are marked: changed settings.
    pub marks: &'a [f64],
    pub theme: &'a Theme,
}

impl<'a> Chart<'a> {
    /// Curves over all of an axis.
    pub fn new(series: Vec<Series<'a>>, axis: Axis, theme: &'a Theme) -> Self {
        Self { series, axis, log_y: false, window: None, cursor: None, marks: &[], theme }
    }

    /// The dots of a plot in `area`, without its labels.
    fn plot_area(&self, area: Rect, ticks: &[(usize, String)]) -> Rect {
        let label = ticks.iter().map(|t| text::width(&t.1)).max().unwrap_or(0).min(8) as u16 + 1;
        let axis = if area.width > label + 8 { label } else { 0 };
        Rect { x: area.x + axis, width: area.width - axis, height: area.height - 1, ..area }
    }

    /// Where in `area` the dots will be, and the first and last x of them; `None` where nothing is drawn.
    pub fn place(&self, area: Rect) -> Option<(Rect, f64, f64)> {
        if area.width < 4 || area.height < 2 {
            return None;
        }
        let scale = self.scale()?;
        let ticks = ticks((scale.y0, scale.y1), usize::from(area.height) - 1, self.log_y);
        Some((self.plot_area(area, &ticks), scale.x0, scale.x1))
    }

    /// The x span that is shown, and the y span of what is in it.
    fn scale(&self) -> Option<Scale> {
        let (x0, x1) = self.window.filter(|w| w.0 < w.1).or_else(|| self.x_span())?;
        let shown = self.series.iter().map(|s| s.ys.extremes(inside(s.xs, x0, x1)));
        let span = shown.fold(Extremes::NONE, Extremes::and).span(self.log_y)?;
        let mut ys = (self.plotted(span.0)?, self.plotted(span.1)?);
        // Lines that come in or leave at the edges are seen whole.
        for s in &self.series {
            let inside = inside(s.xs, x0, x1);
            for (next, x) in [(inside.start, x0), (inside.end, x1)] {
                if let Some(y) = self.between(s, next, x) {
                    ys = (ys.0.min(y), ys.1.max(y));
                }
            }
        }
        let (y0, y1) = self.widened(ys);
        Some(Scale { x0, x1, y0, y1 })
    }

    fn x_span(&self) -> Option<(f64, f64)> {
        let all = self.series.iter().map(|s| s.xs.extremes(0..s.xs.len().min(s.ys.len())));
        all.fold(Extremes::NONE, Extremes::and).span(false)
    }

    fn widened(&self, (low, high): (f64, f64)) -> (f64, f64) {
        if high - low > f64::EPSILON * high.abs() {
            return (low, high);
        }
        let margin = if self.log_y { 0.5 } else { (high.abs() * 0.1).max(1e-12) };
        (low - margin, high + margin)
    }

    /// A value as it is plotted: its logarithm on a log axis; `None` where it cannot be shown.
    fn plotted(&self, y: f64) -> Option<f64> {
        let y = if self.log_y { if y > 0.0 { y.log10() } else { f64::NAN } } else { y };
        y.is_finite().then_some(y)
    }

    /// Draws one curve: a vertical span per dot column, joined to the column before. Looks at a few values per
    /// column, however many there are.
    fn trace(&self, series: &Series, scale: &Scale, raster: &mut Raster) {
        let xs = series.xs.values();
        let ys = series.ys.values();
        let n = xs.len().min(ys.len());
        let mut start = xs[..n].partition_point(|x| *x < scale.x0);
        let mut before = self.entering(series, start, scale, raster);
        for column in 0..raster.columns {
            let edge = scale.edge(column, raster.columns);
            let rest = &xs[start..n];
            let end = start + rest.partition_point(|x| *x < edge && *x <= scale.x1);
            if end == start {
                continue;
            }
            if let Some((low, high)) = series.ys.extremes(start..end).span(self.log_y) {
                let rows = raster.rows;
                let dot = |y: f64| self.plotted(y).map(|y| scale.y(y, rows));
                let (low, high) = (dot(low).unwrap_or(0), dot(high).unwrap_or(0));
                let near = |y: f64| dot(y).unwrap_or(high);
                if let Some(from) = before {
                    raster.join(from, (column, near(ys[start])), series.style);
                }
                raster.span(column, low, high, series.style);
                before = Some((column, near(ys[end - 1])));
            }
            start = end;
        }
        self.leaving(series, start, before, (scale, raster));
    }

    /// Where a curve that began before the window comes in.
    fn entering(
        &self,
        series: &Series,
        first: usize,
        scale: &Scale,
        raster: &Raster,
    ) -> Option<(usize, usize)> {
        let y = self.between(series, first, scale.x0)?;
        Some((0, scale.y(y, raster.rows)))
    }

    /// Draws a curve that goes on behind the window up to its edge.
    fn leaving(
        &self,
        series: &Series,
        next: usize,
        before: Option<(usize, usize)>,
        on: (&Scale, &mut Raster),
    ) {
        let (scale, raster) = on;
        if let (Some(from), Some(y)) = (before, self.between(series, next, scale.x1)) {
            raster.join(from, (raster.columns - 1, scale.y(y, raster.rows)), series.style);
        }
    }

    /// The plotted value at `x` on the line from the point before `next` to it.
    fn between(&self, series: &Series, next: usize, x: f64) -> Option<f64> {
        let before = next.checked_sub(1)?;
        let at = |i: usize| Some((*series.xs.values().get(i)?, self.plotted(*series.ys.values().get(i)?)?));
        let ((xa, ya), (xb, yb)) = (at(before)?, at(next)?);
        Some(if xb > xa { ya + (yb - ya) * (x - xa) / (xb - xa) } else { yb })
    }

    fn x_labels(&self, (x0, x1): (f64, f64), row: Rect, buf: &mut Buffer) {
        let columns = usize::from(row.width);
        let (left, right) = (x_text(self.axis, x0), x_text(self.axis, x1));
        if text::width(&left) + text::width(&right) + 2 > columns {
            return;
        }
        let dim = self.theme.dim;
        buf.set_string(row.x, row.y, &left, dim);
        buf.set_string(row.right() - text::width(&right) as u16, row.y, &right, dim);
        let middle = x_text(self.axis, f64::midpoint(x0, x1));
        if columns > 40 {
            buf.set_string(row.x + (row.width - text::width(&middle) as u16) / 2, row.y, &middle, dim);
        }
    }

    /// A vertical line where nothing else is.
    fn rule(&self, at: (f64, &str, Style), scale: &Scale, plot: Rect, buf: &mut Buffer) {
        let (x, symbol, style) = at;
        if x < scale.x0 || x > scale.x1 {
            return;
        }
        let column = plot.x + (scale.x(x, usize::from(plot.width) * 2) / 2) as u16;
        for y in plot.top()..plot.bottom() {
            let cell = &mut buf[(column, y)];
            if cell.symbol() == " " {
                cell.set_symbol(symbol).set_style(style);
            }
        }
    }
}

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.width < 4 || area.height < 2 {
            return;
        }
        let Some(scale) = self.scale() else { return };
        let ticks = ticks((scale.y0, scale.y1), usize::from(area.height) - 1, self.log_y);
        let plot = self.plot_area(area, &ticks);
        let axis = plot.x - area.x;
        for (row, name) in ticks.iter().filter(|_| axis > 0) {
            let name = text::pad_left(name, usize::from(axis) - 1);
            buf.set_string(area.x, plot.bottom() - 1 - *row as u16, name, self.theme.dim);
        }
        let mut raster = Raster::new(plot);
        for series in &self.series {
            self.trace(series, &scale, &mut raster);
        }
        raster.draw(buf);
        for mark in self.marks {
            self.rule((*mark, "┊", self.theme.warn), &scale, plot, buf);
        }
        if let Some(at) = self.cursor {
            self.rule((at, "│", self.theme.dim), &scale, plot, buf);
        }
        self.x_labels((scale.x0, scale.x1), Rect { y: plot.bottom(), height: 1, ..plot }, buf);
    }
}

/// A place on an axis as people read it.
pub fn x_text(axis: Axis, x: f64) -> String {
    match axis {
        Axis::Step => format!("{x:.0}"),
        Axis::Epoch => format!("{x:.2}"),
        Axis::Time => text::duration(x),
    }
}

/// The points whose x is in a window.
fn inside(xs: &Column, x0: f64, x1: f64) -> Range<usize> {
    let values = xs.values();
    values.partition_point(|x| *x < x0)..values.partition_point(|x| *x <= x1)
}

/// Values to dots.
struct Scale {
    x0: f64,
    x1: f64,
    y0: f64,
    y1: f64,
}

impl Scale {
    fn x(&self, x: f64, columns: usize) -> usize {
        place(x, self.x0, self.x1, columns)
    }

    fn y(&self, y: f64, rows: usize) -> usize {
        place(y, self.y0, self.y1, rows)
    }

    /// Where the dot column ends and the next begins: half-way to it.
    fn edge(&self, column: usize, columns: usize) -> f64 {
        if column + 1 >= columns {
            return f64::INFINITY;
        }
        self.x0 + (self.x1 - self.x0) * (column as f64 + 0.5) / (columns - 1) as f64
    }
}

/// The dot of a value, of `dots` from `low` to `high`.
fn place(value: f64, low: f64, high: f64, dots: usize) -> usize {
    let last = dots.saturating_sub(1) as f64;
    let share = if high > low { (value - low) / (high - low) } else { 0.5 };
    (share * last).round().clamp(0.0, last) as usize
}

/// Rows (from the bottom) with their labels: bottom, top, and between them where there is room.
fn ticks((low, high): (f64, f64), rows: usize, log: bool) -> Vec<(usize, String)> {
    let steps = if rows >= 13 {
        4
    } else if rows >= 5 {
        2
    } else {
        1
    };
    let value = |v: f64| text::number(if log { 10f64.powf(v) } else { v });
    if rows < 2 {
        return vec![(0, value(high))];
    }
    (0..=steps)
        .map(|i| {
            let row = i * (rows - 1) / steps;
            (row, value(low + (high - low) * row as f64 / (rows - 1) as f64))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(ys: &[f64], (width, height): (u16, u16), change: impl Fn(&mut Chart)) -> Buffer {
        let xs: Column = (0..ys.len()).map(|i| i as f64).collect();
        let ys: Column = ys.iter().copied().collect();
        let theme = Theme::dark();
        let series = vec![Series { xs: &xs, ys: &ys, style: theme.smooth }];
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        let mut chart = Chart { cursor: Some(1.0), marks: &[2.0], ..Chart::new(series, Axis::Step, &theme) };
        change(&mut chart);
        chart.render(area, &mut buf);
        buf
    }

    fn row(buf: &Buffer, y: u16) -> String {
        (0..buf.area.width).map(|x| buf[(x, y)].symbol()).collect()
    }

    fn has_dots(line: &str) -> bool {
        line.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
    }

    #[test]
    fn one_peak_in_a_million_points_is_seen() {
        let mut ys = vec![1.0; 1_000_000];
        ys[777_777] = 9.0;
        let top = row(&draw(&ys, (60, 10), |_| {}), 0);
        assert!(top.contains('9') && has_dots(&top), "{top}");
        let zoomed = row(&draw(&ys, (60, 10), |c| c.window = Some((777_770.0, 777_790.0))), 0);
        assert!(zoomed.contains('9') && has_dots(&zoomed), "{zoomed}");
        let beside = row(&draw(&ys, (60, 10), |c| c.window = Some((1000.0, 2000.0))), 0);
        assert!(!beside.contains('9'), "{beside}");
    }

    #[test]
    fn a_window_between_two_points_shows_the_line_between_them() {
        let buf = draw(&[1.0, 2.0], (40, 8), |c| c.window = Some((0.0, 0.5)));
        assert!(has_dots(&row(&buf, 6)) && row(&buf, 7).contains('0'), "{buf:?}");
    }

    #[test]
    fn odd_values_and_sizes_are_harmless() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300, -1e300, 1e-300];
        for size in [(0, 0), (1, 1), (4, 2), (9, 3), (80, 24)] {
            for n in 0..odd.len() {
                for window in [None, Some((0.5, 2.5)), Some((9.0, 10.0)), Some((3.0, 3.0))] {
                    draw(&odd[..n], size, |c| c.window = window);
                    draw(&odd[..n], size, |c| (c.window, c.log_y) = (window, true));
                }
            }
        }
    }
}

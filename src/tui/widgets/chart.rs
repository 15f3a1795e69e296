//! A line chart in braille dots that keeps every peak: each dot column shows the span of all values in it.

use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

/// One curve. `xs` rise; values that are not finite leave a gap.
pub struct Series<'a> {
    pub xs: &'a [f64],
    pub ys: &'a [f64],
    pub style: Style,
}

/// Curves over a common x axis; later ones are drawn over earlier ones.
pub struct Chart<'a> {
    pub series: Vec<Series<'a>>,
    pub log_y: bool,
    /// An x to read values at.
    pub cursor: Option<f64>,
    pub theme: &'a Theme,
}

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        let Some((x0, x1)) = self.span(|x, _| x) else { return };
        let Some(limits) = self.y_limits() else { return };
        if area.width < 4 || area.height < 2 {
            return;
        }
        let ticks = ticks(limits, usize::from(area.height) - 1, self.log_y);
        let label = ticks.iter().map(|t| text::width(&t.1)).max().unwrap_or(0).min(8) as u16 + 1;
        let axis = if area.width > label + 8 { label } else { 0 };
        let plot = Rect { x: area.x + axis, width: area.width - axis, height: area.height - 1, ..area };
        for (row, name) in ticks.iter().filter(|_| axis > 0) {
            let name = text::pad_left(name, usize::from(axis) - 1);
            buf.set_string(area.x, plot.bottom() - 1 - *row as u16, name, self.theme.dim);
        }
        let mut raster = Raster::new(plot);
        let scale = Scale { x0, x1, y0: limits.0, y1: limits.1 };
        for series in &self.series {
            self.trace(series, &scale, &mut raster);
        }
        raster.draw(buf);
        if let Some(at) = self.cursor {
            let column = plot.x + (scale.x(at, raster.columns) / 2) as u16;
            for y in plot.top()..plot.bottom() {
                let cell = &mut buf[(column, y)];
                if cell.symbol() == " " {
                    cell.set_symbol("│").set_style(self.theme.dim);
                }
            }
        }
        self.x_labels((x0, x1), Rect { y: plot.bottom(), height: 1, ..plot }, buf);
    }
}

impl Chart<'_> {
    /// A value as it is plotted: its logarithm on a log axis; `None` where it cannot be shown.
    fn plotted(&self, y: f64) -> Option<f64> {
        let y = if self.log_y { if y > 0.0 { y.log10() } else { f64::NAN } } else { y };
        y.is_finite().then_some(y)
    }

    /// Smallest and largest of what `pick` takes from the points that can be shown.
    fn span(&self, pick: impl Fn(f64, f64) -> f64) -> Option<(f64, f64)> {
        let points = self.series.iter().flat_map(|s| s.xs.iter().zip(s.ys));
        let shown = points.filter(|(x, y)| x.is_finite() && self.plotted(**y).is_some());
        shown.map(|(x, y)| pick(*x, *y)).fold(None, |span, value| {
            let (low, high) = span.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        })
    }

    fn y_limits(&self) -> Option<(f64, f64)> {
        let (low, high) = self.span(|_, y| y)?;
        let (low, high) = (self.plotted(low)?, self.plotted(high)?);
        if high - low > f64::EPSILON * high.abs() {
            return Some((low, high));
        }
        let margin = if self.log_y { 0.5 } else { (high.abs() * 0.1).max(1e-12) };
        Some((low - margin, high + margin))
    }

    /// Draws one curve: a vertical span per dot column, joined to the column before.
    fn trace(&self, series: &Series, scale: &Scale, raster: &mut Raster) {
        let mut column: Option<Column> = None;
        for (x, y) in series.xs.iter().zip(series.ys) {
            let Some(y) = self.plotted(*y) else { continue };
            let (x, y) = (scale.x(*x, raster.columns), scale.y(y, raster.rows));
            match &mut column {
                Some(c) if c.x == x => (c.low, c.high, c.last) = (c.low.min(y), c.high.max(y), y),
                _ => {
                    if let Some(c) = column {
                        raster.span(c.x, c.low, c.high, series.style);
                        raster.join((c.x, c.last), (x, y), series.style);
                    }
                    column = Some(Column { x, low: y, high: y, last: y });
                }
            }
        }
        if let Some(c) = column {
            raster.span(c.x, c.low, c.high, series.style);
        }
    }

    fn x_labels(&self, (x0, x1): (f64, f64), row: Rect, buf: &mut Buffer) {
        let columns = usize::from(row.width);
        let whole = |v: f64| format!("{v:.0}");
        let (left, right) = (whole(x0), whole(x1));
        if left.len() + right.len() + 2 > columns {
            return;
        }
        buf.set_string(row.x, row.y, &left, self.theme.dim);
        buf.set_string(row.right() - right.len() as u16, row.y, &right, self.theme.dim);
        let middle = whole((x0 + x1) / 2.0);
        if columns > 40 {
            buf.set_string(row.x + (row.width - middle.len() as u16) / 2, row.y, &middle, self.theme.dim);
        }
    }
}

struct Column {
    x: usize,
    low: usize,
    high: usize,
    last: usize,
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

/// Dots two wide and four high per cell; a cell takes the style of its last dot.
struct Raster {
    area: Rect,
    columns: usize,
    rows: usize,
    cells: Vec<(u8, Style)>,
}

impl Raster {
    fn new(area: Rect) -> Self {
        let (columns, rows) = (usize::from(area.width) * 2, usize::from(area.height) * 4);
        Self { area, columns, rows, cells: vec![(0, Style::new()); columns * rows / 8] }
    }

    /// Sets the dot `x` from the left and `y` from the bottom.
    fn dot(&mut self, x: usize, y: usize, style: Style) {
        // Bits of U+2800..U+28FF: dots 1 2 3 7 in the left column, 4 5 6 8 in the right one.
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        if x >= self.columns || y >= self.rows {
            return;
        }
        let down = self.rows - 1 - y;
        let cell = &mut self.cells[down / 4 * (self.columns / 2) + x / 2];
        *cell = (cell.0 | BITS[x % 2][down % 4], style);
    }

    fn span(&mut self, x: usize, low: usize, high: usize, style: Style) {
        for y in low..=high {
            self.dot(x, y, style);
        }
    }

    /// A line between two dots of different columns.
    fn join(&mut self, from: (usize, usize), to: (usize, usize), style: Style) {
        let columns = to.0.saturating_sub(from.0).max(1);
        let at = |i: usize| {
            let rise = to.1 as f64 - from.1 as f64;
            (from.1 as f64 + rise * i as f64 / columns as f64).round() as usize
        };
        for i in 0..columns {
            let (a, b) = (at(i), at(i + 1));
            let middle = a.midpoint(b);
            self.span(from.0 + i, a.min(middle), a.max(middle), style);
            self.span(from.0 + i + 1, b.min(middle), b.max(middle), style);
        }
    }

    fn draw(&self, buf: &mut Buffer) {
        for (i, (bits, style)) in self.cells.iter().enumerate().filter(|(_, c)| c.0 != 0) {
            let (x, y) = (i % usize::from(self.area.width), i / usize::from(self.area.width));
            let symbol = char::from_u32(0x2800 + u32::from(*bits)).unwrap_or(' ');
            buf[(self.area.x + x as u16, self.area.y + y as u16)].set_char(symbol).set_style(*style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(ys: &[f64], width: u16, height: u16, log_y: bool) -> Buffer {
        let xs: Vec<f64> = (0..ys.len()).map(|i| i as f64).collect();
        let theme = Theme::dark();
        let series = vec![Series { xs: &xs, ys, style: theme.smooth }];
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        Chart { series, log_y, cursor: Some(1.0), theme: &theme }.render(area, &mut buf);
        buf
    }

    #[test]
    fn one_peak_in_a_million_points_is_seen() {
        let mut ys = vec![1.0; 1_000_000];
        ys[777_777] = 9.0;
        let buf = draw(&ys, 60, 10, false);
        let top: String = (0..60).map(|x| buf[(x, 0)].symbol()).collect();
        assert!(top.contains('9') && top.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{top}");
    }

    #[test]
    fn odd_values_and_sizes_are_harmless() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300, -1e300, 1e-300];
        for (w, h) in [(0, 0), (1, 1), (4, 2), (9, 3), (80, 24)] {
            for n in 0..odd.len() {
                draw(&odd[..n], w, h, false);
                draw(&odd[..n], w, h, true);
            }
        }
    }
}

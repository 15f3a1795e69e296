//! A plot of curves laid out once: axes, ticks, lines, legend, for whatever can draw lines and words.

use super::column::{Column, Extremes};
use super::metric::Axis;

/// One curve of a plot. `xs` rise.
pub struct Line<'a> {
    pub name: String,
    pub xs: &'a Column,
    pub ys: &'a Column,
    pub colour: Rgb,
    /// Thin and pale: what was measured, under what was smoothed.
    pub pale: bool,
}

pub type Rgb = [u8; 3];

/// Okabe and Ito's colours, which colour-blind people can tell apart, in an order for a white ground.
pub const COLOURS: [Rgb; 7] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [60, 60, 60],
];

/// Something to draw on. The origin is top left.
pub trait Surface {
    fn line(&mut self, points: &[(f64, f64)], colour: Rgb, width: f64);
    /// Words at a point: `side` -1 starts there, 0 is centred, 1 ends there. `y` is the base of the letters.
    fn words(&mut self, at: (f64, f64), side: i8, words: &str, colour: Rgb);
}

pub const WIDTH: f64 = 960.0;
pub const HEIGHT: f64 = 540.0;
const INK: Rgb = [40, 40, 40];
const GRID: Rgb = [225, 225, 225];
/// Left, top, right and bottom margin.
const MARGIN: (f64, f64, f64, f64) = (80.0, 44.0, 24.0, 48.0);

/// What is plotted.
pub struct Plot<'a> {
    pub title: String,
    pub axis: Axis,
    pub log_y: bool,
    pub lines: Vec<Line<'a>>,
}

impl Plot<'_> {
    /// Draws everything. Nothing but the frame where there are no points.
    pub fn draw(&self, on: &mut dyn Surface) {
        let (left, top, right, bottom) = MARGIN;
        let (x1, y0) = (WIDTH - right, HEIGHT - bottom);
        on.words((left, 26.0), -1, &self.title, INK);
        on.words(((left + x1) / 2.0, HEIGHT - 10.0), 0, self.axis.name(), INK);
        if let (Some(xs), Some(ys)) = (self.x_span(), self.y_span()) {
            for value in ticks(xs, 8) {
                let x = left + (value - xs.0) / (xs.1 - xs.0) * (x1 - left);
                on.line(&[(x, top), (x, y0)], GRID, 1.0);
                on.words((x, y0 + 16.0), 0, &tick_text(value), INK);
            }
            for value in ticks(ys, 6) {
                let y = y0 - (value - ys.0) / (ys.1 - ys.0) * (y0 - top);
                on.line(&[(left, y), (x1, y)], GRID, 1.0);
                let shown = if self.log_y { 10f64.powf(value) } else { value };
                on.words((left - 6.0, y + 4.0), 1, &tick_text(shown), INK);
            }
            let place = |(x, y): (f64, f64)| {
                let x = left + (x - xs.0) / (xs.1 - xs.0) * (x1 - left);
                (x, y0 - (y - ys.0) / (ys.1 - ys.0) * (y0 - top))
            };
            for line in &self.lines {
                let points: Vec<_> = self.points(line, xs).into_iter().map(place).collect();
                on.line(&points, faded(line), if line.pale { 1.0 } else { 2.0 });
            }
        }
        on.line(&[(left, top), (left, y0), (x1, y0)], INK, 1.0);
        self.legend(on, x1);
    }

    fn legend(&self, on: &mut dyn Surface, right: f64) {
        for (i, line) in self.lines.iter().enumerate() {
            let y = MARGIN.1 + 18.0 + i as f64 * 18.0;
            on.line(&[(right - 28.0, y - 4.0), (right - 4.0, y - 4.0)], faded(line), 2.0);
            on.words((right - 34.0, y), 1, &line.name, INK);
        }
    }

    fn x_span(&self) -> Option<(f64, f64)> {
        let all = self.lines.iter().fold(Extremes::NONE, |all, l| all.and(l.xs.extremes(0..l.xs.len())));
        all.span(false).map(widened)
    }

    /// On a logarithmic axis the powers of ten.
    fn y_span(&self) -> Option<(f64, f64)> {
        let all = self.lines.iter().fold(Extremes::NONE, |all, l| all.and(l.ys.extremes(0..l.ys.len())));
        let (low, high) = all.span(self.log_y)?;
        Some(widened(if self.log_y { (low.log10(), high.log10()) } else { (low, high) }))
    }

    /// A line's points, at most the extremes of each pixel column: no peak is lost.
    fn points(&self, line: &Line, (x0, x1): (f64, f64)) -> Vec<(f64, f64)> {
        let xs = line.xs.values();
        let columns = WIDTH as usize;
        let scaled = |y: f64| if self.log_y { y.log10() } else { y };
        if xs.len() <= 2 * columns {
            let all = xs.iter().zip(line.ys.values()).map(|(x, y)| (*x, scaled(*y)));
            return all.filter(|p| p.1.is_finite()).collect();
        }
        let mut points = Vec::new();
        let mut start = 0;
        for column in 1..=columns {
            let edge = x0 + (x1 - x0) * column as f64 / columns as f64;
            let end = if column == columns { xs.len() } else { xs.partition_point(|x| *x < edge) };
            if let Some((low, high)) = line.ys.extremes(start..end).span(self.log_y) {
                let x = xs[(start + end.max(start + 1) - 1) / 2];
                points.extend([(x, scaled(low)), (x, scaled(high))]);
            }
            start = end;
        }
        points
    }
}

/// A pale line's colour is mixed with the white ground.
fn faded(line: &Line) -> Rgb {
    if line.pale { line.colour.map(|c| (255 - (255 - u16::from(c)) * 2 / 5) as u8) } else { line.colour }
}

fn widened((low, high): (f64, f64)) -> (f64, f64) {
    if high - low > 1e-12 * high.abs().max(1e-300) {
        return (low, high);
    }
    let by = (high.abs() * 0.1).max(1e-9);
    (low - by, high + by)
}

/// Round values between the ends, about `n` of them: 1, 2 or 5 times a power of ten apart.
pub fn ticks((low, high): (f64, f64), n: usize) -> Vec<f64> {
    let rough = (high - low) / n.max(1) as f64;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|v| *v <= high + step * 1e-9).take(4 * n).collect()
}

/// A number beside a tick, in few letters.
fn tick_text(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    match rounded.abs() {
        0.0 => "0".into(),
        a if (1e-3..1e6).contains(&a) => format!("{rounded}"),
        _ => format!("{rounded:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((0.0, 10.0), 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks((0.31, 0.98), 4), [0.4, 0.6000000000000001, 0.8]);
        assert!(ticks((1.0, 1.0), 5).is_empty() && ticks((0.0, f64::INFINITY), 5).is_empty());
        assert_eq!([0.6000000000000001, 5e-5, 1200.0, 0.0].map(tick_text), ["0.6", "5e-5", "1200", "0"]);
    }

    #[test]
    fn one_peak_in_a_million_points_is_plotted() {
        let xs: Column = (0..1_000_000).map(f64::from).collect();
        let ys: Column = (0..1_000_000).map(|i| if i == 777_777 { 9.0 } else { 1.0 }).collect();
        let line = Line { name: "a".into(), xs: &xs, ys: &ys, colour: COLOURS[0], pale: false };
        let plot = Plot { title: "t".into(), axis: Axis::Step, log_y: false, lines: Vec::new() };
        let points = plot.points(&line, (0.0, 999_999.0));
        assert!(points.len() <= 2 * WIDTH as usize);
        assert!(points.iter().any(|p| p.1 == 9.0 && (p.0 - 777_777.0).abs() < 1100.0));
    }
}

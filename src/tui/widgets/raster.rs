//! Dots two wide and four high per cell, in braille letters.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// A cell takes the style of its last dot.
pub struct Raster {
    area: Rect,
    pub columns: usize,
    pub rows: usize,
    cells: Vec<(u8, Style)>,
}

impl Raster {
    pub fn new(area: Rect) -> Self {
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

    pub fn span(&mut self, x: usize, low: usize, high: usize, style: Style) {
        for y in low..=high {
            self.dot(x, y, style);
        }
    }

    /// A line between two dots, the second not left of the first.
    pub fn join(&mut self, from: (usize, usize), to: (usize, usize), style: Style) {
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

    pub fn draw(&self, buf: &mut Buffer) {
        for (i, (bits, style)) in self.cells.iter().enumerate().filter(|(_, c)| c.0 != 0) {
            let (x, y) = (i % usize::from(self.area.width), i / usize::from(self.area.width));
            let symbol = char::from_u32(0x2800 + u32::from(*bits)).unwrap_or(' ');
            buf[(self.area.x + x as u16, self.area.y + y as u16)].set_char(symbol).set_style(*style);
        }
    }
}

//! Scrolling lists: which rows are on screen, how a selected row looks, cells of fixed width.

use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::style::Style;

/// The first row shown of a long list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scroll {
    pub first: usize,
}

impl Scroll {
    /// Moves as little as needed to show `selected` among `height` rows, and leaves no empty rows at the end.
    pub fn follow(&mut self, selected: usize, height: usize, rows: usize) -> std::ops::Range<usize> {
        if height == 0 {
            return 0..0;
        }
        self.first = self.first.min(selected).max((selected + 1).saturating_sub(height));
        self.first = self.first.min(rows.saturating_sub(height));
        self.first..rows.min(self.first + height)
    }
}

/// The style of a list row.
pub fn row_style(theme: &Theme, selected: bool, focused: bool) -> Style {
    match (selected, focused) {
        (true, true) => theme.select,
        (true, false) => theme.select_unfocused,
        _ => Style::new(),
    }
}

/// How a cell stands in its column.
#[derive(Clone, Copy)]
pub enum Align {
    Left,
    Right,
}

/// One cell with a space behind it.
pub fn cell(content: &str, columns: usize, align: Align) -> String {
    let room = columns.saturating_sub(1);
    let mut cell = match align {
        Align::Left => text::pad(content, room),
        Align::Right => text::pad_left(content, room),
    };
    if columns > 0 {
        cell.push(' ');
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_is_always_on_screen() {
        let mut scroll = Scroll::default();
        assert_eq!(scroll.follow(0, 5, 100), 0..5);
        assert_eq!(scroll.follow(7, 5, 100), 3..8);
        assert_eq!(scroll.follow(5, 5, 100), 3..8);
        assert_eq!(scroll.follow(99, 5, 100), 95..100);
        assert_eq!(scroll.follow(2, 5, 4), 0..4);
        assert_eq!(scroll.follow(2, 0, 4), 0..0);
    }
}

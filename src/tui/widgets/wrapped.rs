//! Text in several styles, wrapped at words where that is possible.

use crate::tui::text;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation;

/// The lines so far.
pub struct Wrapped {
    lines: Vec<Vec<Span<'static>>>,
    used: usize,
    columns: usize,
}

impl Wrapped {
    /// Lines of at most `columns`.
    pub fn new(columns: usize) -> Self {
        Self { lines: vec![Vec::new()], used: 0, columns: columns.max(1) }
    }

    pub fn into_lines(self) -> Vec<Line<'static>> {
        self.lines.into_iter().map(Line::from).collect()
    }

    /// Adds a piece of text in a style.
    pub fn push(&mut self, piece: &str, style: Style) {
        for word in piece.split_word_bounds() {
            if word.contains('\n') {
                self.new_line();
                continue;
            }
            let width = text::width(word);
            if self.used > 0 && self.used + width > self.columns {
                self.new_line();
                if word.trim().is_empty() {
                    continue;
                }
            }
            if width <= self.columns {
                self.add(word, width, style);
                continue;
            }
            // A word longer than a line goes on in the next.
            for grapheme in word.graphemes(true) {
                let width = text::width(grapheme);
                if self.used > 0 && self.used + width > self.columns {
                    self.new_line();
                }
                self.add(grapheme, width, style);
            }
        }
    }

    fn add(&mut self, word: &str, width: usize, style: Style) {
        self.used += width;
        if let Some(line) = self.lines.last_mut() {
            line.push(Span::styled(word.to_string(), style));
        }
    }

    fn new_line(&mut self) {
        self.lines.push(Vec::new());
        self.used = 0;
    }
}

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
    /// What comes next and is not to be broken: a word and the marks at it, maybe in several styles.
    run: Vec<(String, Style)>,
}

impl Wrapped {
    /// Lines of at most `columns`.
    pub fn new(columns: usize) -> Self {
        Self { lines: vec![Vec::new()], used: 0, columns: columns.max(1), run: Vec::new() }
    }

    pub fn into_lines(mut self) -> Vec<Line<'static>> {
        self.flush();
        self.lines.into_iter().map(Line::from).collect()
    }

    /// Adds a piece of text in a style.
    pub fn push(&mut self, piece: &str, style: Style) {
        for word in piece.split_word_bounds() {
            if word.contains('\n') {
                self.flush();
                self.new_line();
                continue;
            }
            let before = self.run.last().and_then(|(word, _)| word.chars().next_back());
            if !before.zip(word.chars().next()).is_some_and(|(a, b)| together(a, b)) {
                self.flush();
            }
            self.run.push((word.to_string(), style));
        }
    }

    /// Puts what is not to be broken into this line, or the next.
    fn flush(&mut self) {
        let run = std::mem::take(&mut self.run);
        let width: usize = run.iter().map(|(word, _)| text::width(word)).sum();
        if self.used > 0 && self.used + width > self.columns {
            self.new_line();
            if run.iter().all(|(word, _)| word.trim().is_empty()) {
                return;
            }
        }
        for (word, style) in run {
            let width = text::width(&word);
            if self.used + width <= self.columns {
                self.add(&word, width, style);
                continue;
            }
            // What is longer than a line goes on in the next.
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

/// Whether a line must not end between two characters: within a word, behind what opens, before what closes.
fn together(before: char, after: char) -> bool {
    let letter = |c: char| c.is_alphanumeric() && text::width(c.encode_utf8(&mut [0; 4])) == 1;
    !before.is_whitespace()
        && !after.is_whitespace()
        && ("([{（【《「『“‘".contains(before)
            || ")]}.,;:!?%，。、；：？！）】》」』”’％".contains(after)
            || letter(before) && letter(after))
}

/// Two texts side by side, the left one at most `columns` wide.
pub fn beside(
    mut left: Vec<Line<'static>>,
    mut right: Vec<Line<'static>>,
    columns: usize,
) -> Vec<Line<'static>> {
    let rows = left.len().max(right.len());
    left.resize(rows, Line::raw(""));
    right.resize(rows, Line::raw(""));
    let spans = |line: Line<'static>| {
        let style = line.style;
        line.spans.into_iter().map(move |span| Span { style: style.patch(span.style), ..span })
    };
    let both = |(left, right): (Line<'static>, Line<'static>)| {
        let gap = " ".repeat(columns.saturating_sub(left.width()) + 2);
        Line::from_iter(spans(left).chain([Span::raw(gap)]).chain(spans(right)))
    };
    left.into_iter().zip(right).map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stay_at_their_words_and_words_stay_whole() {
        let mut out = Wrapped::new(12);
        for piece in ["the upper ", "[small]", "medium", " org", "an", "."] {
            out.push(piece, Style::new());
        }
        let lines: Vec<String> = out.into_lines().iter().map(Line::to_string).collect();
        assert_eq!(lines, ["the upper ", "[small]", "medium ", "organ."]);
    }

    #[test]
    fn two_texts_stand_side_by_side() {
        let lines = |all: &[&str]| all.iter().map(|line| Line::raw(line.to_string())).collect::<Vec<_>>();
        let both = beside(lines(&["肺", "two"]), lines(&["a"]), 4);
        assert_eq!(both.iter().map(Line::to_string).collect::<Vec<_>>(), ["肺    a", "two   "]);
    }
}

//! An answer with its differences from the reference: what is missing in brackets, what is too much underlined.

use crate::data::clean;
use crate::data::diff::{self, In};
use crate::tui::theme::Theme;
use crate::tui::widgets::wrapped::Wrapped;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

/// An answer beside its reference, compared. Comparing long ones takes longer than a frame may: it is done once.
#[derive(Default)]
pub struct Marked {
    reference: String,
    answer: String,
    pieces: Vec<(In, String)>,
}

impl Marked {
    /// Compares these two, unless they are those of before.
    pub fn take(&mut self, reference: &str, answer: &str) -> &Self {
        if self.reference != reference || self.answer != answer {
            let harmless = |text: &str| clean::for_terminal_lines(text.trim());
            self.pieces = diff::words(&harmless(reference), &harmless(answer));
            (self.reference, self.answer) = (reference.into(), answer.into());
        }
        self
    }

    /// The answer in lines of at most `columns`.
    pub fn lines(&self, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
        let mut out = Wrapped::new(columns);
        for (place, piece) in &self.pieces {
            match place {
                In::Both => out.push(piece, Style::new()),
                In::First => out.push(&format!("[{}]", piece.trim()), theme.warn),
                In::Second => out.push(piece, theme.accent.add_modifier(Modifier::UNDERLINED)),
            }
        }
        out.into_lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::text;

    fn shown(reference: &str, answer: &str, columns: usize) -> Vec<String> {
        let mut marked = Marked::default();
        marked.take("another", "one before");
        marked.take(reference, answer).lines(columns, &Theme::mono()).iter().map(Line::to_string).collect()
    }

    #[test]
    fn differences_are_seen_without_colours() {
        assert_eq!(shown("a small lesion", "a large lesion", 40), ["a [small]large lesion"]);
        assert_eq!(shown("右肺结节", "左肺结节", 8), ["[右]左肺", "结节"]);
    }

    #[test]
    fn no_line_is_wider_than_there_is_room() {
        let long = "averyveryverylongword and 肺结节很小很小 \u{1b}[31m 👩‍👩‍👧";
        for columns in 2..20 {
            for line in shown("x", long, columns) {
                assert!(text::width(&line) <= columns, "{columns}: {line:?}");
            }
        }
    }
}

//! The lines of a text in an editor, wrapped anew only from where it changed.

use crate::tui::text;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// The lines as far as they are known: a long text is not wrapped anew for every key.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// As byte ranges without their ends.
    lines: Vec<Range<usize>>,
    /// The columns they are wrapped to.
    columns: usize,
    /// Where the first line begins that is not known; `None` when all are.
    rest: Option<usize>,
}

impl Lines {
    /// Forgets what a change of the text at a byte may have moved: from two lines before it on, which may take in more.
    pub(super) fn forget(&mut self, at: usize) {
        let first = self.lines.partition_point(|line| line.start <= at).saturating_sub(3);
        match self.lines.get(first) {
            Some(line) => self.rest = Some(line.start),
            None => self.rest = self.rest.or(Some(0)),
        }
        self.lines.truncate(first);
    }

    /// Brings the lines up to date.
    pub(super) fn up_to_date(&mut self, text: &str, columns: usize) -> &[Range<usize>] {
        if self.columns != columns {
            *self = Self { columns, rest: Some(0), ..Self::default() };
        }
        if let Some(mut start) = self.rest.take() {
            for paragraph in text[start..].split('\n') {
                wrap(paragraph, start, columns, &mut self.lines);
                start += paragraph.len() + 1;
            }
        }
        &self.lines
    }
}

/// Wraps a paragraph that begins at byte `start`: after spaces, else within a word. No byte is left out.
fn wrap(paragraph: &str, start: usize, columns: usize, lines: &mut Vec<Range<usize>>) {
    let (mut line, mut used, mut space) = (0, 0, None);
    for (at, g) in paragraph.grapheme_indices(true) {
        let width = text::width(g);
        if used + width > columns && at > line {
            let end = space.filter(|s| *s > line).unwrap_or(at);
            lines.push(start + line..start + end);
            used = text::width(&paragraph[end..at]);
            (line, space) = (end, None);
        }
        used += width;
        if g == " " || width == 2 {
            space = Some(at + g.len());
        }
    }
    lines.push(start + line..start + paragraph.len());
}

//! A text that is still being written, broken into lines between words.

use crate::tui::text;
use unicode_segmentation::UnicodeSegmentation;

/// Where the cursor stands, and what waits for the end of its word.
#[derive(Debug, Default, PartialEq)]
pub struct Flow {
    waiting: String,
    used: usize,
    /// What was written last is the beginning of a word that is longer than a line.
    within: bool,
}

impl Flow {
    /// Takes in a piece, and gives what can be written of the text now, on lines of at most `columns`.
    pub fn push(&mut self, piece: &str, columns: usize) -> String {
        let mut text = std::mem::take(&mut self.waiting);
        text.push_str(piece);
        let (mut out, mut start, mut before) = (String::new(), 0, "");
        for (at, grapheme) in text.grapheme_indices(true) {
            if before == "\n" || at > 0 && (grapheme == "\n" || text::may_break(before, grapheme)) {
                self.put(&text[start..at], columns, &mut out);
                start = at;
            }
            before = grapheme;
        }
        let mut rest = &text[start..];
        if rest == "\n" {
            self.put(rest, columns, &mut out);
            rest = "";
        } else if text::width(rest) > columns {
            // It is broken anyway. A mark may follow its last character.
            let last = rest.grapheme_indices(true).next_back().map_or(0, |(at, _)| at);
            self.put(&rest[..last], columns, &mut out);
            self.within = true;
            rest = &rest[last..];
        }
        self.waiting = rest.into();
        out
    }

    /// What waited, and the end of the line.
    pub fn end(&mut self, columns: usize) -> String {
        let mut out = String::new();
        let rest = std::mem::take(&mut self.waiting);
        self.put(&rest, columns, &mut out);
        out.push('\n');
        *self = Self::default();
        out
    }

    /// Writes a word with the blanks behind it, in the next line where it does not fit into this one.
    fn put(&mut self, part: &str, columns: usize, out: &mut String) {
        let within = std::mem::take(&mut self.within);
        if part == "\n" {
            return self.new_line(out);
        }
        let word = part.trim_end();
        if !within && self.used > 0 && self.used + text::width(word) > columns {
            self.new_line(out);
        }
        for grapheme in part.graphemes(true) {
            let width = text::width(grapheme);
            if self.used > 0 && self.used + width > columns {
                // Blanks at the end of a line are not seen.
                if grapheme.trim().is_empty() {
                    continue;
                }
                self.new_line(out);
            }
            out.push_str(grapheme);
            self.used += width;
        }
    }

    fn new_line(&mut self, out: &mut String) {
        out.push('\n');
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&str], columns: usize) -> String {
        let mut flow = Flow::default();
        let written: String = pieces.iter().map(|piece| flow.push(piece, columns)).collect();
        written + &flow.end(columns)
    }

    #[test]
    fn words_stay_whole_however_they_come() {
        let text = "a small nodule in the lung";
        let lines = "a small \nnodule in \nthe lung\n";
        assert_eq!(shown(&[text], 10), lines);
        assert_eq!(shown(&["a sm", "all", " nod", "ule", " in", " the ", "lung"], 10), lines);
        let letters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(shown(&letters.iter().map(String::as_str).collect::<Vec<_>>(), 10), lines);
        // A blank that would be the first of a line is none of it.
        assert_eq!(shown(&["abc def"], 3), "abc\ndef\n");
        assert_eq!(shown(&["one\n\ntwo\n"], 10), "one\n\ntwo\n\n");
        assert_eq!(shown(&[], 10), "\n");
    }

    #[test]
    fn chinese_breaks_anywhere_but_at_its_marks() {
        assert_eq!(shown(&["左肺上叶见结节，", "边界清。"], 8), "左肺上叶\n见结节，\n边界清。\n");
        assert_eq!(shown(&["见结", "节，边界"], 6), "见结\n节，边\n界\n");
        // A mark that comes as a piece of its own stays at its letter.
        assert_eq!(shown(&["abc e", "\u{301}f"], 6), "abc \u{65}\u{301}f\n");
    }

    #[test]
    fn a_word_longer_than_the_line_goes_on_in_the_next() {
        assert_eq!(shown(&["a bcdefgh i"], 3), "a \nbcd\nefg\nh i\n");
        let letters = ["b", "c", "d", "e", "f", "g", "h", " ", "i"];
        assert_eq!(shown(&letters, 3), "bcd\nefg\nh i\n");
        let mut flow = Flow::default();
        assert_eq!(flow.push("abcdefgh", 3), "abc\ndef\ng", "it is not waited for");
        assert_eq!(flow.push(" ", 3), "");
        assert_eq!(flow.push("i", 3), "h ");
    }

    #[test]
    fn a_word_is_written_when_the_next_begins() {
        let mut flow = Flow::default();
        assert_eq!(flow.push("left", 20), "");
        assert_eq!(flow.push(" lung", 20), "left ");
        assert_eq!(flow.push("\n", 20), "lung\n");
        assert_eq!(flow, Flow::default(), "the line has ended");
    }
}

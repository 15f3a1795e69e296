//! A one-line text input with the usual editing keys.

use crate::data::clean;
use crate::tui::text;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use unicode_segmentation::UnicodeSegmentation;

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    Changed,
    Submit,
    Cancel,
    /// The cursor moved, or nothing happened.
    Other,
}

/// Text and cursor. The cursor is a byte position between graphemes.
#[derive(Clone, Debug, Default)]
pub struct Input {
    text: String,
    cursor: usize,
}

impl Input {
    /// An input that holds `text`, the cursor behind it.
    pub fn with(text: &str) -> Self {
        let text = clean::for_terminal(text);
        Self { cursor: text.len(), text }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Empties it and gives the text.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Inserts pasted text as one line.
    pub fn paste(&mut self, pasted: &str) {
        let pasted = clean::for_terminal(pasted);
        self.text.insert_str(self.cursor, &pasted);
        self.cursor += pasted.len();
    }

    pub fn key(&mut self, key: KeyEvent) -> Typed {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Typed::Submit,
            KeyCode::Esc => return Typed::Cancel,
            KeyCode::Char('c') if ctrl => return Typed::Cancel,
            KeyCode::Char('a') if ctrl => self.cursor = 0,
            KeyCode::Char('e') if ctrl => self.cursor = self.text.len(),
            KeyCode::Char('u') if ctrl => return self.cut(0),
            KeyCode::Char('w') if ctrl => return self.cut(self.word_start()),
            KeyCode::Char('k') if ctrl => {
                self.text.truncate(self.cursor);
                return Typed::Changed;
            }
            KeyCode::Char(c) if !ctrl && !key.modifiers.contains(KeyModifiers::ALT) => {
                self.paste(c.encode_utf8(&mut [0; 4]));
                return Typed::Changed;
            }
            KeyCode::Backspace => return self.cut(self.before()),
            KeyCode::Delete => {
                self.text.drain(self.cursor..self.after());
                return Typed::Changed;
            }
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.after(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            _ => {}
        }
        Typed::Other
    }

    /// Removes from `start` to the cursor.
    fn cut(&mut self, start: usize) -> Typed {
        self.text.drain(start..self.cursor);
        self.cursor = start;
        Typed::Changed
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |g| g.0)
    }

    fn after(&self) -> usize {
        self.text[self.cursor..].graphemes(true).next().map_or(self.cursor, |g| self.cursor + g.len())
    }

    fn word_start(&self) -> usize {
        let head = self.text[..self.cursor].trim_end();
        head.rfind(' ').map_or(0, |space| space + 1)
    }

    /// Draws the part around the cursor into the first row of `area` and says where the cursor is.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, style: Style) -> Option<Position> {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return None;
        }
        let columns = usize::from(area.width);
        let mut start = 0;
        let mut left = text::width(&self.text[..self.cursor]);
        for (at, g) in self.text.grapheme_indices(true) {
            if left < columns || at >= self.cursor {
                break;
            }
            left = left.saturating_sub(text::width(g));
            start = at + g.len();
        }
        buf.set_stringn(area.x, area.y, text::pad(&self.text[start..], columns), columns, style);
        let x = area.x + (left.min(columns.saturating_sub(1))) as u16;
        Some(Position::new(x, area.y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(input: &mut Input, code: KeyCode) -> Typed {
        input.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn edits_by_grapheme_not_by_byte() {
        let mut input = Input::with("肺e\u{301}结");
        press(&mut input, KeyCode::Left);
        press(&mut input, KeyCode::Backspace);
        assert_eq!(input.text(), "肺结");
        press(&mut input, KeyCode::Char('x'));
        assert_eq!(input.text(), "肺x结");
        press(&mut input, KeyCode::Home);
        press(&mut input, KeyCode::Delete);
        assert_eq!(input.text(), "x结");
        input.key(KeyEvent::new(KeyCode::Char('e'), KeyModifiers::CONTROL));
        input.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert_eq!(input.text(), "");
    }

    #[test]
    fn pasting_never_brings_control_characters_in() {
        let mut input = Input::default();
        input.paste("a\x1b[2J\nb");
        assert_eq!(input.text(), "a[2J b");
    }
}

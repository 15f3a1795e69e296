//! A text of several lines to be edited: wrapped to the width, the cursor between graphemes.

use super::editor_lines::Lines;
use crate::data::clean;
use crate::tui::text;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    Changed,
    Save,
    Leave,
    /// The cursor moved, or nothing happened.
    Other,
}

/// Text and cursor. The cursor is a byte position between graphemes.
#[derive(Clone, Debug, Default)]
pub struct Editor {
    text: String,
    cursor: usize,
    /// Column that up and down keep to.
    column: Option<usize>,
    /// Width of the last drawing, first line drawn.
    columns: Cell<usize>,
    first: Cell<usize>,
    /// Earlier texts with their cursors, and those taken back.
    before: Vec<(String, usize)>,
    after: Vec<(String, usize)>,
    wrapped: RefCell<Lines>,
}

impl Editor {
    /// An editor that holds `text` without what could harm a terminal, the cursor behind it.
    pub fn with(text: &str) -> Self {
        let text = clean::for_terminal_lines(text);
        Self { cursor: text.len(), text, columns: Cell::new(80), ..Self::default() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Empties it and gives the text.
    pub fn take(&mut self) -> String {
        std::mem::take(self).text
    }

    /// Rows that the text takes in a width.
    pub fn rows(&self, width: u16) -> u16 {
        self.columns.set(columns_in(width));
        self.lines().len().try_into().unwrap_or(u16::MAX)
    }

    /// Throws the text away; it can be taken back.
    pub fn clear(&mut self) {
        self.cut(0..self.text.len());
    }

    /// Whether there is no line above the cursor.
    pub fn in_first_line(&self) -> bool {
        self.at(&self.lines()) == 0
    }

    /// Whether there is no line below the cursor.
    pub fn in_last_line(&self) -> bool {
        let lines = self.lines();
        self.at(&lines) + 1 == lines.len()
    }

    /// Inserts text where the cursor is.
    pub fn insert(&mut self, new: &str) {
        let new = clean::for_terminal_lines(&new.replace("\r\n", "\n").replace('\r', "\n"));
        self.remember();
        self.wrapped.get_mut().forget(self.cursor);
        self.text.insert_str(self.cursor, &new);
        self.cursor += new.len();
    }

    pub fn key(&mut self, key: KeyEvent) -> Edited {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        if !matches!(key.code, KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown) {
            self.column = None;
        }
        match key.code {
            KeyCode::Esc => return Edited::Leave,
            KeyCode::Char('s') if ctrl => return Edited::Save,
            KeyCode::Char('c') if ctrl => return Edited::Leave,
            KeyCode::Char('z') if ctrl => return self.undo(true),
            KeyCode::Char('r') if ctrl => return self.undo(false),
            KeyCode::Char('u') if ctrl => {
                let start = self.line_start();
                return self.cut(start..self.cursor);
            }
            KeyCode::Char('k') if ctrl => {
                let end = self.line_end();
                return self.cut(self.cursor..end);
            }
            KeyCode::Char('w') if ctrl => return self.cut(self.word_before()..self.cursor),
            KeyCode::Char('a') if ctrl => self.cursor = self.line_start(),
            KeyCode::Char('e') if ctrl => self.cursor = self.line_end(),
            KeyCode::Char(c) if !ctrl && !alt => {
                self.insert(c.encode_utf8(&mut [0; 4]));
                return Edited::Changed;
            }
            KeyCode::Enter => {
                self.insert("\n");
                return Edited::Changed;
            }
            KeyCode::Backspace => return self.cut(self.before()..self.cursor),
            KeyCode::Delete => return self.cut(self.cursor..self.after()),
            KeyCode::Left if ctrl => self.cursor = self.word_before(),
            KeyCode::Right if ctrl => self.cursor = self.word_after(),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.after(),
            KeyCode::Home if ctrl => self.cursor = 0,
            KeyCode::End if ctrl => self.cursor = self.text.len(),
            KeyCode::Home => self.cursor = self.line_start(),
            KeyCode::End => self.cursor = self.line_end(),
            KeyCode::Up => self.go(-1),
            KeyCode::Down => self.go(1),
            KeyCode::PageUp => self.go(-10),
            KeyCode::PageDown => self.go(10),
            _ => {}
        }
        Edited::Other
    }

    fn remember(&mut self) {
        const MOST: usize = 200;
        self.before.push((self.text.clone(), self.cursor));
        if self.before.len() > MOST {
            self.before.remove(0);
        }
        self.after.clear();
    }

    fn undo(&mut self, back: bool) -> Edited {
        let (from, to) = match back {
            true => (&mut self.before, &mut self.after),
            false => (&mut self.after, &mut self.before),
        };
        let Some((text, cursor)) = from.pop() else { return Edited::Other };
        to.push((std::mem::replace(&mut self.text, text), std::mem::replace(&mut self.cursor, cursor)));
        self.wrapped.get_mut().forget(0);
        Edited::Changed
    }

    fn cut(&mut self, range: Range<usize>) -> Edited {
        if range.is_empty() {
            return Edited::Other;
        }
        self.remember();
        self.wrapped.get_mut().forget(range.start);
        self.cursor = range.start;
        self.text.drain(range);
        Edited::Changed
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |g| g.0)
    }

    fn after(&self) -> usize {
        self.text[self.cursor..].graphemes(true).next().map_or(self.cursor, |g| self.cursor + g.len())
    }

    fn word_before(&self) -> usize {
        self.text[..self.cursor].unicode_word_indices().next_back().map_or(0, |w| w.0)
    }

    fn word_after(&self) -> usize {
        let words = self.text[self.cursor..].unicode_word_indices().next();
        words.map_or(self.text.len(), |(at, word)| self.cursor + at + word.len())
    }

    /// The lines as wrapped to the width last drawn, as byte ranges without their ends.
    fn lines(&self) -> Vec<Range<usize>> {
        self.wrapped.borrow_mut().up_to_date(&self.text, self.columns.get().max(1)).to_vec()
    }

    /// The number of the line the cursor is in. Where a line was wrapped the cursor belongs to the next.
    fn at(&self, lines: &[Range<usize>]) -> usize {
        lines.partition_point(|line| line.start <= self.cursor).saturating_sub(1)
    }

    fn line_start(&self) -> usize {
        let lines = self.lines();
        lines[self.at(&lines)].start
    }

    /// The last place of the cursor in its line.
    fn line_end(&self) -> usize {
        let lines = self.lines();
        self.end(&lines, self.at(&lines))
    }

    /// The last place of the cursor in a line.
    fn end(&self, lines: &[Range<usize>], at: usize) -> usize {
        let wrapped = lines.get(at + 1).is_some_and(|next| next.start == lines[at].end);
        match wrapped {
            true => {
                self.text[lines[at].clone()].grapheme_indices(true).next_back().map_or(0, |g| g.0)
                    + lines[at].start
            }
            false => lines[at].end,
        }
    }

    /// Moves the cursor by lines, keeping its column.
    fn go(&mut self, by: isize) {
        let lines = self.lines();
        let at = self.at(&lines);
        let column = self.column.unwrap_or_else(|| text::width(&self.text[lines[at].start..self.cursor]));
        let to = at.saturating_add_signed(by).min(lines.len() - 1);
        let mut used = 0;
        self.cursor = lines[to].end;
        for (i, g) in self.text[lines[to].clone()].grapheme_indices(true) {
            if used >= column {
                self.cursor = lines[to].start + i;
                break;
            }
            used += text::width(g);
        }
        self.cursor = self.cursor.min(self.end(&lines, to));
        self.column = Some(column);
    }

    /// Draws the lines around the cursor and says where it is.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, style: Style) -> Option<Position> {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return None;
        }
        self.columns.set(columns_in(area.width));
        let lines = self.lines();
        let at = self.at(&lines);
        let height = usize::from(area.height);
        let first = self.first.get().min(at).max((at + 1).saturating_sub(height));
        let first = first.min(lines.len().saturating_sub(height));
        self.first.set(first);
        for (y, line) in lines[first..].iter().take(height).enumerate() {
            let shown = text::pad(&self.text[line.clone()], area.width.into());
            buf.set_stringn(area.x, area.y + y as u16, shown, area.width.into(), style);
        }
        let column = text::width(&self.text[lines[at].start..self.cursor]).min(usize::from(area.width) - 1);
        Some(Position::new(area.x + column as u16, area.y + (at - first) as u16))
    }
}

/// Columns for text in a width: the last one is for a cursor behind a full line.
fn columns_in(width: u16) -> usize {
    usize::from(width).saturating_sub(1).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, code: KeyCode) {
        editor.key(KeyEvent::new(code, KeyModifiers::NONE));
    }

    fn ctrl(editor: &mut Editor, c: char) -> Edited {
        editor.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
    }

    fn screen(editor: &mut Editor, width: u16, height: u16) -> (Vec<String>, (u16, u16)) {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        let at = editor.draw(area, &mut buf, Style::new()).unwrap();
        let row = |y| (0..width).map(|x| buf[(x, y)].symbol().to_string()).collect::<String>();
        ((0..height).map(|y| row(y).trim_end().to_string()).collect(), (at.x, at.y))
    }

    #[test]
    fn wraps_and_moves_by_what_is_seen() {
        let mut editor = Editor::with("one two three\n肺结节很小 e\u{301}x");
        let (lines, at) = screen(&mut editor, 9, 5);
        assert_eq!(lines[..2], ["one two", "three"]);
        assert!(at.1 >= 3 && lines[2].starts_with('肺'), "{lines:?} {at:?}");
        press(&mut editor, KeyCode::Left);
        press(&mut editor, KeyCode::Backspace);
        assert!(editor.text().ends_with("小 x"), "one grapheme of two characters: {}", editor.text());
        editor.key(KeyEvent::new(KeyCode::Home, KeyModifiers::CONTROL));
        press(&mut editor, KeyCode::Down);
        press(&mut editor, KeyCode::Char('X'));
        assert_eq!(editor.text().split('\n').next(), Some("one two Xthree"));
        press(&mut editor, KeyCode::End);
        press(&mut editor, KeyCode::Enter);
        assert_eq!(editor.text().split('\n').nth(1), Some(""));
        ctrl(&mut editor, 'z');
        ctrl(&mut editor, 'z');
        assert_eq!(editor.text().split('\n').next(), Some("one two three"));
        ctrl(&mut editor, 'r');
        assert_eq!(editor.text().split('\n').next(), Some("one two Xthree"));
    }

    #[test]
    fn words_lines_and_pastes() {
        let mut editor = Editor::with("alpha beta");
        ctrl(&mut editor, 'w');
        editor.insert("gamma\r\n\u{1b}[2Jdelta");
        assert_eq!(editor.text(), "alpha gamma\n[2Jdelta");
        ctrl(&mut editor, 'u');
        assert_eq!(editor.text(), "alpha gamma\n");
        press(&mut editor, KeyCode::Up);
        ctrl(&mut editor, 'k');
        assert_eq!(editor.text(), "\n");
        assert_eq!(ctrl(&mut editor, 's'), Edited::Save);
    }

    /// The lines that are kept are those of a text wrapped at once.
    #[test]
    fn lines_follow_every_change() {
        let parts = ["a", " ", "\n", "肺", "e\u{301}", "\u{301}", "longer", " of two "];
        let mut editor = Editor::with("one two three four five six\n\n肺结节很小 seven\n eight");
        let mut n = 7usize;
        let mut next = |below: usize| {
            n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (n >> 33) % below
        };
        for _ in 0..3000 {
            let columns = if next(50) == 0 { 1 + next(12) } else { editor.columns.get().min(12) };
            editor.columns.set(columns);
            match next(8) {
                0 => press(&mut editor, KeyCode::Backspace),
                1 => press(&mut editor, KeyCode::Delete),
                2 => press(&mut editor, [KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right][next(4)]),
                3 => {
                    ctrl(&mut editor, ['k', 'u', 'w', 'z', 'r', 'a'][next(6)]);
                }
                _ => editor.insert(parts[next(parts.len())]),
            }
            if next(3) > 0 {
                let fresh = Lines::default().up_to_date(&editor.text, editor.columns.get()).to_vec();
                assert_eq!(editor.lines(), fresh, "{:?} in {} columns", editor.text, editor.columns.get());
            }
        }
    }

    #[test]
    fn every_place_can_be_reached_and_no_key_panics() {
        let text = "a 肺 👩‍👩‍👧 e\u{301}\n\n  \u{200b}长長い long-word-without-spaces ";
        for width in 1..14 {
            let mut editor = Editor::with(text);
            editor.key(KeyEvent::new(KeyCode::Home, KeyModifiers::CONTROL));
            for _ in 0..200 {
                screen(&mut editor, width, 3);
                press(&mut editor, KeyCode::Down);
                press(&mut editor, KeyCode::End);
                press(&mut editor, KeyCode::Right);
            }
            assert_eq!(editor.cursor, editor.text.len(), "width {width}");
            for _ in 0..200 {
                screen(&mut editor, width, 3);
                press(&mut editor, KeyCode::Up);
                press(&mut editor, KeyCode::Home);
            }
            assert_eq!(editor.cursor, 0, "width {width}");
        }
    }
}

//! A box with rows of which one is chosen; what is typed narrows them.

use super::input::{Input, Typed};
use super::popup::{Answer, PopupHits, draw_input, open_box, row};
use super::table::{Scroll, row_style};
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::words::Words;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::text::Line;

/// Rows, each with what choosing it means.
pub struct Pick {
    title: String,
    rows: Vec<(String, Answer)>,
    input: Input,
    /// Places of the rows that have all words typed.
    found: Vec<usize>,
    selected: usize,
    scroll: Scroll,
}

/// Rows shown at most, and columns.
const MOST: usize = 14;
const COLUMNS: usize = 56;

impl Pick {
    pub fn new(title: &str, rows: Vec<(String, Answer)>, selected: usize) -> Self {
        let found = (0..rows.len()).collect();
        Self {
            title: title.into(),
            rows,
            input: Input::default(),
            found,
            selected,
            scroll: Scroll::default(),
        }
    }

    pub fn key(&mut self, key: KeyEvent) -> Answer {
        match key.code {
            KeyCode::Up => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down => {
                self.selected = (self.selected + 1).min(self.found.len().saturating_sub(1));
            }
            _ => match self.input.key(key) {
                Typed::Submit => return self.choose(self.selected),
                Typed::Cancel => return Answer::Close,
                Typed::Changed => self.search(),
                Typed::Other => {}
            },
        }
        Answer::Open
    }

    pub fn paste(&mut self, pasted: &str) {
        self.input.paste(pasted);
        self.search();
    }

    /// What the row at this place of those shown means.
    pub fn choose(&self, place: usize) -> Answer {
        self.found.get(place).map_or(Answer::Open, |at| self.rows[*at].1.clone())
    }

    fn search(&mut self) {
        let wanted = self.input.text().to_lowercase();
        let has = |at: &usize| {
            let row = self.rows[*at].0.to_lowercase();
            wanted.split_whitespace().all(|word| row.contains(word))
        };
        self.found = (0..self.rows.len()).filter(has).collect();
        self.selected = 0;
    }

    pub fn draw(&mut self, frame: &mut Frame, theme: &Theme, words: Words) -> PopupHits {
        let rows = self.rows.len().min(MOST) + 1;
        let (area, inner) = open_box(frame, theme, &self.title, words.get("pick.foot"), (COLUMNS, rows));
        draw_input(frame, &self.input, row(inner, 0), theme);
        let height = usize::from(inner.height).saturating_sub(1);
        let mut hits = Vec::new();
        for (y, place) in self.scroll.follow(self.selected, height, self.found.len()).enumerate() {
            let at = row(inner, y as u16 + 1);
            let shown = text::pad(&self.rows[self.found[place]].0, usize::from(inner.width));
            frame.render_widget(Line::styled(shown, row_style(theme, place == self.selected, true)), at);
            hits.push((at, place));
        }
        PopupHits { area, rows: hits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::action::Action;
    use crossterm::event::KeyModifiers;

    #[test]
    fn what_is_typed_narrows_and_enter_chooses() {
        let row = |name: &str, action| (name.to_string(), Answer::Act(action));
        let rows = vec![row("base model", Action::Retry), row("adapter demo", Action::Help)];
        let mut pick = Pick::new("who", rows, 0);
        let mut press = |code| pick.key(KeyEvent::new(code, KeyModifiers::NONE));
        assert!(matches!(press(KeyCode::Enter), Answer::Act(Action::Retry)));
        press(KeyCode::Down);
        press(KeyCode::Down);
        assert!(matches!(press(KeyCode::Enter), Answer::Act(Action::Help)));
        "DEMO".chars().for_each(|c| drop(press(KeyCode::Char(c))));
        assert!(matches!(press(KeyCode::Enter), Answer::Act(Action::Help)), "the only one that is left");
        press(KeyCode::Char('x'));
        assert!(matches!(press(KeyCode::Enter), Answer::Open), "nothing is left");
        assert!(matches!(press(KeyCode::Esc), Answer::Close));
    }
}

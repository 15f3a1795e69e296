//! The log of a run: from which level on, which lines, how far back.

use super::below;
use crate::job::Level;
use crate::tui::action::Action;
use crate::tui::panes::{Canvas, Hit, movement};
use crate::tui::state::run::Run;
use crate::tui::text;
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::words::Words;
use crossterm::event::KeyEvent;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// How the log is looked at.
#[derive(Default)]
pub struct LogView {
    /// The whole pane is the log.
    pub open: bool,
    /// Lines from the end.
    back: usize,
    /// Lines below this level are hidden.
    from: Option<Level>,
    wanted: String,
    pub search: Option<Input>,
}

impl LogView {
    /// The lines that are shown, the newest first: by their level, and by their words as they are kept or as they are read.
    fn kept<'a>(&self, words: Words, run: &'a Run) -> Vec<&'a (Level, String)> {
        let wanted = self.wanted.to_lowercase();
        let all: Vec<&str> = wanted.split_whitespace().collect();
        let has_all = |line: &str| all.iter().all(|word| has(line, word));
        let kept = |(level, line): &&(Level, String)| {
            self.from.is_none_or(|from| *level >= from)
                && (has_all(line) || (!wanted.is_ascii() && has_all(&words.said(line))))
        };
        run.log.iter().rev().filter(kept).collect()
    }

    /// Does an action that is about the log; `false` for another one.
    pub fn act(&mut self, action: Action, run: Option<&Run>) -> bool {
        match action {
            Action::LogView => (self.open, self.back) = (!self.open, 0),
            Action::LogLevel => {
                self.open = true;
                self.from = match self.from {
                    None | Some(Level::Debug) => Some(Level::Info),
                    Some(Level::Info) => Some(Level::Warning),
                    Some(Level::Warning) => Some(Level::Error),
                    Some(Level::Error) => None,
                };
            }
            Action::Filter => {
                self.open = true;
                self.search = Some(Input::with(&self.wanted));
            }
            Action::Back if self.open && !self.wanted.is_empty() => self.wanted.clear(),
            Action::Back if self.open => self.open = false,
            action if self.open => match movement(action) {
                Some(by) => {
                    let most = run.map_or(0, |r| r.log.len()) as isize;
                    self.back = (self.back as isize).saturating_sub(by).clamp(0, most) as usize;
                }
                None => return false,
            },
            _ => return false,
        }
        true
    }

    /// Takes a key while the filter is being written.
    pub fn type_key(&mut self, key: KeyEvent) {
        let Some(input) = &mut self.search else { return };
        let typed = input.key(key);
        self.wanted = if typed == Typed::Cancel { String::new() } else { input.text().to_string() };
        if matches!(typed, Typed::Submit | Typed::Cancel) {
            self.search = None;
        }
        self.back = 0;
    }

    pub fn paste(&mut self, pasted: &str) {
        if let Some(input) = &mut self.search {
            input.paste(pasted);
            self.wanted = input.text().to_string();
        }
    }

    /// The newest lines that are kept, the last at the bottom.
    pub fn draw(&mut self, canvas: &mut Canvas, area: Rect, run: &Run) {
        let (theme, words) = (&canvas.state.theme, canvas.state.words);
        if area.height == 0 {
            return;
        }
        canvas.hits.push((area, Hit::Act(Action::LogView)));
        let title = self.title(words);
        canvas.line(area, 0, Line::styled(title + &"─".repeat(area.width.into()), theme.border));
        let mut inner = below(area);
        if let Some(input) = &self.search {
            canvas.line(inner, 0, Span::styled("/ ", theme.key));
            let at = Rect { x: inner.x + 2, width: inner.width.saturating_sub(2), height: 1, ..inner };
            canvas.cursor = input.draw(at, canvas.frame.buffer_mut(), theme.strong);
            inner = below(inner);
        }
        let rows = usize::from(inner.height);
        let lines: Vec<&(Level, String)> = match self.from.is_none() && self.wanted.is_empty() {
            // Only what is seen of a long log is looked at.
            true => {
                self.back = self.back.min(run.log.len().saturating_sub(rows));
                run.log.iter().rev().skip(self.back).take(rows).collect()
            }
            false => {
                let kept = self.kept(words, run);
                self.back = self.back.min(kept.len().saturating_sub(rows));
                kept.into_iter().skip(self.back).take(rows).collect()
            }
        };
        for (y, (level, line)) in lines.into_iter().rev().enumerate() {
            let style = match level {
                Level::Error => theme.bad,
                Level::Warning => theme.warn,
                Level::Info => Style::new(),
                Level::Debug => theme.dim,
            };
            let line = words.said(line);
            canvas.line(inner, y, Line::styled(text::truncate(&line, inner.width.into()), style));
        }
    }

    fn title(&self, words: Words) -> String {
        let level = match self.from {
            None | Some(Level::Debug) => "",
            Some(Level::Info) => words.get("train.log_notes"),
            Some(Level::Warning) => words.get("train.log_warnings"),
            Some(Level::Error) => words.get("train.log_errors"),
        };
        let wanted =
            if self.wanted.is_empty() { String::new() } else { format!(" · “{}”", self.wanted) };
        format!("─ {}{level}{wanted} ", words.get("log"))
    }
}

/// Whether a line has a word that is in small letters, whatever letters the line has. All lines of a long log are asked
/// for every frame, so the usual ones, in ASCII, are not copied for it.
fn has(line: &str, word: &str) -> bool {
    if !line.is_ascii() {
        return line.to_lowercase().contains(word);
    }
    word.is_empty()
        || line.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_any_letters() {
        for (line, word) in
            [("Saved Step 20", "saved"), ("Saved Step 20", "step 2"), ("肺 CT", "ct"), ("ÄB", "äb")]
        {
            assert!(has(line, word), "{word} in {line}");
        }
        assert!(has("a", "") && !has("a", "ab") && !has("saved", "safe") && !has("abc", "ä"));
    }
}

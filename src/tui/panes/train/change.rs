//! Changes settings of the running job: a small table over the charts, a value or a factor for each.

use crate::config::TrainConfig;
use crate::config::{fields, live};
use crate::error::{Error, Result};
use crate::job::{Command, Level};
use crate::tui::effects::Effect;
use crate::tui::panes::{Canvas, row};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::table::row_style;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

/// The setting that is being changed, and its new value.
#[derive(Default)]
pub struct Change {
    selected: usize,
    input: Input,
    error: Option<String>,
}

/// Rows the table needs: a heading, the settings, a line of what is wrong.
pub const ROWS: u16 = live::CHANGEABLE.len() as u16 + 2;

/// The settings of the running job; not known of one that another process started.
fn config(state: &State) -> Option<&TrainConfig> {
    state.run.as_ref()?.config.as_deref()
}

/// The value that a text stands for, or what is wrong with it. Where the settings are not known the trainer, which
/// checks again, gets the text as it is.
fn value(state: &State, key: &str, text: &str) -> Result<String> {
    match config(state) {
        Some(config) => live::value(config, key, text),
        None => live::value(&TrainConfig::default(), key, text).map(|_| text.trim().to_string()),
    }
}

impl Change {
    fn key(&self) -> &'static str {
        live::CHANGEABLE[self.selected]
    }

    /// Takes a key. `None` closes the table.
    pub fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Option<Vec<Effect>> {
        let last = live::CHANGEABLE.len() - 1;
        match key.code {
            KeyCode::Up | KeyCode::BackTab => self.select(self.selected.checked_sub(1).unwrap_or(last)),
            KeyCode::Down | KeyCode::Tab => {
                self.select(if self.selected == last { 0 } else { self.selected + 1 })
            }
            _ => match self.input.key(key) {
                Typed::Cancel => return None,
                Typed::Submit => return self.submit(state),
                Typed::Changed => self.check(state),
                Typed::Other => {}
            },
        }
        Some(Vec::new())
    }

    pub fn paste(&mut self, pasted: &str, state: &State) {
        self.input.paste(pasted);
        self.check(state);
    }

    fn select(&mut self, row: usize) {
        *self = Self { selected: row, ..Self::default() };
    }

    fn check(&mut self, state: &State) {
        let text = self.input.text();
        let found = value(state, self.key(), text);
        let said = |e: Error| state.words.said(&e.message).into_owned();
        self.error = found.err().filter(|_| !text.trim().is_empty()).map(said);
    }

    /// Sends the change. An empty value closes the table, a wrong one keeps it open.
    fn submit(&mut self, state: &mut State) -> Option<Vec<Effect>> {
        if self.input.text().trim().is_empty() {
            return None;
        }
        match value(state, self.key(), self.input.text()) {
            Ok(value) => {
                let key = self.key().to_string();
                let parts = [("key", key.as_str()), ("value", &value)];
                state.notify(Level::Info, state.words.fill("train.becomes", &parts));
                self.select(self.selected);
                Some(state.tell(Command::Set { key, value }))
            }
            Err(error) => {
                self.error = Some(state.words.said(&error.message).into_owned());
                Some(Vec::new())
            }
        }
    }

    /// Draws the table.
    pub fn draw(&self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let (theme, words) = (&state.theme, state.words);
        canvas.line(area, 0, Line::styled(words.get("train.change"), theme.strong));
        for (i, key) in live::CHANGEABLE.iter().enumerate() {
            let at = row(area, i + 1);
            let now = config(state).map_or("?".to_string(), |config| fields::get(config, key));
            let now = if now.is_empty() { "-".to_string() } else { now };
            let line = format!("{} {} → ", text::pad(key, 18), text::pad_left(&now, 10));
            canvas
                .frame
                .render_widget(Line::styled(line.clone(), row_style(theme, i == self.selected, true)), at);
            if i == self.selected {
                let used = (text::width(&line) as u16).min(at.width);
                let rest = Rect { x: at.x + used, width: at.width - used, ..at };
                let style = if self.error.is_some() { theme.bad } else { theme.strong };
                canvas.cursor = self.input.draw(rest, canvas.frame.buffer_mut(), style);
            }
        }
        let (line, style) = match &self.error {
            Some(error) => (error.as_str(), theme.bad),
            None => (fields::field(self.key()).map_or("", |f| words.help(f)), Style::new()),
        };
        let line = text::truncate(line, area.width.into());
        canvas.line(area, live::CHANGEABLE.len() + 1, Line::styled(line, style));
    }
}

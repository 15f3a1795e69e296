//! A question typed on a plain terminal: several lines, earlier ones on the arrow keys; or read from a pipe.

use super::widgets::editor::{Edited, Editor};
use crate::error::{Error, Kind, Result};
use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use crossterm::execute;
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::io::{IsTerminal, Stdout, Write, stdin, stdout};

/// Rows of the box, its hint included.
const ROWS: u16 = 5;
const HINT: &str = "Enter sends · Alt-Enter or \\ at the end: new line · ↑ ↓ earlier · /help · Ctrl-D leaves";

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Entered {
    Text(String),
    /// The line was thrown away.
    Nothing,
    /// The user wants to leave.
    End,
}

/// The prompt with what was typed before.
pub struct Prompt {
    history: Vec<String>,
    terminal: bool,
}

impl Prompt {
    /// `history`: earlier lines, the newest last.
    pub fn new(history: Vec<String>) -> Self {
        Self { history, terminal: stdin().is_terminal() && stdout().is_terminal() }
    }

    /// Everything typed, the newest last.
    pub fn history(&self) -> &[String] {
        &self.history
    }

    /// Reads a text, beginning with `text`.
    ///
    /// # Errors
    /// The terminal or the pipe breaks.
    pub fn read(&mut self, text: &str) -> Result<Entered> {
        let entered = if self.terminal { self.edit(text)? } else { piped()? };
        if let Entered::Text(text) = &entered
            && self.history.last() != Some(text)
        {
            self.history.push(text.clone());
        }
        Ok(entered)
    }

    fn edit(&self, text: &str) -> Result<Entered> {
        let _raw = Raw::take()?;
        let options = TerminalOptions { viewport: Viewport::Inline(ROWS) };
        let mut terminal =
            Terminal::with_options(CrosstermBackend::new(stdout()), options).map_err(failed)?;
        let mut line = Typing { editor: Editor::with(text), history: &self.history, at: self.history.len() };
        let entered = loop {
            terminal.draw(|frame| line.draw(frame)).map_err(failed)?;
            match crossterm::event::read().map_err(failed)? {
                Event::Paste(pasted) => line.editor.insert(&pasted),
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if let Some(entered) = line.key(key) {
                        break entered;
                    }
                }
                _ => {}
            }
        };
        leave(&mut terminal, &entered)?;
        Ok(entered)
    }
}

/// The box goes; what was typed stays on the screen.
fn leave(terminal: &mut Terminal<CrosstermBackend<Stdout>>, entered: &Entered) -> Result<()> {
    terminal.clear().map_err(failed)?;
    terminal.show_cursor().map_err(failed)?;
    if let Entered::Text(text) = entered {
        let shown = text.replace('\n', "\r\n  ");
        write!(stdout(), "> {shown}\r\n").and_then(|()| stdout().flush()).map_err(failed)?;
    }
    Ok(())
}

/// The text being typed, and the place among earlier ones.
struct Typing<'a> {
    editor: Editor,
    history: &'a [String],
    at: usize,
}

impl Typing<'_> {
    /// Takes a key; gives the text once it is finished.
    fn key(&mut self, key: KeyEvent) -> Option<Entered> {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let single = !self.editor.text().contains('\n');
        match key.code {
            KeyCode::Enter if alt => self.editor.insert("\n"),
            KeyCode::Char('j') if ctrl => self.editor.insert("\n"),
            KeyCode::Enter => return self.enter(),
            KeyCode::Char('d') if ctrl && self.editor.text().is_empty() => return Some(Entered::End),
            KeyCode::Char('c') if ctrl && self.editor.text().is_empty() => return Some(Entered::End),
            KeyCode::Char('c') if ctrl => return Some(Entered::Nothing),
            KeyCode::Up if single => self.earlier(-1),
            KeyCode::Down if single => self.earlier(1),
            KeyCode::Char('p') if ctrl => self.earlier(-1),
            KeyCode::Char('n') if ctrl => self.earlier(1),
            _ if self.editor.key(key) == Edited::Leave => self.editor = Editor::with(""),
            _ => {}
        }
        None
    }

    /// A backslash at the end asks for another line.
    fn enter(&mut self) -> Option<Entered> {
        let text = self.editor.text().to_string();
        if let Some(open) = text.strip_suffix('\\') {
            self.editor = Editor::with(&format!("{open}\n"));
            return None;
        }
        Some(if text.trim().is_empty() { Entered::Nothing } else { Entered::Text(text) })
    }

    fn earlier(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by).min(self.history.len());
        self.editor = Editor::with(self.history.get(self.at).map_or("", String::as_str));
    }

    fn draw(&mut self, frame: &mut ratatui::Frame) {
        let area = frame.area();
        let dim = Style::new().add_modifier(Modifier::DIM);
        frame.render_widget(Line::styled(HINT, dim), Rect { height: 1, y: area.bottom() - 1, ..area });
        frame.render_widget(Line::raw("> "), Rect { height: 1, ..area });
        let text =
            Rect { x: area.x + 2, width: area.width.saturating_sub(2), height: area.height - 1, ..area };
        if let Some(at) = self.editor.draw(text, frame.buffer_mut(), Style::new()) {
            frame.set_cursor_position(at);
        }
    }
}

/// Lines of a pipe; one that ends in a backslash goes on with the next.
fn piped() -> Result<Entered> {
    let mut text = String::new();
    loop {
        let before = text.len();
        let read = stdin().read_line(&mut text).map_err(failed)?;
        while text.ends_with(['\n', '\r']) {
            text.pop();
        }
        if read == 0 && before == 0 {
            return Ok(Entered::End);
        }
        if read > 0 && text.ends_with('\\') {
            text.pop();
            text.push('\n');
            continue;
        }
        let text = crate::data::clean::for_terminal_lines(&text);
        return Ok(if text.trim().is_empty() { Entered::Nothing } else { Entered::Text(text) });
    }
}

/// Raw mode with pastes in one piece, until it is dropped.
struct Raw;

impl Raw {
    fn take() -> Result<Self> {
        enable_raw_mode().map_err(failed)?;
        let raw = Self;
        execute!(stdout(), EnableBracketedPaste).map_err(failed)?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = execute!(stdout(), DisableBracketedPaste);
        let _ = disable_raw_mode();
    }
}

fn failed(e: std::io::Error) -> Error {
    Error::new(Kind::Io, format!("cannot read from the terminal: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(line: &mut Typing, code: KeyCode, modifiers: KeyModifiers) -> Option<Entered> {
        line.key(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn lines_history_and_leaving() {
        let history = ["first".to_string(), "second".to_string()];
        let mut line = Typing { editor: Editor::with(""), history: &history, at: 2 };
        press(&mut line, KeyCode::Up, KeyModifiers::NONE);
        press(&mut line, KeyCode::Up, KeyModifiers::NONE);
        press(&mut line, KeyCode::Up, KeyModifiers::NONE);
        assert_eq!(line.editor.text(), "first");
        press(&mut line, KeyCode::Char('\\'), KeyModifiers::NONE);
        assert_eq!(press(&mut line, KeyCode::Enter, KeyModifiers::NONE), None);
        press(&mut line, KeyCode::Char('x'), KeyModifiers::NONE);
        press(&mut line, KeyCode::Enter, KeyModifiers::ALT);
        press(&mut line, KeyCode::Char('y'), KeyModifiers::NONE);
        let entered = press(&mut line, KeyCode::Enter, KeyModifiers::NONE);
        assert_eq!(entered, Some(Entered::Text("first\nx\ny".into())));
        line.editor = Editor::with("");
        assert_eq!(press(&mut line, KeyCode::Enter, KeyModifiers::NONE), Some(Entered::Nothing));
        assert_eq!(press(&mut line, KeyCode::Char('d'), KeyModifiers::CONTROL), Some(Entered::End));
    }
}

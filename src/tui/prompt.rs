//! A question typed on a plain terminal: several lines, earlier ones on the arrow keys; or read from a pipe.

use super::widgets::editor::{Edited, Editor};
use crate::error::{At, Error, Kind, Result};
use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use crossterm::execute;
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::{Terminal, TerminalOptions, Viewport};
use signal_hook::consts::SIGHUP;
use std::io::{IsTerminal, Stdout, Write, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rows of the box, its hint included.
const ROWS: u16 = 5;
const HINT: &str = "Enter sends · Alt-Enter new line · ↑ ↓ earlier · /help · Ctrl-D leaves";
/// How long a signal to end may wait to be seen.
const LOOK: Duration = Duration::from_millis(200);

/// Columns of the terminal; 80 where there is none.
pub fn terminal_columns() -> usize {
    crossterm::terminal::size().map_or(80, |(columns, _)| columns.into())
}

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
    /// Set from outside when the program is to end.
    leave: Arc<AtomicBool>,
    /// Keys are waited for.
    waiting: Arc<AtomicBool>,
}

impl Prompt {
    /// `history`: earlier lines, the newest last; `leave` ends the reading.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub fn new(history: Vec<String>, leave: Arc<AtomicBool>) -> Result<Self> {
        let terminal = stdin().is_terminal() && stdout().is_terminal();
        let waiting = Arc::new(AtomicBool::new(false));
        // crossterm reads a terminal that is gone again and again and never returns: there the signal itself ends it.
        let ends = Kind::Stopped.exit_code();
        signal_hook::flag::register_conditional_shutdown(SIGHUP, ends.into(), waiting.clone())
            .at("watch for", "the end of the terminal")?;
        Ok(Self { history, terminal, leave, waiting })
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
        let _raw = Raw::take(self.waiting.clone())?;
        let options = TerminalOptions { viewport: Viewport::Inline(ROWS) };
        let mut terminal =
            Terminal::with_options(CrosstermBackend::new(stdout()), options).map_err(failed)?;
        let mut line = Typing::new(text, &self.history);
        let mut top = Position::default();
        let entered = loop {
            let draw = |frame: &mut ratatui::Frame| {
                top = frame.area().as_position();
                line.draw(frame);
            };
            terminal.draw(draw).map_err(failed)?;
            match self.next_event()? {
                None => break Entered::End,
                Some(Event::Paste(pasted)) => line.editor.insert(&pasted),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if let Some(entered) = line.key(key) {
                        break entered;
                    }
                }
                Some(_) => {}
            }
        };
        leave(&mut terminal, top, &entered)?;
        Ok(entered)
    }

    /// The next event; `None` when the program is to end.
    fn next_event(&self) -> Result<Option<Event>> {
        while !self.leave.load(Ordering::Relaxed) {
            if crossterm::event::poll(LOOK).map_err(failed)? {
                return crossterm::event::read().map(Some).map_err(failed);
            }
        }
        Ok(None)
    }
}

/// The box, which begins at `top`, goes; what was typed stays on the screen.
fn leave(terminal: &mut Terminal<CrosstermBackend<Stdout>>, top: Position, entered: &Entered) -> Result<()> {
    terminal.clear().map_err(failed)?;
    // Clearing leaves the cursor where the typing ended.
    terminal.set_cursor_position(top).map_err(failed)?;
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
    /// What was typed before earlier texts were looked at.
    draft: String,
}

impl<'a> Typing<'a> {
    fn new(text: &str, history: &'a [String]) -> Self {
        Self { editor: Editor::with(text), history, at: history.len(), draft: String::new() }
    }

    /// Takes a key; gives the text once it is finished.
    fn key(&mut self, key: KeyEvent) -> Option<Entered> {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter if alt => self.editor.insert("\n"),
            KeyCode::Char('j') if ctrl => self.editor.insert("\n"),
            KeyCode::Enter => return self.enter(),
            KeyCode::Char('d') if ctrl && self.editor.text().is_empty() => return Some(Entered::End),
            // Not the end of the talk: it may have been meant for an answer that was done a moment before.
            KeyCode::Char('c') if ctrl => return Some(Entered::Nothing),
            KeyCode::Up if self.editor.in_first_line() => self.earlier(-1),
            KeyCode::Down if self.editor.in_last_line() => self.earlier(1),
            KeyCode::Char('p') if ctrl => self.earlier(-1),
            KeyCode::Char('n') if ctrl => self.earlier(1),
            _ if self.editor.key(key) == Edited::Leave => self.editor.clear(),
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

    /// Another text of the history; behind the newest one is what was being typed.
    fn earlier(&mut self, by: isize) {
        let to = self.at.saturating_add_signed(by).min(self.history.len());
        if to == self.at {
            return;
        }
        if self.at == self.history.len() {
            self.draft = self.editor.text().to_string();
        }
        self.at = to;
        self.editor = Editor::with(self.history.get(to).unwrap_or(&self.draft));
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

/// Raw mode with pastes in one piece, until it is dropped; the flag says that it is on.
struct Raw(Arc<AtomicBool>);

impl Raw {
    fn take(on: Arc<AtomicBool>) -> Result<Self> {
        enable_raw_mode().map_err(failed)?;
        on.store(true, Ordering::SeqCst);
        let raw = Self(on);
        execute!(stdout(), EnableBracketedPaste).map_err(failed)?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
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
        let mut line = Typing::new("", &history);
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
        assert_eq!(press(&mut line, KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Entered::Nothing));
        assert_eq!(press(&mut line, KeyCode::Char('d'), KeyModifiers::CONTROL), Some(Entered::End));
    }

    #[test]
    fn nothing_typed_is_lost_on_the_way_through_the_history() {
        let history = ["first".to_string(), "second\nof two lines".to_string()];
        let mut line = Typing::new("a draft", &history);
        press(&mut line, KeyCode::Up, KeyModifiers::NONE);
        assert_eq!(line.editor.text(), "second\nof two lines");
        press(&mut line, KeyCode::Up, KeyModifiers::NONE);
        assert_eq!(line.editor.text(), "second\nof two lines", "up in the text first");
        press(&mut line, KeyCode::Up, KeyModifiers::NONE);
        assert_eq!(line.editor.text(), "first");
        for text in ["second\nof two lines", "a draft", "a draft"] {
            press(&mut line, KeyCode::Down, KeyModifiers::NONE);
            assert_eq!(line.editor.text(), text);
        }
        press(&mut line, KeyCode::Esc, KeyModifiers::NONE);
        assert_eq!(line.editor.text(), "");
        press(&mut line, KeyCode::Char('z'), KeyModifiers::CONTROL);
        assert_eq!(line.editor.text(), "a draft", "thrown away by mistake");
    }
}

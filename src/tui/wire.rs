//! The line to the terminal: a frame goes in one piece or not at all, and its bytes are counted.

use super::cells;
use crossterm::Command;
use crossterm::style::Colored;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Result, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Collects a frame and sends it.
struct Frame<W: Write> {
    out: W,
    bytes: Vec<u8>,
    sent: u64,
}

impl<W: Write> Frame<W> {
    /// Sends what was collected between the marks of a synchronized update (DEC mode 2026), so that no terminal shows
    /// half of it.
    fn send(&mut self) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let mut whole = ansi(BeginSynchronizedUpdate);
        whole.append(&mut self.bytes);
        whole.extend(ansi(EndSynchronizedUpdate));
        self.sent += whole.len() as u64;
        self.out.write_all(&whole)?;
        self.out.flush()
    }
}

fn ansi(command: impl Command) -> Vec<u8> {
    let mut text = String::new();
    command.write_ansi(&mut text).expect("writing to a string cannot fail");
    text.into_bytes()
}

/// What crossterm writes to: its flushes in the middle of a frame count for nothing.
struct Collector<W: Write>(Rc<RefCell<Frame<W>>>);

impl<W: Write> Write for Collector<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.borrow_mut().bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// crossterm's backend without the sequences that change nothing: an unchanged frame is no byte.
pub struct Wire<W: Write> {
    to: CrosstermBackend<Collector<W>>,
    frame: Rc<RefCell<Frame<W>>>,
    /// Whether the cursor is seen, and where; `None` when it is not known.
    shown: Option<bool>,
    at: Option<Position>,
}

impl<W: Write> Wire<W> {
    pub fn new(out: W) -> Self {
        let frame = Rc::new(RefCell::new(Frame { out, bytes: Vec::new(), sent: 0 }));
        let to = CrosstermBackend::new(Collector(frame.clone()));
        Self { to, frame, shown: None, at: None }
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.frame.borrow().sent
    }
}

/// For sequences that are no part of a picture of cells: sent with the next flush.
impl<W: Write> Write for Wire<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.frame.borrow_mut().send()
    }
}

impl<W: Write> Backend for Wire<W> {
    type Error = std::io::Error;

    fn draw<'a, I>(&mut self, content: I) -> Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        // A cursor that runs along with the cells is a nuisance, and costs its place.
        self.hide_cursor()?;
        self.at = None;
        // crossterm asks for NO_COLOR in the same place.
        let colours = !Colored::ansi_color_disabled_memoized();
        cells::write(&mut self.frame.borrow_mut().bytes, content, colours);
        Ok(())
    }

    fn hide_cursor(&mut self) -> Result<()> {
        if self.shown.replace(false) == Some(false) {
            return Ok(());
        }
        self.to.hide_cursor()
    }

    fn show_cursor(&mut self) -> Result<()> {
        if self.shown.replace(true) == Some(true) {
            return Ok(());
        }
        self.to.show_cursor()
    }

    fn get_cursor_position(&mut self) -> Result<Position> {
        self.to.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<()> {
        let position = position.into();
        if self.at.replace(position) == Some(position) {
            return Ok(());
        }
        self.to.set_cursor_position(position)
    }

    fn clear(&mut self) -> Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, what: ClearType) -> Result<()> {
        self.at = None;
        self.to.clear_region(what)
    }

    fn size(&self) -> Result<Size> {
        self.to.size()
    }

    fn window_size(&mut self) -> Result<WindowSize> {
        self.to.window_size()
    }

    fn flush(&mut self) -> Result<()> {
        self.frame.borrow_mut().send()
    }
}

/// Bytes a second over the last while.
#[derive(Debug, Default)]
pub struct Rate {
    sent: VecDeque<(Instant, u64)>,
}

impl Rate {
    const WINDOW: Duration = Duration::from_secs(10);

    /// Notes how many bytes were sent in all, and gives the rate.
    pub fn note(&mut self, now: Instant, total: u64) -> f64 {
        self.sent.push_back((now, total));
        while self.sent.len() > 1 && now.duration_since(self.sent[0].0) > Self::WINDOW {
            self.sent.pop_front();
        }
        let (since, before) = self.sent[0];
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds < 0.5 { 0.0 } else { (total - before) as f64 / seconds }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::{Terminal, TerminalOptions, Viewport};

    fn terminal() -> Terminal<Wire<Vec<u8>>> {
        let viewport = Viewport::Fixed(Rect::new(0, 0, 20, 3));
        Terminal::with_options(Wire::new(Vec::new()), TerminalOptions { viewport }).unwrap()
    }

    #[test]
    fn a_frame_is_one_piece_and_an_unchanged_one_is_nothing() {
        let mut terminal = terminal();
        terminal.draw(|frame| frame.render_widget("loss 0.5", frame.area())).unwrap();
        let first = terminal.backend().sent();
        let text = String::from_utf8(terminal.backend().frame.borrow().out.clone()).unwrap();
        assert!(text.starts_with("\x1b[?2026h") && text.ends_with("\x1b[?2026l"), "{text:?}");
        assert_eq!(text.matches("2026h").count(), 1);
        assert_eq!(first, text.len() as u64);
        terminal.draw(|frame| frame.render_widget("loss 0.5", frame.area())).unwrap();
        assert_eq!(terminal.backend().sent(), first);
        terminal.draw(|frame| frame.render_widget("loss 0.4", frame.area())).unwrap();
        let sent = terminal.backend().sent() - first;
        assert!((1..60).contains(&sent), "{sent}");
    }

    #[test]
    fn a_cursor_that_rests_costs_nothing() {
        let mut terminal = terminal();
        let mut draw = |text: &'static str| {
            let before = terminal.backend().sent();
            let frame = |frame: &mut ratatui::Frame| {
                frame.render_widget(text, frame.area());
                frame.set_cursor_position((3, 1));
            };
            terminal.draw(frame).unwrap();
            terminal.backend().sent() - before
        };
        assert!(draw("a") > 0);
        assert_eq!(draw("a"), 0);
        assert!(draw("b") > 0);
    }

    #[test]
    fn the_rate_is_of_the_last_seconds() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.note(start, 50_000), 0.0);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rate.note(at(5), 55_000), 1000.0);
        assert!(rate.note(at(30), 55_000) < 1.0);
    }
}

//! Pictures between the lines of a plain terminal, for commands that are not the workbench.

use super::detect::{self, Detected};
use super::picture_worker;
use super::pictures::{PictureKey, View};
use super::state::look::Level;
use crate::data::ImageRef;
use crate::data::picture::Picture;
use crate::data::window::Window;
use crate::error::{Error, Kind, Result};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Rect, Size};
use ratatui::{Terminal, TerminalOptions, Viewport};
use ratatui_image::picker::{Picker, ProtocolType};
use std::io::{IsTerminal, stdin, stdout};

/// How a terminal shows pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    HalfBlocks,
    Kitty,
    Iterm2,
    Sixel,
}

/// The terminal's way to show pictures, and why it is this one.
pub struct Terminals {
    /// `None`: pictures are off.
    pub way: Option<Way>,
    /// For people.
    pub reason: String,
    /// A multiplexer is in between, which needs sequences wrapped.
    pub tmux: bool,
    /// The way was wished for, not found.
    pub wished: bool,
    picker: Option<Picker>,
}

/// Asks the terminal; `wish` as in `LORASCOPE_PICTURES`, which counts without one.
pub fn ask(wish: Option<&str>) -> Terminals {
    let named = std::env::var("LORASCOPE_PICTURES").ok();
    let by_flag = wish.is_some_and(|wish| wish != "auto");
    let wish = wish.map(str::to_string).or(named).filter(|w| w != "auto");
    let off = |reason: &str| Terminals {
        way: None,
        reason: reason.into(),
        tmux: false,
        wished: false,
        picker: None,
    };
    if !stdout().is_terminal() {
        return off("the output is not a terminal");
    }
    let colours = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    // Answers come as keys: without raw mode they would be printed, and wait for a line's end.
    let raw = stdin().is_terminal() && enable_raw_mode().is_ok();
    let Detected { picker, reason, .. } = match raw {
        true => detect::detect(wish.as_deref(), colours),
        false => detect::detect(Some(wish.as_deref().unwrap_or("halfblocks")), colours),
    };
    if raw {
        let _ = disable_raw_mode();
    }
    let reason = match (by_flag, raw || wish.is_some()) {
        (true, _) => "set by --pictures".into(),
        (false, true) => reason.replace("LORASCOPE_PICTURES overrides", "--pictures overrides"),
        (false, false) => "the terminal cannot be asked; --pictures overrides".into(),
    };
    let way = picker.as_ref().map(|p| match p.protocol_type() {
        ProtocolType::Halfblocks => Way::HalfBlocks,
        ProtocolType::Kitty => Way::Kitty,
        ProtocolType::Iterm2 => Way::Iterm2,
        ProtocolType::Sixel => Way::Sixel,
    });
    Terminals { way, reason, tmux: super::clipboard::in_tmux(), wished: wish.is_some(), picker }
}

impl Terminals {
    /// Draws a picture of at most `columns` x `rows` cells where the cursor is.
    ///
    /// # Errors
    /// The picture does not open, the terminal does not take it.
    pub fn draw(&self, image: &ImageRef, window: Option<Window>, (columns, rows): (u16, u16)) -> Result<()> {
        let Some(picker) = &self.picker else { return Ok(()) };
        let failed = |e: std::io::Error| Error::new(Kind::Io, format!("cannot draw on the terminal: {e}"));
        let level = window.map_or(Level::Auto, Level::Set);
        let size = Size::new(columns, rows);
        let key = PictureKey { image: image.clone(), size, view: View { level, ..View::default() } };
        let shown = picture_worker::encode(picker, &Picture::open(image)?, &key)?;
        let size = shown.protocol.size();
        let options = TerminalOptions { viewport: Viewport::Inline(size.height) };
        let mut terminal =
            Terminal::with_options(CrosstermBackend::new(stdout()), options).map_err(failed)?;
        let mut bottom = 0;
        let draw = |frame: &mut ratatui::Frame| {
            let area = frame.area();
            bottom = area.bottom();
            let at = Rect { width: size.width.min(area.width), height: size.height.min(area.height), ..area };
            frame.render_widget(ratatui_image::Image::new(&shown.protocol).allow_clipping(true), at);
        };
        terminal.draw(draw).map_err(failed)?;
        terminal.show_cursor().map_err(failed)?;
        terminal.set_cursor_position((0, bottom.saturating_sub(1))).map_err(failed)?;
        drop(terminal);
        crossterm::execute!(stdout(), crossterm::style::Print("\r\n")).map_err(failed)
    }
}

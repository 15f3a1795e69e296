//! Pictures in the terminal for `lorascope show`, by viuer, or by the workbench's encoder where viuer cannot.

use crate::cli::output::Out;
use crate::data::window::Window;
use crate::data::{ImageRef, picture};
use crate::error::{Error, Result};
use crate::tui::inline::{self, Terminals, Way};
use clap::Args;

#[derive(Args, Debug)]
pub struct PictureArgs {
    /// Do not draw the pictures
    #[arg(long)]
    pub no_pictures: bool,
    /// How to draw them: auto, kitty, sixel, iterm2, halfblocks, off
    #[arg(long, value_name = "HOW", value_parser = ["auto", "kitty", "sixel", "iterm2", "halfblocks", "off"])]
    pub pictures: Option<String>,
    /// Brightness that is spread from black to white, in percent: 20-80, or auto
    #[arg(long, value_name = "LOW-HIGH")]
    pub level: Option<String>,
}

/// Rows of the terminal a drawn picture takes at most, and columns.
const DRAWN_ROWS: u16 = 24;
const DRAWN_COLUMNS: u16 = 60;

/// A terminal that pictures are drawn in.
pub struct Drawing {
    terminal: Terminals,
    /// `None`: found for each picture.
    window: Option<Window>,
}

impl PictureArgs {
    /// Asks the terminal how it shows pictures and says so; `None` where none are to be drawn.
    ///
    /// # Errors
    /// `--level` is no range.
    pub fn terminal(&self, out: &Out) -> Result<Option<Drawing>> {
        let window = level(self.level.as_deref())?;
        if self.no_pictures || out.json {
            return Ok(None);
        }
        let terminal = inline::ask(self.pictures.as_deref());
        if let Some(way) = terminal.way {
            let name = match way {
                Way::HalfBlocks => "half blocks",
                Way::Kitty => "kitty",
                Way::Iterm2 => "iTerm2",
                Way::Sixel => "sixel",
            };
            out.note(format!("pictures by {name}: {}", terminal.reason));
        }
        Ok(terminal.way.map(|_| Drawing { terminal, window }))
    }
}

/// The window that `--level` names; `None`: found for each picture.
fn level(given: Option<&str>) -> Result<Option<Window>> {
    let percent = |text: &str| text.parse::<i32>().ok().filter(|n| (0..=100).contains(n));
    match given {
        None => Ok(Some(Window::FULL)),
        Some("auto") => Ok(None),
        Some(range) => {
            let ends = range.split_once('-').and_then(|(low, high)| Some((percent(low)?, percent(high)?)));
            match ends {
                Some((low, high)) if low < high => Ok(Some(Window::between(low * 10, high * 10))),
                _ => Err(Error::usage(format!("--level {range} is no range of brightness"))
                    .hint("write two percentages, --level 20-80, or --level auto")),
            }
        }
    }
}

impl Drawing {
    /// Draws a picture; one that cannot be drawn is told and is no error.
    pub fn draw(&self, image: &ImageRef, out: &Out) {
        if let Err(why) = self.try_draw(image) {
            out.note(format!("the picture is not drawn: {why}"));
        }
    }

    fn try_draw(&self, image: &ImageRef) -> Result<(), String> {
        let Terminals { way, tmux, wished, .. } = &self.terminal;
        // viuer has no sixel, does not wrap for tmux, and asks once more whether it may use what was wished for.
        let by_viuer = match way {
            Some(Way::HalfBlocks) => true,
            Some(Way::Kitty | Way::Iterm2) => !tmux && !wished,
            Some(Way::Sixel) | None => false,
        };
        if !by_viuer {
            let size = (DRAWN_COLUMNS, DRAWN_ROWS);
            return self.terminal.draw(image, self.window, size).map_err(|e| e.message);
        }
        let picture = picture::open(image).map_err(|e| e.message)?;
        let picture = self.window.unwrap_or_else(|| Window::of(&picture)).apply(&picture);
        let (columns, rows) = (u32::from(DRAWN_COLUMNS), u32::from(DRAWN_ROWS));
        // A cell is about twice as high as wide.
        let wide = picture.width() * rows * 2 > picture.height() * columns;
        let config = viuer::Config {
            absolute_offset: false,
            width: wide.then_some(columns),
            height: (!wide).then_some(rows),
            use_kitty: *way == Some(Way::Kitty),
            use_iterm: *way == Some(Way::Iterm2),
            ..viuer::Config::default()
        };
        viuer::print(&picture, &config).map(drop).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_percentages() {
        assert_eq!(level(None).unwrap(), Some(Window::FULL));
        assert_eq!(level(Some("auto")).unwrap(), None);
        assert_eq!(level(Some("20-80")).unwrap(), Some(Window::between(200, 800)));
        for wrong in ["80-20", "5", "a-b", "0-101", "-5-10"] {
            assert!(level(Some(wrong)).unwrap_err().hint.is_some(), "{wrong}");
        }
    }
}

//! How pictures are looked at: window and level, zoom, which of a sample's pictures.

use crate::data::window::Window;
use crate::tui::action::Action;
use crate::tui::words::Words;

/// The window over brightness that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Set(Window),
    /// Found for each picture.
    Auto,
}

/// How the selected sample is looked at.
#[derive(Clone, Debug)]
pub struct Look {
    pub level: Level,
    /// Percent of the size that fits.
    pub zoom: u32,
    /// The middle of what is seen, in thousandths of width and height.
    pub centre: (i32, i32),
    /// Which of the sample's pictures.
    pub picture: usize,
    /// As the model is trained on it, instead of as stored.
    pub trained: bool,
    /// Lines of text scrolled away.
    pub scroll: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            level: Level::Set(Window::FULL),
            zoom: 100,
            centre: (500, 500),
            picture: 0,
            trained: false,
            scroll: 0,
        }
    }
}

const MOST_ZOOM: u32 = 3200;

impl Look {
    /// Another sample is looked at: window and level stay, the rest starts anew.
    pub fn next_sample(&mut self) {
        (self.zoom, self.centre, self.picture, self.scroll) = (100, (500, 500), 0, 0);
    }

    /// Zooms by half a step of two, in or out.
    fn zoom(&mut self, closer: bool) {
        let by = if closer { 3.0 / 2.0 } else { 2.0 / 3.0 };
        self.zoom = ((f64::from(self.zoom) * by).round() as u32).clamp(100, MOST_ZOOM);
        if self.zoom == 100 {
            self.centre = (500, 500);
        }
    }

    /// Moves what is seen, in quarters of the part that is seen.
    fn pan(&mut self, right: i32, down: i32) {
        let step = 25_000 / self.zoom.max(100) as i32;
        self.centre.0 = (self.centre.0 + right * step).clamp(0, 1000);
        self.centre.1 = (self.centre.1 + down * step).clamp(0, 1000);
    }

    /// Changes the window; auto-level is left for the full range.
    fn change(&mut self, change: impl FnOnce(Window) -> Window, auto: Option<Window>) {
        let now = match self.level {
            Level::Set(window) => window,
            Level::Auto => auto.unwrap_or(Window::FULL),
        };
        self.level = Level::Set(change(now));
    }

    /// Does what an action says about zoom, level or which of so many pictures; `false` for another action. `auto` is the window
    /// that was found for the picture.
    pub fn act(&mut self, action: Action, pictures: usize, auto: Option<Window>) -> bool {
        match action {
            Action::OwnPicture => self.picture = (self.picture + 1).min(pictures.saturating_sub(1)),
            Action::LastOwnPicture => self.picture = self.picture.saturating_sub(1),
            Action::ZoomIn => self.zoom(true),
            Action::ZoomOut => self.zoom(false),
            Action::Fit => (self.zoom, self.centre) = (100, (500, 500)),
            Action::Brighter => self.change(|w| w.shifted(-50), auto),
            Action::Darker => self.change(|w| w.shifted(50), auto),
            Action::MoreContrast => self.change(|w| w.scaled(0.8), auto),
            Action::LessContrast => self.change(|w| w.scaled(1.25), auto),
            Action::AutoLevel => self.level = Level::Auto,
            Action::ResetLevel => self.level = Level::Set(Window::FULL),
            _ => return false,
        }
        true
    }

    /// Moves what is seen where an arrow says, if something lies outside; `false` for another action.
    pub fn pan_by(&mut self, action: Action) -> bool {
        let (right, down) = match action {
            Action::Left => (-1, 0),
            Action::Right => (1, 0),
            Action::Up => (0, -1),
            Action::Down => (0, 1),
            _ => return false,
        };
        if self.zoom > 100 {
            self.pan(right, down);
        }
        true
    }

    /// What differs from the plain view, for people.
    pub fn describe(&self, words: Words, auto: Option<Window>) -> String {
        let mut parts = Vec::new();
        let percent = |w: Window| {
            let (level, window) = ((w.centre / 10).to_string(), (w.width / 10).to_string());
            words.fill("data.level", &[("level", &level), ("window", &window)])
        };
        match (self.level, auto) {
            (Level::Set(Window::FULL), _) => {}
            (Level::Set(window), _) => parts.push(percent(window)),
            (Level::Auto, Some(window)) => {
                parts.push(words.fill("data.auto", &[("level", &percent(window))]));
            }
            (Level::Auto, None) => parts.push(words.get("data.auto_level").into()),
        }
        if self.zoom != 100 {
            parts.push(words.count("data.zoomed", self.zoom));
        }
        parts.join(" · ")
    }
}

//! Pictures in the terminal: what is wanted, what is ready, within a bound of bytes.

use super::browse::trained::Resizing;
use super::state::look::Level;
use super::words::Words;
use crate::data::ImageRef;
use crate::data::window::Window;
use crate::error::Result;
use ratatui::layout::Size;
use ratatui_image::picker::ProtocolType;
use ratatui_image::protocol::Protocol;
use std::collections::VecDeque;
use std::sync::Arc;

/// A picture at a size in cells, looked at in one way.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureKey {
    pub image: ImageRef,
    pub size: Size,
    pub view: View,
}

/// What of a picture is seen, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub level: Level,
    /// Percent of the size that fits.
    pub zoom: u32,
    /// The middle of what is seen, in thousandths of width and height.
    pub centre: (i32, i32),
    /// Resized for the model, with the grid of its tokens.
    pub trained: Option<Arc<Resizing>>,
}

impl Default for View {
    /// The whole picture as stored.
    fn default() -> Self {
        Self { level: Level::Set(Window::FULL), zoom: 100, centre: (500, 500), trained: None }
    }
}

/// A picture ready to be drawn.
pub struct Shown {
    pub protocol: Protocol,
    /// Pixels of the original.
    pub pixels: (u32, u32),
    /// The window that was used.
    pub window: Window,
    /// Memory it takes, about.
    pub bytes: usize,
}

/// What is known of a picture.
pub enum Slot {
    Ready(Box<Shown>),
    Failed(String),
}

/// How pictures are shown, and those that were loaded, the oldest first.
#[derive(Default)]
pub struct Pictures {
    /// `None`: pictures are off, or the terminal was not asked yet.
    pub protocol: Option<ProtocolType>,
    /// Why it is this protocol, for people.
    pub reason: String,
    slots: VecDeque<(PictureKey, Slot)>,
    /// The number of the last answer taken in.
    pub seen: u64,
    /// What was asked for last.
    asked: Vec<PictureKey>,
}

/// Memory for pictures that are ready, in bytes, and how many are kept whatever they take.
const MOST_BYTES: usize = 64 << 20;
const LEAST: usize = 6;

impl Pictures {
    /// None yet, for a terminal that shows them like this.
    pub fn new(protocol: Option<ProtocolType>, reason: String) -> Self {
        Self { protocol, reason, ..Self::default() }
    }

    pub fn get(&self, key: &PictureKey) -> Option<&Slot> {
        self.slots.iter().find(|s| s.0 == *key).map(|s| &s.1)
    }

    /// The same picture in the same size, seen in another way: better than nothing while the right one is made.
    pub fn stand_in(&self, key: &PictureKey) -> Option<&Shown> {
        let like = |s: &&(PictureKey, Slot)| s.0.image == key.image && s.0.size == key.size;
        self.slots.iter().rev().filter(like).find_map(|s| match &s.1 {
            Slot::Ready(shown) => Some(&**shown),
            Slot::Failed(_) => None,
        })
    }

    /// The window of the newest auto-levelled view of a picture.
    pub fn window_of(&self, image: &ImageRef) -> Option<Window> {
        let auto = |s: &&(PictureKey, Slot)| s.0.image == *image && s.0.view.level == Level::Auto;
        self.slots.iter().rev().filter(auto).find_map(|s| match &s.1 {
            Slot::Ready(shown) => Some(shown.window),
            Slot::Failed(_) => None,
        })
    }

    /// Takes in the answer number `number`; the oldest go when there are too many bytes.
    pub fn take(&mut self, number: u64, key: PictureKey, found: Result<Box<Shown>>) {
        self.seen = self.seen.max(number);
        self.slots.retain(|s| s.0 != key);
        let slot = match found {
            Ok(shown) => Slot::Ready(shown),
            Err(error) => Slot::Failed(crate::data::clean::for_terminal(&error.message)),
        };
        self.slots.push_back((key, slot));
        while self.slots.len() > LEAST && self.bytes() > MOST_BYTES {
            self.slots.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        let of = |s: &(PictureKey, Slot)| match &s.1 {
            Slot::Ready(shown) => shown.bytes,
            Slot::Failed(why) => why.len(),
        };
        self.slots.iter().map(of).sum()
    }

    /// What to ask for after a frame: the pictures missing there, then those looked ahead at. `None`: as before.
    pub fn ask(&mut self, missing: Vec<PictureKey>, ahead: Vec<PictureKey>) -> Option<Vec<PictureKey>> {
        let mut wanted: Vec<PictureKey> = Vec::new();
        for key in missing.into_iter().chain(ahead) {
            if self.protocol.is_some() && self.get(&key).is_none() && !wanted.contains(&key) {
                wanted.push(key);
            }
        }
        if wanted == self.asked {
            return None;
        }
        self.asked.clone_from(&wanted);
        Some(wanted)
    }

    /// Whether a picture is made of ordinary cells, over which a popup can be drawn.
    pub fn plain_cells(&self) -> bool {
        self.protocol == Some(ProtocolType::Halfblocks)
    }

    /// What the user reads about it.
    pub fn describe(&self, words: Words) -> String {
        let name = match self.protocol {
            None => "off",
            Some(ProtocolType::Halfblocks) => "half blocks",
            Some(ProtocolType::Sixel) => "sixel",
            Some(ProtocolType::Kitty) => "kitty",
            Some(ProtocolType::Iterm2) => "iTerm2",
        };
        format!("{}: {}", words.said(name), words.said(&self.reason))
    }
}

//! Pictures in the terminal: a worker that decodes and encodes, a cache.

use super::Msg;
use super::effects::Loaded;
use crate::data::ImageRef;
use crate::error::{Error, Result};
use image::DynamicImage;
use ratatui::layout::Size;
use ratatui_image::Resize;
use ratatui_image::picker::{Picker, ProtocolType};
use ratatui_image::protocol::Protocol;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A picture at a size in cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureKey {
    pub image: ImageRef,
    pub size: Size,
}

/// A picture ready to be drawn.
pub struct Shown {
    pub protocol: Protocol,
    /// Pixels of the original.
    pub pixels: (u32, u32),
}

/// What is known of a picture.
pub enum Slot {
    Loading,
    Ready(Box<Shown>),
    Failed(String),
}

/// How pictures are shown, and those that were loaded, oldest first.
#[derive(Default)]
pub struct Pictures {
    /// `None`: pictures are off, or the terminal was not asked yet.
    pub protocol: Option<ProtocolType>,
    /// Why it is this protocol, for people.
    pub reason: String,
    slots: VecDeque<(PictureKey, Slot)>,
}

const KEPT: usize = 24;

impl Pictures {
    pub fn get(&self, key: &PictureKey) -> Option<&Slot> {
        self.slots.iter().find(|s| s.0 == *key).map(|s| &s.1)
    }

    /// Puts in what is known of a picture; the oldest go.
    pub fn put(&mut self, key: PictureKey, slot: Slot) {
        self.slots.retain(|s| s.0 != key);
        self.slots.push_back((key, slot));
        while self.slots.len() > KEPT {
            self.slots.pop_front();
        }
    }

    /// Forgets a picture whose request was passed over, so that it can be asked for again.
    pub fn forget(&mut self, key: &PictureKey) {
        self.slots.retain(|s| s.0 != *key);
    }

    /// Whether a picture is made of ordinary cells, over which a popup can be drawn.
    pub fn plain_cells(&self) -> bool {
        self.protocol == Some(ProtocolType::Halfblocks)
    }

    /// What the user reads about it.
    pub fn describe(&self) -> String {
        let name = match self.protocol {
            None => "off",
            Some(ProtocolType::Halfblocks) => "half blocks",
            Some(ProtocolType::Sixel) => "sixel",
            Some(ProtocolType::Kitty) => "kitty",
            Some(ProtocolType::Iterm2) => "iTerm2",
        };
        format!("{name}: {}", self.reason)
    }
}

/// Fits a picture into `size` cells (never enlarged more than the cells ask for) and encodes it.
pub fn encode(picker: &Picker, image: DynamicImage, size: Size) -> Result<Shown> {
    let pixels = (image.width(), image.height());
    let protocol = picker
        .new_protocol(image, size, Resize::Scale(None))
        .map_err(|e| Error::internal(format!("cannot encode the picture for this terminal: {e}")))?;
    Ok(Shown { protocol, pixels })
}

/// Starts the picture thread. Only the newest request waiting is worked on: a fast scroll leaves the others out.
pub fn start_worker(picker: Picker, out: Sender<Msg>) -> Sender<PictureKey> {
    let (requests, inbox) = channel();
    std::thread::Builder::new()
        .name("pictures".into())
        .spawn(move || work(&picker, &inbox, &out))
        .expect("the system can start a thread");
    requests
}

fn work(picker: &Picker, inbox: &Receiver<PictureKey>, out: &Sender<Msg>) {
    while let Ok(first) = inbox.recv() {
        // Two panes may each wait for one picture, so the two newest requests count.
        let mut waiting: VecDeque<_> = std::iter::once(first).chain(inbox.try_iter()).collect();
        while waiting.len() > 2 {
            let passed_over = waiting.pop_front().map(|key| Loaded::Picture(key, None));
            let _ = out.send(Msg::Loaded(passed_over.expect("more than two are waiting")));
        }
        for key in waiting {
            let shown = super::worker::open_picture(&key.image).and_then(|i| encode(picker, i, key.size));
            if out.send(Msg::Loaded(Loaded::Picture(key, Some(shown.map(Box::new))))).is_err() {
                return;
            }
        }
    }
}

//! The picture thread: decodes, windows, crops, resizes and encodes, the most wanted first, what is no longer wanted never.

use super::Msg;
use super::effects::Loaded;
use super::pictures::{PictureKey, Shown, View};
use super::state::look::Level;
use crate::data::ImageRef;
use crate::data::patches;
use crate::data::picture::Picture;
use crate::data::window::Window;
use crate::error::{Error, Result};
use image::imageops::FilterType;
use image::{DynamicImage, Rgb, RgbImage};
use ratatui::layout::Size;
use ratatui_image::Resize;
use ratatui_image::picker::{Picker, ProtocolType};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// All pictures wanted now, the most urgent first: replaces what was wanted before.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub keys: Vec<PictureKey>,
    /// The number of the last answer that was known when this was asked.
    pub seen: u64,
}

/// Memory for decoded pictures, in bytes.
const DECODED_BYTES: usize = 128 << 20;

/// Starts the thread.
pub fn start(picker: Picker, out: Sender<Msg>) -> Sender<Wanted> {
    let (requests, inbox) = channel();
    std::thread::Builder::new()
        .name("pictures".into())
        .spawn(move || work(&picker, &inbox, &out))
        .expect("the system can start a thread");
    requests
}

fn work(picker: &Picker, inbox: &Receiver<Wanted>, out: &Sender<Msg>) {
    let mut decoded = Decoded::default();
    let mut todo: VecDeque<PictureKey> = VecDeque::new();
    // Answers that the other side may not know of yet.
    let mut sent: VecDeque<(u64, PictureKey)> = VecDeque::new();
    let mut number = 0;
    loop {
        let first = if todo.is_empty() {
            match inbox.recv() {
                Ok(wanted) => Some(wanted),
                Err(_) => return,
            }
        } else {
            None
        };
        if let Some(wanted) = inbox.try_iter().last().or(first) {
            sent.retain(|(number, _)| *number > wanted.seen);
            let done = |key: &PictureKey| sent.iter().any(|(_, sent)| sent == key);
            todo = wanted.keys.into_iter().filter(|key| !done(key)).collect();
        }
        let Some(key) = todo.pop_front() else { continue };
        number += 1;
        let shown = guarded(|| decoded.open(&key.image).and_then(|p| encode(picker, &p, &key)));
        sent.push_back((number, key.clone()));
        if out.send(Msg::Loaded(Loaded::Picture { number, key, found: shown.map(Box::new) })).is_err() {
            return;
        }
    }
}

fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::internal("bug: reading the picture stopped with a panic")
            .hint("see lorascope.log in the workspace"))
    })
}

/// Decoded pictures, the least lately used first.
#[derive(Default)]
struct Decoded {
    pictures: VecDeque<(ImageRef, Arc<Picture>)>,
}

impl Decoded {
    fn open(&mut self, image: &ImageRef) -> Result<Arc<Picture>> {
        let at = self.pictures.iter().position(|p| p.0 == *image);
        if let Some(kept) = at.and_then(|at| self.pictures.remove(at)) {
            let picture = kept.1.clone();
            self.pictures.push_back(kept);
            return Ok(picture);
        }
        let picture = Arc::new(Picture::open(image)?);
        self.pictures.push_back((image.clone(), picture.clone()));
        let bytes = |p: &(ImageRef, Arc<Picture>)| p.1.image.as_bytes().len();
        while self.pictures.len() > 1 && self.pictures.iter().map(bytes).sum::<usize>() > DECODED_BYTES {
            self.pictures.pop_front();
        }
        Ok(picture)
    }
}

/// Makes a picture ready as its key says.
pub fn encode(picker: &Picker, picture: &Picture, key: &PictureKey) -> Result<Shown> {
    let pixels = (picture.image.width(), picture.image.height());
    let view = &key.view;
    let (image, cell) = match &view.trained {
        Some(how) => {
            let image = patches::resized(picture, how.limits, &how.processor)?;
            (DynamicImage::from(image), Some(how.token_side()))
        }
        None => (picture.image.clone(), None),
    };
    let window = match view.level {
        Level::Set(window) => window,
        Level::Auto => Window::of(&image),
    };
    let font = picker.font_size();
    let room = (
        u32::from(key.size.width) * u32::from(font.width),
        u32::from(key.size.height) * u32::from(font.height),
    );
    let seen = Seen::new((image.width(), image.height()), room, view);
    let image = window.apply(&image.crop_imm(seen.x, seen.y, seen.width, seen.height));
    // Large pixels are shown as they are; otherwise shrinking must not lose thin lines.
    let filter = if seen.scale >= 4.0 { FilterType::Nearest } else { FilterType::CatmullRom };
    let mut image = image.resize_exact(seen.to.0, seen.to.1, filter);
    if let Some(cell) = cell {
        // A half block is one pixel as wide as the font and half as high.
        let line = if picker.protocol_type() == ProtocolType::Halfblocks { u32::from(font.width) } else { 1 };
        image = draw_grid(&image, &seen, cell, line).into();
    }
    let bytes = bytes(picker.protocol_type(), key.size, (image.width(), image.height()));
    let protocol = picker
        .new_protocol(image, key.size, Resize::Fit(None))
        .map_err(|e| Error::internal(format!("cannot encode the picture for this terminal: {e}")))?;
    Ok(Shown { protocol, pixels, window, bytes })
}

/// About the memory of an encoded picture: cells, or text in base 64 (sixel is of that size at most).
fn bytes(protocol: ProtocolType, cells: Size, (width, height): (u32, u32)) -> usize {
    match protocol {
        ProtocolType::Halfblocks => usize::from(cells.width) * usize::from(cells.height) * 32,
        _ => width as usize * height as usize * 4 * 4 / 3,
    }
}

/// The part of a picture that is seen, in its pixels, and the size it is shown in.
struct Seen {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    /// Screen pixels for one of the picture.
    scale: f64,
    to: (u32, u32),
}

impl Seen {
    fn new((width, height): (u32, u32), room: (u32, u32), view: &View) -> Self {
        let fit = (f64::from(room.0) / f64::from(width)).min(f64::from(room.1) / f64::from(height));
        let scale = fit * f64::from(view.zoom.max(100)) / 100.0;
        let part = |side: u32, room: u32, centre: i32| {
            let part = ((f64::from(room) / scale).round() as u32).clamp(1, side);
            let start = f64::from(centre) / 1000.0 * f64::from(side) - f64::from(part) / 2.0;
            ((start.round().max(0.0) as u32).min(side - part), part)
        };
        let (x, width) = part(width, room.0, view.centre.0);
        let (y, height) = part(height, room.1, view.centre.1);
        let shown = |side: u32, room: u32| ((f64::from(side) * scale).round() as u32).clamp(1, room.max(1));
        Self { x, y, width, height, scale, to: (shown(width, room.0), shown(height, room.1)) }
    }
}

/// Lines between the tokens of a resized picture, where they are far enough apart to leave something of it.
fn draw_grid(image: &DynamicImage, seen: &Seen, cell: usize, line: u32) -> RgbImage {
    let mut image = image.to_rgb8();
    let step = cell as f64 * seen.scale;
    if step < f64::from(line) * 4.0 {
        return image;
    }
    let on_line = |at: u32, start: u32| {
        let at = f64::from(at) / seen.scale + f64::from(start);
        (at % cell as f64) * seen.scale < f64::from(line)
    };
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        if on_line(x, seen.x) || on_line(y, seen.y) {
            let Rgb([r, g, b]) = *pixel;
            *pixel = Rgb([r / 2 + 100, g / 2 + 70, b / 4]);
        }
    }
    image
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(image: &str, zoom: u32) -> PictureKey {
        PictureKey {
            image: ImageRef::Path(image.into()),
            size: Size::new(20, 10),
            view: View { zoom, ..View::default() },
        }
    }

    #[test]
    fn zooming_sees_a_part_and_never_leaves_the_picture() {
        let view = |zoom, centre| View { zoom, centre, ..View::default() };
        let all = Seen::new((100, 50), (200, 200), &view(100, (500, 500)));
        assert_eq!((all.x, all.y, all.width, all.height, all.to), (0, 0, 100, 50, (200, 100)));
        let part = Seen::new((100, 50), (200, 200), &view(400, (1000, 0)));
        assert_eq!((part.x, part.y, part.width, part.height, part.to), (75, 0, 25, 25, (200, 200)));
        let thin = Seen::new((1, 5000), (200, 200), &view(3200, (0, 1000)));
        assert!(thin.width == 1 && thin.y + thin.height == 5000, "{}", thin.y);
    }

    #[test]
    fn only_what_is_wanted_last_is_made_and_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: usize| dir.path().join(format!("{n}.png"));
        for n in 0..3 {
            image::GrayImage::from_pixel(40, 30, image::Luma([n as u8 * 80])).save(path(n)).unwrap();
        }
        let key = |n| key(path(n).to_str().unwrap(), 100);
        let (out, answers) = channel();
        let (send, inbox) = channel();
        // All are waiting before the thread starts: only the last list counts.
        send.send(Wanted { keys: vec![key(0), key(1)], seen: 0 }).unwrap();
        send.send(Wanted { keys: vec![key(2), key(1)], seen: 0 }).unwrap();
        let worker = std::thread::spawn(move || work(&Picker::halfblocks(), &inbox, &out));
        let answer = || match answers.recv().unwrap() {
            Msg::Loaded(Loaded::Picture { number, key, found }) => (number, key, found.unwrap().pixels),
            _ => panic!("not a picture"),
        };
        assert_eq!([answer(), answer()], [(1, key(2), (40, 30)), (2, key(1), (40, 30))]);
        // The first answer is known, the second is on its way: it is not made again.
        send.send(Wanted { keys: vec![key(1), key(0)], seen: 1 }).unwrap();
        assert_eq!(answer().1, key(0));
        drop(send);
        worker.join().unwrap();
        assert!(answers.recv().is_err(), "nothing else was made");
    }

    #[test]
    fn a_picture_for_the_model_has_its_grid() {
        let white: DynamicImage = RgbImage::from_pixel(64, 64, Rgb([255; 3])).into();
        let seen = Seen::new((64, 64), (256, 256), &View::default());
        let shown = draw_grid(&white.resize_exact(256, 256, FilterType::Nearest), &seen, 32, 1);
        assert!(shown.get_pixel(128, 60) != shown.get_pixel(64, 60), "a line between two tokens");
        assert!(shown.get_pixel(64, 60) == &Rgb([255; 3]));
    }
}

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
use ratatui_image::protocol::Protocol;
use ratatui_image::protocol::halfblocks::Halfblocks;
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
    let view = &key.view;
    let trained = view.trained.as_ref().map(|how| patches::resized(picture, how.limits, &how.processor));
    let trained = trained.transpose()?.map(DynamicImage::from);
    let source = trained.as_ref().unwrap_or(&picture.image);
    let window = match view.level {
        Level::Set(window) => window,
        Level::Auto => Window::of(source),
    };
    let blocks = picker.protocol_type() == ProtocolType::Halfblocks;
    // A half block is one pixel.
    let font = if blocks { (1, 2) } else { (picker.font_size().width, picker.font_size().height) };
    let cells = |cells: u16, side: u16| u32::from(cells) * u32::from(side);
    let room = (cells(key.size.width, font.0), cells(key.size.height, font.1));
    let mut seen = Seen::new((source.width(), source.height()), room, view);
    if blocks {
        seen.to.1 = seen.to.1.next_multiple_of(2);
    }
    let mut image = window.apply(&seen.cut(source));
    if let Some(how) = &view.trained {
        image = draw_grid(&image, &seen, how.token_side()).into();
    }
    let bytes = bytes(picker.protocol_type(), (image.width(), image.height()));
    let size = Size::new(image.width() as u16, image.height().div_ceil(2) as u16);
    let protocol = match blocks {
        true => Halfblocks::new(image, size).map(Protocol::Halfblocks),
        false => picker.new_protocol(image, key.size, Resize::Fit(None)),
    };
    let protocol =
        protocol.map_err(|e| Error::internal(format!("cannot encode the picture for this terminal: {e}")))?;
    Ok(Shown { protocol, pixels: (picture.image.width(), picture.image.height()), window, bytes })
}

/// About the memory of an encoded picture: cells, or text in base 64 (sixel is of that size at most).
fn bytes(protocol: ProtocolType, (width, height): (u32, u32)) -> usize {
    let pixels = width as usize * height as usize;
    if protocol == ProtocolType::Halfblocks { pixels * 16 } else { pixels * 4 * 4 / 3 }
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

    /// That part, in the size it is shown in.
    fn cut(&self, image: &DynamicImage) -> DynamicImage {
        let part = image.crop_imm(self.x, self.y, self.width, self.height);
        let (width, height) = self.to;
        if self.scale >= 4.0 {
            // Large pixels are shown as they are.
            return part.resize_exact(width, height, FilterType::Nearest);
        }
        // Averages first where much is lost: as good, and far quicker.
        let part = if self.scale < 0.25 { part.thumbnail_exact(width * 2, height * 2) } else { part };
        part.resize_exact(width, height, FilterType::CatmullRom)
    }
}

/// Lines between the tokens of a resized picture, where they are far enough apart to leave something of it.
fn draw_grid(image: &DynamicImage, seen: &Seen, cell: usize) -> RgbImage {
    let mut image = image.to_rgb8();
    let step = cell as f64 * seen.scale;
    if step < 3.0 {
        return image;
    }
    let on_line = |at: u32, start: u32| {
        let at = f64::from(at) / seen.scale + f64::from(start);
        (at % cell as f64) * seen.scale < 1.0
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
        let shown = draw_grid(&white.resize_exact(256, 256, FilterType::Nearest), &seen, 32);
        assert!(shown.get_pixel(128, 60) != shown.get_pixel(64, 60), "a line between two tokens");
        assert!(shown.get_pixel(64, 60) == &Rgb([255; 3]));
    }
}

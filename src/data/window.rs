//! Window and level: which part of a picture's range of brightness is spread over the screen's.

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};

/// A window over brightness, in thousandths of the full range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// What becomes middle grey.
    pub centre: i32,
    /// What is spread from black to white.
    pub width: i32,
}

impl Window {
    /// The picture as stored.
    pub const FULL: Window = Window { centre: 500, width: 1000 };

    /// From `low` to `high`, in thousandths; at least a thousandth wide.
    pub fn between(low: i32, high: i32) -> Self {
        Self { centre: (low + high) / 2, width: (high - low).max(1) }
    }

    /// Moves the centre; more is darker.
    pub fn shifted(self, by: i32) -> Self {
        Self { centre: (self.centre + by).clamp(0, 1000), ..self }
    }

    /// Changes the width by a factor; narrower is more contrast.
    pub fn scaled(self, by: f64) -> Self {
        Self { width: ((f64::from(self.width) * by).round() as i32).clamp(10, 2000), ..self }
    }

    /// The window from the 0.5th to the 99.5th percentile of brightness: what is rarer is not worth the range.
    pub fn of(image: &DynamicImage) -> Self {
        const CUT: f64 = 0.005;
        let grey = image.to_luma16();
        let mut counts = vec![0u64; 1001];
        for pixel in grey.pixels() {
            counts[thousandth(pixel.0[0])] += 1;
        }
        let cut = (grey.pixels().len() as f64 * CUT) as u64;
        let low = past(cut, counts.iter()).unwrap_or(0);
        let high = past(cut, counts.iter().rev()).map_or(1000, |n| 1000 - n);
        Self::between(low as i32, high as i32)
    }

    /// The byte that a 16-bit value becomes.
    fn map(self, value: u16) -> u8 {
        let low = f64::from(self.centre) - f64::from(self.width) / 2.0;
        let at = (f64::from(value) / 65.535 - low) / f64::from(self.width.max(1));
        (at.clamp(0.0, 1.0) * 255.0).round() as u8
    }

    /// The picture in 8 bits through the window. Alpha is dropped, as in training.
    pub fn apply(self, image: &DynamicImage) -> DynamicImage {
        let deep = image.color().bytes_per_pixel() / image.color().channel_count() > 1;
        if self == Self::FULL && !deep && !image.color().has_alpha() {
            return image.clone();
        }
        let table: Vec<u8> = (0..=255u16).map(|v| self.map(v * 257)).collect();
        match (image.color().has_color(), deep) {
            (true, false) => {
                let mut rgb = image.to_rgb8();
                rgb.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
                rgb.into()
            }
            (false, false) => {
                let mut grey = image.to_luma8();
                grey.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
                grey.into()
            }
            (true, true) => {
                let rgb = image.to_rgb16();
                let map = |x, y| Rgb(rgb.get_pixel(x, y).0.map(|v| self.map(v)));
                RgbImage::from_fn(rgb.width(), rgb.height(), map).into()
            }
            (false, true) => {
                let grey = image.to_luma16();
                let map = |x, y| Luma([self.map(grey.get_pixel(x, y).0[0])]);
                GrayImage::from_fn(grey.width(), grey.height(), map).into()
            }
        }
    }
}

/// How many counts come before the one with which their sum exceeds `cut`.
fn past<'a>(cut: u64, mut counts: impl Iterator<Item = &'a u64>) -> Option<usize> {
    let mut seen = 0;
    counts.position(|n| {
        seen += n;
        seen > cut
    })
}

fn thousandth(value: u16) -> usize {
    (f64::from(value) / 65.535).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageBuffer;

    #[test]
    fn the_full_window_changes_nothing_and_a_narrow_one_spreads() {
        let ramp: DynamicImage = GrayImage::from_fn(256, 1, |x, _| Luma([x as u8])).into();
        assert!(Window::FULL.apply(&ramp) == ramp);
        let narrow = Window::between(400, 600).apply(&ramp).to_luma8();
        let at = |x| narrow.get_pixel(x, 0).0[0];
        assert_eq!((at(90), at(102), at(127), at(153), at(200)), (0, 0, 125, 255, 255));
    }

    #[test]
    fn auto_level_finds_a_dark_16_bit_scan_and_keeps_its_depth() {
        // Values from 1000 to 2023 of 65535: almost black in 8 bits.
        let scan = ImageBuffer::from_fn(1024, 4, |x, _| Luma([1000 + x as u16]));
        let scan = DynamicImage::ImageLuma16(scan);
        let window = Window::of(&scan);
        assert!((14..=17).contains(&(window.centre - window.width / 2)), "{window:?}");
        assert!((29..=32).contains(&(window.centre + window.width / 2)), "{window:?}");
        let shown = window.apply(&scan).to_luma8();
        let mut levels: Vec<u8> = shown.iter().copied().collect();
        levels.sort_unstable();
        levels.dedup();
        assert!(levels.len() > 200, "{} levels of grey are left", levels.len());
    }
}

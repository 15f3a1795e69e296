//! A plot as pixels: smooth lines, letters of a small built-in font.

use super::plot::{HEIGHT, Rgb, Surface, WIDTH};
use font8x8::UnicodeFonts;
use image::{ImageFormat, RgbImage};

/// Pixels of the finished picture per unit of the plot.
const SCALE: f64 = 2.0;
/// Letters are 8 dots wide and high, and half of that apart in units of the plot.
const LETTER: f64 = 8.0;

/// A white picture to draw on.
pub struct Pixels {
    image: RgbImage,
}

impl Pixels {
    pub fn new() -> Self {
        let (width, height) = ((WIDTH * SCALE) as u32, (HEIGHT * SCALE) as u32);
        Self { image: RgbImage::from_pixel(width, height, image::Rgb([255; 3])) }
    }

    /// The picture as a PNG file.
    pub fn png(&self) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        self.image
            .write_to(&mut bytes, ImageFormat::Png)
            .expect("a picture of this size is written to memory");
        bytes.into_inner()
    }

    /// Mixes a colour into a pixel; `share` 1 covers it.
    fn mix(&mut self, x: i64, y: i64, colour: Rgb, share: f64) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if let Some(pixel) = self.image.get_pixel_mut_checked(x, y) {
            for (old, new) in pixel.0.iter_mut().zip(colour) {
                *old = (f64::from(*old) * (1.0 - share) + f64::from(new) * share).round() as u8;
            }
        }
    }

    /// One straight piece, `half` thick on each side: pixels are covered by how near their centre is.
    fn piece(&mut self, (ax, ay): (f64, f64), (bx, by): (f64, f64), half: f64, colour: Rgb) {
        let reach = half + 1.0;
        let (dx, dy) = (bx - ax, by - ay);
        let length = dx * dx + dy * dy;
        for y in (ay.min(by) - reach).floor() as i64..=(ay.max(by) + reach).ceil() as i64 {
            for x in (ax.min(bx) - reach).floor() as i64..=(ax.max(bx) + reach).ceil() as i64 {
                let (px, py) = (x as f64 + 0.5 - ax, y as f64 + 0.5 - ay);
                let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
                let distance = (px - along * dx).hypot(py - along * dy);
                let share = (half + 0.5 - distance).clamp(0.0, 1.0);
                if share > 0.0 {
                    self.mix(x, y, colour, share);
                }
            }
        }
    }
}

impl Surface for Pixels {
    fn line(&mut self, points: &[(f64, f64)], colour: Rgb, width: f64) {
        let scaled = |p: &(f64, f64)| (p.0 * SCALE, p.1 * SCALE);
        for pair in points.windows(2) {
            self.piece(scaled(&pair[0]), scaled(&pair[1]), width * SCALE / 2.0, colour);
        }
        if let [only] = points {
            self.piece(scaled(only), scaled(only), width * SCALE, colour);
        }
    }

    fn words(&mut self, at: (f64, f64), side: i8, words: &str, colour: Rgb) {
        let width = words.chars().count() as f64 * LETTER;
        let start = at.0 - width * f64::from(side + 1) / 2.0;
        for (i, c) in words.chars().enumerate() {
            let (left, top) = (start + i as f64 * LETTER, at.1 - LETTER);
            for (row, bits) in glyph(c).iter().enumerate() {
                for column in (0..8).filter(|column| bits & (1 << column) != 0) {
                    let (x, y) = ((left + f64::from(column)) * SCALE, (top + row as f64) * SCALE);
                    for (dx, dy) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        self.mix(x as i64 + dx, y as i64 + dy, colour, 1.0);
                    }
                }
            }
        }
    }
}

/// Rows of dots, the lowest bit on the left. A letter that the font lacks is a box.
fn glyph(c: char) -> [u8; 8] {
    const BOX: [u8; 8] = [0, 0x3e, 0x22, 0x22, 0x22, 0x22, 0x3e, 0];
    font8x8::BASIC_FONTS.get(c).or_else(|| font8x8::LATIN_FONTS.get(c)).unwrap_or(BOX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_a_letter_are_where_they_should_be() {
        let mut pixels = Pixels::new();
        pixels.line(&[(10.0, 20.0), (110.0, 20.0)], [255, 0, 0], 2.0);
        pixels.words((200.0, 50.0), -1, "I肺", [0, 0, 0]);
        let read = image::load_from_memory(&pixels.png()).unwrap().to_rgb8();
        assert_eq!(read.dimensions(), (1920, 1080));
        assert_eq!(read.get_pixel(120, 40).0, [255, 0, 0]);
        assert_eq!(read.get_pixel(120, 60).0, [255; 3]);
        let dark = |x0: u32| (x0..x0 + 16).any(|x| (84..100).any(|y| read.get_pixel(x, y).0 == [0; 3]));
        assert!(dark(400) && dark(416) && !dark(440));
    }
}

//! A picture through a window of brightness, as a `data:` URL: 16-bit scans as a person would set them.

use super::picture;
use super::sample::ImageRef;
use super::window::Window;
use crate::error::{Error, Result};
use crate::job::Brightness;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Window and level as people set them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Levels {
    /// From the 0.5th to the 99.5th percentile.
    Auto,
    /// In the values that the file stores: up to 255, or 65,535 with 16 bits.
    Set { window: f64, level: f64 },
}

impl Levels {
    /// Reads `auto`, or `WINDOW/LEVEL` such as `400/1040`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let numbers = text.split_once('/').and_then(|(w, l)| Some((w.parse().ok()?, l.parse().ok()?)));
        match numbers {
            Some((window, level)) if window > 0.0 => Ok(Self::Set { window, level }),
            _ => Err(Error::usage(format!("{text} is no window and level"))
                .hint("write auto, or WINDOW/LEVEL in the picture's own values: 400/1040")),
        }
    }
}

/// The picture as 8-bit PNG in a `data:` URL.
///
/// # Errors
/// It cannot be read or decoded.
pub fn url(path: &Path, levels: Levels) -> Result<PathBuf> {
    let picture = picture::open(&ImageRef::named(path.to_path_buf())?)?;
    let deep = picture.color().bytes_per_pixel() / picture.color().channel_count() > 1;
    let window = match levels {
        Levels::Auto => Window::of(&picture),
        Levels::Set { window, level } => {
            let thousandth = |v: f64| (v / if deep { 65.535 } else { 0.255 }).round() as i32;
            Window::between(thousandth(level - window / 2.0), thousandth(level + window / 2.0))
        }
    };
    Ok(data_url(&png_of(&picture, window)?))
}

/// The picture of this name as it is seen through a window, as 8-bit PNG in a `data:` URL.
///
/// # Errors
/// It cannot be read or decoded.
pub fn seen(name: &Path, brightness: Brightness) -> Result<PathBuf> {
    Ok(data_url(&png(&ImageRef::named(name.to_path_buf())?, brightness)?))
}

/// The picture as it is seen through a window, as the bytes of an 8-bit PNG.
///
/// # Errors
/// It cannot be read or decoded.
pub fn png(image: &ImageRef, brightness: Brightness) -> Result<Vec<u8>> {
    let picture = picture::open(image)?;
    let window = match brightness {
        Brightness::Auto => Window::of(&picture),
        Brightness::Set { centre, width } => Window { centre, width },
    };
    png_of(&picture, window)
}

fn png_of(picture: &DynamicImage, window: Window) -> Result<Vec<u8>> {
    let mut png = Vec::new();
    let written = window.apply(picture).write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
    written.map_err(|e| Error::internal(format!("cannot write a picture as PNG: {e}")))?;
    Ok(png)
}

fn data_url(png: &[u8]) -> PathBuf {
    format!("data:image/png;base64,{}", STANDARD.encode(png)).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma};

    #[test]
    fn a_16_bit_scan_through_its_window() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scan.tiff");
        ImageBuffer::from_fn(3, 1, |x, _| Luma([20_000 + x as u16 * 10_000])).save(&path).unwrap();
        let levels = Levels::parse("20000/30000").unwrap();
        let shown = picture::open(&ImageRef::named(url(&path, levels).unwrap()).unwrap()).unwrap().to_luma8();
        let values: Vec<u8> = shown.iter().copied().collect();
        assert!(values[0] < 3 && (126..=129).contains(&values[1]) && values[2] > 252, "{values:?}");
        assert!(url(&path, Levels::Auto).is_ok());
        // The same window in thousandths of the full range.
        let same = Brightness::Set { centre: 458, width: 305 };
        let seen = picture::open(&ImageRef::named(seen(&path, same).unwrap()).unwrap()).unwrap().to_luma8();
        assert!(seen.iter().zip(&values).all(|(a, b)| a.abs_diff(*b) < 3), "{seen:?} {values:?}");
        for bad in ["", "5", "0/1", "a/b"] {
            assert!(Levels::parse(bad).is_err(), "{bad}");
        }
    }
}

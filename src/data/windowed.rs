//! A picture through a window of brightness, as a `data:` URL: 16-bit scans as a person would set them.

use super::picture;
use super::sample::ImageRef;
use super::window::Window;
use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
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
    let mut png = Vec::new();
    let written = window.apply(&picture).write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
    written.map_err(|e| Error::internal(format!("cannot write a picture as PNG: {e}")))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)).into())
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
        for bad in ["", "5", "0/1", "a/b"] {
            assert!(Levels::parse(bad).is_err(), "{bad}");
        }
    }
}

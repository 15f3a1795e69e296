//! One look at a picture's file: size, format, content, and whether it is whole; read once, decoded only on request.

use super::picture::{self, Header, Picture};
use super::picture_header::{jpeg_facts, png_facts};
use super::sample::ImageRef;
use crate::error::{Error, Result};
use image::ImageFormat;

/// Half the BLAKE3 hash of a file.
pub type ContentHash = [u8; 16];

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Header, and whether the end of the file is there.
    Header,
    /// Every pixel is decoded once.
    Pixels,
}

/// A picture that is sound as far as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub format: ImageFormat,
    /// Length of the file.
    pub bytes: u64,
    pub hash: ContentHash,
    pub depth: Depth,
}

/// What is wrong with a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It cannot be read or decoded.
    Broken,
    /// Its end is missing.
    Truncated,
    /// More than [`picture::MAX_PIXELS`].
    Oversized,
}

/// Reads the file once and looks at it.
pub fn look(image: &ImageRef, depth: Depth) -> Result<Look, (Flaw, Error)> {
    let name = picture::name(image);
    let broken = |e: Error| (Flaw::Broken, e);
    let bytes = image.bytes().map_err(broken)?;
    let header = picture::header_of(&bytes, &name).map_err(|e| (flaw_of(&bytes), e))?;
    let Header { width, height, format, .. } = header;
    if !is_whole(&bytes, format) {
        return Err((Flaw::Truncated, ends_early(&name)));
    }
    if depth == Depth::Pixels {
        Picture::decode(&bytes, &name).map_err(broken)?;
    }
    Ok(Look { width, height, format, bytes: bytes.len() as u64, hash: hash(&bytes), depth })
}

/// The hash by which equal pictures are found.
fn hash(bytes: &[u8]) -> ContentHash {
    let whole = blake3::hash(bytes);
    *whole.as_bytes().first_chunk().expect("32 bytes hold 16")
}

/// Why a header was refused: the picture is too large if its size can be read at all.
fn flaw_of(bytes: &[u8]) -> Flaw {
    let size = image::ImageReader::new(std::io::Cursor::new(bytes))
        .with_guessed_format()
        .ok()
        .and_then(|r| r.into_dimensions().ok());
    match size {
        Some((w, h)) if u64::from(w) * u64::from(h) > picture::MAX_PIXELS => Flaw::Oversized,
        _ => Flaw::Broken,
    }
}

/// Whether the file's end is there, by the rules of its format. TIFF and BMP have no mark for it.
fn is_whole(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        // The end mark is nearly always the end of the file; else the walk over all marks decides.
        ImageFormat::Jpeg => bytes.ends_with(&[0xFF, 0xD9]) || jpeg_facts(bytes).complete,
        ImageFormat::Png => bytes.ends_with(b"IEND\xae\x42\x60\x82") || png_facts(bytes).complete,
        ImageFormat::Gif => bytes.iter().rev().find(|b| **b != 0) == Some(&0x3B),
        ImageFormat::WebP => {
            let told = bytes.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
            bytes.len() as u64 >= u64::from(told) + 8
        }
        _ => true,
    }
}

fn ends_early(name: &str) -> Error {
    Error::input(format!("{name} ends early: the end of the picture is missing"))
        .hint("the file was not copied completely: get it again, or take its row out of the data")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use image::{DynamicImage, RgbImage};
    use std::io::Cursor;

    fn file(format: ImageFormat) -> Vec<u8> {
        let noise = RgbImage::from_fn(40, 30, |x, y| image::Rgb([((x * 7) ^ (y * 13)) as u8; 3]));
        let mut bytes = Vec::new();
        DynamicImage::from(noise).write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    #[test]
    fn a_whole_picture_gives_its_facts_and_a_cut_one_is_told() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP] {
            let bytes = file(format);
            for depth in [Depth::Header, Depth::Pixels] {
                let look = look(&ImageRef::Bytes(bytes[..].into()), depth).unwrap();
                assert_eq!((look.width, look.height, look.format), (40, 30, format));
            }
            let cut = ImageRef::Bytes(bytes[..bytes.len() * 3 / 4].into());
            assert_eq!(look(&cut, Depth::Header).unwrap_err().0, Flaw::Truncated, "{format:?}");
        }
        let tail = [&file(ImageFormat::Jpeg)[..], b"garbage"].concat();
        assert!(look(&ImageRef::Bytes(tail[..].into()), Depth::Header).is_ok());
    }

    #[test]
    fn damage_in_the_middle_needs_the_pixels() {
        let mut bytes = file(ImageFormat::Png);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        let image = ImageRef::Bytes(bytes[..].into());
        assert!(look(&image, Depth::Header).is_ok());
        assert_eq!(look(&image, Depth::Pixels).unwrap_err().0, Flaw::Broken);
        assert_eq!(look(&ImageRef::Bytes(b"<html>"[..].into()), Depth::Header).unwrap_err().0, Flaw::Broken);
    }
}

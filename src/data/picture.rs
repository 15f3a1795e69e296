//! Opens pictures from data safely: format by content, limits by header, clear errors with the path.

use super::picture_header::jpeg_facts;
use super::sample::ImageRef;
use crate::error::{At, Error, Result};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};

/// Larger pictures are refused by their header, before a pixel is decoded.
pub const MAX_PIXELS: u64 = 100_000_000;

/// Memory the decoder may take, in bytes: [`MAX_PIXELS`] of 8 bytes, and as much to work in.
const MAX_DECODER_BYTES: u64 = 16 * MAX_PIXELS;

/// What a picture's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub width: u32,
    pub height: u32,
    pub format: ImageFormat,
    /// The file holds palette indices or single bits. Pillow opens such a file in mode `P` or `1` and
    /// resizes it by nearest neighbour, before the colours are looked up.
    pub indexed: bool,
}

/// A decoded picture with what its resizing depends on.
#[derive(Clone, Debug)]
pub struct Picture {
    pub image: DynamicImage,
    /// See [`Header::indexed`].
    pub indexed: bool,
}

impl From<DynamicImage> for Picture {
    fn from(image: DynamicImage) -> Self {
        Self { image, indexed: false }
    }
}

trait Source: BufRead + Seek {}
impl<T: BufRead + Seek> Source for T {}

/// Decodes a picture, as stored: an EXIF orientation is not applied, of an animation the first frame is taken.
/// Fails on a missing, broken or cut off file, an unknown format, or more than [`MAX_PIXELS`].
pub fn open(image: &ImageRef) -> Result<DynamicImage> {
    Ok(Picture::open(image)?.image)
}

/// Width and height in pixels, from the header alone.
pub fn size(image: &ImageRef) -> Result<(u32, u32)> {
    let h = header(image)?;
    Ok((h.width, h.height))
}

/// Reads what [`Header`] holds, without decoding pixels.
pub fn header(image: &ImageRef) -> Result<Header> {
    header_from(source(image)?, &name(image))
}

/// Like [`header`], from the bytes of a file; `name` is for messages.
pub fn header_of(bytes: &[u8], name: &str) -> Result<Header> {
    header_from(Box::new(Cursor::new(bytes)), name)
}

fn header_from(mut source: Box<dyn Source + '_>, name: &str) -> Result<Header> {
    let indexed = is_indexed(source.fill_buf().at("read", name)?);
    let reader = reader(source, name)?;
    let format = reader.format().expect("`reader` fails on an unknown format");
    let (width, height) = reader.into_dimensions().map_err(|e| broken(name, &e))?;
    within_limits(width, height, name)?;
    Ok(Header { width, height, format, indexed })
}

impl Picture {
    /// Decodes a picture as [`open`] does and keeps how it was stored.
    pub fn open(image: &ImageRef) -> Result<Self> {
        Self::decode(&image.bytes()?, &name(image))
    }

    /// Like [`Picture::open`], from the bytes of a file; `name` is for messages.
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self> {
        let mut reader = reader(Box::new(Cursor::new(bytes)), name)?;
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(MAX_DECODER_BYTES);
        reader.limits(limits);
        if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_facts(bytes).complete {
            return Err(broken(name, &"the JPEG data ends early"));
        }
        let decoder = reader.into_decoder().map_err(|e| broken(name, &e))?;
        let (width, height) = decoder.dimensions();
        within_limits(width, height, name)?;
        let image = DynamicImage::from_decoder(decoder).map_err(|e| broken(name, &e))?;
        Ok(Self { image, indexed: is_indexed(bytes) })
    }
}

/// How a picture is called in messages: its path, or `the picture of a data URL`.
pub fn name(image: &ImageRef) -> String {
    match image {
        ImageRef::Path(path) => path.display().to_string(),
        ImageRef::Bytes(_) => "the picture of a data URL".into(),
        ImageRef::Embedded(picture) => picture.name(),
    }
}

fn source(image: &ImageRef) -> Result<Box<dyn Source + '_>> {
    Ok(match image {
        ImageRef::Path(path) => Box::new(BufReader::new(File::open(path).at("read the picture", path)?)),
        ImageRef::Bytes(bytes) => Box::new(Cursor::new(&bytes[..])),
        ImageRef::Embedded(picture) => Box::new(Cursor::new(picture.bytes()?)),
    })
}

/// A reader that knows the format from the first bytes; the file's name does not count.
fn reader<'a>(source: Box<dyn Source + 'a>, name: &str) -> Result<ImageReader<Box<dyn Source + 'a>>> {
    let reader = ImageReader::new(source).with_guessed_format().at("read the picture", name)?;
    match reader.format() {
        Some(_) => Ok(reader),
        None => Err(Error::input(format!("{name} is not a picture in a known format")).hint(
            "PNG, JPEG, WebP, TIFF, BMP and GIF are read; convert the file, or take it out of the data",
        )),
    }
}

fn broken(name: &str, why: &dyn std::fmt::Display) -> Error {
    // Some decoders end their reason with a line end.
    Error::input(format!("cannot decode {name}: {}", why.to_string().trim_end()))
        .hint("the file is damaged or incomplete: get it again, or take its row out of the data")
}

fn within_limits(width: u32, height: u32, name: &str) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(broken(name, &format!("it is {width} x {height} pixels")));
    }
    if pixels > MAX_PIXELS {
        return Err(Error::input(format!(
            "{name} is {width} x {height} pixels, more than {} million",
            MAX_PIXELS / 1_000_000
        ))
        .hint("scale the picture down, or take its row out of the data"));
    }
    Ok(())
}

/// Whether Pillow opens these first bytes of a file in mode `P` or `1`: a PNG with a palette (colour type 3)
/// or one bit of grey (W3C PNG, IHDR: depth in byte 24, colour type in byte 25), or a GIF.
fn is_indexed(start: &[u8]) -> bool {
    if start.starts_with(b"\x89PNG\r\n\x1a\n") && start.len() > 25 {
        return matches!((start[24], start[25]), (_, 3) | (1, 0));
    }
    start.starts_with(b"GIF8")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use image::codecs::jpeg::JpegEncoder;

    fn jpeg() -> Vec<u8> {
        let mut bytes = Vec::new();
        let noise = image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([((x * 7) ^ (y * 13)) as u8; 3]));
        JpegEncoder::new(&mut bytes).encode_image(&noise).unwrap();
        bytes
    }

    fn of(bytes: &[u8]) -> ImageRef {
        ImageRef::Bytes(bytes.into())
    }

    #[test]
    fn a_cut_jpeg_is_refused_and_garbage_after_the_end_is_not() {
        let whole = jpeg();
        assert_eq!(open(&of(&whole)).unwrap().width(), 64);
        for keep in [whole.len() - 2, whole.len() * 6 / 10, 40] {
            assert!(open(&of(&whole[..keep])).is_err(), "{keep} bytes");
        }
        let mut tail = whole.clone();
        tail.extend(b"garbage");
        assert!(open(&of(&tail)).is_ok());
        assert!(open(&of(&[&[0u8], &whole[..]].concat())).unwrap_err().message.contains("known format"));
    }

    #[test]
    fn a_huge_picture_is_refused_by_its_header() {
        let mut png = Vec::new();
        image::GrayImage::new(1, 1).write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
        png[16..20].copy_from_slice(&20_000u32.to_be_bytes());
        png[20..24].copy_from_slice(&20_000u32.to_be_bytes());
        let crc = {
            let mut crc = !0u32;
            for b in &png[12..29] {
                crc ^= u32::from(*b);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
                }
            }
            !crc
        };
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = open(&of(&png)).unwrap_err();
        assert!(error.message.contains("20000 x 20000"), "{}", error.message);
        assert!(size(&of(&png)).is_err());
    }

    #[test]
    fn a_missing_file_names_itself() {
        let error = size(&ImageRef::Path("no/such.png".into())).unwrap_err();
        assert!(error.message.contains("no/such.png") && error.hint.is_some());
    }
}

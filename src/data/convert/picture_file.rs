//! A picture's bytes as the trainer gets them: kept as they are when sound and plain, else made 8-bit PNG by fixed rules.
//!
//! Kept unchanged: JPEG in grey or colour without an EXIF orientation, and PNG in 8-bit grey or RGB with one frame and
//! nothing transparent, when all data is whole and their end is there. Bytes after the end do no harm and stay.
//!
//! Everything else that decodes becomes PNG, 8-bit grey if it was grey, else RGB:
//! - 16 bits: `v * 255 / 65535`; if the largest value needs less than 16 bits (12-bit data): `v * 255 / largest`.
//! - float, signed or 32-bit TIFF: smallest..largest finite value to 0..255.
//! - palette, 1, 2 and 4 bits: expanded. Alpha and transparent colours: composited on black.
//! - EXIF or TIFF orientation: applied, so that left and right are what the camera saw.
//! - JPEG with headers that libjpeg refuses, PNG with chunks that Pillow refuses (wrong checksum, long packed text, a bad
//!   colour profile): written without them.
//! - several frames or pages: the first. CMYK: converted. Colour profiles and gamma are ignored, as Pillow does.
//!
//! Refused: no known format, cut off, not decodable, more pixels by the header than allowed.

use super::super::picture_header::{JpegFacts, PngFacts, format_of, jpeg_facts, other_format, png_facts};
use super::jpeg_scan::{Frame, Scan, scan};
use super::pixels;
use super::row_notes::{Notice, Reason};
use crate::job::DEFAULT_MAX_PIXELS;
use image::codecs::{gif::GifDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::io::Cursor;
use std::sync::{Mutex, MutexGuard};

/// Memory that one decoder may use.
const MAX_ALLOC: u64 = 1 << 30;

/// Pictures above this many pixels are decoded one at a time, so that memory does not grow with the cores.
const LARGE_PIXELS: u64 = 16_000_000;
static LARGE: Mutex<()> = Mutex::new(());

/// A picture ready to be written.
#[derive(Debug)]
pub struct Picture {
    pub bytes: Vec<u8>,
    /// By content: `jpg` or `png`.
    pub extension: &'static str,
    pub width: u32,
    pub height: u32,
    pub notices: Vec<Notice>,
    /// The bytes are not those that came in.
    pub changed: bool,
}

/// Why a picture is refused: the reason, and the details for this one.
pub type Refusal = (Reason, String);

/// Brings a picture into the form that is written. See the rules at the top of this file.
pub fn normalise(bytes: Vec<u8>) -> Result<Picture, Refusal> {
    normalise_up_to(bytes, DEFAULT_MAX_PIXELS)
}

/// Like [`normalise`], with the largest number of pixels that is read.
pub fn normalise_up_to(bytes: Vec<u8>, max_pixels: u64) -> Result<Picture, Refusal> {
    let decoded = match judge(&bytes, max_pixels)? {
        Judged::Sound { extension, width, height } => {
            return Ok(Picture { bytes, extension, width, height, notices: Vec::new(), changed: false });
        }
        Judged::Remade(decoded) => decoded,
    };
    let (width, height) = (decoded.pixels.width(), decoded.pixels.height());
    let mut png = Cursor::new(Vec::new());
    decoded
        .pixels
        .write_to(&mut png, ImageFormat::Png)
        .map_err(|e| (Reason::UnsupportedPicture, format!("cannot be written as PNG: {e}")))?;
    let (bytes, notices) = (png.into_inner(), decoded.notices);
    Ok(Picture { bytes, extension: "png", width, height, notices, changed: true })
}

/// What is to be done with a picture's bytes.
enum Judged {
    /// They are written as they are.
    Sound {
        extension: &'static str,
        width: u32,
        height: u32,
    },
    Remade(Decoded),
}

/// A decoded picture, 8-bit grey or RGB, upright.
struct Decoded {
    pixels: DynamicImage,
    notices: Vec<Notice>,
}

/// Reads everything, refusing what is cut off or too large. A decoder's panic is a broken picture, not the end of the job.
fn judge(bytes: &[u8], max_pixels: u64) -> Result<Judged, Refusal> {
    let attempt = std::panic::AssertUnwindSafe(|| judge_unguarded(bytes, max_pixels));
    std::panic::catch_unwind(attempt)
        .unwrap_or_else(|_| Err((Reason::BrokenPicture, "the decoder gave up on it".into())))
}

fn judge_unguarded(bytes: &[u8], max_pixels: u64) -> Result<Judged, Refusal> {
    let format = format_of(bytes).ok_or_else(|| unknown(bytes))?;
    let scanned = if format == ImageFormat::Jpeg { Some(scan(bytes)) } else { None };
    if let Some(Scan::Whole(Frame { width, height, components: 1 | 3, oriented: false })) = scanned {
        check_size(width, height, max_pixels)?;
        return Ok(Judged::Sound { extension: "jpg", width, height });
    }
    let mut facts = Facts::of(format, bytes)?;
    match scanned {
        Some(Scan::Damaged(why)) => return Err((Reason::BrokenPicture, why)),
        Some(Scan::Unknown) => facts.jpeg_irregular = true,
        _ => {}
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let mut decoder = match reader.into_decoder() {
        Err(ImageError::Unsupported(_)) if format == ImageFormat::Tiff => {
            return scientific_tiff(bytes, max_pixels).map(Judged::Remade);
        }
        other => other.map_err(refusal)?,
    };
    let (width, height) = decoder.dimensions();
    let _one_at_a_time = check_size(width, height, max_pixels)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let upright = orientation == Orientation::NoTransforms;
    // A profile that the decoder does not take, or of more than 1 MiB, makes Pillow refuse the picture.
    let sound_profile = |found: &[u8]| found.len() <= 1 << 20;
    let bad_profile =
        facts.png.profile && !decoder.icc_profile().ok().flatten().is_some_and(|p| sound_profile(&p));
    let irregular = bad_profile || facts.png.irregular || facts.jpeg_irregular;
    let keep_as = facts.keep_as(format).filter(|_| upright && !irregular);
    let cmyk = facts.jpeg.components == 4 || is_cmyk(&decoder);
    let pixels = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    if let Some(extension) = keep_as {
        return Ok(Judged::Sound { extension, width, height });
    }
    let (mut pixels, mut notices) = pixels::to_eight_bit(pixels);
    pixels.apply_orientation(orientation);
    notices.extend(facts.notices(format, bytes));
    notices.extend((!upright).then_some(Notice::Orientation));
    notices.extend(cmyk.then_some(Notice::Cmyk));
    notices.extend(irregular.then_some(Notice::Irregular));
    Ok(Judged::Remade(Decoded { pixels, notices }))
}

/// What the bytes say about themselves, for the two formats that can be kept.
#[derive(Default)]
struct Facts {
    jpeg: JpegFacts,
    jpeg_irregular: bool,
    png: PngFacts,
}

impl Facts {
    fn of(format: ImageFormat, bytes: &[u8]) -> Result<Self, Refusal> {
        let mut facts = Self::default();
        if format == ImageFormat::Jpeg {
            facts.jpeg = jpeg_facts(bytes);
            if !facts.jpeg.complete {
                return Err((Reason::TruncatedPicture, "JPEG without its end marker".into()));
            }
        }
        if format == ImageFormat::Png {
            facts.png = png_facts(bytes);
            if !facts.png.complete {
                return Err((Reason::TruncatedPicture, "PNG without its end chunk".into()));
            }
        }
        Ok(facts)
    }

    fn keep_as(&self, format: ImageFormat) -> Option<&'static str> {
        match format {
            ImageFormat::Jpeg if matches!(self.jpeg.components, 1 | 3) => Some("jpg"),
            ImageFormat::Png if self.png.is_plain() => Some("png"),
            _ => None,
        }
    }

    fn notices(&self, format: ImageFormat, bytes: &[u8]) -> Vec<Notice> {
        let low_bits = self.png.color_type == 3 || matches!(self.png.bit_depth, 1 | 2 | 4);
        let found = [
            (!matches!(format, ImageFormat::Jpeg | ImageFormat::Png), Notice::Reencoded),
            (low_bits, Notice::Palette),
            (self.png.animated || has_more_frames(format, bytes), Notice::FirstFrame),
        ];
        found.into_iter().filter(|(yes, _)| *yes).map(|(_, notice)| notice).collect()
    }
}

fn has_more_frames(format: ImageFormat, bytes: &[u8]) -> bool {
    let bytes = Cursor::new(bytes);
    match format {
        ImageFormat::Gif => {
            GifDecoder::new(bytes).is_ok_and(|d| d.into_frames().take(2).flatten().count() > 1)
        }
        ImageFormat::WebP => WebPDecoder::new(bytes).is_ok_and(|d| d.has_animation()),
        ImageFormat::Tiff => tiff::decoder::Decoder::new(bytes).is_ok_and(|d| d.more_images()),
        _ => false,
    }
}

/// Grey TIFF in float, signed or wide integers, which the general decoder refuses.
fn scientific_tiff(bytes: &[u8], max_pixels: u64) -> Result<Decoded, Refusal> {
    let broken = |e: tiff::TiffError| match e {
        tiff::TiffError::UnsupportedError(_) => (Reason::UnsupportedPicture, e.to_string()),
        tiff::TiffError::LimitsExceeded => (Reason::PictureTooLarge, e.to_string()),
        _ => (Reason::BrokenPicture, e.to_string()),
    };
    let mut decoder = tiff::decoder::Decoder::new(Cursor::new(bytes)).map_err(broken)?;
    let mut limits = tiff::decoder::Limits::default();
    limits.decoding_buffer_size = MAX_ALLOC as usize;
    decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(broken)?;
    let _one_at_a_time = check_size(width, height, max_pixels)?;
    let color = decoder.colortype().map_err(broken)?;
    if !matches!(color, tiff::ColorType::Gray(_)) {
        return Err((Reason::UnsupportedPicture, format!("TIFF with {color:?} pixels")));
    }
    let orientation = decoder.find_tag_unsigned::<u8>(tiff::tags::Tag::Orientation).ok().flatten();
    let orientation = orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    let more = decoder.more_images();
    let samples = wide_samples(decoder.read_image().map_err(broken)?);
    if samples.len() as u64 != u64::from(width) * u64::from(height) {
        return Err((Reason::BrokenPicture, "TIFF with a wrong number of pixels".into()));
    }
    let (mut pixels, mut notices) = pixels::stretch_grey(width, height, &samples);
    pixels.apply_orientation(orientation);
    notices.push(Notice::Reencoded);
    notices.extend(more.then_some(Notice::FirstFrame));
    notices.extend((orientation != Orientation::NoTransforms).then_some(Notice::Orientation));
    Ok(Decoded { pixels, notices })
}

fn wide_samples(read: tiff::decoder::DecodingResult) -> Vec<f32> {
    use tiff::decoder::DecodingResult as R;
    match read {
        R::U8(v) => v.into_iter().map(f32::from).collect(),
        R::U16(v) => v.into_iter().map(f32::from).collect(),
        R::U32(v) => v.into_iter().map(|s| s as f32).collect(),
        R::U64(v) => v.into_iter().map(|s| s as f32).collect(),
        R::I8(v) => v.into_iter().map(f32::from).collect(),
        R::I16(v) => v.into_iter().map(f32::from).collect(),
        R::I32(v) => v.into_iter().map(|s| s as f32).collect(),
        R::I64(v) => v.into_iter().map(|s| s as f32).collect(),
        R::F16(v) => v.into_iter().map(f32::from).collect(),
        R::F32(v) => v,
        R::F64(v) => v.into_iter().map(|s| s as f32).collect(),
    }
}

/// Refuses an empty or too large picture by its header; a large one gets the lock under which it is decoded.
fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<Option<MutexGuard<'static, ()>>, Refusal> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err((Reason::BrokenPicture, format!("{width}x{height} pixels")));
    }
    if pixels > max_pixels {
        return Err((
            Reason::PictureTooLarge,
            format!("{width}x{height} pixels, at most {max_pixels} are read"),
        ));
    }
    // A panic of a decoder poisons the lock; it guards no data, so that is harmless.
    Ok((pixels > LARGE_PIXELS).then(|| LARGE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())))
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_ALLOC);
    limits
}

fn is_cmyk(decoder: &impl ImageDecoder) -> bool {
    use image::ExtendedColorType as C;
    matches!(decoder.original_color_type(), C::Cmyk8 | C::Cmyk16)
}

fn unknown(bytes: &[u8]) -> Refusal {
    let detail = match other_format(bytes) {
        Some(name) => format!("unknown format: this is {name}"),
        None => {
            let head: String = bytes.iter().take(8).map(|b| format!("{b:02x} ")).collect();
            format!("unknown format: the bytes begin with {}", head.trim_end())
        }
    };
    (Reason::UnknownFormat, detail)
}

fn refusal(e: ImageError) -> Refusal {
    let reason = match &e {
        ImageError::Limits(_) => Reason::PictureTooLarge,
        ImageError::Unsupported(_) => Reason::UnsupportedPicture,
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => Reason::TruncatedPicture,
        _ => Reason::BrokenPicture,
    };
    (reason, e.to_string())
}

//! Pixels of any depth to 8-bit grey or RGB.

use super::row_notes::Notice;
use image::{DynamicImage, GrayImage, RgbImage};

/// The picture as 8-bit grey (if it was grey) or RGB, with what was done to it. The rules are those of
/// [`super::picture_file`].
pub fn to_eight_bit(picture: DynamicImage) -> (DynamicImage, Vec<Notice>) {
    use DynamicImage as D;
    let (width, height) = (picture.width(), picture.height());
    let channels = usize::from(picture.color().channel_count());
    let (samples, mut notices) = match &picture {
        D::ImageLuma8(_) | D::ImageRgb8(_) => return (picture, Vec::new()),
        D::ImageLumaA8(p) => (flatten(p, channels, (0.0, 255.0), 255.0), Vec::new()),
        D::ImageRgba8(p) => (flatten(p, channels, (0.0, 255.0), 255.0), Vec::new()),
        D::ImageLuma16(p) => sixteen_bit(p, channels),
        D::ImageLumaA16(p) => sixteen_bit(p, channels),
        D::ImageRgb16(p) => sixteen_bit(p, channels),
        D::ImageRgba16(p) => sixteen_bit(p, channels),
        D::ImageRgb32F(p) => stretched(p, channels),
        D::ImageRgba32F(p) => stretched(p, channels),
        // A kind that a later release of the decoder adds: its own conversion.
        _ => (picture.to_rgb8().into_raw(), vec![Notice::Reencoded]),
    };
    if is_transparent(&picture) {
        notices.push(Notice::Alpha);
    }
    (build(width, height, samples), notices)
}

/// Float or wide grey samples, stretched from their smallest..largest finite value to 0..255.
pub fn stretch_grey(width: u32, height: u32, samples: &[f32]) -> (DynamicImage, Vec<Notice>) {
    let (samples, notices) = stretched(samples, 1);
    (build(width, height, samples), notices)
}

/// Makes the picture from one or three samples a pixel.
fn build(width: u32, height: u32, samples: Vec<u8>) -> DynamicImage {
    let grey = samples.len() as u64 == u64::from(width) * u64::from(height);
    if grey {
        GrayImage::from_raw(width, height, samples).map(Into::into)
    } else {
        RgbImage::from_raw(width, height, samples).map(Into::into)
    }
    .expect("one or three samples a pixel")
}

/// 16-bit samples: by 65535, or by the real maximum if that needs less than 16 bits.
fn sixteen_bit(samples: &[u16], channels: usize) -> (Vec<u8>, Vec<Notice>) {
    let high = colours(samples, channels).max().unwrap_or(0);
    if high >= 1 << 15 {
        (flatten(samples, channels, (0.0, 65_535.0), 65_535.0), vec![Notice::SixteenBit])
    } else {
        let high = f64::from(high.max(1));
        (flatten(samples, channels, (0.0, high), 65_535.0), vec![Notice::SixteenBit, Notice::Stretched])
    }
}

fn stretched(samples: &[f32], channels: usize) -> (Vec<u8>, Vec<Notice>) {
    let finite = || colours(samples, channels).filter(|v| v.is_finite());
    let low = finite().fold(f32::INFINITY, f32::min);
    let high = finite().fold(f32::NEG_INFINITY, f32::max);
    (flatten(samples, channels, (f64::from(low), f64::from(high)), 1.0), vec![Notice::Stretched])
}

/// All samples but alpha.
fn colours<T: Copy>(samples: &[T], channels: usize) -> impl Iterator<Item = T> + '_ {
    let colour = colour_count(channels);
    samples.chunks_exact(channels).flat_map(move |pixel| pixel[..colour].iter().copied())
}

fn colour_count(channels: usize) -> usize {
    if channels <= 2 { 1 } else { 3 }
}

/// Maps `low..high` to 0..255 and composites alpha on black; what is not a number becomes black.
fn flatten<T: Copy + Into<f64>>(
    samples: &[T],
    channels: usize,
    (low, high): (f64, f64),
    opaque: f64,
) -> Vec<u8> {
    let colour = colour_count(channels);
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    let mut out = Vec::with_capacity(samples.len() / channels * colour);
    for pixel in samples.chunks_exact(channels) {
        let alpha = pixel.get(colour).map_or(1.0, |a| ((*a).into() / opaque).clamp(0.0, 1.0));
        // A cast from a float saturates, and makes 0 of NaN.
        out.extend(pixel[..colour].iter().map(|v| (((*v).into() - low) * scale * alpha).round() as u8));
    }
    out
}

fn is_transparent(picture: &DynamicImage) -> bool {
    use DynamicImage as D;
    match picture {
        D::ImageLumaA8(p) => p.pixels().any(|p| p.0[1] < u8::MAX),
        D::ImageRgba8(p) => p.pixels().any(|p| p.0[3] < u8::MAX),
        D::ImageLumaA16(p) => p.pixels().any(|p| p.0[1] < u16::MAX),
        D::ImageRgba16(p) => p.pixels().any(|p| p.0[3] < u16::MAX),
        D::ImageRgba32F(p) => p.pixels().any(|p| p.0[3] < 1.0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, LumaA, Rgba};

    fn grey16(samples: [u16; 3]) -> (Vec<u8>, Vec<Notice>) {
        let picture = ImageBuffer::<Luma<u16>, _>::from_raw(3, 1, samples.to_vec()).expect("3 samples");
        let (picture, notices) = to_eight_bit(picture.into());
        (picture.to_luma8().into_raw(), notices)
    }

    #[test]
    fn sixteen_bits_are_scaled_by_what_they_hold() {
        assert_eq!(grey16([0, 32_896, 65_535]), (vec![0, 128, 255], vec![Notice::SixteenBit]));
        assert_eq!(grey16([0, 2048, 4095]).0, [0, 128, 255]);
        assert_eq!(grey16([0, 0, 0]).0, [0, 0, 0]);
    }

    #[test]
    fn floats_are_stretched_and_what_is_not_finite_is_clamped() {
        let (picture, _) = stretch_grey(5, 1, &[-1.0, 0.0, 1.0, f32::NAN, f32::INFINITY]);
        assert_eq!(picture.to_luma8().into_raw(), [0, 128, 255, 0, 255]);
        assert_eq!(stretch_grey(1, 1, &[f32::NAN]).0.to_luma8().into_raw(), [0]);
    }

    #[test]
    fn alpha_is_composited_on_black_and_grey_stays_grey() {
        let grey = ImageBuffer::<LumaA<u8>, _>::from_raw(2, 1, vec![200, 255, 200, 51]).expect("2 pixels");
        let (picture, notices) = to_eight_bit(grey.into());
        assert_eq!((picture.as_bytes(), notices), (&[200, 40][..], vec![Notice::Alpha]));
        let opaque = ImageBuffer::<Rgba<u8>, _>::from_raw(1, 1, vec![1, 2, 3, 255]).expect("1 pixel");
        let (picture, notices) = to_eight_bit(opaque.into());
        assert_eq!((picture.as_bytes(), notices), (&[1, 2, 3][..], vec![]));
    }
}

//! Resizes 8-bit pictures as Pillow and torchvision do: bicubic (a = -0.5, antialiased) and nearest neighbour.

use crate::error::{Error, Result};
use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, GrayImage, RgbImage};

/// A picture of 8-bit channels: grey, grey and alpha, RGB, or RGBA. `data` is (height, width, channels).
pub(super) struct Raster {
    pub width: usize,
    pub height: usize,
    channels: usize,
    data: Vec<u8>,
}

impl Raster {
    /// Takes over a decoded picture. 16-bit and float channels are scaled to 8 bits; Pillow would clip 16-bit
    /// grey at 255 and make nearly every such picture white.
    pub fn new(image: &DynamicImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let colour = image.color();
        let (channels, data) = match (colour.has_color(), colour.has_alpha()) {
            (false, false) => (1, image.to_luma8().into_raw()),
            (false, true) => (2, image.to_luma_alpha8().into_raw()),
            (true, false) => (3, image.to_rgb8().into_raw()),
            (true, true) => (4, image.to_rgba8().into_raw()),
        };
        Self { width, height, channels, data }
    }

    /// Grey is repeated over the three channels, alpha is dropped: Pillow's `convert("RGB")`.
    pub fn into_rgb(self) -> Self {
        let data = match self.channels {
            1 => self.data.iter().flat_map(|v| [*v; 3]).collect(),
            2 => self.data.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
            3 => self.data,
            _ => self.data.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        };
        Self { channels: 3, data, ..self }
    }

    /// Bicubic resize with antialiasing; colours are weighted by alpha where there is one (as Pillow does).
    /// Rows first, then columns, rounded to bytes in between: the order shows where values are clipped.
    pub fn bicubic(self, width: usize, height: usize) -> Result<Self> {
        let rows = self.height;
        self.bicubic_pass(width, rows)?.bicubic_pass(width, height)
    }

    fn bicubic_pass(self, width: usize, height: usize) -> Result<Self> {
        if (width, height) == (self.width, self.height) {
            return Ok(self);
        }
        let kind = match self.channels {
            1 => PixelType::U8,
            2 => PixelType::U8x2,
            3 => PixelType::U8x3,
            _ => PixelType::U8x4,
        };
        let failed = |e: &dyn std::fmt::Display| Error::internal(format!("cannot resize a picture: {e}"));
        let from = Image::from_vec_u8(self.width as u32, self.height as u32, self.data, kind)
            .map_err(|e| failed(&e))?;
        let mut to = Image::new(width as u32, height as u32, kind);
        // Catmull-Rom is the cubic with a = -0.5: Pillow's BICUBIC, and torchvision's with antialias.
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        Resizer::new().resize(&from, &mut to, &options).map_err(|e| failed(&e))?;
        Ok(Self { width, height, channels: self.channels, data: to.into_vec() })
    }

    /// Nearest neighbour: the pixel under the centre of each new pixel.
    pub fn nearest(self, width: usize, height: usize) -> Self {
        let pick = |i: usize, new: usize, old: usize| ((i * 2 + 1) * old / (new * 2)).min(old - 1);
        let mut data = Vec::with_capacity(width * height * self.channels);
        for y in 0..height {
            let row = pick(y, height, self.height) * self.width;
            for x in 0..width {
                let at = (row + pick(x, width, self.width)) * self.channels;
                data.extend_from_slice(&self.data[at..at + self.channels]);
            }
        }
        Self { width, height, channels: self.channels, data }
    }

    /// One channel's value, 0..=255.
    pub fn at(&self, x: usize, y: usize, channel: usize) -> u8 {
        self.data[(y * self.width + x) * self.channels + channel]
    }
}

impl From<Raster> for DynamicImage {
    fn from(raster: Raster) -> Self {
        let raster = if raster.channels == 1 { raster } else { raster.into_rgb() };
        let (w, h) = (raster.width as u32, raster.height as u32);
        let fits = "a raster holds width * height * channels bytes";
        match raster.channels {
            1 => GrayImage::from_raw(w, h, raster.data).expect(fits).into(),
            _ => RgbImage::from_raw(w, h, raster.data).expect(fits).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nearest_takes_the_pixel_under_the_centre() {
        let row = GrayImage::from_raw(5, 1, vec![10, 20, 30, 40, 50]).unwrap();
        // Pillow: Image.resize((3, 1), NEAREST) and ((7, 1), NEAREST)
        let small = Raster::new(&row.clone().into()).nearest(3, 1);
        assert_eq!(small.data, [10, 30, 50]);
        let large = Raster::new(&row.into()).nearest(7, 1);
        assert_eq!(large.data, [10, 20, 20, 30, 40, 40, 50]);
    }

    #[test]
    fn sixteen_bit_grey_is_scaled_and_alpha_dropped() {
        let deep = image::ImageBuffer::from_raw(2, 1, vec![0u16, 65_535]).unwrap();
        assert_eq!(Raster::new(&DynamicImage::ImageLuma16(deep)).data, [0, 255]);
        let clear = image::RgbaImage::from_raw(1, 1, vec![9, 8, 7, 0]).unwrap();
        assert_eq!(Raster::new(&clear.into()).into_rgb().data, [9, 8, 7]);
    }
}

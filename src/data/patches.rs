//! From a picture to patch rows: LLaMA-Factory's pixel limits, then the model's own image processor.

use super::picture::Picture;
use super::resize::Raster;
use crate::error::{At, Error, Result};
use image::{Rgb, RgbImage};
use serde_json::Value;
use std::path::Path;

/// The settings of a model's image processor (transformers' `Qwen2VLImageProcessor`).
#[derive(Clone, Debug, PartialEq)]
pub struct Processor {
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames in a patch; a still picture is repeated.
    pub temporal_patch_size: usize,
    /// `merge_size` x `merge_size` patches become one token.
    pub merge_size: usize,
    /// Fewest and most pixels of a resized picture. The names are transformers': areas, not edges.
    pub shortest_edge: u64,
    pub longest_edge: u64,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// The limits the trainer puts on a picture before the model's processor sees it, in pixels of area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelLimits {
    pub max_pixels: u64,
    pub min_pixels: u64,
}

/// A picture as the vision tower takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// (t, h, w) in patches.
    pub grid: [usize; 3],
    /// (t * h * w, 3 * temporal_patch_size * patch_size * patch_size), normalised; patches that are merged into
    /// one token lie together.
    pub pixels: Vec<f32>,
}

impl Patches {
    /// The pixels of all pictures with one of the `frames` frames of `size` pixels that each channel of a patch has; `None` if they
    /// are not all the same, as they are in still pictures.
    pub fn of_one_frame(pictures: &[Self], [frames, size]: [usize; 2]) -> Option<Vec<f32>> {
        let all: usize = pictures.iter().map(|p| p.pixels.len()).sum();
        let mut one = Vec::with_capacity(all / frames);
        for channel in pictures.iter().flat_map(|p| p.pixels.chunks_exact(frames * size)) {
            let (first, others) = channel.split_at(size);
            // Without a way out in the middle the compiler makes it vector code.
            let same = |other: &[f32]| first.iter().zip(other).fold(true, |same, (a, b)| same & (a == b));
            if !others.chunks_exact(size).all(same) {
                return None;
            }
            one.extend_from_slice(first);
        }
        Some(one)
    }
}

/// Shorter sides are stretched to this, and longer ones than 200 times the other are cut to 180 times
/// (LLaMA-Factory 0.9.5, `mm_plugin.py`, `Qwen2VLPlugin._preprocess_image`).
const MIN_SIDE: usize = 28;
const MAX_ASPECT: f64 = 200.0;
const CAPPED_ASPECT: usize = 180;

impl Processor {
    /// Reads `processor_config.json` (its `image_processor`) or `preprocessor_config.json` of a model folder,
    /// in transformers' order.
    pub fn load(model_dir: &Path) -> Result<Self> {
        for (file, key) in
            [("processor_config.json", Some("image_processor")), ("preprocessor_config.json", None)]
        {
            let path = model_dir.join(file);
            if !path.exists() {
                continue;
            }
            let text = std::fs::read_to_string(&path).at("read", &path)?;
            let json: Value = serde_json::from_str(&text)
                .map_err(|e| Error::input(format!("{} is not valid JSON: {e}", path.display())))?;
            let Some(json) = key.map_or(Some(&json), |k| json.get(k)) else { continue };
            return Self::from_json(json).map_err(|what| Error::input(format!("{}: {what}", path.display())));
        }
        Err(Error::input(format!("no picture settings in the model folder {}", model_dir.display()))
            .hint("copy preprocessor_config.json (or processor_config.json) of the model there"))
    }

    fn from_json(json: &Value) -> std::result::Result<Self, String> {
        let number = |key: &str, default: usize| match json.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(v) => v
                .as_u64()
                .filter(|n| (1..=4096).contains(n))
                .map(|n| n as usize)
                .ok_or_else(|| format!("`{key}` is {v}, expected a whole number from 1 to 4096")),
        };
        let area = |new: &str, old: &str, default: u64| {
            let value = json.get("size").and_then(|s| s.get(new)).or_else(|| json.get(old));
            value.and_then(Value::as_u64).unwrap_or(default)
        };
        let (shortest_edge, longest_edge) =
            (area("shortest_edge", "min_pixels", 65_536), area("longest_edge", "max_pixels", 16_777_216));
        if shortest_edge > longest_edge {
            return Err(format!("`size` is from {shortest_edge} to {longest_edge} pixels: nothing fits"));
        }
        Ok(Self {
            patch_size: number("patch_size", 16)?,
            temporal_patch_size: number("temporal_patch_size", 2)?,
            merge_size: number("merge_size", 2)?,
            shortest_edge,
            longest_edge,
            mean: triple(json, "image_mean")?,
            std: triple(json, "image_std")?,
        })
    }

    /// Tokens that a picture of this grid becomes.
    pub fn tokens(&self, grid: [usize; 3]) -> usize {
        grid.iter().product::<usize>() / (self.merge_size * self.merge_size)
    }
}

fn triple(json: &Value, key: &str) -> std::result::Result<[f32; 3], String> {
    match json.get(key) {
        None => Ok([0.5; 3]),
        Some(v) => {
            serde_json::from_value(v.clone()).map_err(|_| format!("`{key}` is {v}, expected three numbers"))
        }
    }
}

/// The (t, h, w) grid of a `width` x `height` picture. Fails where a side would vanish.
pub fn grid(width: u32, height: u32, limits: PixelLimits, processor: &Processor) -> Result<[usize; 3]> {
    let start = (width as usize, height as usize);
    let limited = limit_steps(start, limits)?.sizes.last().copied().unwrap_or(start);
    let (w, h) = smart_resize(limited, processor)?;
    Ok([1, h / processor.patch_size, w / processor.patch_size])
}

/// Resizes, normalises and cuts a picture into patch rows.
pub fn patches(picture: &Picture, limits: PixelLimits, processor: &Processor) -> Result<Patches> {
    Ok(Resized::new(picture, limits, processor)?.cut(processor))
}

/// A picture in its final size, before it is cut into patches: three bytes a pixel, an eighth of what they take.
pub struct Resized(Raster);

impl Resized {
    pub fn new(picture: &Picture, limits: PixelLimits, processor: &Processor) -> Result<Self> {
        resize(picture, limits, processor).map(Self)
    }

    /// Normalises it and cuts it into patch rows.
    pub fn cut(&self, processor: &Processor) -> Patches {
        let grid = [1, self.0.height / processor.patch_size, self.0.width / processor.patch_size];
        Patches { grid, pixels: cut(&self.0, grid, processor) }
    }
}

/// The picture in the size and colours that are cut into patches.
pub fn resized(picture: &Picture, limits: PixelLimits, processor: &Processor) -> Result<RgbImage> {
    let raster = resize(picture, limits, processor)?;
    Ok(RgbImage::from_fn(raster.width as u32, raster.height as u32, |x, y| {
        Rgb([0, 1, 2].map(|channel| raster.at(x as usize, y as usize, channel)))
    }))
}

fn resize(picture: &Picture, limits: PixelLimits, processor: &Processor) -> Result<Raster> {
    let mut raster = Raster::new(&picture.image);
    let steps = limit_steps((raster.width, raster.height), limits)?;
    for (i, (w, h)) in steps.sizes.into_iter().enumerate() {
        let as_stored = i < steps.area_steps;
        if !as_stored {
            raster = raster.into_rgb();
        }
        raster = if picture.indexed && as_stored { raster.nearest(w, h) } else { raster.bicubic(w, h)? };
    }
    let (w, h) = smart_resize((raster.width, raster.height), processor)?;
    raster.into_rgb().bicubic(w, h)
}

/// The sizes a picture is resized to, one after another. The first `area_steps` come before the conversion to
/// RGB, the others after it.
struct Steps {
    sizes: Vec<(usize, usize)>,
    area_steps: usize,
}

/// LLaMA-Factory's own resizing of a (width, height): area into the limits, sides and aspect into bounds.
fn limit_steps(mut size: (usize, usize), limits: PixelLimits) -> Result<Steps> {
    let start = size;
    let area = |(w, h): (usize, usize)| (w * h) as u64;
    let mut sizes = Vec::new();
    for bound in [Some(limits.max_pixels), None] {
        let target = match bound {
            Some(max) if area(size) > max => max,
            None if area(size) < limits.min_pixels => limits.min_pixels,
            _ => continue,
        };
        let factor = (target as f64 / area(size) as f64).sqrt();
        size = ((size.0 as f64 * factor) as usize, (size.1 as f64 * factor) as usize);
        if size.0 == 0 || size.1 == 0 {
            return Err(Error::input(format!(
                "a picture of {} x {} pixels has no height or width left within {target} pixels",
                start.0, start.1
            ))
            .hint("crop the picture, or raise image_max_pixels"));
        }
        sizes.push(size);
    }
    let area_steps = sizes.len();
    if size.0.min(size.1) < MIN_SIDE {
        size = (size.0.max(MIN_SIDE), size.1.max(MIN_SIDE));
        sizes.push(size);
    }
    let aspect = size.0 as f64 / size.1 as f64;
    if aspect > MAX_ASPECT {
        sizes.push((size.1 * CAPPED_ASPECT, size.1));
    } else if aspect.recip() > MAX_ASPECT {
        sizes.push((size.0, size.0 * CAPPED_ASPECT));
    }
    Ok(Steps { sizes, area_steps })
}

/// The nearest (width, height) whose sides are multiples of patch * merge, its area between the processor's
/// bounds (transformers 5.6, `image_processing_qwen2_vl.py`, `smart_resize`; Python rounds halves to even).
fn smart_resize((width, height): (usize, usize), processor: &Processor) -> Result<(usize, usize)> {
    let (w, h) = (width as f64, height as f64);
    if w.max(h) / w.min(h) > MAX_ASPECT {
        return Err(Error::input(format!(
            "a picture of {width} x {height} pixels is longer than 200 times its width"
        ))
        .hint("crop the picture"));
    }
    let factor = (processor.patch_size * processor.merge_size) as f64;
    let (min, max) = (processor.shortest_edge as f64, processor.longest_edge as f64);
    let mut to = [w, h].map(|side| (side / factor).round_ties_even() * factor);
    if to[0] * to[1] > max {
        let beta = (w * h / max).sqrt();
        to = [w, h].map(|side| ((side / beta / factor).floor() * factor).max(factor));
    } else if to[0] * to[1] < min {
        let beta = (min / (w * h)).sqrt();
        to = [w, h].map(|side| (side * beta / factor).ceil() * factor);
    }
    if to[0] * to[1] == 0.0 {
        return Err(Error::input(format!(
            "a picture of {width} x {height} pixels is too small for the model"
        )));
    }
    Ok((to[0] as usize, to[1] as usize))
}

/// Cuts an RGB raster into patch rows: for every block of merge x merge patches, for every patch in it, the
/// values by (channel, frame, y, x).
fn cut(raster: &Raster, [_, rows, columns]: [usize; 3], processor: &Processor) -> Vec<f32> {
    let (patch, merge) = (processor.patch_size, processor.merge_size);
    let frames = processor.temporal_patch_size;
    let scaled = lookup(processor);
    let mut pixels = Vec::with_capacity(rows * columns * 3 * frames * patch * patch);
    let blocks = (0..rows / merge).flat_map(|r| (0..columns / merge).map(move |c| (r, c)));
    for (block_row, block_column) in blocks {
        for i in 0..merge * merge {
            let top = (block_row * merge + i / merge) * patch;
            let left = (block_column * merge + i % merge) * patch;
            for (channel, values) in scaled.iter().enumerate() {
                let start = pixels.len();
                for y in top..top + patch {
                    pixels.extend((left..left + patch).map(|x| values[raster.at(x, y, channel) as usize]));
                }
                for _ in 1..frames {
                    pixels.extend_from_within(start..start + patch * patch);
                }
            }
        }
    }
    pixels
}

/// The normalised value of every byte, per channel: (v / 255 - mean) / std.
fn lookup(processor: &Processor) -> [[f32; 256]; 3] {
    std::array::from_fn(|c| {
        std::array::from_fn(|v| (v as f32 / 255.0 - processor.mean[c]) / processor.std[c])
    })
}

//! Rotary positions: three-dimensional positions of text and pictures, and their interleaved cos/sin tables.

use super::config::TextConfig;
use crate::error::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Where each token stands in time, height and width.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Time, height, width; each as long as the sequence.
    pub ids: [Vec<i64>; 3],
    /// What to add to a token's index to get the position of text generated after the sequence.
    pub delta: i64,
}

impl Positions {
    /// The same position on all three axes, as text has it.
    pub fn text(range: std::ops::Range<i64>) -> Self {
        let ids: Vec<i64> = range.collect();
        Self { ids: [ids.clone(), ids.clone(), ids], delta: 0 }
    }
}

/// The positions of a sequence with pictures (`get_rope_index` of transformers 5.6). `grids` are (time, height, width)
/// in patches, one for each run of `image_token_id`; `merge` patches a side make a token.
///
/// Errors: a run of picture tokens that does not fit its grid, or a number of runs other than of grids.
pub fn positions(
    input_ids: &[u32],
    image_token_id: u32,
    grids: &[[usize; 3]],
    merge: usize,
) -> Result<Positions> {
    let mut ids: [Vec<i64>; 3] = std::array::from_fn(|_| Vec::with_capacity(input_ids.len()));
    let mut next = 0i64;
    let mut left = grids.iter();
    for run in input_ids.chunk_by(|a, b| (*a == image_token_id) == (*b == image_token_id)) {
        if run[0] != image_token_id {
            let text = next..next + run.len() as i64;
            ids.iter_mut().for_each(|axis| axis.extend(text.clone()));
            next = text.end;
            continue;
        }
        let [t, h, w] =
            *left.next().ok_or_else(|| mismatch("there are more runs of picture tokens than pictures"))?;
        let [h, w] = [h / merge, w / merge];
        if run.len() != t * h * w {
            let found = run.len();
            return Err(mismatch(&format!("a picture of {} tokens has {found} of them", t * h * w)));
        }
        for i in 0..run.len() {
            let place = [i / (h * w), i / w % h, i % w];
            ids.iter_mut().zip(place).for_each(|(axis, p)| axis.push(next + p as i64));
        }
        next += h.max(w) as i64;
    }
    if left.next().is_some() {
        return Err(mismatch("there are more pictures than runs of picture tokens"));
    }
    let end = ids.iter().flatten().max().map_or(0, |last| last + 1);
    Ok(Positions { ids, delta: end - input_ids.len() as i64 })
}

fn mismatch(what: &str) -> Error {
    Error::input(format!("the tokens of a sample do not fit its pictures: {what}"))
        .hint("if the sample was cut off inside a picture, raise cutoff_len or lower image_max_pixels")
}

/// The cos and sin tables `[T, head_dim]` of the text decoder at `ids` (three axes of T positions).
///
/// Frequency `i` of `head_dim / 2` follows height where `i % 3 == 1` and width where `i % 3 == 2`, as far as
/// their `mrope_section` reaches, and time elsewhere (`apply_interleaved_mrope`); the second half repeats the first.
pub fn mrope_cos_sin(ids: &[Vec<i64>; 3], config: &TextConfig, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let freqs = inv_freq(config.head_dim, config.rope_theta);
    let axes: Vec<usize> = (0..freqs.len())
        .map(|i| if i % 3 > 0 && i < 3 * config.mrope_section[i % 3] { i % 3 } else { 0 })
        .collect();
    let angles = (0..ids[0].len())
        .flat_map(|t| freqs.iter().zip(&axes).map(move |(freq, &axis)| ids[axis][t] as f32 * freq));
    cos_sin(angles, config.head_dim, device)
}

/// `1 / theta^(2i / dim)`, `dim / 2` of them (arXiv 2104.09864), rounded to f32 where torch rounds.
pub(super) fn inv_freq(dim: usize, theta: f64) -> Vec<f32> {
    (0..dim / 2)
        .map(|i| {
            let exponent = (2 * i) as f32 / dim as f32;
            1.0 / theta.powf(f64::from(exponent)) as f32
        })
        .collect()
}

/// cos and sin tables `[T, head_dim]` of angles `[T, head_dim / 2]`; the second half of each row repeats the first.
pub(super) fn cos_sin(
    angles: impl Iterator<Item = f32>,
    head_dim: usize,
    device: &Device,
) -> (Tensor<2>, Tensor<2>) {
    let half = head_dim / 2;
    let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
    let table = |values: Vec<f32>| {
        let rows = values.len() / half;
        let half: Tensor<2> = Tensor::from_data(TensorData::new(values, [rows, half]), (device, DType::F32));
        Tensor::cat(vec![half.clone(), half], 1)
    };
    (table(cos), table(sin))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_after_a_picture_goes_on_from_its_longer_side() {
        let p = positions(&[1, 9, 9, 9, 9, 9, 9, 2], 9, &[[1, 4, 6]], 2).unwrap();
        assert_eq!(p.ids[0], [0, 1, 1, 1, 1, 1, 1, 4]);
        assert_eq!(p.ids[1], [0, 1, 1, 1, 2, 2, 2, 4]);
        assert_eq!(p.ids[2], [0, 1, 2, 3, 1, 2, 3, 4]);
        assert_eq!(p.delta, -3);
    }

    #[test]
    fn frames_step_in_time() {
        let p = positions(&[9, 9, 9, 9], 9, &[[2, 2, 4]], 2).unwrap();
        assert_eq!(p.ids, [vec![0, 0, 1, 1], vec![0, 0, 0, 0], vec![0, 1, 0, 1]]);
        assert_eq!(p.delta, -2);
    }

    #[test]
    fn text_alone_counts_up() {
        assert_eq!(positions(&[5, 6, 7], 9, &[], 2).unwrap(), Positions::text(0..3));
        assert_eq!(positions(&[], 9, &[], 2).unwrap(), Positions::default());
    }

    #[test]
    fn tokens_that_do_not_fit_the_pictures_are_refused() {
        let refused = |ids: &[u32], grids: &[[usize; 3]]| positions(ids, 9, grids, 2).unwrap_err().message;
        assert!(refused(&[1, 9, 9], &[[1, 4, 4]]).ends_with("a picture of 4 tokens has 2 of them"));
        assert!(refused(&[9, 1, 9], &[[1, 2, 2]]).contains("more runs"));
        assert!(refused(&[9, 1], &[[1, 2, 2], [1, 2, 2]]).contains("more pictures"));
    }
}

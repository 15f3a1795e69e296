//! The running softmax of FlashAttention (arXiv 2205.14135) along vector lanes: a column a query, blocks of keys after
//! one another, each block's scores seen once.

use super::gemm::Mat;
use super::lanes::{exp2, with_simd};
use super::pack;
use super::panels::{Out, Packed, WIDEST, columns, multiply_part};
use std::f32::consts::{LN_2, LOG2_E};

/// What scores are multiplied with: powers of two cost less than those of e.
pub const UNIT: f32 = LOG2_E;

/// Up to [`columns`] queries: largest score, sum, and weighted sum of values so far. Scores are in [`UNIT`]s.
pub struct Running {
    most: [f32; WIDEST],
    /// Σ 2^(score − most)
    sum: [f32; WIDEST],
    /// Σ 2^(score − most) · value: [width of a value, columns]
    weighted: Vec<f32>,
}

impl Running {
    /// Nothing seen yet; `width` numbers in a value, 0 where no sum of values is wanted.
    pub fn new(width: usize) -> Self {
        Self { most: [f32::NEG_INFINITY; WIDEST], sum: [0.0; WIDEST], weighted: vec![0.0; width * columns()] }
    }

    /// Takes in the scores [keys, columns] of a block and its values, packed as a left operand [width, keys]. The
    /// first block must have a score above −∞ in every column. Scores become weights.
    pub fn take(&mut self, scores: &mut Packed, keys: usize, values: Option<&Packed>) {
        let width = columns();
        let rows = &mut scores.values()[..keys * width];
        with_simd(
            #[inline(always)]
            || match width {
                16 => self.weigh::<16>(rows),
                32 => self.weigh::<32>(rows),
                _ => self.weigh::<8>(rows),
            },
        );
        if let Some(values) = values {
            let out = Out { add: true, ..Out::new(&mut self.weighted, width) };
            multiply_part(out, values, scores, [values.lines(), width, keys]);
        }
    }

    /// Scores → 2^(score − most), `most` and what depends on it brought up to date.
    #[inline(always)]
    fn weigh<const W: usize>(&mut self, scores: &mut [f32]) {
        let rows = scores.as_chunks_mut::<W>().0;
        let old: [f32; W] = std::array::from_fn(|c| self.most[c]);
        let mut new = old;
        for row in rows.iter() {
            for c in 0..W {
                new[c] = if row[c] > new[c] { row[c] } else { new[c] };
            }
        }
        if new != old {
            // A loop: a closure would be a function of its own, for the oldest processor.
            let mut shrink = [0f32; W];
            for c in 0..W {
                shrink[c] = exp2(old[c] - new[c]);
            }
            for row in self.weighted.as_chunks_mut::<W>().0 {
                (0..W).for_each(|c| row[c] *= shrink[c]);
            }
            (0..W).for_each(|c| self.sum[c] *= shrink[c]);
            self.most[..W].copy_from_slice(&new);
        }
        let mut total = [0f32; W];
        for row in rows {
            for c in 0..W {
                row[c] = exp2(row[c] - new[c]);
                total[c] += row[c];
            }
        }
        (0..W).for_each(|c| self.sum[c] += total[c]);
    }

    /// log Σ e^score of column `c`, of scores without the unit.
    pub fn log_sum(&self, c: usize) -> f32 {
        self.most[c] * LN_2 + self.sum[c].ln()
    }

    /// Writes the weighted means of the values of the first `n` columns to rows `stride` apart.
    pub fn write_means(&self, out: &mut [f32], stride: usize, n: usize) {
        let width = self.weighted.len() / columns();
        pack::transpose(out, stride, Mat::new(&self.weighted, width, n, columns()));
        for (out, sum) in out.chunks_mut(stride).zip(&self.sum[..n]) {
            let scale = 1.0 / sum;
            out[..width].iter_mut().for_each(|x| *x *= scale);
        }
    }

    /// The weighted mean of the values in column `c`, times `scale`.
    pub fn mean(&self, c: usize, scale: f32) -> impl Iterator<Item = f32> {
        let scale = scale / self.sum[c];
        self.weighted[c..].iter().step_by(columns()).map(move |x| x * scale)
    }
}

//! Output head and cross-entropy in one pass over the vocabulary on the CPU; the logits are never all there.
//!
//! The gradient to a hidden state is Σᵥ pᵥ·wᵥ − w_target: attention whose keys and values are the rows of the head, so
//! FlashAttention's running softmax (arXiv 2205.14135) gives loss and gradient with each block of logits computed once.
//! Logits are held transposed, vocabulary down and positions across, as the product with the weights wants them.

use super::gemm::Mat;
use super::lanes::{dot, exp, with_simd};
use super::panels::{Out, Packed, ROWS, WIDEST, columns, multiply, multiply_part};
use rayon::prelude::*;

/// Rows of the vocabulary that are packed at once: with hidden states of usual size they stay in a cache.
const BLOCK: usize = 16 * ROWS;

/// Blocks that are packed at a time, on all cores.
const AHEAD: usize = 4;

/// Up to [`columns`] positions: running softmax, and the sum of weights so far.
struct Column {
    /// Hidden states, packed.
    x: Packed,
    /// Logits of a block, then e^(logit − most): [BLOCK, columns].
    logits: Packed,
    most: [f32; WIDEST],
    sum: [f32; WIDEST],
    /// Σ e^(logit − most) · w: [hidden, columns]; empty without a gradient.
    weighted: Vec<f32>,
}

/// Summed cross-entropy of `x` [N, hidden] · `w`ᵀ [hidden, V] against N targets, and the gradient of `weight` times it
/// to `x`. Without a `weight` the gradient is not computed (empty).
pub fn cross_entropy(x: &[f32], w: Mat, targets: &[u32], weight: Option<f32>) -> (f64, Vec<f32>) {
    let (hidden, width) = (w.cols, columns());
    let rows = Mat::new(x, targets.len(), hidden, hidden);
    let mut all: Vec<Column> = (0..targets.len())
        .step_by(width)
        .map(|at| Column::new(rows.part(at..(at + width).min(targets.len())), weight.is_some()))
        .collect();
    let mut blocks: [(Packed, Packed); AHEAD] = Default::default();
    for at in (0..w.rows).step_by(AHEAD * BLOCK) {
        blocks.par_iter_mut().enumerate().for_each(|(i, (across, down))| {
            let [from, to] = [at + i * BLOCK, at + (i + 1) * BLOCK].map(|row| row.min(w.rows));
            across.fill_left(w.part(from..to));
            if weight.is_some() {
                down.fill_left(w.part(from..to).t());
            }
        });
        all.par_iter_mut().for_each(|column| {
            blocks.iter().for_each(|(across, down)| column.add(across, weight.map(|_| down)));
        });
    }
    let losses: Vec<f64> = all
        .iter()
        .zip(x.chunks(width * hidden).zip(targets.chunks(width)))
        .map(|(column, (x, targets))| column.loss(x, w, targets))
        .collect();
    let mut dx = vec![0f32; if weight.is_some() { x.len() } else { 0 }];
    if let Some(weight) = weight {
        let parts = dx.par_chunks_mut(width * hidden).zip(targets.par_chunks(width));
        parts.zip(&all).for_each(|((dx, targets), column)| column.gradient(dx, w, targets, weight));
    }
    (losses.iter().sum(), dx)
}

impl Column {
    fn new(x: Mat, gradient: bool) -> Self {
        Self {
            x: Packed::right(x.t()),
            logits: Packed::column(BLOCK),
            most: [f32::NEG_INFINITY; WIDEST],
            sum: [0.0; WIDEST],
            weighted: vec![0.0; if gradient { x.cols * columns() } else { 0 }],
        }
    }

    /// Takes in a block of the vocabulary; `down` is its transpose, for the gradient.
    fn add(&mut self, block: &Packed, down: Option<&Packed>) {
        let (rows, width) = (block.lines(), columns());
        if rows == 0 {
            return;
        }
        multiply(Out::new(self.logits.values(), width), block, &self.x);
        let logits = &mut self.logits.values()[..rows * width];
        with_simd(|| match width {
            16 => running_softmax::<16>(logits, &mut self.most, &mut self.sum, &mut self.weighted),
            32 => running_softmax::<32>(logits, &mut self.most, &mut self.sum, &mut self.weighted),
            _ => running_softmax::<8>(logits, &mut self.most, &mut self.sum, &mut self.weighted),
        });
        if let Some(down) = down {
            let out = Out { add: true, ..Out::new(&mut self.weighted, width) };
            multiply_part(out, down, &self.logits, [down.lines(), width, rows]);
        }
    }

    fn loss(&self, x: &[f32], w: Mat, targets: &[u32]) -> f64 {
        let rows = x.chunks_exact(w.cols).zip(targets).enumerate();
        rows.map(|(c, (x, t))| {
            let wanted = with_simd(|| dot(x, w.row(*t as usize)));
            f64::from(self.sum[c].ln() + self.most[c] - wanted)
        })
        .sum()
    }

    /// weight · (weighted / sum − w_target), home to rows.
    fn gradient(&self, dx: &mut [f32], w: Mat, targets: &[u32], weight: f32) {
        let rows = dx.chunks_exact_mut(w.cols).zip(targets).enumerate();
        for (c, (dx, t)) in rows {
            let scale = weight / self.sum[c];
            let column = self.weighted[c..].iter().step_by(columns());
            for ((dx, sum), w) in dx.iter_mut().zip(column).zip(w.row(*t as usize)) {
                *dx = sum * scale - weight * w;
            }
        }
    }
}

/// Logits → e^(logit − most), `most` and what depends on it brought up to date.
#[inline(always)]
fn running_softmax<const W: usize>(
    logits: &mut [f32],
    most: &mut [f32],
    sum: &mut [f32],
    weighted: &mut [f32],
) {
    let rows = logits.as_chunks_mut::<W>().0;
    let old: [f32; W] = std::array::from_fn(|c| most[c]);
    let mut new = old;
    for row in rows.iter() {
        new = std::array::from_fn(|c| if row[c] > new[c] { row[c] } else { new[c] });
    }
    if new != old {
        let shrink: [f32; W] = std::array::from_fn(|c| exp(old[c] - new[c]));
        for row in weighted.as_chunks_mut::<W>().0 {
            (0..W).for_each(|c| row[c] *= shrink[c]);
        }
        (0..W).for_each(|c| sum[c] *= shrink[c]);
        most[..W].copy_from_slice(&new);
    }
    let mut total = [0f32; W];
    for row in rows {
        for c in 0..W {
            row[c] = exp(row[c] - new[c]);
            total[c] += row[c];
        }
    }
    (0..W).for_each(|c| sum[c] += total[c]);
}

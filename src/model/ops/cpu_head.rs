//! Output head and cross-entropy in one pass over the vocabulary on the CPU; the logits are never all there.
//!
//! The gradient to a hidden state is Σᵥ pᵥ·wᵥ − w_target: attention whose keys and values are the rows of the head, so
//! FlashAttention's running softmax (arXiv 2205.14135) gives loss and gradient with each block of logits computed once.
//! Logits are held transposed, vocabulary down and positions across, as the product with the weights wants them.

use super::gemm::Mat;
use super::lanes::{dot, with_simd};
use super::panels::{Out, Packed, ROWS, columns, multiply};
use super::running::{Running, UNIT};
use rayon::prelude::*;

/// Rows of the vocabulary that are packed at once: with hidden states of usual size they stay in a cache.
const BLOCK: usize = 32 * ROWS;

/// Blocks that are packed at a time, on all cores.
const AHEAD: usize = 2;

/// Up to [`columns`] positions.
struct Column {
    /// Hidden states, packed.
    x: Packed,
    /// Logits of a block: [BLOCK, columns].
    logits: Packed,
    running: Running,
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
        let running = Running::new(if gradient { x.cols } else { 0 });
        Self { x: Packed::right(x.t()), logits: Packed::column(BLOCK), running }
    }

    /// Takes in a block of the vocabulary; `down` is its transpose, for the gradient.
    fn add(&mut self, block: &Packed, down: Option<&Packed>) {
        if block.lines() > 0 {
            let logits = Out { scale: UNIT, ..Out::new(self.logits.values(), columns()) };
            multiply(logits, block, &self.x);
            self.running.take(&mut self.logits, block.lines(), down);
        }
    }

    fn loss(&self, x: &[f32], w: Mat, targets: &[u32]) -> f64 {
        let rows = x.chunks_exact(w.cols).zip(targets).enumerate();
        rows.map(|(c, (x, t))| {
            let wanted = with_simd(
                #[inline(always)]
                || dot(x, w.row(*t as usize)),
            );
            f64::from(self.running.log_sum(c) - wanted)
        })
        .sum()
    }

    /// weight · (weighted mean − w_target), home to rows.
    fn gradient(&self, dx: &mut [f32], w: Mat, targets: &[u32], weight: f32) {
        for (c, (dx, t)) in dx.chunks_exact_mut(w.cols).zip(targets).enumerate() {
            for ((dx, mean), w) in dx.iter_mut().zip(self.running.mean(c, weight)).zip(w.row(*t as usize)) {
                *dx = mean - weight * w;
            }
        }
    }
}

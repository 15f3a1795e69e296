//! Products with a quantised matrix on the CPU: a few rows at a time are made to floats, used, and forgotten.

use super::gemm::{Cores, Mat, gemm};
use super::memory::{cpu, is_cpu, tensor, with_owned};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::ops::Range;

/// Values made to floats at a time: small enough to stay in a cache, enough rows for a product to be fast.
const SCRATCH: usize = 1 << 20;

/// A matrix [out, in] that is made to floats by `decode(first value, floats)`, values in row-major order.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub shape: [usize; 2],
    pub decode: &'a (dyn Fn(usize, &mut [f32]) + Sync),
}

/// Values a thread decodes at a time.
const PART: usize = 1 << 14;

impl Rows<'_> {
    /// Values from `first` on, in parallel.
    pub fn fill(&self, first: usize, out: &mut [f32]) {
        out.par_chunks_mut(PART).enumerate().for_each(|(i, out)| (self.decode)(first + i * PART, out));
    }

    /// Hands slabs of rows to `use_slab(first row, floats [n, in])`.
    fn slabs(&self, cores: Cores, mut use_slab: impl FnMut(usize, Mat)) {
        let [rows, width] = self.shape;
        let most = (SCRATCH / width.max(1)).clamp(1, rows.max(1));
        let mut scratch = vec![0f32; most * width];
        for first in (0..rows).step_by(most) {
            let n = most.min(rows - first);
            let slab = &mut scratch[..n * width];
            match cores {
                Cores::All => self.fill(first * width, slab),
                Cores::One => (self.decode)(first * width, slab),
            }
            use_slab(first, Mat::new(slab, n, width, width));
        }
    }

    /// out [T, out] = x·Wᵀ
    fn forward(&self, out: &mut [f32], x: Mat, cores: Cores) {
        let width = self.shape[0];
        self.slabs(cores, |first, slab| gemm(&mut out[first..], width, 0.0, 1.0, x, slab.t(), cores));
    }

    /// out [T, in] += dy·W
    fn add_backward(&self, out: &mut [f32], dy: Mat, cores: Cores) {
        let width = self.shape[1];
        self.slabs(cores, |first, slab| {
            let part = Mat { data: &dy.data[first * dy.col_stride..], cols: slab.rows, ..dy };
            gemm(out, width, 1.0, 1.0, part, slab, cores);
        });
    }
}

/// x·Wᵀ for x [T, in].
pub fn forward(x: &Tensor<2>, w: &Rows) -> Tensor<2> {
    let (t, out) = (x.dims()[0], w.shape[0]);
    let c = cpu(x).expect("blocks on the host belong to f32 on the CPU");
    let mut y = vec![0f32; t * out];
    if t > 0 {
        w.forward(&mut y, c.mat(), Cores::All);
    }
    tensor(y, [t, out], &x.device())
}

/// sum + dy·W for dy [T, out], into the memory of `sum` where nobody else holds it.
pub fn add_backward(sum: Option<Tensor<2>>, dy: &Tensor<2>, w: &Rows) -> Tensor<2> {
    let (t, inp) = (dy.dims()[0], w.shape[1]);
    let c = cpu(dy).expect("blocks on the host belong to f32 on the CPU");
    let sum = sum.unwrap_or_else(|| tensor(vec![0f32; t * inp], [t, inp], &dy.device()));
    assert!(is_cpu(&sum), "a sum of gradients on another device");
    if t == 0 {
        return sum;
    }
    with_owned(sum, |out| w.add_backward(out, c.mat(), Cores::All))
}

/// Matrices of one shape [out, in], made to floats by `decode(expert, first value, floats)`.
pub struct Experts<'a> {
    pub shape: [usize; 2],
    pub decode: &'a (dyn Fn(usize, usize, &mut [f32]) + Sync),
}

/// Rows `groups[e]` of x [N, _] times the matrix of expert e, transposed (`forward`) or as it is.
pub fn grouped(x: &Tensor<2>, experts: &Experts, groups: &[Range<usize>], forward: bool) -> Tensor<2> {
    let [n, depth] = x.dims();
    let [out, inp] = experts.shape;
    let width = if forward { out } else { inp };
    let c = cpu(x).expect("blocks on the host belong to f32 on the CPU");
    let all = c.slice();
    let mut y = vec![0f32; n * width];
    let mut parts = Vec::new();
    let mut rest = y.as_mut_slice();
    for (e, g) in groups.iter().enumerate().filter(|(_, g)| !g.is_empty()) {
        let (part, tail) = rest.split_at_mut(g.len() * width);
        parts.push((e, g.clone(), part));
        rest = tail;
    }
    parts.into_par_iter().for_each(|(e, g, part)| {
        let x = Mat::new(&all[g.start * depth..], g.len(), depth, depth);
        let decode = |start: usize, out: &mut [f32]| (experts.decode)(e, start, out);
        let w = Rows { shape: experts.shape, decode: &decode };
        if forward { w.forward(part, x, Cores::One) } else { w.add_backward(part, x, Cores::One) }
    });
    tensor(y, [n, width], &x.device())
}

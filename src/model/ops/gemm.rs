//! Matrix product on slices: strided views are multiplied where they lie, and added to what is there. Through tensors each of
//! these would cost a copy and an addition of the whole result.

use super::{blocked, thin};
use rayon::prelude::*;

/// Fewer numbers than this are not worth waking other threads.
const PARALLEL_FROM: usize = 128 * 1024;

/// A matrix inside a slice: element (r, c) is at `r * row_stride + c * col_stride`.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A row-major matrix `[rows, cols]` whose rows are `row_stride` apart.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        let Self { data, rows, cols, row_stride, col_stride } = self;
        Self { data, rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
    }

    /// The rows `rows` only.
    pub fn part(self, rows: std::ops::Range<usize>) -> Self {
        Self { data: &self.data[rows.start * self.row_stride..], rows: rows.len(), ..self }
    }

    /// Row `r` of a matrix whose rows are contiguous.
    #[inline(always)]
    pub fn row(self, r: usize) -> &'a [f32] {
        &self.data[r * self.row_stride..][..self.cols]
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride < self.data.len()
    }
}

/// Whether a product may use all cores or stays on the calling thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    All,
    One,
}

/// `out = keep * out + scale * a * b` for a row-major `out` `[a.rows, b.cols]` with rows `out_stride` apart.
/// With `keep` 0 the old content of `out` is not read.
pub fn gemm(out: &mut [f32], out_stride: usize, keep: f32, scale: f32, a: Mat, b: Mat, cores: Cores) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner sizes of a matrix product");
    if m == 0 || n == 0 {
        return;
    }
    assert!(a.fits() && b.fits(), "a matrix view reaches past its slice");
    assert!(out_stride >= n && (m - 1) * out_stride + n <= out.len(), "the result reaches past its slice");
    if m <= thin::MANY && b.row_stride == 1 && n > 4 * m && k > 0 {
        return thin_rows(out, out_stride, (keep, scale), a, b.t(), cores);
    }
    if n <= thin::MANY && a.col_stride == 1 && m > 4 * n && k > 0 {
        return thin_columns(out, out_stride, (keep, scale), a, b.t(), cores);
    }
    blocked::product(out, out_stride, (keep, scale), a, b, cores);
}

/// [`gemm`] of a few rows `a` and the transpose of `b`.
fn thin_rows(out: &mut [f32], stride: usize, (keep, scale): (f32, f32), a: Mat, b: Mat, cores: Cores) {
    let parallel = cores == Cores::All && b.rows * b.cols >= PARALLEL_FROM;
    let dots = thin::dots(b, a, parallel);
    let write = |(r, out): (usize, &mut [f32])| {
        for (y, x) in out[..b.rows].iter_mut().zip(dots[r..].iter().step_by(a.rows)) {
            *y = mixed(*y, *x, keep, scale);
        }
    };
    let end = (a.rows - 1) * stride + b.rows;
    if parallel {
        out[..end].par_chunks_mut(stride).enumerate().for_each(write);
    } else {
        out[..end].chunks_mut(stride).enumerate().for_each(write);
    }
}

/// [`gemm`] of `a` and the transpose of a few rows `b`.
fn thin_columns(out: &mut [f32], stride: usize, (keep, scale): (f32, f32), a: Mat, b: Mat, cores: Cores) {
    let dots = thin::tiles(a, b, cores == Cores::All && a.rows * a.cols >= PARALLEL_FROM);
    for (out, dots) in out.chunks_mut(stride).zip(dots.chunks_exact(b.rows)) {
        for (y, x) in out.iter_mut().zip(dots) {
            *y = mixed(*y, *x, keep, scale);
        }
    }
}

/// keep · y + scale · x, where a `keep` of 0 forgets y whatever it is.
fn mixed(y: f32, x: f32, keep: f32, scale: f32) -> f32 {
    if keep == 0.0 { scale * x } else { keep * y + scale * x }
}

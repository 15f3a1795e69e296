//! Products with few rows or columns: the large operand is read once, where it lies, and every row of it meets all
//! rows of the small one while it is in registers. One token at a time, and the low-rank sides of an adapter.

use super::gemm::Mat;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows of the small operand: as many as there are sums in flight that hide the latency of a multiply-add.
pub const FEW: usize = 8;
/// The widest vector.
const WIDEST: usize = 16;
/// Numbers of the large operand that one task reads at least.
const READ_AT_ONCE: usize = 64 * 1024;

/// `many · fewᵀ` as `[many.rows, few.rows]`, for a `many` whose rows are contiguous and at most [`FEW`] rows of `few`.
/// `parallel` uses all cores.
pub fn dots(many: Mat, few: Mat, parallel: bool) -> Vec<f32> {
    let n = few.rows;
    assert!(many.col_stride == 1 && many.cols == few.cols && (1..=FEW).contains(&n));
    let mut out = vec![0f32; many.rows * n];
    let few = interleave(few);
    let rows = if parallel { READ_AT_ONCE.div_ceil(many.cols.max(1)) } else { many.rows.max(1) };
    let work = |(i, out): (usize, &mut [f32])| {
        let many =
            Many { data: &many.data[i * rows * many.row_stride..], stride: many.row_stride, cols: many.cols };
        Arch::new().dispatch(Dots { out, many, few: &few, n });
    };
    if parallel {
        out.par_chunks_mut(rows * n).enumerate().for_each(work);
    } else {
        out.chunks_mut(rows * n).enumerate().for_each(work);
    }
    out
}

/// [`dots`] on all cores for a `many` of small integers [rows, few.cols], row-major: a quarter of the memory to read.
pub fn dots_of_integers(many: &[i8], few: Mat) -> Vec<f32> {
    let (n, cols) = (few.rows, few.cols);
    assert!((1..=FEW).contains(&n) && cols > 0 && many.len().is_multiple_of(cols));
    let mut out = vec![0f32; many.len() / cols * n];
    let few = interleave(few);
    let rows = READ_AT_ONCE.div_ceil(cols);
    out.par_chunks_mut(rows * n).enumerate().for_each(|(i, out)| {
        let many = Many { data: &many[i * rows * cols..], stride: cols, cols };
        Arch::new().dispatch(Dots { out, many, few: &few, n });
    });
    out
}

/// Rows that are contiguous, `stride` apart.
struct Many<'a, T> {
    data: &'a [T],
    stride: usize,
    cols: usize,
}

/// Blocks of [`WIDEST`] columns, in each the rows one after another; missing columns are zeros.
fn interleave(few: Mat) -> Vec<f32> {
    let mut out = vec![0f32; few.cols.next_multiple_of(WIDEST) * few.rows];
    for (block, out) in out.chunks_exact_mut(WIDEST * few.rows).enumerate() {
        let from = block * WIDEST;
        for (r, out) in out.chunks_exact_mut(WIDEST).enumerate() {
            for (out, c) in out.iter_mut().zip(from..few.cols) {
                *out = few.data[r * few.row_stride + c * few.col_stride];
            }
        }
    }
    out
}

struct Dots<'a, T> {
    /// [rows, n]
    out: &'a mut [f32],
    many: Many<'a, T>,
    few: &'a [f32],
    n: usize,
}

impl<T: Copy + Into<f32>> WithSimd for Dots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.n {
            1 => self.of::<S, 1>(simd),
            2 => self.of::<S, 2>(simd),
            3 => self.of::<S, 3>(simd),
            4 => self.of::<S, 4>(simd),
            5 => self.of::<S, 5>(simd),
            6 => self.of::<S, 6>(simd),
            7 => self.of::<S, 7>(simd),
            _ => self.of::<S, FEW>(simd),
        }
    }
}

impl<T: Copy + Into<f32>> Dots<'_, T> {
    #[inline(always)]
    fn of<S: Simd, const N: usize>(self, simd: S) {
        for (i, out) in self.out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            *out = row::<S, N, T>(simd, &self.many.data[i * self.many.stride..][..self.many.cols], self.few);
        }
    }
}

/// One row times N interleaved ones.
#[inline(always)]
fn row<S: Simd, const N: usize, T: Copy + Into<f32>>(simd: S, x: &[T], few: &[f32]) -> [f32; N] {
    let lanes = size_of::<S::f32s>() / size_of::<f32>();
    let mut sum = [simd.splat_f32s(0.0); N];
    let (x, rest) = x.as_chunks::<WIDEST>();
    let mut blocks = few.chunks_exact(WIDEST * N);
    for (x, few) in x.iter().zip(&mut blocks) {
        let x: [f32; WIDEST] = x.map(Into::into);
        for (v, x) in S::as_simd_f32s(&x).0.iter().enumerate() {
            for (n, sum) in sum.iter_mut().enumerate() {
                let few = S::as_simd_f32s(&few[n * WIDEST + v * lanes..][..lanes]).0[0];
                *sum = simd.mul_add_f32s(*x, few, *sum);
            }
        }
    }
    let tail = blocks.next().unwrap_or_default();
    let mut out = [0f32; N];
    for n in 0..N {
        let mut parts = [0f32; WIDEST];
        S::as_mut_simd_f32s(&mut parts).0[0] = sum[n];
        let tail = rest.iter().zip(tail.iter().skip(n * WIDEST)).map(|(a, b)| (*a).into() * b).sum::<f32>();
        out[n] = parts.iter().sum::<f32>() + tail;
    }
    out
}

//! Products with few rows or columns: the large operand is read once, where it lies, and every row of it meets all
//! rows of the small one while it is near. One token at a time, a question, and the low-rank sides of an adapter.

use super::gemm::Mat;
use super::panels::{Packed, ROWS, multiply_rows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows of the small operand that [`dots_of_integers`] takes: as many as there are sums in flight that hide the latency of a
/// multiply-add.
pub const FEW: usize = 8;
/// Rows of the small operand up to which this is faster than to pack the large one.
pub const MANY: usize = 64;
/// The widest vector.
const WIDEST: usize = 16;
/// Numbers of the large operand that one task reads at least.
const READ_AT_ONCE: usize = 64 * 1024;

/// `many · fewᵀ` as `[many.rows, few.rows]`, for a `many` whose rows are contiguous. `parallel` uses all cores. An element does not
/// depend on how many rows either has.
pub fn dots(many: Mat, few: Mat, parallel: bool) -> Vec<f32> {
    let n = few.rows;
    assert!(many.col_stride == 1 && many.cols == few.cols && n > 0);
    let mut out = vec![0f32; many.rows * n];
    let few = Packed::right_of_rows(few.t());
    if !parallel {
        multiply_rows(&mut out, many, &few);
        return out;
    }
    let rows = READ_AT_ONCE.div_ceil(many.cols.max(1)).next_multiple_of(ROWS);
    out.par_chunks_mut(rows * n).enumerate().for_each(|(i, out)| {
        multiply_rows(out, many.part(i * rows..i * rows + out.len() / n), &few);
    });
    out
}

/// [`dots`] on all cores for a `many` of small integers [rows, few.cols], row-major: a quarter of the memory to read. `then` is
/// told the first row of each part and its dots while they are at hand; what it gives comes in the order of the parts.
pub fn dots_of_integers<R: Send>(
    many: &[i8],
    few: Mat,
    then: impl Fn(usize, &mut [f32]) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let (n, cols) = (few.rows, few.cols);
    assert!((1..=FEW).contains(&n) && cols > 0 && many.len().is_multiple_of(cols));
    let mut out = vec![0f32; many.len() / cols * n];
    let few = interleave(few);
    let rows = rows_of_integers(cols);
    let part = |(i, out): (usize, &mut [f32])| {
        let many = &many[i * rows * cols..];
        Arch::new().dispatch(Dots { out: &mut *out, many, cols, few: &few, n });
        then(i * rows, out)
    };
    let told = out.par_chunks_mut(rows * n).enumerate().map(part).collect();
    (out, told)
}

/// Rows of a part of [`dots_of_integers`].
pub fn rows_of_integers(cols: usize) -> usize {
    READ_AT_ONCE.div_ceil(cols)
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

/// Small integers have to be made to floats: that limits, not memory, and several rows share what is read of the small operand.
struct Dots<'a> {
    /// [rows, n]
    out: &'a mut [f32],
    /// Row-major.
    many: &'a [i8],
    cols: usize,
    few: &'a [f32],
    n: usize,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.n {
            1 => self.of::<S, 6, 1, 0>(simd),
            2 => self.of::<S, 4, 2, 0>(simd),
            3 => self.of::<S, 2, 3, 0>(simd),
            4 => self.of::<S, 2, 4, 0>(simd),
            5 => self.of::<S, 2, 3, 2>(simd),
            6 => self.of::<S, 2, 3, 3>(simd),
            7 => self.of::<S, 2, 4, 3>(simd),
            _ => self.of::<S, 2, 4, 4>(simd),
        }
    }
}

impl Dots<'_> {
    /// R rows at a time with the first A of the small operand and then with the B others: sums for which there are registers.
    #[inline(always)]
    fn of<S: Simd, const R: usize, const A: usize, const B: usize>(self, simd: S) {
        let n = A + B;
        let mut rows = self.many.chunks_exact(self.cols);
        let mut out = self.out.chunks_exact_mut(R * n);
        for out in &mut out {
            let mut x: [&[i8]; R] = [&[]; R];
            x.iter_mut().zip(&mut rows).for_each(|(x, row)| *x = row);
            put(out, n, 0, block::<S, R, A>(simd, x, self.few, (n, 0)));
            put(out, n, A, block::<S, R, B>(simd, x, self.few, (n, A)));
        }
        for (out, row) in out.into_remainder().chunks_exact_mut(n).zip(&mut rows) {
            put(out, n, 0, block::<S, 1, A>(simd, [row], self.few, (n, 0)));
            put(out, n, A, block::<S, 1, B>(simd, [row], self.few, (n, A)));
        }
    }
}

#[inline(always)]
fn put<const R: usize, const N: usize>(out: &mut [f32], stride: usize, at: usize, dots: [[f32; N]; R]) {
    for (out, dots) in out.chunks_exact_mut(stride).zip(dots) {
        out[at..at + N].copy_from_slice(&dots);
    }
}

/// R rows times N of `n` interleaved ones, from the one with number `from` on. An element is summed in the same order whatever
/// R, N and n are.
#[inline(always)]
fn block<S: Simd, const R: usize, const N: usize>(
    simd: S,
    x: [&[i8]; R],
    few: &[f32],
    (n, from): (usize, usize),
) -> [[f32; N]; R] {
    let lanes = size_of::<S::f32s>() / size_of::<f32>();
    let mut sums = [[simd.splat_f32s(0.0); N]; R];
    let whole = x[0].len() / WIDEST;
    // Loops, not `map`: a closure that is not inlined here is not compiled for these vectors.
    let mut part = [[0f32; WIDEST]; R];
    let mut at = [simd.splat_f32s(0.0); R];
    for b in 0..whole {
        let few = &few[(b * n + from) * WIDEST..][..N * WIDEST];
        for r in 0..R {
            let x = &x[r][b * WIDEST..][..WIDEST];
            for i in 0..WIDEST {
                part[r][i] = f32::from(x[i]);
            }
        }
        for v in 0..WIDEST / lanes {
            for r in 0..R {
                at[r] = S::as_simd_f32s(&part[r]).0[v];
            }
            for k in 0..N {
                let few = S::as_simd_f32s(&few[k * WIDEST + v * lanes..][..lanes]).0[0];
                for r in 0..R {
                    sums[r][k] = simd.mul_add_f32s(at[r], few, sums[r][k]);
                }
            }
        }
    }
    let mut out = [[0f32; N]; R];
    for r in 0..R {
        let rest = &x[r][whole * WIDEST..];
        for k in 0..N {
            let mut parts = [0f32; WIDEST];
            S::as_mut_simd_f32s(&mut parts).0[0] = sums[r][k];
            let tail = few.get((whole * n + from + k) * WIDEST..).unwrap_or_default();
            let tail = rest.iter().zip(tail).map(|(a, b)| f32::from(*a) * b).sum::<f32>();
            out[r][k] = parts.iter().sum::<f32>() + tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::blocked;
    use super::super::gemm::Cores;
    use super::*;

    /// An answer must not depend on which others are written beside it: bit for bit the same alone, with others, and packed.
    #[test]
    fn a_row_gives_the_same_whatever_is_beside_it() {
        let (rows, cols, n) = (37, 1100, 70);
        let number = |i: usize| ((i * 7919 % 1009) as f32 - 500.0) / 313.0;
        let many: Vec<f32> = (0..rows * cols).map(number).collect();
        let few: Vec<f32> = (0..n * cols).map(|i| number(i + 5)).collect();
        let (many, few) = (Mat::new(&many, rows, cols, cols), Mat::new(&few, n, cols, cols));
        let mut packed = vec![0f32; n * rows];
        blocked::product(&mut packed, rows, (0.0, 1.0), few, many.t(), Cores::All);
        for count in [1, 2, 7, 8, 9, 33, n] {
            for (i, dot) in dots(many, few.part(0..count), count % 2 == 0).iter().enumerate() {
                let want = packed[i % count * rows + i / count];
                assert_eq!(dot.to_bits(), want.to_bits(), "{count}: {i}");
            }
        }
    }

    /// Small integers: every order of the sums gives the same.
    #[test]
    fn all_sizes_give_the_products() {
        for (rows, cols) in [(1, 1), (5, 16), (13, 37), (24, 64), (7, 15)] {
            let many: Vec<i8> = (0..rows * cols).map(|i| (i * 7 % 11) as i8 - 5).collect();
            let floats: Vec<f32> = many.iter().map(|&x| f32::from(x)).collect();
            for n in (1..=FEW).chain([9, 16, 21]) {
                let few: Vec<f32> = (0..n * cols).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
                let one = |r: usize, k: usize| {
                    let few = &few[k * cols..(k + 1) * cols];
                    floats[r * cols..(r + 1) * cols].iter().zip(few).map(|(a, b)| a * b).sum::<f32>()
                };
                let want: Vec<f32> =
                    (0..rows).flat_map(|r| (0..n).map(move |k| (r, k))).map(|(r, k)| one(r, k)).collect();
                let few = Mat::new(&few, n, cols, cols);
                assert_eq!(
                    dots(Mat::new(&floats, rows, cols, cols), few, n % 2 == 0),
                    want,
                    "{rows} {cols} {n}"
                );
                if n > FEW {
                    continue;
                }
                let (all, parts) = dots_of_integers(&many, few, |first, part| (first, part.len()));
                assert_eq!(all, want);
                assert_eq!(parts, [(0, rows * n)]);
            }
        }
    }
}

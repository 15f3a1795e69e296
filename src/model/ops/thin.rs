//! Products with few rows or columns: the large operand is read once, where it lies, and every row of it meets all
//! rows of the small one while it is near. One token at a time, a question, and the low-rank sides of an adapter.

use super::aligned::Aligned;
use super::gemm::Mat;
use super::lanes::{LANES, total};
use super::panel_rows::multiply_rows;
use super::panels::{Packed, ROWS};
use super::prefetch::prefetch;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows of the small operand at a time: as many as there are sums in flight that hide the latency of a multiply-add.
pub const FEW: usize = 8;
/// Rows of the small operand up to which this is faster than to pack the large one.
pub const MANY: usize = 64;
/// The widest vector.
const WIDEST: usize = LANES;
/// Numbers of the large operand that one task reads at least.
const READ_AT_ONCE: usize = 64 * 1024;

/// Products of the rows of a large operand with n of a small one.
pub struct Products {
    values: Vec<f32>,
    /// From the products of one row of the large operand to those of the next: at least n.
    stride: usize,
}

impl Products {
    /// Those of each row of the large operand, and what fills the row up.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.stride)
    }

    /// Those with row `r` of the small operand.
    pub fn with(&self, r: usize) -> impl Iterator<Item = f32> {
        self.values[r..].iter().step_by(self.stride).copied()
    }
}

/// `many · fewᵀ`, for a `many` whose rows are contiguous and come from memory: up to [`FEW`] rows of `few` meet one row of it after
/// the other, for memory limits and likes to be read in one stream. `parallel` uses all cores.
///
/// An element does not depend on the number of rows, up to [`FEW`] and beyond it.
pub fn dots(many: Mat, few: Mat, parallel: bool) -> Products {
    let n = few.rows;
    if n > FEW {
        return tiles(many, few, None, parallel);
    }
    let small = interleave(few);
    in_parts(many, (few, n), parallel, |out, at| {
        dots_here(out, many.part(at..at + out.len() / n), &small, n);
    })
}

/// `few · manyᵀ` for each of `all`, as `[few.rows, many.rows]`, on all cores: work that is handed over once for all of them. An
/// element is that of [`dots`].
pub fn dots_of_all(all: &[Mat], few: Mat) -> Vec<Vec<f32>> {
    let n = few.rows;
    assert!((1..=FEW).contains(&n) && all.iter().all(|m| m.col_stride == 1 && m.cols == few.cols));
    let small = interleave(few);
    let rows = READ_AT_ONCE.div_ceil(few.cols.max(1));
    let parts = |many: &Mat| (0..many.rows).step_by(rows);
    let tasks: Vec<Mat> =
        all.iter().flat_map(|m| parts(m).map(|at| m.part(at..(at + rows).min(m.rows)))).collect();
    let work = |many: &Mat| {
        let mut out = vec![0f32; many.rows * n];
        dots_here(&mut out, *many, &small, n);
        let mut across = vec![0f32; out.len()];
        for (r, across) in across.chunks_exact_mut(many.rows).enumerate() {
            across.iter_mut().zip(out[r..].iter().step_by(n)).for_each(|(y, x)| *y = *x);
        }
        across
    };
    let done: Vec<Vec<f32>> = tasks.par_iter().map(work).collect();
    let mut done = done.as_slice();
    let home = |many: &Mat| {
        let (mine, others) = done.split_at(parts(many).count());
        done = others;
        let mut out = Vec::with_capacity(n * many.rows);
        for r in 0..n {
            mine.iter().for_each(|part| out.extend_from_slice(&part[r * part.len() / n..][..part.len() / n]));
        }
        out
    };
    all.iter().map(home).collect()
}

/// The same of a `many` that is near: arithmetic limits, and a tile of its rows meets all of `few`. Summed as a packed product
/// is. The operands may begin in depth with a second pair (`many` with as many rows, `few` times a factor).
pub fn tiles(many: Mat, few: Mat, beside: Option<(Mat, Mat, f32)>, parallel: bool) -> Products {
    let small = Packed::right_of_rows(few.t());
    let beside = beside.map(|(many, few, scale)| (many, Packed::right_of_rows(few.t()).times(scale)));
    let stride = small.padded_lines();
    in_parts(many, (few, stride), parallel, |out, at| {
        let rows = at..at + out.len() / stride;
        if let Some((many, small)) = &beside {
            multiply_rows(out, many.part(rows.clone()), small, false);
        }
        multiply_rows(out, many.part(rows), &small, beside.is_some());
    })
}

/// Parts of the products, each by `work` from a first row of `many` on.
fn in_parts(
    many: Mat,
    (few, stride): (Mat, usize),
    parallel: bool,
    work: impl Fn(&mut [f32], usize) + Sync,
) -> Products {
    assert!(many.col_stride == 1 && many.cols == few.cols && stride > 0);
    let mut values = vec![0f32; many.rows * stride];
    if parallel {
        let rows = READ_AT_ONCE.div_ceil(many.cols.max(1)).next_multiple_of(ROWS);
        values.par_chunks_mut(rows * stride).enumerate().for_each(|(i, out)| work(out, i * rows));
    } else {
        work(&mut values, 0);
    }
    Products { values, stride }
}

/// [`dots`] on this core, `[many.rows, n]`, for n rows made by [`interleave`].
fn dots_here(out: &mut [f32], many: Mat, few: &[f32], n: usize) {
    let many = Many { data: many.data, stride: many.row_stride, cols: many.cols };
    Arch::new().dispatch(Dots { out, many, few, n });
}

/// The same for a `many` of small integers, row-major: a quarter of the memory to read.
pub fn dots_of_integers(out: &mut [f32], many: &[i8], few: &[f32], (n, cols): (usize, usize)) {
    assert!((1..=FEW).contains(&n) && cols > 0 && many.len() / cols == out.len() / n);
    let many = Many { data: many, stride: cols, cols };
    Arch::new().dispatch(Dots { out, many, few, n });
}

/// What the large operand is made of.
trait Number: Copy + Into<f32> {
    /// Its rows are read one after another: memory is what limits, and it likes to be read in one stream. Where arithmetic
    /// limits (small integers have to be made to floats), several rows share what is read of the small operand.
    const ONE_STREAM: bool;
}

impl Number for f32 {
    const ONE_STREAM: bool = true;
}

impl Number for i8 {
    const ONE_STREAM: bool = false;
}

/// Rows that are contiguous, `stride` apart.
struct Many<'a, T> {
    data: &'a [T],
    stride: usize,
    cols: usize,
}

/// Blocks of [`WIDEST`] columns, in each the rows one after another; missing columns are zeros.
pub fn interleave(few: Mat) -> Aligned {
    let mut out = Aligned::zeros(few.cols.next_multiple_of(WIDEST) * few.rows);
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

impl<T: Number> WithSimd for Dots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (T::ONE_STREAM, self.n) {
            (true, 1) => self.of::<S, 1, 1, 0>(simd),
            (true, 2) => self.of::<S, 1, 2, 0>(simd),
            (true, 3) => self.of::<S, 1, 3, 0>(simd),
            (true, 4) => self.of::<S, 1, 4, 0>(simd),
            (true, 5) => self.of::<S, 1, 5, 0>(simd),
            (true, 6) => self.of::<S, 1, 6, 0>(simd),
            (true, 7) => self.of::<S, 1, 7, 0>(simd),
            (true, _) => self.of::<S, 1, 8, 0>(simd),
            (false, 1) => self.of::<S, 6, 1, 0>(simd),
            (false, 2) => self.of::<S, 4, 2, 0>(simd),
            (false, 3) => self.of::<S, 2, 3, 0>(simd),
            (false, 4) => self.of::<S, 2, 4, 0>(simd),
            (false, 5) => self.of::<S, 2, 3, 2>(simd),
            (false, 6) => self.of::<S, 2, 3, 3>(simd),
            (false, 7) => self.of::<S, 2, 4, 3>(simd),
            (false, _) => self.of::<S, 2, 4, 4>(simd),
        }
    }
}

impl<T: Number> Dots<'_, T> {
    /// R rows at a time with the first A of the small operand and then with the B others: sums for which there are registers.
    #[inline(always)]
    fn of<S: Simd, const R: usize, const A: usize, const B: usize>(self, simd: S) {
        let n = A + B;
        let row = |i: usize| &self.many.data[i * self.many.stride..][..self.many.cols];
        let mut out = self.out.chunks_exact_mut(R * n);
        let mut i = 0;
        for out in &mut out {
            let mut x: [&[T]; R] = [&[]; R];
            for (r, x) in x.iter_mut().enumerate() {
                *x = row(i + r);
            }
            put(out, n, 0, block::<S, R, A, T>(simd, x, self.few, (n, 0)));
            put(out, n, A, block::<S, R, B, T>(simd, x, self.few, (n, A)));
            i += R;
        }
        for out in out.into_remainder().chunks_exact_mut(n) {
            put(out, n, 0, block::<S, 1, A, T>(simd, [row(i)], self.few, (n, 0)));
            put(out, n, A, block::<S, 1, B, T>(simd, [row(i)], self.few, (n, A)));
            i += 1;
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
fn block<S: Simd, const R: usize, const N: usize, T: Number>(
    simd: S,
    x: [&[T]; R],
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
            if T::ONE_STREAM {
                // A line of the cache
                prefetch(x);
            }
            for i in 0..WIDEST {
                part[r][i] = x[i].into();
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
            let tail = rest.iter().zip(tail).map(|(a, b)| (*a).into() * b).sum::<f32>();
            out[r][k] = total(parts) + tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::blocked;
    use super::super::gemm::{Cores, Sum, Term};
    use super::*;

    /// An answer must not depend on which others are written beside it: bit for bit the same, alone and with others.
    #[test]
    fn a_row_gives_the_same_whatever_is_beside_it() {
        let (rows, cols, n) = (37, 1100, 70);
        let number = |i: usize| ((i * 7919 % 1009) as f32 - 500.0) / 313.0;
        let many: Vec<f32> = (0..rows * cols).map(number).collect();
        let few: Vec<f32> = (0..n * cols).map(|i| number(i + 5)).collect();
        let (many, few) = (Mat::new(&many, rows, cols, cols), Mat::new(&few, n, cols, cols));
        let same = |count: usize, got: &Products, want: &dyn Fn(usize, usize) -> f32| {
            assert_eq!(got.rows().count(), rows);
            for (row, dots) in got.rows().enumerate() {
                for (r, dot) in dots[..count].iter().enumerate() {
                    assert_eq!(dot.to_bits(), want(row, r).to_bits(), "{count}: {row}, {r}");
                }
            }
        };
        let mut packed = vec![0f32; n * rows];
        let main = Sum::of(Term { a: few, b: many.t(), scale: 1.0 });
        // The first columns as a second pair
        let [more, some_more] = [many, few].map(|m| Mat { cols: 5, ..m });
        let beside = Term { a: some_more, b: more.t(), scale: 0.3 };
        for beside in [None, Some(beside)] {
            blocked::product(&mut packed, rows, Sum { beside, ..main }, Cores::All);
            for count in [1, 8, 9, 33, n] {
                let beside = beside.map(|t| (more, some_more.part(0..count), t.scale));
                let got = tiles(many, few.part(0..count), beside, count % 2 == 0);
                same(count, &got, &|row, r| packed[r * rows + row]);
            }
        }
        let alone: Vec<Vec<f32>> =
            (0..FEW).map(|r| dots(many, few.part(r..r + 1), false).with(0).collect()).collect();
        for count in 1..=FEW {
            same(count, &dots(many, few.part(0..count), count % 2 == 0), &|row, r| alone[r][row]);
            // Of several matrices at once, among them one that is more than a task reads
            let large: Vec<f32> = (0..150 * cols).map(|i| number(i + 3)).collect();
            let large = Mat::new(&large, 150, cols, cols);
            for (all, many) in dots_of_all(&[many, large], few.part(0..count)).iter().zip([many, large]) {
                let want = dots(many, few.part(0..count), false);
                let want: Vec<f32> = (0..count).flat_map(|r| want.with(r)).collect();
                assert_eq!(all, &want);
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
                let got = dots(Mat::new(&floats, rows, cols, cols), few, n % 2 == 0);
                let got: Vec<f32> = got.rows().flat_map(|dots| dots[..n].to_vec()).collect();
                assert_eq!(got, want, "{rows} {cols} {n}");
                if n > FEW {
                    continue;
                }
                let mut got = vec![0f32; rows * n];
                dots_of_integers(&mut got, &many, &interleave(few), (n, cols));
                assert_eq!(got, want);
            }
        }
    }
}

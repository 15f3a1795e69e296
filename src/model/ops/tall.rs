//! Products of a few rows with a tall matrix: gradients of an adapter's matrices, which are sums over all tokens. The tall matrix
//! is read once, where it lies.

use super::gemm::Mat;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows of the result whose sums are in registers at a time.
const ROWS: usize = 4;
/// Rows of the tall matrix that meet all rows of the result while they are near.
const DEEP: usize = 16;
/// Columns of a part are a multiple of it: whole cache lines.
const COLUMNS: usize = 64;

/// Hands each element (row, column) of u [m, T] · y [T, n] to `write`, for a `y` whose rows are contiguous. `parallel` uses all
/// cores. An element is summed in the order of T, whatever the sizes and the number of cores.
pub fn product(u: Mat, y: Mat, parallel: bool, mut write: impl FnMut(usize, usize, f32)) {
    assert!(y.col_stride == 1 && u.cols == y.rows);
    let (m, n) = (u.rows, y.cols);
    let few = in_groups(u);
    let parts = if parallel { 2 * rayon::current_num_threads() } else { 1 };
    let width = n.div_ceil(parts).next_multiple_of(COLUMNS);
    let part = |from: usize| {
        let to = (from + width).min(n);
        let mut sums = vec![0f32; m.next_multiple_of(ROWS) * (to - from)];
        Arch::new().dispatch(Part { sums: &mut sums, few: &few, y, from });
        (from, sums)
    };
    let starts: Vec<usize> = (0..n).step_by(width).collect();
    let sums: Vec<(usize, Vec<f32>)> = match parallel {
        true => starts.into_par_iter().map(part).collect(),
        false => starts.into_iter().map(part).collect(),
    };
    for (from, sums) in sums {
        let width = width.min(n - from);
        for (r, row) in sums.chunks_exact(width).take(m).enumerate() {
            row.iter().enumerate().for_each(|(c, x)| write(r, from + c, *x));
        }
    }
}

/// Groups of [`ROWS`] rows of `u`, in each the numbers of one column together; missing rows are zeros.
fn in_groups(u: Mat) -> Vec<[f32; ROWS]> {
    let mut out = vec![[0f32; ROWS]; u.rows.div_ceil(ROWS) * u.cols];
    for r in 0..u.rows {
        for (t, out) in out[r / ROWS * u.cols..][..u.cols].iter_mut().enumerate() {
            out[r % ROWS] = u.data[r * u.row_stride + t * u.col_stride];
        }
    }
    out
}

/// The columns of the result from `from` on that `sums` has room for, row-major.
struct Part<'a> {
    sums: &'a mut [f32],
    few: &'a [[f32; ROWS]],
    y: Mat<'a>,
    from: usize,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sums, few, y, from } = self;
        if y.rows == 0 {
            return;
        }
        let groups = few.len() / y.rows;
        let width = sums.len() / (groups * ROWS);
        let tile = 2 * size_of::<S::f32s>() / size_of::<f32>();
        for at in (0..y.rows).step_by(DEEP) {
            let deep = at..(at + DEEP).min(y.rows);
            for (few, sums) in few.chunks_exact(y.rows).zip(sums.chunks_exact_mut(ROWS * width)) {
                let few = &few[deep.clone()];
                let rows = |c: usize, n: usize| {
                    deep.clone().map(move |t| &y.data[t * y.row_stride + from + c..][..n])
                };
                let whole = width / tile * tile;
                for c in (0..whole).step_by(tile) {
                    add_tile(simd, &mut sums[c..], width, few.iter().zip(rows(c, tile)));
                }
                for c in whole..width {
                    for (few, y) in few.iter().zip(rows(c, 1)) {
                        (0..ROWS)
                            .for_each(|r| sums[r * width + c] = few[r].mul_add(y[0], sums[r * width + c]));
                    }
                }
            }
        }
    }
}

/// Adds the products of some depths to a tile of [`ROWS`] rows, `stride` apart, and two vectors.
#[inline(always)]
fn add_tile<'a, S: Simd>(
    simd: S,
    sums: &mut [f32],
    stride: usize,
    terms: impl Iterator<Item = (&'a [f32; ROWS], &'a [f32])>,
) {
    let width = 2 * size_of::<S::f32s>() / size_of::<f32>();
    let mut sum = [[simd.splat_f32s(0.0); 2]; ROWS];
    for r in 0..ROWS {
        sum[r].copy_from_slice(S::as_simd_f32s(&sums[r * stride..][..width]).0);
    }
    for (few, y) in terms {
        let y = S::as_simd_f32s(y).0;
        let y = [y[0], y[1]];
        for r in 0..ROWS {
            let x = simd.splat_f32s(few[r]);
            sum[r][0] = simd.mul_add_f32s(x, y[0], sum[r][0]);
            sum[r][1] = simd.mul_add_f32s(x, y[1], sum[r][1]);
        }
    }
    for r in 0..ROWS {
        S::as_mut_simd_f32s(&mut sums[r * stride..][..width]).0.copy_from_slice(&sum[r]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_sums_of_products_and_is_the_same_on_all_cores() {
        for (m, t, n) in [(1, 1, 1), (3, 5, 40), (8, 100, 97), (9, 33, 16), (5, 16, 200), (2, 0, 3)] {
            let u: Vec<f32> = (0..m * t).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
            let y: Vec<f32> = (0..t * (n + 3)).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
            // `u` transposed in memory, rows of `y` apart
            let (u, y) = (Mat::new(&u, t, m, m).t(), Mat::new(&y, t, n, n + 3));
            for parallel in [false, true] {
                let mut got = vec![f32::NAN; m * n];
                product(u, y, parallel, |r, c, x| got[r * n + c] = x);
                let one = |r: usize, c: usize| {
                    (0..t).map(|t| u.data[r * u.row_stride + t * u.col_stride] * y.row(t)[c]).sum::<f32>()
                };
                let want: Vec<f32> = (0..m).flat_map(|r| (0..n).map(move |c| one(r, c))).collect();
                assert_eq!(got, want, "{m} {t} {n}");
            }
        }
    }
}

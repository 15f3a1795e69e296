//! Products of rows that are read where they lie with packed panels: worth it for a right operand of few lines.

use super::gemm::Mat;
use super::panels::{Packed, ROWS, step_of};
use pulp::{Arch, Simd, WithSimd};

/// `out = left · right` [left.rows, right.lines], row-major with rows [`Packed::padded_lines`] apart, for a `left` whose rows are
/// contiguous: it is read where it lies, and while a tile of its rows is near it meets all of `right` (see
/// [`Packed::right_of_rows`]). An element is bit for bit that of [`super::panels::multiply`]: what a row gives does not depend on how many others are
/// multiplied with it. With `onto` the sums begin with what is in `out`.
pub fn multiply_rows(out: &mut [f32], left: Mat, right: &Packed, onto: bool) {
    assert!(
        left.col_stride == 1 && left.cols == right.depth() && out.len() == left.rows * right.padded_lines()
    );
    Arch::new().dispatch(Rows { out, left, right, onto });
}

struct Rows<'a> {
    out: &'a mut [f32],
    left: Mat<'a>,
    right: &'a Packed,
    onto: bool,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        if self.right.width() == lanes { self.run::<S, 1>(simd) } else { self.run::<S, 2>(simd) }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn run<S: Simd, const C: usize>(self, simd: S) {
        let (left, right, onto, cols) = (self.left, self.right, self.onto, self.right.padded_lines());
        let mut out = self.out.chunks_exact_mut(ROWS * cols);
        let mut at = 0;
        for out in &mut out {
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = left.row(at + i);
            }
            row_tiles::<S, ROWS, C>(simd, out, rows, (right, onto));
            at += ROWS;
        }
        for out in out.into_remainder().chunks_exact_mut(cols) {
            row_tiles::<S, 1, C>(simd, out, [left.row(at)], (right, onto));
            at += 1;
        }
    }
}

/// R rows times all panels of C vectors.
#[inline(always)]
fn row_tiles<S: Simd, const R: usize, const C: usize>(
    simd: S,
    out: &mut [f32],
    rows: [&[f32]; R],
    (right, onto): (&Packed, bool),
) {
    let (depth, step) = (right.depth(), step_of(right.depth()));
    let zero = [[simd.splat_f32s(0.0); C]; R];
    for (j, b) in right.panels(right.lines()) {
        let b = S::as_simd_f32s(b).0.as_chunks::<C>().0;
        let mut first = zero;
        if onto {
            for (first, out) in first.iter_mut().zip(out.chunks_exact(right.padded_lines())) {
                first.copy_from_slice(&S::as_simd_f32s(&out[j..]).0[..C]);
            }
        }
        let mut total = row_tile::<S, R, C>(simd, first, rows, &b[..step.min(depth)], 0);
        for from in (step..depth).step_by(step) {
            let sum = row_tile::<S, R, C>(simd, zero, rows, &b[from..(from + step).min(depth)], from);
            for (total, sum) in total.as_flattened_mut().iter_mut().zip(sum.as_flattened()) {
                *total = simd.add_f32s(*total, *sum);
            }
        }
        for (total, out) in total.iter().zip(out.chunks_exact_mut(right.padded_lines())) {
            S::as_mut_simd_f32s(&mut out[j..]).0[..C].copy_from_slice(total);
        }
    }
}

/// `sum` and R rows from the depth `from` on times a part of a panel.
#[inline(always)]
fn row_tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    mut sum: [[S::f32s; C]; R],
    mut rows: [&[f32]; R],
    b: &[[S::f32s; C]],
    from: usize,
) -> [[S::f32s; C]; R] {
    // Of one length, so that the loop has nothing to check.
    for row in &mut rows {
        *row = &row[from..from + b.len()];
    }
    for (d, b) in b.iter().enumerate() {
        for r in 0..R {
            let a = simd.splat_f32s(rows[r][d]);
            for c in 0..C {
                sum[r][c] = simd.mul_add_f32s(a, b[c], sum[r][c]);
            }
        }
    }
    sum
}

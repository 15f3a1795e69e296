//! Products of rows that are read where they lie with packed panels: worth it for a right operand of few lines.

use super::gemm::Mat;
use super::panels::{Packed, ROWS, WIDEST, step_of};
use pulp::{Arch, Simd, WithSimd};

/// `out = left · right` [left.rows, right.lines], row-major, for a `left` whose rows are contiguous: it is read where it lies, and
/// while a tile of its rows is near it meets all of `right` (see [`Packed::right_of_rows`]). Worth it for a `right` of few lines.
/// An element is bit for bit that of [`multiply_beside`]: what a row gives does not depend on how many others are multiplied
/// with it.
pub fn multiply_rows(out: &mut [f32], first: Few, beside: Option<Few>) {
    let rows = out.len() / first.right.lines().max(1);
    for Few { left, right } in [first].iter().chain(&beside) {
        assert!(left.col_stride == 1 && left.cols == right.depth() && left.rows == rows);
        assert_eq!(
            (right.lines(), right.width()),
            (first.right.lines(), first.right.width()),
            "of the same sizes"
        );
    }
    Arch::new().dispatch(Rows { out, first, beside });
}

/// A left operand where it lies, and a right one made by [`Packed::right_of_rows`].
#[derive(Clone, Copy)]
pub struct Few<'a> {
    pub left: Mat<'a>,
    pub right: &'a Packed,
}

struct Rows<'a> {
    out: &'a mut [f32],
    first: Few<'a>,
    beside: Option<Few<'a>>,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        if self.first.right.width() == lanes { self.run::<S, 1>(simd) } else { self.run::<S, 2>(simd) }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn run<S: Simd, const C: usize>(self, simd: S) {
        let Self { out, first, beside } = self;
        let cols = first.right.lines();
        let mut out = out.chunks_exact_mut(ROWS * cols);
        let mut at = 0;
        for out in &mut out {
            row_tiles::<S, ROWS, C>(simd, out, at, first, beside);
            at += ROWS;
        }
        for out in out.into_remainder().chunks_exact_mut(cols) {
            row_tiles::<S, 1, C>(simd, out, at, first, beside);
            at += 1;
        }
    }
}

/// R rows from `at` on times all panels of C vectors.
#[inline(always)]
fn row_tiles<S: Simd, const R: usize, const C: usize>(
    simd: S,
    out: &mut [f32],
    at: usize,
    Few { left, right }: Few,
    beside: Option<Few>,
) {
    let (depth, step) = (right.depth(), step_of(right.depth()));
    let rows = rows_of::<R>(left, at);
    let rows_beside = beside.map(|few| rows_of::<R>(few.left, at));
    let zero = [[simd.splat_f32s(0.0); C]; R];
    for (j, b) in right.panels(right.lines()) {
        let b = S::as_simd_f32s(b).0.as_chunks::<C>().0;
        let mut total = zero;
        for from in (0..depth).step_by(step) {
            let to = (from + step).min(depth);
            let mut sum = row_tile::<S, R, C>(simd, zero, rows, &b[from..to], from);
            if to == depth
                && let (Some(few), Some(rows)) = (beside, rows_beside)
            {
                let b = S::as_simd_f32s(few.right.panel(j)).0.as_chunks::<C>().0;
                sum = row_tile::<S, R, C>(simd, sum, rows, b, 0);
            }
            if from == 0 {
                total = sum;
                continue;
            }
            for (total, sum) in total.as_flattened_mut().iter_mut().zip(sum.as_flattened()) {
                *total = simd.add_f32s(*total, *sum);
            }
        }
        let cols = right.width().min(right.lines() - j);
        for (total, out) in total.iter().zip(out.chunks_exact_mut(right.lines())) {
            let mut edge = [0f32; WIDEST];
            S::as_mut_simd_f32s(&mut edge).0[..C].copy_from_slice(total);
            out[j..j + cols].copy_from_slice(&edge[..cols]);
        }
    }
}

#[inline(always)]
fn rows_of<const R: usize>(m: Mat<'_>, at: usize) -> [&[f32]; R] {
    let mut rows: [&[f32]; R] = [&[]; R];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = m.row(at + i);
    }
    rows
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

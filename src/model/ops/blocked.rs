//! Products of large matrices on the CPU: both operands packed, the result in blocks of rows on all cores.
//!
//! The right operand is packed once for all cores and stays in the last cache, a block of the left one is packed by the
//! core that multiplies it and stays in that core's own: "Anatomy of High-Performance Matrix Multiplication" (Goto and
//! van de Geijn, 2008). No pointer, no `unsafe`: `out` is divided by rows.

use super::gemm::{Cores, Sum, Term};
use super::panels::{Out, Packed, ROWS, columns, multiply, multiply_beside};
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

/// Rows in a block at most: with the depth that [`super::panels`] takes at a time, half of a second-level cache.
const BLOCK: usize = 16 * ROWS;

/// Numbers of the right operand that are packed at a time.
const RIGHT: usize = 1 << 20;

thread_local! {
    /// Memory of the last product on this thread: fresh pages cost more than what is packed into them.
    static LEFT_OPERAND: Cell<Packed> = Cell::default();
    static RIGHT_OPERAND: Cell<Packed> = Cell::default();
    static LEFT_BESIDE: Cell<Packed> = Cell::default();
    static RIGHT_BESIDE: Cell<Packed> = Cell::default();
}

/// Makes `out` [a.rows, b.cols] with rows `stride` apart what `sum` says. Every element is summed in the order of its depth, whatever
/// the sizes and the number of cores.
pub fn product(out: &mut [f32], stride: usize, sum: Sum, cores: Cores) {
    let threads = if cores == Cores::All { rayon::current_num_threads() } else { 1 };
    let Sum { keep, main: Term { a, b, .. }, beside, .. } = sum;
    let (rows, cols) = (a.rows, b.cols);
    if threads > 1 && rows < 4 * ROWS * threads && rows < cols {
        across(out, stride, (keep, sum.main));
        return sum.complete(out, stride, cores);
    }
    let out = &mut out[..(rows - 1) * stride + cols];
    if keep != 0.0 && keep != 1.0 {
        out.chunks_mut(stride).for_each(|row| row[..cols].iter_mut().for_each(|x| *x *= keep));
    }
    let block = rows.div_ceil(2 * threads).next_multiple_of(ROWS).min(BLOCK);
    let width = (RIGHT / a.cols.max(1)).next_multiple_of(columns());
    for at in (0..cols).step_by(width) {
        let columns = at..(at + width).min(cols);
        with_scratch(&RIGHT_OPERAND, |right| {
            with_scratch(&RIGHT_BESIDE, |right_beside| {
                if let Some(Term { b, .. }) = &beside {
                    right_beside.fill_right(b.columns(columns.clone()));
                }
                if threads > 1 {
                    right.fill_right_on_all_cores(b.columns(columns.clone()));
                } else {
                    right.fill_right(b.columns(columns.clone()));
                }
                let part = Part { sum, columns, stride, block, right, right_beside };
                if threads > 1 {
                    out.par_chunks_mut(block * stride).enumerate().for_each(|(i, out)| part.rows(i, out));
                } else {
                    out.chunks_mut(block * stride).enumerate().for_each(|(i, out)| part.rows(i, out));
                }
            });
        });
    }
}

/// Some columns of a sum, whose right operands are packed.
struct Part<'a> {
    sum: Sum<'a>,
    columns: Range<usize>,
    stride: usize,
    /// Rows in a block.
    block: usize,
    right: &'a Packed,
    right_beside: &'a Packed,
}

impl Part<'_> {
    /// Block `i` of the rows, `out`, on this thread; complete with the last columns.
    fn rows(&self, i: usize, out: &mut [f32]) {
        let Sum { keep, main: Term { a, b, scale }, beside, finish } = self.sum;
        let (first, stride) = (i * self.block, self.stride);
        let rows = first..(first + self.block).min(a.rows);
        let to = Out { data: &mut out[self.columns.start..], stride, add: keep != 0.0, scale };
        with_scratch(&LEFT_OPERAND, |left| {
            left.fill_left(a.part(rows.clone()));
            let Some(Term { a, scale, .. }) = beside else { return multiply(to, left, self.right) };
            with_scratch(&LEFT_BESIDE, |left_beside| {
                left_beside.fill_left_scaled(a.part(rows), scale);
                multiply_beside(to, left, self.right, Some((left_beside, self.right_beside)));
            });
        });
        if let Some(finish) = finish.filter(|_| self.columns.end == b.cols) {
            let rows = out.chunks_mut(stride).enumerate();
            rows.for_each(|(r, row)| finish(first + r, &mut row[..b.cols]));
        }
    }
}

/// keep · out + main for too few rows for all cores: the transposed product has more.
fn across(out: &mut [f32], stride: usize, (keep, main): (f32, Term)) {
    let (rows, cols) = (main.a.rows, main.b.cols);
    let mut transposed = vec![0f32; rows * cols];
    let swapped = Term { a: main.b.t(), b: main.a.t(), ..main };
    product(&mut transposed, rows, Sum::of(swapped), Cores::All);
    for (r, out) in out.chunks_mut(stride).take(rows).enumerate() {
        for (out, x) in out[..cols].iter_mut().zip(transposed[r..].iter().step_by(rows)) {
            *out = if keep == 0.0 { *x } else { keep * *out + x };
        }
    }
}

/// Takes the memory out while it is in use: a thread that waits for others may begin another product.
fn with_scratch<T>(of: &'static LocalKey<Cell<Packed>>, work: impl FnOnce(&mut Packed) -> T) -> T {
    let mut packed = of.take();
    let result = work(&mut packed);
    of.set(packed);
    result
}

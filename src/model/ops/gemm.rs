//! Matrix product on slices: strided views are multiplied where they lie, and added to what is there. Through tensors each of
//! these would cost a copy and an addition of the whole result.

use super::{blocked, tall, thin};
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

    /// The columns `columns` only.
    pub fn columns(self, columns: std::ops::Range<usize>) -> Self {
        self.t().part(columns).t()
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

/// `scale · a · b`
#[derive(Clone, Copy)]
pub struct Term<'a> {
    pub a: Mat<'a>,
    pub b: Mat<'a>,
    pub scale: f32,
}

/// What is done to a row of a result, given its number.
pub type Finish<'a> = &'a (dyn Fn(usize, &mut [f32]) + Sync);

/// `keep · out + main + beside`, and then `finish` of each row.
#[derive(Clone, Copy)]
pub struct Sum<'a> {
    /// With 0 the old content is not read.
    pub keep: f32,
    pub main: Term<'a>,
    /// A product of small depth beside a main one without a factor, the low-rank branch of an adapter: it is the beginning of
    /// the main one's depth, which costs less than to add it to the result afterwards.
    pub beside: Option<Term<'a>>,
    /// Called with the number of each row and the row when it is complete, on any thread: a bias, an activation.
    pub finish: Option<Finish<'a>>,
}

impl<'a> Sum<'a> {
    /// `main` alone.
    pub fn of(main: Term<'a>) -> Self {
        Self { keep: 0.0, main, beside: None, finish: None }
    }

    /// Makes `out` `[a.rows, b.cols]`, row-major with rows `stride` apart, what this says.
    pub fn into(self, out: &mut [f32], stride: usize, cores: Cores) {
        let Term { a, b, scale } = self.main;
        let (m, n, k) = (a.rows, b.cols, a.cols);
        self.check(out.len(), stride);
        if m == 0 || n == 0 {
            return;
        }
        let rule = (self.keep, scale);
        let mut at = |r: usize, c: usize, x: f32| out[r * stride + c] = mixed(out[r * stride + c], x, rule);
        if m <= thin::MANY && b.row_stride == 1 && n > 4 * m && k > 0 {
            // 1. A few rows, and a matrix whose columns are contiguous
            let beside = self.beside.filter(|t| m > thin::FEW && t.b.row_stride == 1);
            let rest = Self { beside: self.beside.filter(|_| beside.is_none()), ..self };
            thin_rows(out, stride, rule, (a, b.t()), beside, cores);
            rest.complete(out, stride, cores);
        } else if n <= thin::MANY && a.col_stride == 1 && m > 4 * n && k > 0 {
            // 2. A few columns
            thin_columns(out, stride, rule, a, b.t(), cores);
            self.complete(out, stride, cores);
        } else if m <= thin::MANY && b.col_stride == 1 && k > 4 * m {
            // 3. A few rows that are sums over many
            tall::product(a, b, many(b, cores), at);
            self.complete(out, stride, cores);
        } else if n <= thin::MANY && a.row_stride == 1 && k > 4 * n {
            // 4. The same transposed
            tall::product(b.t(), a.t(), many(a, cores), |c, r, x| at(r, c, x));
            self.complete(out, stride, cores);
        } else {
            // 5. Large all round
            blocked::product(out, stride, self, cores);
        }
    }

    /// What is left to do where the main product is there: adds `beside` and finishes the rows.
    pub(super) fn complete(self, out: &mut [f32], stride: usize, cores: Cores) {
        let (rows, cols) = (self.main.a.rows, self.main.b.cols);
        if let Some(beside) = self.beside {
            Sum { keep: 1.0, ..Sum::of(beside) }.into(out, stride, cores);
        }
        let Some(finish) = self.finish else { return };
        let out = &mut out[..(rows - 1) * stride + cols];
        if cores == Cores::All && rows * cols >= PARALLEL_FROM {
            out.par_chunks_mut(stride).enumerate().for_each(|(r, row)| finish(r, &mut row[..cols]));
        } else {
            out.chunks_mut(stride).enumerate().for_each(|(r, row)| finish(r, &mut row[..cols]));
        }
    }

    fn check(&self, len: usize, stride: usize) {
        let (m, n) = (self.main.a.rows, self.main.b.cols);
        for Term { a, b, .. } in [self.main].iter().chain(&self.beside) {
            assert_eq!(a.cols, b.rows, "inner sizes of a matrix product");
            assert_eq!((a.rows, b.cols), (m, n), "products that are added");
            assert!(a.fits() && b.fits(), "a matrix view reaches past its slice");
        }
        let alone = self.beside.is_none();
        assert!(
            alone || (self.main.scale == 1.0 && self.main.a.cols > 0),
            "what a second product stands beside"
        );
        let fits = m == 0 || n == 0 || (stride >= n && (m - 1) * stride + n <= len);
        assert!(fits, "the result reaches past its slice");
    }
}

/// `out = keep * out + scale * a * b` for a row-major `out` `[a.rows, b.cols]` with rows `out_stride` apart.
/// With `keep` 0 the old content of `out` is not read.
pub fn gemm(out: &mut [f32], out_stride: usize, keep: f32, scale: f32, a: Mat, b: Mat, cores: Cores) {
    Sum { keep, ..Sum::of(Term { a, b, scale }) }.into(out, out_stride, cores);
}

/// Whether a matrix is worth all cores.
fn many(m: Mat, cores: Cores) -> bool {
    cores == Cores::All && m.rows * m.cols >= PARALLEL_FROM
}

/// The sum of a few rows `a` and the transpose of `b`, `beside` included.
fn thin_rows(
    out: &mut [f32],
    stride: usize,
    rule: (f32, f32),
    (a, b): (Mat, Mat),
    beside: Option<Term>,
    cores: Cores,
) {
    let parallel = many(b, cores);
    let dots = match beside {
        Some(Term { a: few, b: rows, scale }) => thin::tiles(b, a, Some((rows.t(), few, scale)), parallel),
        None => thin::dots(b, a, parallel),
    };
    let write = |(r, out): (usize, &mut [f32])| {
        for (y, x) in out[..b.rows].iter_mut().zip(dots.with(r)) {
            *y = mixed(*y, x, rule);
        }
    };
    let end = (a.rows - 1) * stride + b.rows;
    if cores == Cores::All && a.rows * b.rows >= PARALLEL_FROM {
        out[..end].par_chunks_mut(stride).enumerate().for_each(write);
    } else {
        out[..end].chunks_mut(stride).enumerate().for_each(write);
    }
}

/// The main product of `a` and the transpose of a few rows `b`.
fn thin_columns(out: &mut [f32], stride: usize, rule: (f32, f32), a: Mat, b: Mat, cores: Cores) {
    let dots = thin::tiles(a, b, None, many(a, cores));
    for (out, dots) in out.chunks_mut(stride).zip(dots.rows()) {
        for (y, x) in out[..b.rows].iter_mut().zip(dots) {
            *y = mixed(*y, *x, rule);
        }
    }
}

/// keep · y + scale · x, where a `keep` of 0 forgets y whatever it is.
fn mixed(y: f32, x: f32, (keep, scale): (f32, f32)) -> f32 {
    if keep == 0.0 { scale * x } else { keep * y + scale * x }
}

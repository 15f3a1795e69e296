//! The inner loop of every matrix product on the CPU: a tile of the result in registers, operands in packed panels.
//!
//! As in "Anatomy of High-Performance Matrix Multiplication" (Goto and van de Geijn, 2008): both operands are copied
//! into panels that the inner loop reads from front to back, so that it waits for no cache line. Every element of a
//! result is summed in the order of its depth, however rows and columns are divided among cores.

use super::aligned::Aligned;
use super::gemm::Mat;
use super::pack::pack_lines;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows of a tile.
pub const ROWS: usize = 6;
/// Depth of the panels that stay in the first-level cache.
const DEPTH: usize = 512;
/// Numbers that one task packs at least.
const PACK_AT_ONCE: usize = 64 * 1024;
/// Widest tile: two of the widest vectors.
pub const WIDEST: usize = 32;

/// Columns of a tile: two vectors of this processor.
pub fn columns() -> usize {
    2 * lanes()
}

/// Numbers in a vector of this processor.
fn lanes() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            size_of::<S::f32s>() / size_of::<f32>()
        }
    }
    Arch::new().dispatch(Width)
}

/// A matrix in panels of `width` lines (rows of a left operand, columns of a right one). Within a panel the
/// `width` numbers of one depth lie together; lines that do not exist are zeros.
#[derive(Default)]
pub struct Packed {
    data: Aligned,
    lines: usize,
    depth: usize,
    width: usize,
}

impl Packed {
    /// `a` as a left operand.
    pub fn left(a: Mat) -> Self {
        let mut packed = Self::default();
        packed.fill_left(a);
        packed
    }

    /// `b` as a right operand.
    pub fn right(b: Mat) -> Self {
        let mut packed = Self::default();
        packed.fill_right(b);
        packed
    }

    /// `b` as a right operand of [`super::panel_rows`]: in panels of one vector where that is enough.
    pub fn right_of_rows(b: Mat) -> Self {
        let mut packed = Self::default();
        packed.fill(b.t(), if b.cols <= lanes() { lanes() } else { columns() });
        packed
    }

    /// The operand times a factor.
    pub fn times(mut self, factor: f32) -> Self {
        self.scale(factor);
        self
    }

    fn scale(&mut self, factor: f32) {
        self.data.iter_mut().for_each(|x| *x *= factor);
    }

    /// Becomes `a` as a left operand, in the memory that is there.
    pub fn fill_left(&mut self, a: Mat) {
        self.fill(a, ROWS);
    }

    /// Becomes `scale · a` as a left operand, in the memory that is there.
    pub fn fill_left_scaled(&mut self, a: Mat, scale: f32) {
        self.fill_left(a);
        self.scale(scale);
    }

    /// Becomes `b` as a right operand, in the memory that is there.
    pub fn fill_right(&mut self, b: Mat) {
        self.fill(b.t(), columns());
    }

    /// [`Packed::fill_right`] on all cores.
    pub fn fill_right_on_all_cores(&mut self, b: Mat) {
        let (m, width) = (b.t(), columns());
        self.resize(m, width);
        let panels = PACK_AT_ONCE.div_ceil((width * m.cols).max(1));
        let part = (panels * width * m.cols).max(1);
        self.data.par_chunks_mut(part).enumerate().for_each(|(i, data)| {
            let from = i * panels * width;
            pack_lines(data, m.part(from..(from + panels * width).min(m.rows)), width);
        });
    }

    /// The rows of `m` become lines.
    fn fill(&mut self, m: Mat, width: usize) {
        self.resize(m, width);
        pack_lines(&mut self.data, m, width);
    }

    fn resize(&mut self, m: Mat, width: usize) {
        (self.lines, self.depth, self.width) = (m.rows, m.cols, width);
        self.data.resize(m.rows.div_ceil(width) * width * m.cols);
    }

    /// One panel of a right operand to be computed: [depth, columns()].
    pub fn column(depth: usize) -> Self {
        let width = columns();
        Self { data: Aligned::zeros(depth * width), lines: width, depth, width }
    }

    pub fn lines(&self) -> usize {
        self.lines
    }

    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Lines with those that fill the last panel.
    pub fn padded_lines(&self) -> usize {
        self.lines.next_multiple_of(self.width.max(1))
    }

    /// Lines in a panel.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The numbers of a [`Packed::column`], row-major.
    pub fn values(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The panel of the lines from `line` on, a multiple of the width.
    pub(super) fn panel(&self, line: usize) -> &[f32] {
        &self.data[line * self.depth..][..self.width * self.depth]
    }

    /// The panels, at most `lines` lines of them.
    pub(super) fn panels(&self, lines: usize) -> impl Iterator<Item = (usize, &[f32])> {
        let panels = self.data.chunks_exact((self.width * self.depth).max(1));
        panels.enumerate().map(|(i, p)| (i * self.width, p)).take(lines.div_ceil(self.width))
    }
}

/// Where a product goes: a row-major matrix with rows `stride` apart.
pub struct Out<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
    /// Added to what is there, else written over it.
    pub add: bool,
    /// The product is multiplied by it.
    pub scale: f32,
}

impl<'a> Out<'a> {
    /// Written over, without a factor.
    pub fn new(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, stride, add: false, scale: 1.0 }
    }
}

/// Sizes of the part of two packed operands that is multiplied: rows, columns, depth.
pub type Part = [usize; 3];

/// Two packed operands.
pub type Pair<'a> = (&'a Packed, &'a Packed);

/// `out (+)= scale · left · right` on the calling thread.
pub fn multiply(out: Out, left: &Packed, right: &Packed) {
    multiply_beside(out, left, right, None);
}

/// [`multiply`] of operands that begin in depth with those of a second pair, of the same rows and columns: the sums of a tile
/// stay in registers from one to the other.
pub fn multiply_beside(out: Out, left: &Packed, right: &Packed, beside: Option<Pair>) {
    let part = [left.lines, right.lines, left.depth.min(right.depth)];
    if let Some((l, r)) = beside {
        assert_eq!((l.lines, r.lines, l.depth), (left.lines, right.lines, r.depth), "of the same sizes");
        assert_eq!((l.width, r.width), (ROWS, columns()), "a left and a right operand");
        assert!(part[2] > 0);
    }
    run(Product { out, left, right, part, beside });
}

/// [`multiply`] of the first rows, columns and depths only.
pub fn multiply_part(out: Out, left: &Packed, right: &Packed, part: Part) {
    run(Product { out, left, right, part, beside: None });
}

fn run(product: Product) {
    let Product { left, right, part: [rows, cols, depth], .. } = product;
    assert!(rows <= left.lines && cols <= right.lines && depth <= left.depth.min(right.depth));
    assert_eq!((left.width, right.width), (ROWS, columns()), "a left and a right operand");
    Arch::new().dispatch(product);
}

struct Product<'a> {
    out: Out<'a>,
    left: &'a Packed,
    right: &'a Packed,
    part: Part,
    beside: Option<Pair<'a>>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, left, right, part: [rows, cols, depth], beside } = self;
        if depth == 0 && !out.add {
            out.data.chunks_mut(out.stride).take(rows).for_each(|row| row[..cols].fill(0.0));
        }
        let step = step_of(depth);
        for from in (0..depth).step_by(step) {
            let to = (from + step).min(depth);
            let rule = Rule { stride: out.stride, add: out.add || from > 0, scale: out.scale };
            let beside = beside.filter(|_| from == 0);
            for (j, b) in right.panels(cols) {
                let b = &b[from * right.width..to * right.width];
                for (i, a) in left.panels(rows) {
                    let mut sum = [[simd.splat_f32s(0.0); 2]; ROWS];
                    if let Some((left, right)) = beside {
                        sum = tile(simd, sum, left.panel(i), right.panel(j));
                    }
                    sum = tile(simd, sum, &a[from * ROWS..to * ROWS], b);
                    let size = (ROWS.min(rows - i), right.width.min(cols - j));
                    store(simd, sum, &mut out.data[i * out.stride + j..], size, rule);
                }
            }
        }
    }
}

/// How much of a depth is taken at a time: equal parts of at most [`DEPTH`].
pub(super) fn step_of(depth: usize) -> usize {
    depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1)
}

type Tile<S> = [[<S as Simd>::f32s; 2]; ROWS];

/// `sum` and one panel times one panel.
#[inline(always)]
fn tile<S: Simd>(simd: S, mut sum: Tile<S>, a: &[f32], b: &[f32]) -> Tile<S> {
    let b = S::as_simd_f32s(b).0.as_chunks::<2>().0;
    for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b) {
        for (sum, a) in sum.iter_mut().zip(a) {
            let a = simd.splat_f32s(*a);
            sum[0] = simd.mul_add_f32s(a, b[0], sum[0]);
            sum[1] = simd.mul_add_f32s(a, b[1], sum[1]);
        }
    }
    sum
}

#[derive(Clone, Copy)]
struct Rule {
    stride: usize,
    add: bool,
    scale: f32,
}

/// Writes the first (rows, columns) of a tile.
#[inline(always)]
fn store<S: Simd>(simd: S, sum: Tile<S>, out: &mut [f32], (rows, cols): (usize, usize), rule: Rule) {
    let scale = simd.splat_f32s(rule.scale);
    for (i, sum) in sum.iter().enumerate().take(rows) {
        let row = &mut out[i * rule.stride..][..cols];
        let mut edge = [0f32; WIDEST];
        if let ([a, b], []) = S::as_mut_simd_f32s(row) {
            (*a, *b) = if rule.add {
                (simd.mul_add_f32s(sum[0], scale, *a), simd.mul_add_f32s(sum[1], scale, *b))
            } else {
                (simd.mul_f32s(sum[0], scale), simd.mul_f32s(sum[1], scale))
            };
            continue;
        }
        S::as_mut_simd_f32s(&mut edge).0[..2].copy_from_slice(sum);
        for (out, x) in row.iter_mut().zip(&edge) {
            *out = if rule.add { x.mul_add(rule.scale, *out) } else { x * rule.scale };
        }
    }
}

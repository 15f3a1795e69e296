//! The largest few of many products without computing all of them: a copy of the matrix in 8 bits says which rows can be the
//! largest, and only those are multiplied in full. Writing a token reads a quarter of the memory and the answer is the same.
//!
//! A row w is s·q + d, with q in 8 bits and s its largest magnitude / 127, and x is t·p + e (with p in 16 bits, or x itself). So w·x
//! differs from s·t·(q·p) by d·x + s·(q·e), which is at most ‖d‖·‖x‖ + s·‖q‖·‖e‖ (Cauchy and Schwarz). No row whose upper bound
//! is below the lower bounds of k others is among the k largest.

use super::gemm::Mat;
use super::integers::Few;
use super::lanes;
use super::thin::{self, FEW};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// A matrix [rows, cols] in 8 bits, with what each row of it may be wrong by.
pub struct Screened {
    /// [`BLOCK`] rows each, so that they find room in memory that was used before: fresh pages cost more than what is put into them.
    q: Vec<Vec<i8>>,
    cols: usize,
    rows: Vec<Row>,
    /// The length of the longest row of q.
    longest: f32,
}

#[derive(Clone, Copy, Default)]
struct Row {
    scale: f32,
    /// How far the product with a vector of length 1 may be off, rounding included.
    slack: f32,
}

/// A longer x is not compared: bounds could overflow.
const LONGEST: f32 = 1e18;
/// Rows that lie together, made by one task.
const BLOCK: usize = 1024;
/// Numbers that one task reads to compare rows.
const READ_AT_ONCE: usize = 64 * 1024;

impl Screened {
    /// Of a matrix whose rows are contiguous; `None` if a number in it is NaN or infinite.
    pub fn new(w: Mat) -> Option<Self> {
        assert!(w.col_stride == 1 && w.cols > 0);
        let mut rows = vec![Row::default(); w.rows];
        let blocks = rows.par_chunks_mut(BLOCK).enumerate().map(|(block, rows)| {
            let mut q = vec![0i8; rows.len() * w.cols];
            let longest = lanes::with_simd(
                #[inline(always)]
                || {
                    let mut longest = 0f32;
                    for (i, (q, row)) in q.chunks_exact_mut(w.cols).zip(rows).enumerate() {
                        let length;
                        (*row, length) = quantise(w.row(block * BLOCK + i), q);
                        longest = longest.max(if row.slack.is_finite() { length } else { f32::INFINITY });
                    }
                    longest
                },
            );
            (q, longest)
        });
        let (q, longest): (Vec<_>, Vec<f32>) = blocks.unzip();
        let longest = longest.into_iter().fold(0.0, f32::max);
        longest.is_finite().then_some(Self { q, cols: w.cols, rows, longest })
    }

    /// For each row of x [N, cols] the k rows of `w` whose products with it are the largest, with the products: the largest
    /// first, of equals the first one. `None` where that cannot be told (x is huge or not finite). `w` is what this was made of.
    pub fn largest(&self, x: Mat, w: Mat, k: usize) -> Vec<Option<Vec<(u32, f32)>>> {
        assert!(w.rows == self.rows.len() && w.cols == self.cols && x.cols == self.cols && x.col_stride == 1);
        let groups = (0..x.rows).step_by(FEW).map(|at| x.part(at..x.rows.min(at + FEW)));
        let groups: Vec<Few> = groups.map(|few| Few::new(few, self.longest)).collect();
        self.largest_of(&groups, x, w, k.max(1))
    }

    /// [`Self::largest`] of rows x that were made to `groups` of [`FEW`].
    fn largest_of(&self, groups: &[Few], x: Mat, w: Mat, k: usize) -> Vec<Option<Vec<(u32, f32)>>> {
        let near = self.near(groups, x.rows, k);
        let one = |(row, near): (usize, Near)| {
            let (few, r) = (&groups[row / FEW], row % FEW);
            if few.length[r].is_nan() || few.length[r] > LONGEST {
                return None;
            }
            let least = self.least(&near, few, r, k);
            let product = |of: u32| {
                let w = w.part(of as usize..of as usize + 1);
                thin::dots(w, x.part(row..row + 1), false).with(0).next().unwrap_or_default()
            };
            let rows = near.rows.iter().filter(|(_, upper)| *upper >= least);
            let mut best: Vec<(u32, f32)> = rows.map(|(row, _)| (*row, product(*row))).collect();
            best.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            best.truncate(k);
            Some(best)
        };
        near.into_par_iter().enumerate().map(one).collect()
    }

    /// For each of the n rows of `groups` what can be among the k largest. A part of the matrix meets all groups while it is near.
    fn near(&self, groups: &[Few], n: usize, k: usize) -> Vec<Near> {
        let near = Mutex::new(vec![Near::default(); n]);
        let rows = READ_AT_ONCE.div_ceil(self.cols).min(BLOCK);
        let parts_of = |(block, q): (usize, &Vec<i8>)| {
            let (block, len) = (block * BLOCK, q.len() / self.cols);
            (0..len).step_by(rows).map(move |at| (block + at, rows.min(len - at)))
        };
        let parts: Vec<(usize, usize)> = self.q.iter().enumerate().flat_map(parts_of).collect();
        parts.into_par_iter().for_each(|(first, rows)| {
            let (q, at) = (&self.q[first / BLOCK], first % BLOCK);
            let q = &q[at * self.cols..(at + rows) * self.cols];
            for (group, few) in groups.iter().enumerate() {
                let (upper, most) = self.bounds(q, &self.rows[first..first + rows], few);
                let mut near = near.lock().unwrap_or_else(PoisonError::into_inner);
                let mine = &mut near[group * FEW..n.min((group + 1) * FEW)];
                mine.iter_mut()
                    .enumerate()
                    .for_each(|(r, near)| near.meet((r, first as u32), &upper, &most, k));
            }
        });
        near.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What k rows reach for sure in their products with row r of `few`: of one part too, unlike [`Near::least`].
    fn least(&self, near: &Near, few: &Few, r: usize, k: usize) -> f32 {
        let (length, wrong) = (few.length[r], few.wrong[r] * self.longest);
        let lower = |(row, upper): &(u32, f32)| upper - 2.0 * slack(self.rows[*row as usize], length, wrong);
        let mut lower: Vec<f32> = near.rows.iter().map(lower).collect();
        match k <= lower.len() {
            true => *lower.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1,
            false => f32::NEG_INFINITY,
        }
    }

    /// The upper bounds of the products of some rows, and the largest bounds.
    fn bounds(&self, q: &[i8], rows: &[Row], few: &Few) -> (Vec<[f32; FEW]>, Bounds) {
        let mut products = vec![[0f32; FEW]; rows.len()];
        few.products(&mut products, q);
        let most = lanes::with_simd(
            #[inline(always)]
            || bounds(&mut products, rows, few, self.longest),
        );
        (products, most)
    }
}

/// What the parts of the matrix have told of one vector.
#[derive(Clone, Default)]
struct Near {
    /// The k largest of what a row of each part reaches for sure, the largest first.
    lower: Vec<f32>,
    /// Rows that could be among the largest by what was known then, with their upper bounds.
    rows: Vec<(u32, f32)>,
}

impl Near {
    /// What k rows reach for sure.
    fn least(&self, k: usize) -> f32 {
        self.lower.get(k - 1).copied().unwrap_or(f32::NEG_INFINITY)
    }

    /// Takes in the bounds of a part from its row `first` on, for vector `r` of a group.
    fn meet(&mut self, (r, first): (usize, u32), upper: &[[f32; FEW]], most: &Bounds, k: usize) {
        self.reached(most.lower[r], k);
        let least = self.least(k);
        if most.upper[r] >= least {
            let rows = (first..).zip(upper).map(|(row, upper)| (row, upper[r]));
            self.rows.extend(rows.filter(|(_, upper)| *upper >= least));
        }
    }

    /// A row of a part reaches `lower`.
    fn reached(&mut self, lower: f32, k: usize) {
        let at = self.lower.partition_point(|x| *x >= lower);
        if at < k {
            self.lower.insert(at, lower);
            self.lower.truncate(k);
        }
    }
}

/// Writes w in 8 bits to q; also gives the length of q, or a little more.
#[inline(always)]
fn quantise(w: &[f32], q: &mut [i8]) -> (Row, f32) {
    let scale = lanes::max_abs(w) / 127.0;
    // A row of next to nothing is all error.
    let inverse = if scale > 1e-15 { 1.0 / scale } else { 0.0 };
    let wrong = lanes::to_integers(w, inverse, scale, q).sqrt();
    let length = lanes::dot(w, w).sqrt();
    // Sums of products in f32, of the row and of its copy: about cols roundings of 2⁻²⁴ of the lengths at the very worst.
    let rounding = 4.0 * (w.len() as f32 + 16.0) * f32::EPSILON;
    // Squares that are too small for f32 are missing in the lengths.
    let missing = 1e-18 * (w.len() as f32).sqrt();
    let slack = wrong * 1.001 + rounding * length + missing;
    (Row { scale, slack }, (length + wrong) * inverse * 1.001)
}

/// The largest bounds in a part of the rows, for each vector.
struct Bounds {
    lower: [f32; FEW],
    upper: [f32; FEW],
}

/// How far off the product of a row with a vector may be.
#[inline(always)]
fn slack(row: Row, length: f32, wrong: f32) -> f32 {
    // Products that are too small for f32 are off by less than the last.
    row.slack * length + row.scale * wrong + f32::MIN_POSITIVE
}

/// Makes products of integers upper bounds; gives the largest lower and upper bound of each vector.
#[inline(always)]
fn bounds(products: &mut [[f32; FEW]], rows: &[Row], few: &Few, longest: f32) -> Bounds {
    let mut most = Bounds { lower: [f32::NEG_INFINITY; FEW], upper: [f32::NEG_INFINITY; FEW] };
    let (scale, length) = (few.scale, few.length);
    let wrong = few.wrong.map(|wrong| wrong * longest);
    // Copies, so that the compiler sees vectors.
    for (products, &row) in products.iter_mut().zip(rows) {
        let mut about = *products;
        let mut wide = [0f32; FEW];
        for r in 0..FEW {
            about[r] = about[r] * scale[r] * row.scale;
            wide[r] = slack(row, length[r], wrong[r]);
        }
        let (mut upper, mut lower) = (about, about);
        for r in 0..FEW {
            upper[r] += wide[r];
            lower[r] -= wide[r];
        }
        *products = upper;
        for r in 0..FEW {
            most.lower[r] = if lower[r] > most.lower[r] { lower[r] } else { most.lower[r] };
            most.upper[r] = if upper[r] > most.upper[r] { upper[r] } else { most.upper[r] };
        }
    }
    most
}

#[cfg(test)]
mod tests;

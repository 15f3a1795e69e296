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
    q: Vec<i8>,
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
/// Rows made by one task.
const BLOCK: usize = 1024;
/// Numbers that one task reads to compare rows.
const READ_AT_ONCE: usize = 64 * 1024;

impl Screened {
    /// Of a matrix whose rows are contiguous; `None` if a number in it is NaN or infinite.
    pub fn new(w: Mat) -> Option<Self> {
        assert!(w.col_stride == 1 && w.cols > 0);
        let mut q = vec![0i8; w.rows * w.cols];
        let mut rows = vec![Row::default(); w.rows];
        let blocks = q.par_chunks_mut(BLOCK * w.cols).zip(rows.par_chunks_mut(BLOCK)).enumerate();
        let longest = blocks.map(|(block, (q, rows))| {
            lanes::with_simd(
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
            )
        });
        let longest = longest.reduce(|| 0.0, f32::max);
        longest.is_finite().then_some(Self { q, cols: w.cols, rows, longest })
    }

    /// For each row of x [N, cols] the k rows of `w` whose products with it are the largest, with the products: the largest
    /// first, of equals the first one. `None` where that cannot be told (x is huge or not finite). `w` is what this was made of.
    pub fn largest(&self, x: Mat, w: Mat, k: usize) -> Vec<Option<Vec<(u32, f32)>>> {
        assert!(w.rows == self.rows.len() && w.cols == self.cols && x.cols == self.cols && x.col_stride == 1);
        let groups = (0..x.rows).step_by(FEW).map(|at| x.part(at..x.rows.min(at + FEW)));
        groups.flat_map(|few| self.largest_of_few(&Few::new(few, self.longest), few, w, k.max(1))).collect()
    }

    /// [`Self::largest`] of up to [`FEW`] rows x, which were made to `few`.
    fn largest_of_few(&self, few: &Few, x: Mat, w: Mat, k: usize) -> Vec<Option<Vec<(u32, f32)>>> {
        let near = self.near(few, x.rows, k);
        let product = |row: u32, r: usize| {
            let row = row as usize;
            thin::dots(w.part(row..row + 1), x.part(r..r + 1), false)[0]
        };
        let one = |(r, near): (usize, Near)| {
            if few.length[r].is_nan() || few.length[r] > LONGEST {
                return None;
            }
            let least = self.least(&near, few, r, k);
            let rows = near.rows.iter().filter(|(_, upper)| *upper >= least);
            let mut best: Vec<(u32, f32)> = rows.map(|(row, _)| (*row, product(*row, r))).collect();
            best.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            best.truncate(k);
            Some(best)
        };
        near.into_par_iter().enumerate().map(one).collect()
    }

    /// For each of the n rows of `few` what can be among the k largest.
    fn near(&self, few: &Few, n: usize, k: usize) -> Vec<Near> {
        let near = Mutex::new(vec![Near::default(); n]);
        let rows = READ_AT_ONCE.div_ceil(self.cols);
        let parts = self.q.par_chunks(rows * self.cols).zip(self.rows.par_chunks(rows)).enumerate();
        parts.for_each(|(part, (q, which))| {
            let (upper, most) = self.bounds(q, which, few);
            let first = (part * rows) as u32;
            let mut near = near.lock().unwrap_or_else(PoisonError::into_inner);
            for (r, near) in near.iter_mut().enumerate() {
                near.reached(most.lower[r], k);
                let least = near.least(k);
                if most.upper[r] >= least {
                    let rows = (first..).zip(&upper).map(|(row, upper)| (row, upper[r]));
                    near.rows.extend(rows.filter(|(_, upper)| *upper >= least));
                }
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
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn numbers(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| (0..4).map(|_| rng.random::<f32>() - 0.5).sum()).collect()
    }

    fn bytes(screened: &Screened) -> usize {
        screened.q.len() + screened.rows.len() * size_of::<Row>()
    }

    /// With k more than the parts that the matrix is compared in, too.
    fn assert_few_are_near(screened: &Screened, x: Mat) {
        let few = Few::new(x, screened.longest);
        for k in [1, 50] {
            for (r, near) in screened.near(&few, x.rows, k).iter().enumerate() {
                let least = screened.least(near, &few, r, k);
                let count = near.rows.iter().filter(|(_, upper)| *upper >= least).count();
                assert!((k..screened.rows.len() / 10).contains(&count), "{k}: {count}");
            }
        }
    }

    /// x in f32 and, where the processor has what it takes, in 16 bits.
    fn forms(x: Mat, screened: &Screened) -> impl Iterator<Item = Few> {
        [Some(Few::floats(x)), Few::words(x, screened.longest)].into_iter().flatten()
    }

    /// Upper bounds of the products with x and with -x.
    fn both(screened: &Screened, x: Mat) -> Vec<[Vec<[f32; FEW]>; 2]> {
        let less: Vec<f32> = x.data.iter().map(|x| -x).collect();
        let upper = |few: Few| screened.bounds(&screened.q, &screened.rows, &few).0;
        let less = forms(Mat::new(&less, x.rows, x.cols, x.cols), screened);
        forms(x, screened).zip(less).map(|(x, less)| [upper(x), upper(less)]).collect()
    }

    /// The k first largest products, computed in full.
    fn in_full(x: &[f32], w: Mat, k: usize) -> Vec<(u32, f32)> {
        let products = thin::dots(w, Mat::new(x, 1, w.cols, w.cols), false);
        let mut all: Vec<(u32, f32)> = (0..).zip(products).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(k);
        all
    }

    #[test]
    fn the_largest_are_those_that_all_products_give() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let sizes = [(5000, 96, 8), (3000, 37, 3), (1, 16, 1), (2500, 512, 11)];
        for (rows, cols, n) in sizes.into_iter().chain((1..=11).map(|n| (300, 45, n))) {
            let mut w = numbers(&mut rng, rows * cols);
            // Rows of many sizes, some with one large number, some equal.
            for (i, row) in w.chunks_exact_mut(cols).enumerate() {
                row.iter_mut().for_each(|x| *x *= [1.0, 0.3, 1.01][i % 3]);
                row[i % cols] *= if i % 50 == 0 { 40.0 } else { 1.0 };
            }
            if rows > 2000 {
                w.copy_within(7 * cols..8 * cols, 2000 * cols);
            }
            let mut x = numbers(&mut rng, n * cols);
            x[..cols].copy_from_slice(&w[..cols]);
            let (w, x) = (Mat::new(&w, rows, cols, cols), Mat::new(&x, n, cols, cols));
            let screened = Screened::new(w).expect("finite");
            assert!(bytes(&screened) < rows * (cols + 9));
            if rows == 5000 {
                assert_few_are_near(&screened, x);
            }
            for k in [1, 2, 50] {
                let want: Vec<_> = (0..n).map(|r| Some(in_full(x.row(r), w, k))).collect();
                assert_eq!(screened.largest(x, w, k), want, "{k} of {rows}");
                let few = x.part(0..n.min(FEW));
                for form in forms(few, &screened) {
                    assert_eq!(screened.largest_of_few(&form, few, w, k), want[..few.rows], "{k} of {rows}");
                }
            }
        }
    }

    fn product(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// Rows of ones, and rows where all but the first number are rounded by nearly half a step: where they meet, Cauchy and Schwarz
    /// are nearly equal.
    fn worst(rows: &mut [f32], cols: usize, steps: f32) {
        for (i, row) in rows.chunks_exact_mut(cols).enumerate() {
            row.fill(if i % 2 == 0 { 1.0 } else { 0.49 });
            row[0] = if i % 2 == 0 { 1.0 } else { steps };
        }
    }

    #[test]
    fn no_product_is_beyond_its_bounds() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let tenth = |power: usize| 0.1f32.powi(power as i32);
        for (rows, cols, n) in [(40, 1, 8), (60, 33, 3), (50, 512, 8), (12, 5000, 5)] {
            for kind in
                ["alike", "a few are large", "all are the largest", "of many sizes", "half a step off"]
            {
                let mut w = numbers(&mut rng, rows * cols);
                let mut x = numbers(&mut rng, n * cols);
                match kind {
                    "a few are large" => {
                        w.iter_mut().step_by(89).for_each(|w| *w *= 40.0);
                        x.iter_mut().step_by(97).for_each(|x| *x *= 60.0);
                    }
                    "all are the largest" => {
                        w.iter_mut().chain(&mut x).for_each(|x| *x = x.signum());
                        w[..cols].fill(1.0);
                        x[..cols].fill(1.0);
                    }
                    "of many sizes" => {
                        w.iter_mut().enumerate().for_each(|(i, w)| *w *= tenth(i / cols % 5 * 6));
                        x.iter_mut().enumerate().for_each(|(i, x)| *x *= 1e6 * tenth(i / cols * 5));
                    }
                    "half a step off" => {
                        worst(&mut w, cols, 127.0);
                        worst(&mut x, cols, 32767.0);
                    }
                    _ => {}
                }
                let x = Mat::new(&x, n, cols, cols);
                let screened = Screened::new(Mat::new(&w, rows, cols, cols)).expect("finite");
                for [upper, less] in both(&screened, x) {
                    for (i, w) in w.chunks_exact(cols).enumerate() {
                        for r in 0..n {
                            let (want, bounds) = (product(w, x.row(r)), -less[i][r]..=upper[i][r]);
                            let held = f64::from(*bounds.start()) <= want && want <= f64::from(*bounds.end());
                            assert!(held, "{kind}, {cols} columns: {want} in {bounds:?}");
                        }
                    }
                }
                for few in forms(x, &screened) {
                    let most = screened.bounds(&screened.q, &screened.rows, &few).1;
                    for r in 0..n {
                        let best =
                            w.chunks_exact(cols).map(|w| product(w, x.row(r))).fold(f64::MIN, f64::max);
                        assert!(f64::from(most.lower[r]) <= best && best <= f64::from(most.upper[r]));
                    }
                }
            }
        }
    }

    /// Else more rows than before are multiplied in full.
    #[test]
    fn bounds_in_16_bits_are_hardly_wider() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let (rows, cols, n) = (50, 512, 8);
        let w = numbers(&mut rng, rows * cols);
        let mut x = numbers(&mut rng, n * cols);
        x.iter_mut().step_by(100).for_each(|x| *x = 6.0);
        let screened = Screened::new(Mat::new(&w, rows, cols, cols)).expect("finite");
        let forms = both(&screened, Mat::new(&x, n, cols, cols));
        let widths = forms.iter().map(|[upper, less]| {
            upper.iter().flatten().chain(less.iter().flatten()).map(|x| f64::from(*x)).sum::<f64>()
        });
        let widths: Vec<f64> = widths.collect();
        assert!(widths[0] > 0.0 && widths.iter().all(|x| *x < 1.05 * widths[0]), "{widths:?}");
    }

    #[test]
    fn what_is_not_finite_is_not_guessed_at() {
        let w = [1.0, 2.0, 3.0, 4.0];
        let screened = Screened::new(Mat::new(&w, 2, 2, 2)).expect("finite");
        let x = [1.0, f32::NAN, 1.0, 1.0, f32::INFINITY, 0.0, 1e30, 0.0];
        let largest = screened.largest(Mat::new(&x, 4, 2, 2), Mat::new(&w, 2, 2, 2), 1);
        assert_eq!(largest, [None, Some(vec![(1, 7.0)]), None, None]);
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(Screened::new(Mat::new(&[1.0, bad, 3.0, 4.0], 2, 2, 2)).is_none());
        }
        let zeros = [0f32; 4];
        let screened = Screened::new(Mat::new(&zeros, 2, 2, 2)).expect("finite");
        let x = [1.0, 1.0];
        let largest = screened.largest(Mat::new(&x, 1, 2, 2), Mat::new(&zeros, 2, 2, 2), 1);
        assert_eq!(largest, [Some(vec![(0, 0.0)])]);
    }
}

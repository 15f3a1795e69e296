//! The largest few of many products without computing all of them: a copy of the matrix in 8 bits says which rows can be the
//! largest, and only those are multiplied in full. Writing a token reads a quarter of the memory and the answer is the same.
//!
//! A row w is s·q + e, with q in 8 bits and s its largest magnitude / 127. So w·x differs from s·(q·x) by e·x, which is at most
//! ‖e‖·‖x‖ (Cauchy and Schwarz). No row whose upper bound is below the lower bounds of k others is among the k largest.

use super::gemm::Mat;
use super::lanes;
use super::thin::{self, FEW};
use rayon::prelude::*;

/// A matrix [rows, cols] in 8 bits, with what each row of it may be wrong by.
pub struct Screened {
    q: Vec<i8>,
    cols: usize,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Default)]
struct Row {
    scale: f32,
    /// How far the product with a vector of length 1 may be off, rounding included.
    slack: f32,
}

/// Rows made or compared by one task.
const BLOCK: usize = 1024;

impl Screened {
    /// Of a matrix whose rows are contiguous; `None` if a number in it is NaN or infinite.
    pub fn new(w: Mat) -> Option<Self> {
        assert!(w.col_stride == 1 && w.cols > 0);
        let mut q = vec![0i8; w.rows * w.cols];
        let mut rows = vec![Row::default(); w.rows];
        let blocks = q.par_chunks_mut(BLOCK * w.cols).zip(rows.par_chunks_mut(BLOCK)).enumerate();
        let sound = blocks.map(|(block, (q, rows))| {
            lanes::with_simd(
                #[inline(always)]
                || {
                    let mut sound = true;
                    for (i, (q, row)) in q.chunks_exact_mut(w.cols).zip(rows).enumerate() {
                        *row = quantise(w.row(block * BLOCK + i), q);
                        sound &= (row.scale + row.slack).is_finite();
                    }
                    sound
                },
            )
        });
        sound.reduce(|| true, |a, b| a & b).then_some(Self { q, cols: w.cols, rows })
    }

    /// For each row of x [N, cols] the k rows of `w` whose products with it are the largest, with the products: the largest
    /// first, of equals the first one. `None` where that cannot be told (x is not finite). `w` is the matrix that this was made of.
    pub fn largest(&self, x: Mat, w: Mat, k: usize) -> Vec<Option<Vec<(u32, f32)>>> {
        assert!(w.rows == self.rows.len() && w.cols == self.cols && x.cols == self.cols && x.col_stride == 1);
        let groups = (0..x.rows).step_by(FEW).map(|at| x.part(at..x.rows.min(at + FEW)));
        groups.flat_map(|few| self.largest_of_few(few, w, k.max(1))).collect()
    }

    fn largest_of_few(&self, x: Mat, w: Mat, k: usize) -> Vec<Option<Vec<(u32, f32)>>> {
        let n = x.rows;
        let lengths: Vec<f32> = (0..n).map(|r| lanes::dot(x.row(r), x.row(r)).sqrt()).collect();
        // The products become upper bounds. In k parts there is a row that reaches the k-th best of their lower bounds.
        let (upper, parts) = thin::dots_of_integers(&self.q, x, |first, products| {
            lanes::with_simd(
                #[inline(always)]
                || bounds(products, &self.rows[first..], &lengths),
            )
        });
        let one = |r: usize| {
            if !lengths[r].is_finite() {
                return None;
            }
            let mut lower: Vec<f32> = parts.iter().map(|part| part.lower[r]).collect();
            let least = match k <= lower.len() {
                true => *lower.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1,
                false => f32::NEG_INFINITY,
            };
            let rows = thin::rows_of_integers(self.cols);
            let near = parts.iter().enumerate().filter(|(_, part)| part.upper[r] >= least);
            let near = near.flat_map(|(i, _)| i * rows..((i + 1) * rows).min(w.rows));
            let product = |row: usize| thin::dots(w.part(row..row + 1), x.part(r..r + 1), false)[0];
            let near = near.filter(|row| upper[row * n + r] >= least);
            let mut best: Vec<(u32, f32)> = near.map(|row| (row as u32, product(row))).collect();
            best.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            best.truncate(k);
            Some(best)
        };
        (0..n).into_par_iter().map(one).collect()
    }
}

/// Writes w in 8 bits to q.
#[inline(always)]
fn quantise(w: &[f32], q: &mut [i8]) -> Row {
    let scale = lanes::max_abs(w) / 127.0;
    // A row of next to nothing is all error.
    let inverse = if scale > 1e-30 { 1.0 / scale } else { 0.0 };
    let wrong = lanes::to_integers(w, inverse, scale, q);
    let length = lanes::dot(w, w);
    // Sums of products in f32, of the row and of its copy: about cols roundings of 2⁻²⁴ of the lengths at the very worst.
    let rounding = 4.0 * (w.len() as f32 + 16.0) * f32::EPSILON;
    Row { scale, slack: wrong.sqrt() * 1.001 + rounding * length.sqrt() }
}

/// The largest bounds in a part of the rows, for each vector.
struct Bounds {
    lower: [f32; FEW],
    upper: [f32; FEW],
}

/// Makes products [rows, n] of the small integers upper bounds; gives the largest lower and upper bound of each of the n vectors.
#[inline(always)]
fn bounds(products: &mut [f32], rows: &[Row], lengths: &[f32]) -> Bounds {
    let mut most = Bounds { lower: [f32::NEG_INFINITY; FEW], upper: [f32::NEG_INFINITY; FEW] };
    for (products, row) in products.chunks_exact_mut(lengths.len()).zip(rows) {
        for (r, (x, length)) in products.iter_mut().zip(lengths).enumerate() {
            let (about, slack) = (*x * row.scale, row.slack * length);
            *x = about + slack;
            most.lower[r] = if about - slack > most.lower[r] { about - slack } else { most.lower[r] };
            most.upper[r] = if *x > most.upper[r] { *x } else { most.upper[r] };
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
        for (rows, cols, n) in [(5000, 96, 8), (3000, 37, 3), (1, 16, 1), (2500, 512, 11)] {
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
            for k in [1, 2, 50] {
                let want: Vec<_> = (0..n).map(|r| Some(in_full(x.row(r), w, k))).collect();
                assert_eq!(screened.largest(x, w, k), want, "{k} of {rows}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_not_guessed_at() {
        let w = [1.0, 2.0, 3.0, 4.0];
        let screened = Screened::new(Mat::new(&w, 2, 2, 2)).expect("finite");
        let x = [1.0, f32::NAN, 1.0, 1.0, f32::INFINITY, 0.0];
        let largest = screened.largest(Mat::new(&x, 3, 2, 2), Mat::new(&w, 2, 2, 2), 1);
        assert_eq!(largest, [None, Some(vec![(1, 7.0)]), None]);
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

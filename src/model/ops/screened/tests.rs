//! The bounds of the copy in 8 bits, and the largest products by it against all of them.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn numbers(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| (0..4).map(|_| rng.random::<f32>() - 0.5).sum()).collect()
}

fn bytes(screened: &Screened) -> usize {
    screened.q.iter().map(Vec::len).sum::<usize>() + screened.rows.len() * size_of::<Row>()
}

/// With k more than the parts that the matrix is compared in, too.
fn assert_few_are_near(screened: &Screened, x: Mat) {
    let few = Few::new(x, screened.longest);
    for k in [1, 50] {
        for (r, near) in screened.near(std::slice::from_ref(&few), x.rows, k).iter().enumerate() {
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
    let upper = |few: Few| screened.bounds(&screened.q.concat(), &screened.rows, &few).0;
    let less = forms(Mat::new(&less, x.rows, x.cols, x.cols), screened);
    forms(x, screened).zip(less).map(|(x, less)| [upper(x), upper(less)]).collect()
}

/// The k first largest products, computed in full.
fn in_full(x: &[f32], w: Mat, k: usize) -> Vec<(u32, f32)> {
    let products = thin::dots(w, Mat::new(x, 1, w.cols, w.cols), false);
    let mut all: Vec<(u32, f32)> = (0..).zip(products.with(0)).collect();
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
                assert_eq!(screened.largest_of(&[form], few, w, k), want[..few.rows], "{k} of {rows}");
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
        for kind in ["alike", "a few are large", "all are the largest", "of many sizes", "half a step off"] {
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
                let most = screened.bounds(&screened.q.concat(), &screened.rows, &few).1;
                for r in 0..n {
                    let best = w.chunks_exact(cols).map(|w| product(w, x.row(r))).fold(f64::MIN, f64::max);
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

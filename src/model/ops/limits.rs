//! What this processor can do at best, measured: the yardsticks of `lorascope bench`.

use super::gemm::{Cores, Mat, gemm};
use super::lanes::{max_abs, with_simd};
use rayon::prelude::*;
use std::time::Instant;

/// Operations a second of a large product of matrices on all cores: the best of a few.
pub fn products() -> f64 {
    const N: usize = 1024;
    let a: Vec<f32> = (0..N * N).map(|i| (i % 7) as f32).collect();
    let m = Mat::new(&a, N, N, N);
    let mut out = vec![0f32; N * N];
    let seconds = best_of(8, || gemm(&mut out, N, 0.0, 1.0, m, m.t(), Cores::All));
    2.0 * (N as f64).powi(3) / seconds
}

/// Bytes a second that all cores read from memory, more than any cache holds: the best of a few.
pub fn reading() -> f64 {
    const PART: usize = 64 * 1024;
    let many = vec![1f32; 1024 * PART];
    let largest = |part: &[f32]| {
        with_simd(
            #[inline(always)]
            || max_abs(part),
        )
    };
    let seconds = best_of(4, || {
        std::hint::black_box(many.par_chunks(PART).map(largest).reduce(|| 0.0, f32::max));
    });
    size_of_val(many.as_slice()) as f64 / seconds
}

fn best_of(times: usize, mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..times).map(once).fold(f64::INFINITY, f64::min)
}

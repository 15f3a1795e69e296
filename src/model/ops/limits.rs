//! What this processor can do at best, measured: the yardsticks of `lorascope bench`.

use super::gemm::{Cores, Mat, gemm};
use super::thin;
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
    const WIDTH: usize = 4096;
    let many = vec![1f32; 16 * 1024 * WIDTH];
    let few = vec![1f32; WIDTH];
    let (many, few) = (Mat::new(&many, many.len() / WIDTH, WIDTH, WIDTH), Mat::new(&few, 1, WIDTH, WIDTH));
    let seconds = best_of(4, || {
        std::hint::black_box(thin::dots(many, few, true));
    });
    size_of_val(many.data) as f64 / seconds
}

fn best_of(times: usize, mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..times).map(once).fold(f64::INFINITY, f64::min)
}

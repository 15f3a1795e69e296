//! Products of 8-bit integers with a few rows of 16-bit ones by AVX2: exact, and twice as many at a time as floats.

use super::gemm::Mat;
use super::lanes;
use super::prefetch::prefetch;
use super::thin::FEW;
use pulp::NullaryFnOnce;
use pulp::x86::V3;
use std::arch::x86_64::{__m128i, __m256i};

/// Columns that are multiplied at a time.
const WIDE: usize = 16;
/// Integers in a line of the cache.
const LINE: usize = 64;
/// What no sum reaches before the numbers of a row are rounded; 32 bits leave 7 % for that.
const LARGEST_SUM: f32 = 2e9;
/// Up to so many columns rounding stays within that: half a unit each, times 127.
const MOST_COLUMNS: usize = 1 << 20;

/// Where a vector register of them lies on its own boundary: reading across a line of the cache costs twice as much.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Block([i16; WIDE]);

/// Up to [`FEW`] rows x in 16 bits.
pub struct Words {
    simd: V3,
    n: usize,
    cols: usize,
    /// For each [`WIDE`] columns the rows one after another; missing columns are zeros.
    blocks: Vec<Block>,
}

/// A row x is scale · p + e, with p in 16 bits.
pub struct Rounded {
    pub scale: f32,
    /// ‖e‖
    pub wrong: f32,
}

impl Words {
    /// Of rows `x` that are contiguous, for products with integers of up to 127 in rows that are no longer than `longest`;
    /// `None` without AVX2.
    pub fn new(x: Mat, longest: f32) -> Option<(Self, Vec<Rounded>)> {
        let simd = V3::try_new()?;
        if x.cols > MOST_COLUMNS {
            return None;
        }
        let mut p = vec![0i16; x.rows * x.cols];
        let rows = p.chunks_exact_mut(x.cols).enumerate().map(|(r, p)| round(x.row(r), longest, p)).collect();
        Some((Self::of(simd, &p, x.cols), rows))
    }

    fn of(simd: V3, p: &[i16], cols: usize) -> Self {
        let n = p.len() / cols;
        let mut blocks = vec![Block([0; WIDE]); cols.div_ceil(WIDE) * n];
        for (r, p) in p.chunks_exact(cols).enumerate() {
            for (block, p) in blocks.iter_mut().skip(r).step_by(n).zip(p.chunks(WIDE)) {
                block.0[..p.len()].copy_from_slice(p);
            }
        }
        Self { simd, n, cols, blocks }
    }

    /// q·p for each row q of `many` and each p.
    pub fn products(&self, out: &mut [[f32; FEW]], many: &[i8]) {
        match self.n {
            1 => self.of_n::<1>(out, many),
            2 => self.of_n::<2>(out, many),
            3 => self.of_n::<3>(out, many),
            4 => self.of_n::<4>(out, many),
            5 => self.of_n::<5>(out, many),
            6 => self.of_n::<6>(out, many),
            7 => self.of_n::<7>(out, many),
            _ => self.of_n::<8>(out, many),
        }
    }

    fn of_n<const N: usize>(&self, out: &mut [[f32; FEW]], many: &[i8]) {
        let few = self.blocks.as_chunks().0;
        self.simd.vectorize(Dots::<N> { simd: self.simd, out, many, cols: self.cols, few });
    }
}

/// Writes x in 16 bits to p: as finely as they and the sums of the products allow.
fn round(x: &[f32], longest: f32, p: &mut [i16]) -> Rounded {
    let length = lanes::length(x);
    // |q·p| is at most ‖q‖·‖p‖ (Cauchy and Schwarz).
    let scale = (lanes::max_abs(x) / f32::from(i16::MAX)).max(length * longest / LARGEST_SUM);
    // A row of next to nothing is all error.
    let inverse = if scale > 1e-30 { 1.0 / scale } else { 0.0 };
    let mut wrong = 0.0;
    for (p, x) in p.iter_mut().zip(x) {
        let (whole, left) = lanes::nearest(*x, inverse, scale);
        *p = whole;
        wrong += f64::from(left) * f64::from(left);
    }
    Rounded { scale, wrong: wrong.sqrt() as f32 * 1.001 }
}

/// Rows in one stream, as memory likes it: a row of integers, made to 16 bits once, meets N others.
struct Dots<'a, const N: usize> {
    simd: V3,
    out: &'a mut [[f32; FEW]],
    many: &'a [i8],
    cols: usize,
    few: &'a [[Block; N]],
}

impl<const N: usize> NullaryFnOnce for Dots<'_, N> {
    type Output = ();

    // Loops, not `map`: a closure that is not inlined here is not compiled for these vectors.
    #[inline(always)]
    fn call(self) {
        for (out, row) in self.out.iter_mut().zip(self.many.chunks_exact(self.cols)) {
            row.chunks(LINE).for_each(prefetch);
            let (whole, rest) = row.as_chunks();
            let mut sums = [self.simd.avx._mm256_setzero_si256(); N];
            for (q, few) in whole.iter().zip(self.few) {
                add(self.simd, &mut sums, *q, few);
            }
            if !rest.is_empty() {
                let mut q = [0; WIDE];
                q[..rest.len()].copy_from_slice(rest);
                add(self.simd, &mut sums, q, &self.few[whole.len()]);
            }
            put(self.simd, out, sums);
        }
    }
}

/// Adds pairs of products. They wrap around on the way to a sum that does not.
#[inline(always)]
fn add<const N: usize>(simd: V3, sums: &mut [__m256i; N], q: [i8; WIDE], few: &[Block; N]) {
    let q = simd.avx2._mm256_cvtepi8_epi16(pulp::cast::<_, __m128i>(q));
    for (sum, p) in sums.iter_mut().zip(few) {
        let pairs = simd.avx2._mm256_madd_epi16(q, pulp::cast(p.0));
        *sum = simd.avx2._mm256_add_epi32(*sum, pairs);
    }
}

/// The total of each vector.
#[inline(always)]
fn put<const N: usize>(simd: V3, out: &mut [f32; FEW], sums: [__m256i; N]) {
    for (out, sums) in out.chunks_exact_mut(4).zip(sums.chunks(4)) {
        let mut four = [simd.avx._mm256_setzero_si256(); 4];
        four[..sums.len()].copy_from_slice(sums);
        let [a, b, c, d] = four;
        let (ab, cd) = (simd.avx2._mm256_hadd_epi32(a, b), simd.avx2._mm256_hadd_epi32(c, d));
        let halves = simd.avx2._mm256_hadd_epi32(ab, cd);
        let (low, high) =
            (simd.avx._mm256_castsi256_si128(halves), simd.avx2._mm256_extracti128_si256::<1>(halves));
        let dots: [f32; 4] = pulp::cast(simd.sse2._mm_cvtepi32_ps(simd.sse2._mm_add_epi32(low, high)));
        out.copy_from_slice(&dots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(simd: V3, many: &[i8], p: &[i16], cols: usize) {
        let mut got = vec![[0f32; FEW]; many.len() / cols];
        Words::of(simd, p, cols).products(&mut got, many);
        for (got, q) in got.iter().zip(many.chunks_exact(cols)) {
            let mut want = [0f32; FEW];
            for (want, p) in want.iter_mut().zip(p.chunks_exact(cols)) {
                let sum: i64 = q.iter().zip(p).map(|(q, p)| i64::from(*q) * i64::from(*p)).sum();
                *want = i32::try_from(sum).expect("fits into 32 bits") as f32;
            }
            assert_eq!(*got, want, "{cols} columns, {} rows", p.len() / cols);
        }
    }

    #[test]
    fn all_sizes_give_the_products() {
        let Some(simd) = V3::try_new() else { return };
        for cols in [1, 15, 16, 17, 31, 32, 37, 64, 512] {
            let many: Vec<i8> =
                (0..5 * cols).map(|i| (i * 7919 % 255) as u8 as i8).map(|q| q.max(-127)).collect();
            for n in 1..=FEW {
                let p: Vec<i16> =
                    (0..n * cols).map(|i| ((i * 104_729 % 65_535) as i32 - 32_767) as i16).collect();
                check(simd, &many, &p, cols);
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let Some(simd) = V3::try_new() else { return };
        let cols = 512;
        for q in [127, -127] {
            for p in [i16::MAX, -i16::MAX] {
                check(simd, &vec![q; 3 * cols], &vec![p; FEW * cols], cols);
            }
        }
    }

    /// Rows of equal numbers have the largest sums of all.
    #[test]
    fn a_row_is_rounded_as_finely_as_the_sums_allow() {
        for (cols, at_least) in [(512, 30_000), (5000, 3000), (MOST_COLUMNS, 14)] {
            let mut p = vec![0; cols];
            let rounded = round(&vec![-3.0; cols], 127.0 * (cols as f32).sqrt(), &mut p);
            assert!(p[0] <= -at_least, "{cols}: {}", p[0]);
            assert!(p.iter().map(|p| -127 * i64::from(*p)).sum::<i64>() <= i64::from(i32::MAX));
            let error = (3.0 + rounded.scale * f32::from(p[0])).abs() * (cols as f32).sqrt();
            assert!(error <= rounded.wrong && rounded.wrong <= error * 1.01 + 1e-3);
        }
        let mut p = [0; 4];
        let rounded = round(&[1e-33, 0.0, -2e-33, 0.0], 100.0, &mut p);
        assert!(p == [0; 4] && rounded.wrong > 2.2e-33);
    }
}

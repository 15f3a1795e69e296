//! Dropout whose mask is a pure function of a seed: nothing to keep for the backward pass or for a resumed run.

use super::cpu::rows_mut;
use super::memory::{is_cpu, with_owned};
use burn::tensor::{Device, Int, IntDType, Tensor};

/// Mixes two numbers into a seed (the finaliser of SplitMix64).
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Multipliers of a 32-bit finaliser with low bias (C. Wellons, hash-prospector); both fit into 31 bits, so that
/// their products fit into the 64 bits some devices compute integers in.
const M: [u32; 2] = [0x21F0_AAAD, 0x735A_2D97];

/// The finaliser: x ^= x ≫ 16, x ·= M₀, x ^= x ≫ 15, x ·= M₁, x ^= x ≫ 15.
#[inline(always)]
fn finalise(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(M[0]);
    x = (x ^ (x >> 15)).wrapping_mul(M[1]);
    x ^ (x >> 15)
}

/// Elements whose 24-bit number is below this are dropped.
fn threshold(p: f32) -> u32 {
    (f64::from(p) * f64::from(1u32 << 24)).round() as u32
}

/// Whether element `i` is kept.
#[inline(always)]
fn kept(seed: u64, i: usize, below: u32) -> bool {
    let x = finalise(i as u32 ^ seed as u32) ^ (seed >> 32) as u32;
    finalise(x) >> 8 >= below
}

/// x with every element dropped with probability `p`, the others divided by 1−p.
pub fn apply(x: Tensor<2>, p: f32, seed: u64) -> Tensor<2> {
    let [_, n] = x.dims();
    let (below, factor) = (threshold(p), 1.0 / (1.0 - p));
    if is_cpu(&x) {
        return with_owned(x, |x| {
            rows_mut(
                x,
                n,
                #[inline(always)]
                |first, part| {
                    for (i, x) in part.iter_mut().enumerate() {
                        *x = if kept(seed, first * n + i, below) { *x * factor } else { 0.0 };
                    }
                },
            );
        });
    }
    let dtype = x.dtype();
    let mask = mask(x.dims(), below, seed, &x.device());
    x * mask.mul_scalar(factor).cast(dtype)
}

/// [`kept`] for every element, computed on the device in unsigned 32-bit integers.
fn mask([t, n]: [usize; 2], below: u32, seed: u64, device: &Device) -> Tensor<2> {
    let shifted = |x: Tensor<2, Int>, bits: i64| x.clone().bitwise_xor(x.bitwise_right_shift_scalar(bits));
    let finalise = |x: Tensor<2, Int>| {
        let x = shifted(x, 16).mul_scalar(i64::from(M[0]));
        shifted(shifted(x, 15).mul_scalar(i64::from(M[1])), 15)
    };
    // A range is made on the host and copied, so not one of all elements.
    let range = |n: usize| Tensor::<1, Int>::arange(0..n as i64, device).cast(IntDType::U32);
    let i = range(t).mul_scalar(n as i64).unsqueeze_dim(1) + range(n).unsqueeze_dim(0);
    let x = finalise(i.bitwise_xor_scalar(i64::from(seed as u32)));
    let x = finalise(x.bitwise_xor_scalar(i64::from((seed >> 32) as u32)));
    x.bitwise_right_shift_scalar(8i64).greater_equal_elem(i64::from(below)).float()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};

    /// The composed branch, which bf16 takes on the CPU too, drops the same elements.
    #[test]
    fn every_dtype_drops_the_same() {
        let x = Tensor::<2>::ones([20, 30], &Device::flex());
        let want = apply(x.clone(), 0.25, 7).cast(DType::BF16);
        assert_eq!(apply(x.cast(DType::BF16), 0.25, 7).into_data(), want.into_data());
    }

    #[test]
    fn keeps_the_mean_and_repeats() {
        let x = Tensor::<2>::ones([200, 300], &Device::flex());
        let y = apply(x.clone(), 0.25, 7);
        let mean = y.clone().mean().into_scalar::<f32>();
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert_eq!(y.into_data(), apply(x.clone(), 0.25, 7).into_data());
        assert_ne!(apply(x.clone(), 0.25, 7).into_data(), apply(x, 0.25, 8).into_data());
    }
}

//! Dropout whose mask is a pure function of a seed: nothing to keep for the backward pass or for a resumed run.

use super::cpu::rows_mut;
use super::memory::{is_cpu, tensor, with_owned};
use burn::tensor::Tensor;

/// Mixes two numbers into a seed (the finaliser of SplitMix64).
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// 0 with probability p, else 1/(1−p), for element `i`.
#[inline(always)]
fn factor(seed: u64, i: usize, p: f32) -> f32 {
    let u = (mix(seed, i as u64) >> 40) as f32 / (1u64 << 24) as f32;
    if u < p { 0.0 } else { 1.0 / (1.0 - p) }
}

/// x with every element dropped with probability `p`, the others divided by 1−p.
pub fn apply(x: Tensor<2>, p: f32, seed: u64) -> Tensor<2> {
    let [t, n] = x.dims();
    if is_cpu(&x) {
        return with_owned(x, |x| {
            rows_mut(
                x,
                n,
                #[inline(always)]
                |first, part| {
                    for (i, x) in part.iter_mut().enumerate() {
                        *x *= factor(seed, first * n + i, p);
                    }
                },
            );
        });
    }
    let mask = (0..t * n).map(|i| factor(seed, i, p)).collect();
    let mask = tensor(mask, [t, n], &x.device());
    let dtype = x.dtype();
    x * mask.cast(dtype)
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

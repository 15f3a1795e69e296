//! DoRA (arXiv 2402.09353) as peft 0.18 computes it: rows of W + scale·B·A, each made as long as a trained magnitude.

use super::lora::{Branch, Grads, InputGrad, Linear, Pair, accumulate};
use super::ops;
use super::weight::Weight;
use burn::tensor::{DType, Tensor};

/// The end of the magnitudes' name in an adapter file.
pub const NAME: &str = "lora_magnitude_vector";

/// The trained length of each row of the adapted weight.
#[derive(Clone, Debug)]
pub struct Magnitude {
    /// [1, out]
    pub m: Tensor<2>,
    /// Squared lengths of the rows of the frozen weight, [1, out].
    squared: Tensor<2>,
}

impl Magnitude {
    /// Magnitudes `m` [1, out] beside the frozen weight `w`; `None`: the lengths of the rows of `w`, where training
    /// starts, as B is zero.
    pub fn new(w: &Weight, m: Option<Tensor<2>>) -> Self {
        let w = w.to_f32();
        let squared = w.clone().mul(w).sum_dim(1).transpose();
        Self { m: m.unwrap_or_else(|| squared.clone().sqrt()), squared }
    }

    /// ‖W + s·B·A‖ of each row, [1, out]: ‖W‖² + 2s·W·Aᵀ∘B + s²·B·(A·Aᵀ)∘B, so that no matrix of W's size is made.
    pub fn lengths(&self, w: &Weight, pair: &Pair, scale: f32) -> Tensor<2> {
        let (a, bt) = (&pair.a, pair.b.clone().transpose());
        let wa = w.forward(&a.clone().cast(w.dtype())).cast(DType::F32);
        let cross = (wa * bt.clone()).sum_dim(0);
        let gram = ops::matmul(a, &a.clone().transpose());
        let own = (ops::matmul(&gram, &bt) * bt).sum_dim(0);
        let squared = self.squared.clone() + cross.mul_scalar(2.0 * scale) + own.mul_scalar(scale * scale);
        squared.clamp_min(f32::MIN_POSITIVE).sqrt()
    }
}

/// With u = x̃·Wᵀ + s·(x̃·Aᵀ)·Bᵀ and the gain g = m/‖W + s·B·A‖: y = g∘u, where x̃ = x; under dropout
/// y = x·Wᵀ + g∘u − x̃·Wᵀ, where x̃ = drop(x). `frozen` is x·Wᵀ; the bias is the caller's.
pub(super) fn forward(
    frozen: Tensor<2>,
    x: &Tensor<2>,
    w: &Weight,
    (br, m): (&Branch, &Magnitude),
) -> Tensor<2> {
    let gain = (m.m.clone() / m.lengths(w, br.pair, br.scale)).cast(frozen.dtype());
    let (a, b) = br.matrices(x.dtype());
    let input = br.input(x);
    let h = ops::matmul(&input, &a.transpose());
    match br.drop {
        None => ops::add_matmul(frozen, &h, &b.transpose(), br.scale) * gain,
        Some(_) => {
            let dropped = w.forward(&input);
            let u = ops::add_matmul(dropped.clone(), &h, &b.transpose(), br.scale);
            frozen + u * gain - dropped
        }
    }
}

/// Gradients of [`forward`]; the length is a constant (section 4.3 of the paper).
pub(super) fn backward(
    dy: &Tensor<2>,
    x: &Tensor<2>,
    wanted: InputGrad,
    (linear, br, m): (&Linear, &Branch, &Magnitude),
    grads: &mut Grads,
) -> Option<Tensor<2>> {
    let lengths = m.lengths(&linear.w, br.pair, br.scale);
    let gain = (m.m.clone() / lengths.clone()).cast(dy.dtype());
    let (a, b) = br.matrices(x.dtype());
    let input = br.input(x);
    let h = ops::matmul(&input, &a.clone().transpose());
    // 1. To the magnitudes: Σ_t dy∘u / length
    let u = ops::add_matmul(linear.w.forward(&input), &h, &b.clone().transpose(), br.scale);
    let dm = (dy.clone() * u).cast(DType::F32).sum_dim(0) / lengths;
    let sum = grads.m[br.slot].take();
    grads.m[br.slot] = Some(match sum {
        Some(sum) => sum + dm,
        None => dm,
    });
    // 2. To A and B, as LoRA with g∘dy
    let du = dy.clone() * gain.clone();
    let dh = ops::matmul(&du, &b);
    accumulate(&mut grads.b[br.slot], &du.clone().transpose(), &h, br.scale);
    accumulate(&mut grads.a[br.slot], &dh.clone().transpose(), &input, br.scale);
    // 3. To x
    if br.drop.is_none() {
        let dx = linear.frozen_backward(&du, wanted)?;
        return Some(ops::add_matmul(dx, &dh, &a, br.scale));
    }
    let dx = linear.frozen_backward(dy, wanted)?;
    let dropped = linear.w.backward(&(du - dy.clone()));
    Some(dx + br.masked(ops::add_matmul(dropped, &dh, &a, br.scale)))
}

/// m/‖W + s·B·A‖ ∘ (W + s·B·A): the weight that [`forward`] works as.
pub fn merged(w: Tensor<2>, pair: &Pair, m: &Tensor<2>, scale: f32) -> Tensor<2> {
    let sum = ops::add_matmul(w, &pair.b, &pair.a, scale);
    let length = sum.clone().mul(sum.clone()).sum_dim(1).sqrt();
    sum * (m.clone().transpose() / length)
}

//! LoRA on stacked experts, as peft 0.18 adapts a parameter with three axes (`ParamWrapper`, `target_parameters`).
//!
//! For a weight [E, out, in] of transformers 5, peft has A [r·E, out] (the rows of an expert lie together) and
//! B [in, r·E] (the ranks of an expert lie E apart), and ΔW[e] = scale · A[e]ᵀ·B[e]ᵀ: its axes are named for the older
//! layout [E, in, out], so A is on the side of the output. Training starts at zero all the same, as B is zero.

use super::lora::{Branch, Grads, Pair, Pass};
use super::ops::{self, rows};
use burn::tensor::{DType, Tensor};
use std::ops::Range;

/// A as [E, r, out] and B as [E, r, in].
fn factors(a: Tensor<2>, b: Tensor<2>, experts: usize) -> (Tensor<3>, Tensor<3>) {
    let ([rows, out], inp) = (a.dims(), b.dims()[0]);
    let r = rows / experts;
    (a.reshape([experts, r, out]), b.reshape([inp, r, experts]).permute([2, 1, 0]))
}

fn of_branch(br: &Branch, groups: &[Range<usize>], dtype: DType) -> (Tensor<3>, Tensor<3>) {
    let (a, b) = br.matrices(dtype);
    factors(a, b, groups.len())
}

/// y + scale·(x·B[e]ᵀ)·A[e] for rows sorted by expert, x [N, in], y [N, out].
pub(super) fn add_forward(
    y: Tensor<2>,
    x: &Tensor<2>,
    groups: &[Range<usize>],
    slot: Option<usize>,
    pass: &Pass,
) -> Tensor<2> {
    let Some(br) = pass.branch(slot) else { return y };
    let (a, b) = of_branch(&br, groups, x.dtype());
    let h = rows::grouped_linear(x, &b, groups, false);
    y + rows::grouped_linear(&h, &a, groups, true).mul_scalar(br.scale)
}

/// Adds the gradients to A and B for dy [N, out] into `grads`; dx plus the gradient through the adapter.
pub(super) fn add_backward(
    dx: Tensor<2>,
    (dy, x): (&Tensor<2>, &Tensor<2>),
    groups: &[Range<usize>],
    slot: Option<usize>,
    (pass, grads): (&Pass, &mut Grads),
) -> Tensor<2> {
    let Some(br) = pass.branch(slot) else { return dx };
    let (a, b) = of_branch(&br, groups, x.dtype());
    let h = rows::grouped_linear(x, &b, groups, false);
    let dh = rows::grouped_linear(dy, &a, groups, false).mul_scalar(br.scale);
    let (experts, [_, r, out]) = (groups.len(), a.dims());
    let da = products(&h, dy, groups).mul_scalar(br.scale).reshape([experts * r, out]);
    let db = products(&dh, x, groups).permute([2, 1, 0]).reshape([x.dims()[1], r * experts]);
    add(&mut grads.a[br.slot], da);
    add(&mut grads.b[br.slot], db);
    dx + rows::grouped_linear(&dh, &b, groups, true)
}

fn add(slot: &mut Option<Tensor<2>>, more: Tensor<2>) {
    *slot = Some(match slot.take() {
        Some(sum) => sum + more,
        None => more,
    });
}

/// Of each expert's rows of x [N, r] and y [N, w]: xᵀ·y, [E, r, w], in f32.
fn products(x: &Tensor<2>, y: &Tensor<2>, groups: &[Range<usize>]) -> Tensor<3> {
    let (r, w) = (x.dims()[1], y.dims()[1]);
    let of = |g: &Range<usize>| {
        if g.is_empty() {
            return Tensor::zeros([1, r, w], (&x.device(), DType::F32));
        }
        let part = |t: &Tensor<2>| t.clone().slice([g.clone()]);
        ops::matmul(&part(x).transpose(), &part(y)).cast(DType::F32).unsqueeze::<3>()
    };
    Tensor::cat(groups.iter().map(of).collect(), 0)
}

/// ΔW [E, out, in].
pub fn delta(pair: &Pair, experts: usize, scale: f32) -> Tensor<3> {
    let (a, b) = factors(pair.a.clone(), pair.b.clone(), experts);
    a.swap_dims(1, 2).matmul(b).mul_scalar(scale)
}

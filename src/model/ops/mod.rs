//! The tensor operations of the model, forward and backward, on plain tensors (no autodiff).
//!
//! On the CPU in f32 each runs as one fused kernel (`cpu*.rs`); on every other device or dtype as a composition of
//! burn operations (`composed.rs`). Both are compared with each other in the tests of this module.
//! Shapes: T tokens of all samples of a micro-batch in a row (no padding), segments say which belong together.

mod aligned;
pub mod awake;
mod blocked;
pub mod blocks;
pub mod composed;
pub mod cpu;
pub mod cpu_attention;
pub mod cpu_attention_backward;
pub mod cpu_head;
pub mod dropout;
pub mod gemm;
mod grouped;
mod integers;
pub mod lanes;
pub mod limits;
pub mod linear;
mod memory;
mod pack;
mod panel_rows;
pub mod panels;
mod prefetch;
pub mod rows;
mod running;
pub mod screened;
mod tall;
pub mod thin;
pub mod vision;
#[cfg(target_arch = "x86_64")]
mod words;

use burn::tensor::Tensor;
use gemm::Cores;
pub use memory::is_cpu;
use memory::{cpu, tensor, with_owned};
use screened::Screened;
use std::ops::Range;

/// Rows of q and rows of k that belong to one sequence. With a causal mask the last query sees every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub q: Range<usize>,
    pub k: Range<usize>,
}

impl Segment {
    /// Sequences of the given lengths one after another, each attending to itself.
    pub fn packed(lengths: impl IntoIterator<Item = usize>) -> Vec<Self> {
        let mut at = 0;
        lengths
            .into_iter()
            .map(|n| {
                at += n;
                Self { q: at - n..at, k: at - n..at }
            })
            .collect()
    }
}

/// x + y, into the memory of `y` where nobody else holds it.
pub fn add(x: &Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    match cpu(x) {
        Some(x) if is_cpu(&y) => with_owned(y, |y| cpu::add(y, x.slice())),
        _ => x.clone() + y,
    }
}

/// y + b for y [T, n] and b [n], into the memory of `y` where nobody else holds it.
pub fn add_bias(y: Tensor<2>, b: &Tensor<1>) -> Tensor<2> {
    match cpu(b) {
        Some(b) if is_cpu(&y) => with_owned(y, |y| cpu::add_bias(y, b.slice())),
        _ => y + b.clone().unsqueeze::<2>(),
    }
}

/// The columns `from..from + width` of x [T, n].
pub fn columns(x: &Tensor<2>, from: usize, width: usize) -> Tensor<2> {
    let [t, n] = x.dims();
    match cpu(x) {
        Some(c) => tensor(cpu::columns(c.slice(), n, from, width), [t, width], &x.device()),
        None => x.clone().narrow(1, from, width),
    }
}

/// a·b for 2-D tensors; views such as a transpose cost no copy.
pub fn matmul(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    linear::linear(a, b, linear::After::default())
}

/// acc + scale·a·b, into the memory of `acc` where nobody else holds it.
pub fn add_matmul(acc: Tensor<2>, a: &Tensor<2>, b: &Tensor<2>, scale: f32) -> Tensor<2> {
    let n = acc.dims()[1];
    match (cpu(a), cpu(b)) {
        (Some(a), Some(b)) if is_cpu(&acc) => {
            with_owned(acc, |out| gemm::gemm(out, n, 1.0, scale, a.mat(), b.mat(), Cores::All))
        }
        _ => {
            let dtype = acc.dtype();
            acc + composed::matmul(a, b).mul_scalar(scale).cast(dtype)
        }
    }
}

/// x / sqrt(mean(x²) + eps) · w over the last dimension.
pub fn rms_norm<const D: usize>(x: Tensor<D>, w: &Tensor<1>, eps: f32) -> Tensor<D> {
    match (cpu(&x), cpu(w)) {
        (Some(cx), Some(cw)) => tensor(cpu::rms_norm(cx.slice(), cw.slice(), eps), x.dims(), &x.device()),
        _ => composed::rms_norm(x, w, eps),
    }
}

/// Gradient of [`rms_norm`] to x, into the memory of `dy` where nobody else holds it.
pub fn rms_norm_backward<const D: usize>(dy: Tensor<D>, x: &Tensor<D>, w: &Tensor<1>, eps: f32) -> Tensor<D> {
    match (cpu(x), cpu(w)) {
        (Some(x), Some(w)) if is_cpu(&dy) => {
            with_owned(dy, |dy| cpu::rms_norm_backward(dy, x.slice(), w.slice(), eps))
        }
        _ => composed::rms_norm_backward(dy, x, w, eps),
    }
}

/// (x − mean) / sqrt(var + eps) · w + b over the last dimension.
pub fn layer_norm(x: Tensor<2>, w: &Tensor<1>, b: &Tensor<1>, eps: f64) -> Tensor<2> {
    match (cpu(&x), cpu(w), cpu(b)) {
        (Some(cx), Some(cw), Some(cb)) => {
            let y = cpu::layer_norm(cx.slice(), cw.slice(), cb.slice(), eps as f32);
            tensor(y, x.dims(), &x.device())
        }
        _ => composed::layer_norm(x, w, b, eps as f32),
    }
}

/// GELU with the tanh approximation, into the memory of `x` where nobody else holds it.
pub fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    if is_cpu(&x) { with_owned(x, cpu::gelu_tanh) } else { composed::gelu_tanh(x) }
}

/// GELU with the exact error function, into the memory of `x` where nobody else holds it.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    if is_cpu(&x) { with_owned(x, cpu::gelu) } else { burn::tensor::activation::gelu(x) }
}

/// silu(gate) · up
pub fn swiglu(gate: &Tensor<2>, up: &Tensor<2>) -> Tensor<2> {
    match (cpu(gate), cpu(up)) {
        (Some(g), Some(u)) => tensor(cpu::swiglu(g.slice(), u.slice()), gate.dims(), &gate.device()),
        _ => composed::swiglu(gate, up),
    }
}

/// Gradients of [`swiglu`] to gate and up, into their memory where nobody else holds it.
pub fn swiglu_backward(dy: &Tensor<2>, gate: Tensor<2>, up: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    match cpu(dy) {
        Some(dy) if is_cpu(&gate) && is_cpu(&up) => {
            let mut d_gate = None;
            let d_up = with_owned(up, |up| {
                d_gate = Some(with_owned(gate, |gate| cpu::swiglu_backward(dy.slice(), gate, up)));
            });
            (d_gate.expect("made with the other"), d_up)
        }
        _ => composed::swiglu_backward(dy, &gate, &up),
    }
}

/// [`swiglu`] of [gate, up] side by side: [T, 2·n] → [T, n].
pub fn swiglu_halves(both: &Tensor<2>) -> Tensor<2> {
    let [t, n] = [both.dims()[0], both.dims()[1] / 2];
    match cpu(both) {
        Some(c) => tensor(cpu::swiglu_halves(c.slice(), n), [t, n], &both.device()),
        None => composed::swiglu(&columns(both, 0, n), &columns(both, n, n)),
    }
}

/// Gradient of [`swiglu_halves`] to [gate, up], into its memory where nobody else holds it.
pub fn swiglu_halves_backward(dy: &Tensor<2>, both: Tensor<2>) -> Tensor<2> {
    let n = dy.dims()[1];
    match cpu(dy) {
        Some(dy) if is_cpu(&both) => {
            with_owned(both, |both| cpu::swiglu_halves_backward(dy.slice(), both, n))
        }
        _ => {
            let (dg, du) = composed::swiglu_backward(dy, &columns(&both, 0, n), &columns(&both, n, n));
            Tensor::cat(vec![dg, du], 1)
        }
    }
}

/// x·cos + rotate_half(x)·sin per head; x [T, heads, d], tables [T, d]. Into the memory of `x` where nobody else holds it.
pub fn rotate_half_rope(x: Tensor<3>, cos: &Tensor<2>, sin: &Tensor<2>) -> Tensor<3> {
    rope_signed(x, cos, sin, 1.0)
}

/// Gradient of [`rotate_half_rope`] to x: the rotation back.
pub fn rotate_half_rope_backward(dy: Tensor<3>, cos: &Tensor<2>, sin: &Tensor<2>) -> Tensor<3> {
    rope_signed(dy, cos, sin, -1.0)
}

fn rope_signed(x: Tensor<3>, cos: &Tensor<2>, sin: &Tensor<2>, sign: f32) -> Tensor<3> {
    let [_, heads, d] = x.dims();
    match (cpu(cos), cpu(sin)) {
        (Some(c), Some(s)) if is_cpu(&x) => {
            with_owned(x, |x| cpu::rope(x, [c.slice(), s.slice()], (heads, d), heads * d, sign))
        }
        _ => composed::rope(x, cos, sin, sign),
    }
}

/// What the backward pass of attention needs besides q, k and v.
#[derive(Clone)]
pub struct AttentionSaved {
    pub o: Tensor<3>,
    /// [Tq, heads] on the CPU; not used elsewhere.
    lse: Option<Tensor<2>>,
}

/// softmax(q·kᵀ/√d)·v within each segment; q [Tq, heads, d], k and v [Tk, kv_heads, d] (grouped-query).
pub fn attention_saved(
    q: &Tensor<3>,
    k: &Tensor<3>,
    v: &Tensor<3>,
    segments: &[Segment],
    causal: bool,
) -> AttentionSaved {
    let [t, heads, _] = q.dims();
    match (cpu(q), cpu(k), cpu(v)) {
        (Some(cq), Some(ck), Some(cv)) => {
            let s = sizes(q, k, causal);
            let x = cpu_attention::Inputs::new([cq.slice(), ck.slice(), cv.slice()], s);
            let (o, lse) = cpu_attention::forward(x, s, segments);
            let device = q.device();
            AttentionSaved { o: tensor(o, q.dims(), &device), lse: Some(tensor(lse, [t, heads], &device)) }
        }
        _ => AttentionSaved { o: composed::attention(q, k, v, segments, causal), lse: None },
    }
}

/// [`attention_saved`] where no gradient will be asked for.
pub fn attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    segments: &[Range<usize>],
    causal: bool,
) -> Tensor<3> {
    let segments: Vec<_> = segments.iter().map(|r| Segment { q: r.clone(), k: r.clone() }).collect();
    attention_saved(&q, &k, &v, &segments, causal).o
}

/// Gradients of attention to q, k and v, given the gradient `d_o` to its result.
pub fn attention_backward(
    d_o: &Tensor<3>,
    [q, k, v]: [&Tensor<3>; 3],
    saved: &AttentionSaved,
    segments: &[Segment],
    causal: bool,
) -> [Tensor<3>; 3] {
    let lse = saved.lse.as_ref().and_then(cpu);
    match (cpu(d_o), cpu(q), cpu(k), cpu(v), cpu(&saved.o), lse) {
        (Some(cd), Some(cq), Some(ck), Some(cv), Some(co), Some(lse)) => {
            let s = sizes(q, k, causal);
            let x = cpu_attention::Inputs::new([cq.slice(), ck.slice(), cv.slice()], s);
            let saved = cpu_attention_backward::Saved { o: co.slice(), lse: lse.slice(), d_o: cd.slice() };
            let [dq, dk, dv] = cpu_attention_backward::backward(x, saved, s, segments);
            let device = q.device();
            [tensor(dq, q.dims(), &device), tensor(dk, k.dims(), &device), tensor(dv, v.dims(), &device)]
        }
        _ => composed::attention_backward(d_o, [q, k, v], segments, causal),
    }
}

fn sizes(q: &Tensor<3>, k: &Tensor<3>, causal: bool) -> cpu_attention::Sizes {
    let ([_, heads, d], [_, kv_heads, _]) = (q.dims(), k.dims());
    cpu_attention::Sizes { heads, kv_heads, d, causal }
}

/// Summed cross-entropy of logits x·wᵀ against N targets, as a tensor of one number, for x [N, hidden] and w
/// [V, hidden]; with a `weight` also the gradient of `weight` times that sum to x.
pub fn head_cross_entropy(
    x: &Tensor<2>,
    w: &Tensor<2>,
    targets: &[u32],
    weight: Option<f32>,
) -> (Tensor<1>, Option<Tensor<2>>) {
    match (cpu(x), cpu(w)) {
        (Some(cx), Some(cw)) => {
            let (loss, dx) = cpu_head::cross_entropy(cx.slice(), cw.mat(), targets, weight);
            let device = x.device();
            (tensor(vec![loss as f32], [1], &device), weight.map(|_| tensor(dx, x.dims(), &device)))
        }
        _ => composed::head_cross_entropy(x, w, targets, weight),
    }
}

/// A copy of w [V, hidden] in 8 bits that tells the largest of the products x·wᵀ; `None` where it would not pay: elsewhere than on
/// the CPU, for a small matrix, or one with NaN in it.
pub fn screened(w: &Tensor<2>) -> Option<Screened> {
    const WORTH: usize = 1 << 22;
    let w = cpu(w)?;
    let w = w.mat();
    (w.col_stride == 1 && w.rows * w.cols >= WORTH).then(|| Screened::new(w)).flatten()
}

/// The k largest logits of each row of x [N, hidden] with their numbers, the largest first, by a copy of w [V, hidden] made by
/// [`screened`]; `None` where it cannot tell.
pub fn largest_logits(
    screened: &Screened,
    x: &Tensor<2>,
    w: &Tensor<2>,
    k: usize,
) -> Vec<Option<Vec<(u32, f32)>>> {
    match (cpu(x), cpu(w)) {
        (Some(x), Some(w)) => screened.largest(x.mat(), w.mat(), k),
        _ => vec![None; x.dims()[0]],
    }
}

/// Softmax over the last dimension, in f32.
pub fn softmax(x: Tensor<2>) -> Tensor<2> {
    let n = x.dims()[1];
    if is_cpu(&x) { with_owned(x, |x| cpu::softmax_rows(x, n)) } else { composed::softmax(x) }
}

#[cfg(test)]
mod tests;

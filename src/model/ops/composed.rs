//! The operations composed of burn's own, for every device and dtype. Norms, softmax and loss compute in f32.

use super::Segment;
use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation};

fn f32_of<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F32 { x } else { x.cast(DType::F32) }
}

fn back<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if dtype == DType::F32 { x } else { x.cast(dtype) }
}

/// A vector as a tensor of rank D that broadcasts over all but the last dimension.
fn last<const D: usize>(w: &Tensor<1>) -> Tensor<D> {
    f32_of(w.clone()).unsqueeze::<D>()
}

/// Of two types the narrower one is multiplied in: an f32 adapter beside a bf16 model, as autocast does it.
pub fn matmul(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    let narrow = if a.dtype() == DType::F32 { b.dtype() } else { a.dtype() };
    a.clone().cast(narrow).matmul(b.clone().cast(narrow))
}

pub fn rms_norm<const D: usize>(x: Tensor<D>, w: &Tensor<1>, eps: f32) -> Tensor<D> {
    let dtype = x.dtype();
    let x = f32_of(x);
    let r = x.clone().powi_scalar(2).mean_dim(D - 1).add_scalar(eps).sqrt().recip();
    back(x * r * last(w), dtype)
}

pub fn rms_norm_backward<const D: usize>(dy: Tensor<D>, x: &Tensor<D>, w: &Tensor<1>, eps: f32) -> Tensor<D> {
    let dtype = dy.dtype();
    let x = f32_of(x.clone());
    let g = f32_of(dy) * last(w);
    let r = x.clone().powi_scalar(2).mean_dim(D - 1).add_scalar(eps).sqrt().recip();
    let c = (g.clone() * x.clone()).mean_dim(D - 1) * r.clone().powi_scalar(2);
    back((g - x * c) * r, dtype)
}

pub fn layer_norm(x: Tensor<2>, w: &Tensor<1>, b: &Tensor<1>, eps: f32) -> Tensor<2> {
    let dtype = x.dtype();
    let x = f32_of(x);
    let centred = x.clone() - x.mean_dim(1);
    let r = centred.clone().powi_scalar(2).mean_dim(1).add_scalar(eps).sqrt().recip();
    back(centred * r * last(w) + last(b), dtype)
}

pub fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    let dtype = x.dtype();
    let x = f32_of(x);
    let inner = (x.clone() + x.clone().powi_scalar(3).mul_scalar(0.044_715)).mul_scalar(0.797_884_6);
    back(x * inner.tanh().add_scalar(1.0).mul_scalar(0.5), dtype)
}

pub fn swiglu(gate: &Tensor<2>, up: &Tensor<2>) -> Tensor<2> {
    activation::silu(gate.clone()) * up.clone()
}

pub fn swiglu_backward(dy: &Tensor<2>, gate: &Tensor<2>, up: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let s = activation::sigmoid(gate.clone());
    let silu = gate.clone() * s.clone();
    // d silu(g) = s·(1 + g·(1 − s)) = s + silu·(1 − s)
    let d_silu = s.clone() + silu.clone() * s.neg().add_scalar(1.0);
    (dy.clone() * up.clone() * d_silu, dy.clone() * silu)
}

pub fn rope(x: Tensor<3>, cos: &Tensor<2>, sin: &Tensor<2>, sign: f32) -> Tensor<3> {
    let [_, _, d] = x.dims();
    let dtype = x.dtype();
    let (cos, sin): (Tensor<3>, Tensor<3>) = (cos.clone().unsqueeze_dim(1), sin.clone().unsqueeze_dim(1));
    let x = f32_of(x);
    let (a, b) = (x.clone().narrow(2, 0, d / 2), x.clone().narrow(2, d / 2, d / 2));
    let turned = Tensor::cat(vec![b.neg(), a], 2).mul_scalar(sign);
    back(x * cos + turned * sin, dtype)
}

/// One segment folded for grouped-query attention: q [kv, group·nq, d], k and v [kv, nk, d].
struct Folded {
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
}

fn fold(x: Tensor<3>, kv: usize) -> Tensor<3> {
    let [n, heads, d] = x.dims();
    let group = heads / kv;
    x.reshape([n, kv, group, d]).permute([1, 2, 0, 3]).reshape([kv, group * n, d])
}

fn unfold(x: Tensor<3>, heads: usize) -> Tensor<3> {
    let [kv, rows, d] = x.dims();
    let group = heads / kv;
    x.reshape([kv, group, rows / group, d]).permute([2, 0, 1, 3]).reshape([rows / group, heads, d])
}

impl Folded {
    fn new([q, k, v]: [&Tensor<3>; 3], s: &Segment) -> Self {
        let kv = k.dims()[1];
        let k = k.clone().slice([s.k.clone()]);
        let v = v.clone().slice([s.k.clone()]);
        Self { q: fold(q.clone().slice([s.q.clone()]), kv), k: fold(k, kv), v: fold(v, kv) }
    }

    /// Softmax of the scaled, masked scores [kv, group·nq, nk] in f32.
    fn probabilities(&self, s: &Segment, causal: bool) -> Tensor<3> {
        let [kv, rows, d] = self.q.dims();
        let (nq, nk) = (s.q.len(), s.k.len());
        let scores = f32_of(self.q.clone().matmul(self.k.clone().swap_dims(1, 2)));
        let scores = scores.mul_scalar(1.0 / (d as f32).sqrt());
        // A single query sees every key
        if !causal || nq == 1 {
            return activation::softmax(scores, 2);
        }
        let scores = scores.reshape([kv * rows / nq, nq, nk]) + causal_bias(nq, nk, &self.q.device());
        activation::softmax(scores, 2).reshape([kv, rows, nk])
    }
}

/// 0 where a query sees a key, −1e30 where it does not: [1, nq, nk]. Made on the device.
fn causal_bias(nq: usize, nk: usize, device: &Device) -> Tensor<3> {
    let last_seen = Tensor::<1, Int>::arange((nk - nq) as i64..nk as i64, device).reshape([1, nq, 1]);
    let key = Tensor::<1, Int>::arange(0..nk as i64, device).reshape([1, 1, nk]);
    f32_of(key.greater(last_seen).float()).mul_scalar(-1e30)
}

pub fn attention(
    q: &Tensor<3>,
    k: &Tensor<3>,
    v: &Tensor<3>,
    segments: &[Segment],
    causal: bool,
) -> Tensor<3> {
    let (heads, dtype) = (q.dims()[1], q.dtype());
    let parts = segments.iter().map(|s| {
        let f = Folded::new([q, k, v], s);
        unfold(back(f.probabilities(s, causal), dtype).matmul(f.v), heads)
    });
    Tensor::cat(parts.collect(), 0)
}

/// Recomputes the probabilities. Only for segments whose q and k ranges follow one another without gaps.
pub fn attention_backward(
    d_o: &Tensor<3>,
    [q, k, v]: [&Tensor<3>; 3],
    segments: &[Segment],
    causal: bool,
) -> [Tensor<3>; 3] {
    let ([_, heads, d], kv, dtype) = (q.dims(), k.dims()[1], q.dtype());
    let scale = 1.0 / (d as f32).sqrt();
    let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    for s in segments {
        let f = Folded::new([q, k, v], s);
        let g = fold(d_o.clone().slice([s.q.clone()]), kv);
        let p = f.probabilities(s, causal);
        let dp = f32_of(g.clone().matmul(f.v.swap_dims(1, 2)));
        let delta = (p.clone() * dp.clone()).sum_dim(2);
        let ds = back((p.clone() * (dp - delta)).mul_scalar(scale), dtype);
        dv.push(unfold(back(p, dtype).swap_dims(1, 2).matmul(g), kv));
        dq.push(unfold(ds.clone().matmul(f.k), heads));
        dk.push(unfold(ds.swap_dims(1, 2).matmul(f.q), kv));
    }
    [Tensor::cat(dq, 0), Tensor::cat(dk, 0), Tensor::cat(dv, 0)]
}

/// Logits are computed in chunks of at most this many numbers (64 MiB in f32).
const LOGITS_AT_ONCE: usize = 16 << 20;

/// In chunks of rows, so that the logits of a long pack are never all there.
pub fn head_cross_entropy(
    x: &Tensor<2>,
    w: &Tensor<2>,
    targets: &[u32],
    weight: Option<f32>,
) -> (Tensor<1>, Option<Tensor<2>>) {
    let chunk = (LOGITS_AT_ONCE / w.dims()[0]).max(16);
    let mut total: Tensor<1> = Tensor::zeros([1], (&x.device(), DType::F32));
    let mut grads = Vec::new();
    for (i, targets) in targets.chunks(chunk).enumerate() {
        let part = x.clone().slice([i * chunk..i * chunk + targets.len()]);
        let (sum, d_logits) =
            cross_entropy(part.matmul(w.clone().transpose()), targets, weight.unwrap_or(1.0));
        grads.extend(weight.map(|_| d_logits.matmul(w.clone())));
        total = total + sum;
    }
    let d = weight.map(|_| if grads.is_empty() { x.zeros_like() } else { Tensor::cat(grads, 0) });
    (total, d)
}

fn cross_entropy(logits: Tensor<2>, targets: &[u32], weight: f32) -> (Tensor<1>, Tensor<2>) {
    let (dtype, device) = (logits.dtype(), logits.device());
    let [n, v] = logits.dims();
    let ids: Vec<i32> = targets.iter().map(|&t| t as i32).collect();
    let index = Tensor::<2, Int>::from_data(TensorData::new(ids, [n, 1]), &device);
    let lp = activation::log_softmax(f32_of(logits), 1);
    let loss = lp.clone().gather(1, index.clone()).sum().neg();
    let classes = Tensor::<1, Int>::arange(0..v as i64, &device).unsqueeze::<2>();
    let hit = f32_of(index.equal(classes).float());
    (loss, back((lp.exp() - hit).mul_scalar(weight), dtype))
}

pub fn softmax(x: Tensor<2>) -> Tensor<2> {
    activation::softmax(f32_of(x), 1)
}

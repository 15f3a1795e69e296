//! Operations that only the vision tower has: attention on queries, keys and values that lie side by side, and gradients of layer
//! norm and the two GELUs.

use super::cpu::{rope, rows_mut};
use super::cpu_attention::{Inputs, Sizes, forward};
use super::lanes::{dot, sum, tanh};
use super::memory::{cpu, is_cpu, tensor, with_owned};
use super::{Segment, attention_saved, columns, rotate_half_rope};
use burn::tensor::Tensor;

/// softmax(q·kᵀ/√d)·v of turned queries and keys within each segment, for rows [q, k, v] of `heads` heads each:
/// [T, 3·heads·d] → [T, heads·d]. On the CPU they are turned and read where they lie, nobody else holding them. The second tensor is
/// the memory of `qkv`.
pub fn attend(
    qkv: Tensor<2>,
    heads: usize,
    (cos, sin): (&Tensor<2>, &Tensor<2>),
    segments: &[Segment],
) -> (Tensor<2>, Tensor<2>) {
    let ([t, all], d) = (qkv.dims(), cos.dims()[1]);
    let width = heads * d;
    let (Some(c), Some(s)) = (cpu(cos).filter(|_| is_cpu(&qkv)), cpu(sin)) else {
        let part = |i: usize| columns(&qkv, i * width, width).reshape([t, heads, d]);
        let turn = |x: Tensor<3>| rotate_half_rope(x, cos, sin);
        let attention = attention_saved(&turn(part(0)), &turn(part(1)), &part(2), segments, false);
        return (attention.o.reshape([t, width]), qkv);
    };
    let qkv = with_owned(qkv, |x| rope(x, [c.slice(), s.slice()], (2 * heads, d), all, 1.0));
    let sizes = Sizes { heads, kv_heads: heads, d, causal: false };
    let turned = cpu(&qkv).expect("on the CPU");
    let (o, _) = forward(Inputs::beside(turned.slice(), sizes), sizes, segments);
    let o = tensor(o, [t, width], &qkv.device());
    drop(turned);
    (o, qkv)
}

/// Gradient of [`super::layer_norm`] to x [N, n]: r·(g − mean(g) − x̂·mean(g∘x̂)) with g = dy∘w and
/// x̂ = r·(x − mean(x)), r = 1/sqrt(var + eps). f32.
pub fn layer_norm_backward(dy: Tensor<2>, x: &Tensor<2>, w: &Tensor<1>, eps: f64) -> Tensor<2> {
    match (cpu(&dy), cpu(x), cpu(w)) {
        (Some(cdy), Some(cx), Some(cw)) => {
            let dx = layer_norm_rows(cdy.slice(), cx.slice(), cw.slice(), eps as f32);
            tensor(dx, x.dims(), &x.device())
        }
        _ => layer_norm_composed(dy, x, w, eps as f32),
    }
}

fn layer_norm_rows(dy: &[f32], x: &[f32], w: &[f32], eps: f32) -> Vec<f32> {
    let n = w.len();
    let mut dx = vec![0f32; x.len()];
    rows_mut(
        &mut dx,
        n,
        #[inline(always)]
        |first, part| {
            let at = first * n;
            let mut hat = vec![0f32; n];
            for ((dx, x), dy) in
                part.chunks_exact_mut(n).zip(x[at..].chunks_exact(n)).zip(dy[at..].chunks_exact(n))
            {
                let mean = sum(x) / n as f32;
                for i in 0..n {
                    hat[i] = x[i] - mean;
                    dx[i] = dy[i] * w[i];
                }
                let r = 1.0 / (dot(&hat, &hat) / n as f32 + eps).sqrt();
                let shift = sum(dx) / n as f32;
                let c = r * r * dot(dx, &hat) / n as f32;
                for i in 0..n {
                    dx[i] = r * (dx[i] - shift - c * hat[i]);
                }
            }
        },
    );
    dx
}

fn layer_norm_composed(dy: Tensor<2>, x: &Tensor<2>, w: &Tensor<1>, eps: f32) -> Tensor<2> {
    let centred = x.clone() - x.clone().mean_dim(1);
    let r = centred.clone().powi_scalar(2).mean_dim(1).add_scalar(eps).sqrt().recip();
    let hat = centred * r.clone();
    let g = dy * w.clone().unsqueeze();
    let c = (g.clone() * hat.clone()).mean_dim(1);
    (g.clone() - g.mean_dim(1) - hat * c) * r
}

/// Gradient of [`super::gelu`] to x: Φ(x) + x·φ(x), the normal distribution and its density.
pub fn gelu_backward(dy: Tensor<2>, x: &Tensor<2>) -> Tensor<2> {
    let below = x.clone().mul_scalar(std::f32::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
    let density = x.clone().powi_scalar(2).mul_scalar(-0.5).exp().mul_scalar(0.398_942_3);
    dy * (below + x.clone() * density)
}

/// Gradient of [`super::gelu_tanh`] to x.
pub fn gelu_tanh_backward(dy: Tensor<2>, x: &Tensor<2>) -> Tensor<2> {
    let (Some(cdy), Some(cx)) = (cpu(&dy), cpu(x)) else { return gelu_tanh_composed(dy, x) };
    let (dy, x_all) = (cdy.slice(), cx.slice());
    let mut dx = vec![0f32; x_all.len()];
    rows_mut(
        &mut dx,
        1,
        #[inline(always)]
        |first, part| {
            for ((dx, &x), dy) in part.iter_mut().zip(&x_all[first..]).zip(&dy[first..]) {
                let t = tanh(0.797_884_6 * (x + 0.044_715 * x * x * x));
                let slope = 0.797_884_6 * (1.0 + 0.134_145 * x * x);
                *dx = dy * 0.5 * (1.0 + t + x * (1.0 - t * t) * slope);
            }
        },
    );
    tensor(dx, x.dims(), &x.device())
}

fn gelu_tanh_composed(dy: Tensor<2>, x: &Tensor<2>) -> Tensor<2> {
    let square = x.clone().powi_scalar(2);
    let inner = (x.clone() + x.clone() * square.clone().mul_scalar(0.044_715)).mul_scalar(0.797_884_6);
    let t = inner.tanh();
    let slope = square.mul_scalar(0.134_145).add_scalar(1.0).mul_scalar(0.797_884_6);
    let bend = t.clone().powi_scalar(2).neg().add_scalar(1.0) * slope * x.clone();
    dy * (t.add_scalar(1.0) + bend).mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use super::super::{gelu, gelu_tanh, layer_norm};
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn grid(shape: [usize; 2], seed: f32) -> Tensor<2> {
        let n = shape[0] * shape[1];
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * 1.37 + seed).sin() * 2.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn values(t: &Tensor<2>) -> Vec<f32> {
        t.clone().into_data().as_slice::<f32>().expect("f32").to_vec()
    }

    /// `dx` is the gradient of Σ f(x)∘g.
    fn agrees(
        f: impl Fn(Tensor<2>) -> Tensor<2>,
        dx: &Tensor<2>,
        (x, g): (&Tensor<2>, &Tensor<2>),
        what: &str,
    ) {
        let (base, dx, g) = (values(x), values(dx), values(g));
        for i in (0..base.len()).step_by(7) {
            let h = 5e-3;
            let at = |by: f32| {
                let mut moved = base.clone();
                moved[i] += by;
                let y = values(&f(Tensor::from_data(TensorData::new(moved, x.dims()), &Device::flex())));
                y.iter().zip(&g).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
            };
            let want = (at(h) - at(-h)) / (2.0 * f64::from(h));
            assert!((f64::from(dx[i]) - want).abs() < 2e-3 * (1.0 + want.abs()), "{what}[{i}]");
        }
    }

    #[test]
    fn gradients_are_those_of_the_operations() {
        let (x, g) = (grid([5, 33], 0.3), grid([5, 33], 1.9));
        let w = Tensor::<1>::from_floats([0.7f32; 33], &Device::flex()) * 1.5;
        let b = w.clone() * 0.1;
        let dx = layer_norm_backward(g.clone(), &x, &w, 1e-6);
        agrees(|x| layer_norm(x, &w, &b, 1e-6), &dx, (&x, &g), "layer_norm");
        agrees(gelu, &gelu_backward(g.clone(), &x), (&x, &g), "gelu");
        agrees(gelu_tanh, &gelu_tanh_backward(g.clone(), &x), (&x, &g), "gelu_tanh");
        let near = |a: &Tensor<2>, b: &Tensor<2>| {
            values(a).iter().zip(values(b)).all(|(a, b)| (a - b).abs() < 2e-5 * (1.0 + b.abs()))
        };
        assert!(near(&dx, &layer_norm_composed(g.clone(), &x, &w, 1e-6)));
        assert!(near(&gelu_tanh_backward(g.clone(), &x), &gelu_tanh_composed(g, &x)));
    }
}

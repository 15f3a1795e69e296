//! Whole rows moved, written and multiplied in groups: embeddings, the key/value cache, experts.

use super::gemm::{Cores, Mat, gemm};
use super::grouped;
use super::lanes::{dot, with_simd};
use super::memory::{cpu, is_cpu, tensor, with_owned};
use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::prelude::*;
use std::ops::Range;

/// Row numbers as a tensor for burn's `select`.
fn index(rows: &[usize], like: &burn::tensor::Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
    Tensor::from_data(TensorData::new(ids, [rows.len()]), like)
}

/// The rows `rows` of x [N, n], in that order.
pub fn gather(x: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let n = x.dims()[1];
    let Some(c) = cpu(x) else {
        return x.clone().select(0, index(rows, &x.device()));
    };
    let x_all = c.slice();
    let mut out = vec![0f32; rows.len() * n];
    super::cpu::rows_mut(
        &mut out,
        n,
        #[inline(always)]
        |first, part| {
            for (out, &r) in part.chunks_exact_mut(n).zip(&rows[first..]) {
                out.copy_from_slice(&x_all[r * n..(r + 1) * n]);
            }
        },
    );
    tensor(out, [rows.len(), n], &x.device())
}

/// Four rows of a table for each row of a result, and their weights.
pub type Corners = [(Vec<usize>, Vec<f32>); 4];

/// Σ weight · row of `x` [N, n] over the corners, in f32.
pub fn blend(x: &Tensor<2>, corners: &Corners) -> Tensor<2> {
    let (t, n, device) = (corners[0].0.len(), x.dims()[1], x.device());
    let Some(c) = cpu(x) else {
        let part = |(rows, weights): &(Vec<usize>, Vec<f32>)| {
            let weights = tensor(weights.clone(), [t, 1], &device);
            x.clone().select(0, index(rows, &device)).cast(DType::F32) * weights
        };
        let [a, b, c, d] = corners.each_ref().map(part);
        return a + b + c + d;
    };
    let table = c.slice();
    let mut out = vec![0f32; t * n];
    super::cpu::rows_mut(
        &mut out,
        n,
        #[inline(always)]
        |first, part| {
            for (t, out) in part.chunks_exact_mut(n).enumerate() {
                for (i, (rows, weights)) in corners.iter().enumerate() {
                    let (row, weight) = (&table[rows[first + t] * n..][..n], weights[first + t]);
                    for (out, x) in out.iter_mut().zip(row) {
                        *out = if i == 0 { x * weight } else { *out + x * weight };
                    }
                }
            }
        },
    );
    tensor(out, [t, n], &device)
}

/// Writes row i of `src` to row `rows[i]` of `dst`, in place where nobody else holds `dst`.
pub fn write(dst: Tensor<2>, rows: &[usize], src: &Tensor<2>) -> Tensor<2> {
    let n = dst.dims()[1];
    match cpu(src) {
        Some(c) if is_cpu(&dst) => with_owned(dst, |out| {
            for (&r, row) in rows.iter().zip(c.slice().chunks_exact(n)) {
                out[r * n..(r + 1) * n].copy_from_slice(row);
            }
        }),
        _ => runs(rows).fold(dst, |dst, (from, to)| {
            let part = src.clone().slice([from]).cast(dst.dtype());
            dst.slice_assign([to, 0..n], part)
        }),
    }
}

/// Adds row i of `src` to row `rows[i]` of `dst`; rows must differ.
pub fn add(dst: Tensor<2>, rows: &[usize], src: &Tensor<2>) -> Tensor<2> {
    let n = dst.dims()[1];
    match cpu(src) {
        Some(c) if is_cpu(&dst) => with_owned(dst, |out| {
            for (&r, row) in rows.iter().zip(c.slice().chunks_exact(n)) {
                for (o, x) in out[r * n..(r + 1) * n].iter_mut().zip(row) {
                    *o += x;
                }
            }
        }),
        _ => runs(rows).fold(dst, |dst, (from, to)| {
            let sum = dst.clone().slice([to.clone()]) + src.clone().slice([from]).cast(dst.dtype());
            dst.slice_assign([to, 0..n], sum)
        }),
    }
}

/// Splits row numbers into runs of consecutive ones: (range in the list, range of rows).
fn runs(rows: &[usize]) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = *rows.get(at)?;
        let from = at;
        while at < rows.len() && rows[at] == first + (at - from) {
            at += 1;
        }
        Some((from..at, first..first + (at - from)))
    })
}

/// Rows sorted by expert times that expert's matrix: rows `groups[e]` of x [N, in] · w[e]ᵀ, w [E, out, in].
/// With `transposed` the product is x · w[e] for x [N, out]: the gradient to the input.
pub fn grouped_linear(x: &Tensor<2>, w: &Tensor<3>, groups: &[Range<usize>], transposed: bool) -> Tensor<2> {
    let [_, out, inp] = w.dims();
    let width = if transposed { inp } else { out };
    let [n, depth] = x.dims();
    let (Some(cx), Some(cw)) = (cpu(x), cpu(w)) else {
        return grouped::grouped_linear(x, w, groups, transposed);
    };
    let (x_all, w_all) = (cx.slice(), cw.slice());
    let mut y = vec![0f32; n * width];
    let mut parts = Vec::new();
    let mut rest = y.as_mut_slice();
    for (e, g) in groups.iter().enumerate().filter(|(_, g)| !g.is_empty()) {
        let (part, tail) = rest.split_at_mut(g.len() * width);
        parts.push((e, g.clone(), part));
        rest = tail;
    }
    parts.into_par_iter().for_each(|(e, g, part)| {
        let a = Mat::new(&x_all[g.start * depth..], g.len(), depth, depth);
        let m = Mat::new(&w_all[e * out * inp..(e + 1) * out * inp], out, inp, inp);
        gemm(part, width, 0.0, 1.0, a, if transposed { m } else { m.t() }, Cores::One);
    });
    tensor(y, [n, width], &x.device())
}

/// y[t] = Σ_j weights[t·k + j] · x[place[t·k + j]]: brings the experts' results home. x [T·k, n] → [T, n].
pub fn combine(x: &Tensor<2>, place: &[usize], weights: &[f32], k: usize) -> Tensor<2> {
    let n = x.dims()[1];
    let t = place.len() / k;
    let Some(c) = cpu(x) else {
        let w = Tensor::<3>::from_data(TensorData::new(weights.to_vec(), [t, k, 1]), &x.device());
        let rows = gather(x, place).reshape([t, k, n]);
        return (rows * w.cast(x.dtype())).sum_dim(1).squeeze_dim(1);
    };
    let x_all = c.slice();
    let mut y = vec![0f32; t * n];
    super::cpu::rows_mut(
        &mut y,
        n,
        #[inline(always)]
        |first, part| {
            for (i, y) in part.chunks_exact_mut(n).enumerate() {
                for j in (first + i) * k..(first + i + 1) * k {
                    let row = &x_all[place[j] * n..(place[j] + 1) * n];
                    for (y, x) in y.iter_mut().zip(row) {
                        *y += weights[j] * x;
                    }
                }
            }
        },
    );
    tensor(y, [t, n], &x.device())
}

/// Gradients of [`combine`]: to x [T·k, n], and to the weights (on the host, [T·k]).
pub fn combine_backward(
    dy: &Tensor<2>,
    x: &Tensor<2>,
    place: &[usize],
    weights: &[f32],
    k: usize,
) -> (Tensor<2>, Vec<f32>) {
    let n = x.dims()[1];
    // slot of the sorted row p: which (token, choice) it came from
    let mut slot = vec![0usize; place.len()];
    for (j, &p) in place.iter().enumerate() {
        slot[p] = j;
    }
    let (Some(cdy), Some(cx)) = (cpu(dy), cpu(x)) else {
        return combine_backward_composed(dy, x, (&slot, place), weights, k);
    };
    let (dy_all, x_all) = (cdy.slice(), cx.slice());
    let mut dx = vec![0f32; x_all.len()];
    super::cpu::rows_mut(
        &mut dx,
        n,
        #[inline(always)]
        |first, part| {
            for (i, dx) in part.chunks_exact_mut(n).enumerate() {
                let j = slot[first + i];
                for (dx, dy) in dx.iter_mut().zip(&dy_all[j / k * n..]) {
                    *dx = weights[j] * dy;
                }
            }
        },
    );
    let dw = with_simd(
        #[inline(always)]
        || {
            (0..place.len())
                .map(|j| dot(&dy_all[j / k * n..(j / k + 1) * n], &x_all[place[j] * n..(place[j] + 1) * n]))
                .collect()
        },
    );
    (tensor(dx, x.dims(), &x.device()), dw)
}

fn combine_backward_composed(
    dy: &Tensor<2>,
    x: &Tensor<2>,
    (slot, place): (&[usize], &[usize]),
    weights: &[f32],
    k: usize,
) -> (Tensor<2>, Vec<f32>) {
    let tokens: Vec<usize> = slot.iter().map(|j| j / k).collect();
    let sorted: Vec<f32> = slot.iter().map(|&j| weights[j]).collect();
    let g = gather(dy, &tokens);
    let w = Tensor::<2>::from_data(TensorData::new(sorted, [slot.len(), 1]), &x.device());
    let dots = (g.clone() * x.clone()).sum_dim(1).cast(burn::tensor::DType::F32).into_data();
    let dots = dots.try_to_vec::<f32>().expect("cast to f32 above");
    let dw = place.iter().map(|&p| dots[p]).collect();
    (g * w.cast(x.dtype()), dw)
}

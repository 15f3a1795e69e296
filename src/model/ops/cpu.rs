//! Row-wise CPU kernels on plain f32 slices: norms, activations, rope, softmax cross-entropy.
//!
//! Each does in one pass over memory what the composed tensor operations do in five to ten.

use super::lanes::{dot, erf, exp, exp_sum, max, sigmoid, sum, with_simd};
use rayon::prelude::*;

/// Below this many elements a kernel stays on the calling thread.
const PARALLEL_FROM: usize = 32 * 1024;

/// Calls `f(first_row, rows)` for blocks of rows of `out` (row length `width`), on all cores when it is worth it.
pub fn rows_mut(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if width == 0 || out.is_empty() {
        return;
    }
    let rows = out.len() / width;
    if out.len() < PARALLEL_FROM {
        return with_simd(
            #[inline(always)]
            || f(0, out),
        );
    }
    let block = rows.div_ceil(4 * rayon::current_num_threads()).max(1);
    out.par_chunks_mut(block * width).enumerate().for_each(|(i, part)| {
        with_simd(
            #[inline(always)]
            || f(i * block, part),
        )
    });
}

/// y = x / sqrt(mean(x²) + eps) · w, per row of `w.len()` elements.
pub fn rms_norm(x: &[f32], w: &[f32], eps: f32) -> Vec<f32> {
    let n = w.len();
    let mut y = vec![0f32; x.len()];
    rows_mut(
        &mut y,
        n,
        #[inline(always)]
        |first, part| {
            for (y, x) in part.chunks_exact_mut(n).zip(x[first * n..].chunks_exact(n)) {
                let r = 1.0 / (dot(x, x) / n as f32 + eps).sqrt();
                for i in 0..n {
                    y[i] = x[i] * r * w[i];
                }
            }
        },
    );
    y
}

/// Gradient of [`rms_norm`] to x, in the place of `dy`: r·(g − x·r²·mean(g·x)) with g = dy·w and r = 1/sqrt(mean(x²)+eps).
pub fn rms_norm_backward(dy: &mut [f32], x: &[f32], w: &[f32], eps: f32) {
    let n = w.len();
    rows_mut(
        dy,
        n,
        #[inline(always)]
        |first, part| {
            for (d, x) in part.chunks_exact_mut(n).zip(x[first * n..].chunks_exact(n)) {
                let r = 1.0 / (dot(x, x) / n as f32 + eps).sqrt();
                for i in 0..n {
                    d[i] *= w[i];
                }
                let c = r * r * dot(d, x) / n as f32;
                for i in 0..n {
                    d[i] = r * (d[i] - c * x[i]);
                }
            }
        },
    );
}

/// y = (x − mean) / sqrt(var + eps) · w + b, per row.
pub fn layer_norm(x: &[f32], w: &[f32], b: &[f32], eps: f32) -> Vec<f32> {
    let n = w.len();
    let mut y = vec![0f32; x.len()];
    rows_mut(
        &mut y,
        n,
        #[inline(always)]
        |first, part| {
            for (y, x) in part.chunks_exact_mut(n).zip(x[first * n..].chunks_exact(n)) {
                let mean = sum(x) / n as f32;
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x - mean);
                let r = 1.0 / (dot(y, y) / n as f32 + eps).sqrt();
                y.iter_mut().zip(w).zip(b).for_each(|((y, w), b)| *y = *y * r * w + b);
            }
        },
    );
    y
}

/// y ← y + x, element by element.
pub fn add(y: &mut [f32], x: &[f32]) {
    rows_mut(y, 1, |first, part| part.iter_mut().zip(&x[first..]).for_each(|(y, x)| *y += x));
}

/// y ← y + b for every row of `b.len()` elements.
pub fn add_bias(y: &mut [f32], b: &[f32]) {
    rows_mut(
        y,
        b.len(),
        #[inline(always)]
        |_, part| {
            for row in part.chunks_exact_mut(b.len()) {
                row.iter_mut().zip(b).for_each(|(y, b)| *y += b);
            }
        },
    );
}

/// The columns `from..from + width` of rows of `stride` elements.
pub fn columns(x: &[f32], stride: usize, from: usize, width: usize) -> Vec<f32> {
    let mut y = vec![0f32; x.len() / stride * width];
    rows_mut(
        &mut y,
        width,
        #[inline(always)]
        |first, part| {
            let rows = x[first * stride..].chunks_exact(stride);
            part.chunks_exact_mut(width)
                .zip(rows)
                .for_each(|(y, x)| y.copy_from_slice(&x[from..from + width]));
        },
    );
    y
}

/// [`swiglu`] of rows [gate, up] of 2·`width` elements.
pub fn swiglu_halves(both: &[f32], width: usize) -> Vec<f32> {
    let mut y = vec![0f32; both.len() / 2];
    rows_mut(
        &mut y,
        width,
        #[inline(always)]
        |first, part| {
            for (y, both) in
                part.chunks_exact_mut(width).zip(both[2 * first * width..].chunks_exact(2 * width))
            {
                let (gate, up) = both.split_at(width);
                for i in 0..width {
                    y[i] = gate[i] * sigmoid(gate[i]) * up[i];
                }
            }
        },
    );
    y
}

/// Gradient of [`swiglu_halves`] in the place of its input: rows [d_gate, d_up].
pub fn swiglu_halves_backward(dy: &[f32], both: &mut [f32], width: usize) {
    rows_mut(
        both,
        2 * width,
        #[inline(always)]
        |first, part| {
            let dy = dy[first * width..].chunks_exact(width);
            for (both, dy) in part.chunks_exact_mut(2 * width).zip(dy) {
                let (gate, up) = both.split_at_mut(width);
                swiglu_gradients(dy, gate, up);
            }
        },
    );
}

/// Gate and up become their gradients, given that to the result.
#[inline(always)]
fn swiglu_gradients(dy: &[f32], gate: &mut [f32], up: &mut [f32]) {
    let n = dy.len();
    let (gate, up) = (&mut gate[..n], &mut up[..n]);
    for i in 0..n {
        let (g, u, s) = (gate[i], up[i], sigmoid(gate[i]));
        up[i] = dy[i] * g * s;
        gate[i] = dy[i] * u * s * (1.0 + g * (1.0 - s));
    }
}

/// x · sigmoid(x) · up
pub fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut y = vec![0f32; gate.len()];
    rows_mut(
        &mut y,
        1,
        #[inline(always)]
        |first, part| {
            for ((y, &g), &u) in part.iter_mut().zip(&gate[first..]).zip(&up[first..]) {
                *y = g * sigmoid(g) * u;
            }
        },
    );
    y
}

/// Gradients of [`swiglu`] in the places of gate and up, given the gradient to its result.
pub fn swiglu_backward(dy: &[f32], gate: &mut [f32], up: &mut [f32]) {
    let block = gate.len().div_ceil(4 * rayon::current_num_threads()).max(PARALLEL_FROM);
    let parts = gate.par_chunks_mut(block).zip(up.par_chunks_mut(block)).zip(dy.par_chunks(block));
    parts.for_each(|((gate, up), dy)| {
        with_simd(
            #[inline(always)]
            || swiglu_gradients(dy, gate, up),
        );
    });
}

/// GELU with the tanh approximation, as `gelu_pytorch_tanh`, in place.
pub fn gelu_tanh(x: &mut [f32]) {
    rows_mut(
        x,
        1,
        #[inline(always)]
        |_, part| part.iter_mut().for_each(|x| *x = gelu_tanh_of(*x)),
    );
}

/// (1 + tanh u) / 2 is 1 / (1 + e^-2u), with u = √(2/π)·(x + 0.044715·x³).
#[inline(always)]
pub fn gelu_tanh_of(x: f32) -> f32 {
    let slope = (x * x).mul_add(-0.071_354_814, -1.595_769);
    x / (1.0 + exp(slope * x))
}

/// GELU with the error function, in place.
pub fn gelu(x: &mut [f32]) {
    rows_mut(
        x,
        1,
        #[inline(always)]
        |_, part| part.iter_mut().for_each(|x| *x = gelu_of(*x)),
    );
}

#[inline(always)]
pub fn gelu_of(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Rotates pairs (i, i + d/2) of the first `heads` heads of each row in place: x·cos + rotate_half(x)·sin. Rows are `row` numbers,
/// tables [T, d]. `sign` −1 rotates back, which is the gradient.
pub fn rope(x: &mut [f32], [cos, sin]: [&[f32]; 2], (heads, d): (usize, usize), row: usize, sign: f32) {
    let half = d / 2;
    rows_mut(
        x,
        row,
        #[inline(always)]
        |first, part| {
            for (t, x) in part.chunks_exact_mut(row).enumerate() {
                let t = first + t;
                let (c, s) = (&cos[t * d..(t + 1) * d], &sin[t * d..(t + 1) * d]);
                for x in x[..heads * d].chunks_exact_mut(d) {
                    let (xa, xb) = x.split_at_mut(half);
                    for i in 0..half {
                        let (a, b) = (xa[i], xb[i]);
                        xa[i] = a * c[i] - sign * b * s[i];
                        xb[i] = b * c[half + i] + sign * a * s[half + i];
                    }
                }
            }
        },
    );
}

/// Softmax per row of `n` elements, in place.
pub fn softmax_rows(x: &mut [f32], n: usize) {
    rows_mut(
        x,
        n,
        #[inline(always)]
        |_, part| {
            for row in part.chunks_exact_mut(n) {
                let shift = max(row);
                let scale = 1.0 / exp_sum(row, shift);
                for x in row {
                    *x *= scale;
                }
            }
        },
    );
}

/// e^(x − shift) of one value, for the attention kernels.
#[inline(always)]
pub fn exp_shifted(x: f32, shift: f32) -> f32 {
    exp(x - shift)
}

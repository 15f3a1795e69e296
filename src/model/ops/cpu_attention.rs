//! Attention on the CPU: one task per segment and group of heads, scores of one block of queries at a time.

use super::Segment;
use super::cpu::exp_shifted;
use super::gemm::{Cores, Mat, gemm};
use super::lanes::{dot, max, with_simd};
use rayon::prelude::*;

/// Rows of queries whose scores are held at once.
const BLOCK: usize = 64;

/// Sizes of one attention: q is [Tq, heads, d], k and v are [Tk, kv_heads, d].
#[derive(Clone, Copy)]
pub struct Sizes {
    pub heads: usize,
    pub kv_heads: usize,
    pub d: usize,
    pub causal: bool,
}

/// Plain slices of one attention.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
}

/// One head of one segment as matrices.
struct Head<'a> {
    q: Mat<'a>,
    k: Mat<'a>,
    v: Mat<'a>,
    /// How many keys the first query sees with a causal mask.
    first_limit: usize,
    scale: f32,
    causal: bool,
}

impl<'a> Head<'a> {
    fn new(x: Inputs<'a>, s: Sizes, seg: &Segment, head: usize) -> Self {
        let (qs, ks) = (s.heads * s.d, s.kv_heads * s.d);
        let kv = head / (s.heads / s.kv_heads);
        let k_at = seg.k.start * ks + kv * s.d;
        let (nq, nk) = (seg.q.len(), seg.k.len());
        Self {
            q: Mat::new(&x.q[seg.q.start * qs + head * s.d..], nq, s.d, qs),
            k: Mat::new(&x.k[k_at..], nk, s.d, ks),
            v: Mat::new(&x.v[k_at..], nk, s.d, ks),
            first_limit: nk + 1 - nq.min(nk),
            scale: 1.0 / (s.d as f32).sqrt(),
            causal: s.causal,
        }
    }

    /// Keys visible to query `row`.
    fn limit(&self, row: usize) -> usize {
        if self.causal { self.first_limit + row } else { self.k.rows }
    }

    /// Scaled scores of queries `rows` against their visible keys, row stride = the largest limit.
    fn scores(&self, rows: std::ops::Range<usize>, out: &mut Vec<f32>) -> usize {
        let width = self.limit(rows.end - 1);
        out.resize(rows.len() * width, 0.0);
        let k = Mat { rows: width, ..self.k };
        gemm(out, width, 0.0, self.scale, rows_of(self.q, rows), k.t(), Cores::One);
        width
    }
}

/// The rows `rows` of a row-major matrix.
fn rows_of(m: Mat, rows: std::ops::Range<usize>) -> Mat {
    Mat { data: &m.data[rows.start * m.row_stride..], rows: rows.len(), ..m }
}

fn blocks(n: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..n).step_by(BLOCK).map(move |a| a..(a + BLOCK).min(n))
}

/// softmax(q·kᵀ/√d)·v per segment and head. Returns the result [Tq, heads, d] and the log-sum-exp of the
/// scaled scores [Tq, heads], which the backward pass needs.
pub fn forward(x: Inputs, s: Sizes, segments: &[Segment]) -> (Vec<f32>, Vec<f32>) {
    let tasks: Vec<(usize, usize)> =
        (0..segments.len()).flat_map(|i| (0..s.heads).map(move |h| (i, h))).collect();
    let parts: Vec<(Vec<f32>, Vec<f32>)> =
        tasks.par_iter().map(|&(i, h)| forward_head(&Head::new(x, s, &segments[i], h), s.d)).collect();
    let total = x.q.len() / (s.heads * s.d);
    let (mut o, mut lse) = (vec![0f32; x.q.len()], vec![0f32; total * s.heads]);
    for (&(i, h), (part, part_lse)) in tasks.iter().zip(&parts) {
        scatter_rows(&mut o, part, segments[i].q.start, s.heads, h, s.d);
        scatter_rows(&mut lse, part_lse, segments[i].q.start, s.heads, h, 1);
    }
    (o, lse)
}

/// Copies [n, d] into rows `first..` of [T, heads, d], at `head`.
fn scatter_rows(out: &mut [f32], part: &[f32], first: usize, heads: usize, head: usize, d: usize) {
    for (i, row) in part.chunks_exact(d).enumerate() {
        let at = ((first + i) * heads + head) * d;
        out[at..at + d].copy_from_slice(row);
    }
}

fn forward_head(head: &Head, d: usize) -> (Vec<f32>, Vec<f32>) {
    let n = head.q.rows;
    let (mut o, mut lse, mut p) = (vec![0f32; n * d], vec![0f32; n], Vec::new());
    for rows in blocks(n) {
        let width = head.scores(rows.clone(), &mut p);
        with_simd(|| {
            for (r, row) in p.chunks_exact_mut(width).enumerate() {
                lse[rows.start + r] = softmax_row(row, head.limit(rows.start + r));
            }
        });
        let (p, v) = (Mat::new(&p, rows.len(), width, width), Mat { rows: width, ..head.v });
        gemm(&mut o[rows.start * d..rows.end * d], d, 0.0, 1.0, p, v, Cores::One);
    }
    (o, lse)
}

/// Softmax of the first `limit` scores, zeros after them; returns the log-sum-exp.
#[inline(always)]
fn softmax_row(row: &mut [f32], limit: usize) -> f32 {
    let (seen, hidden) = row.split_at_mut(limit);
    hidden.fill(0.0);
    let shift = max(seen);
    let sum = super::lanes::exp_sum(seen, shift);
    let scale = 1.0 / sum;
    for x in seen {
        *x *= scale;
    }
    shift + sum.ln()
}

/// What the forward pass left for [`backward`], and the gradient to its result.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    pub o: &'a [f32],
    pub lse: &'a [f32],
    pub d_o: &'a [f32],
}

/// Gradients to q, k and v. Scores are computed again, so nothing of size Tq·Tk is kept (as FlashAttention-2,
/// arXiv 2307.08691, algorithm 2: dS = P∘(dP − rowsum(dO∘O))).
pub fn backward(x: Inputs, saved: Saved, s: Sizes, segments: &[Segment]) -> [Vec<f32>; 3] {
    let group = s.heads / s.kv_heads;
    let tasks: Vec<(usize, usize)> =
        (0..segments.len()).flat_map(|i| (0..s.kv_heads).map(move |h| (i, h))).collect();
    let parts: Vec<GroupGrad> = tasks
        .par_iter()
        .map(|&(i, kv)| {
            let seg = &segments[i];
            let mut g = GroupGrad::new(group, seg.q.len(), seg.k.len(), s.d);
            for j in 0..group {
                let h = kv * group + j;
                backward_head(&Head::new(x, s, seg, h), saved, (seg.q.start, s.heads, h), j, &mut g);
            }
            g
        })
        .collect();
    let mut out = [vec![0f32; x.q.len()], vec![0f32; x.k.len()], vec![0f32; x.v.len()]];
    for (&(i, kv), g) in tasks.iter().zip(&parts) {
        let seg = &segments[i];
        for (j, dq) in g.dq.iter().enumerate() {
            scatter_rows(&mut out[0], dq, seg.q.start, s.heads, kv * group + j, s.d);
        }
        scatter_rows(&mut out[1], &g.dk, seg.k.start, s.kv_heads, kv, s.d);
        scatter_rows(&mut out[2], &g.dv, seg.k.start, s.kv_heads, kv, s.d);
    }
    out
}

/// Gradients of one segment and one key/value head with its group of query heads.
struct GroupGrad {
    dq: Vec<Vec<f32>>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    d: usize,
}

impl GroupGrad {
    fn new(group: usize, nq: usize, nk: usize, d: usize) -> Self {
        Self { dq: vec![vec![0f32; nq * d]; group], dk: vec![0f32; nk * d], dv: vec![0f32; nk * d], d }
    }
}

fn backward_head(
    head: &Head,
    saved: Saved,
    (first, heads, h): (usize, usize, usize),
    j: usize,
    g: &mut GroupGrad,
) {
    let d = g.d;
    let at = (first * heads + h) * d;
    let n = head.q.rows;
    let (o, d_o) = (Mat::new(&saved.o[at..], n, d, heads * d), Mat::new(&saved.d_o[at..], n, d, heads * d));
    let (mut p, mut ds) = (Vec::new(), Vec::new());
    for rows in blocks(n) {
        let width = head.scores(rows.clone(), &mut p);
        let (k, v) = (Mat { rows: width, ..head.k }, Mat { rows: width, ..head.v });
        let (o, d_o) = (rows_of(o, rows.clone()), rows_of(d_o, rows.clone()));
        ds.resize(p.len(), 0.0);
        gemm(&mut ds, width, 0.0, 1.0, d_o, v.t(), Cores::One);
        with_simd(|| {
            for r in 0..rows.len() {
                let lse = saved.lse[(first + rows.start + r) * heads + h];
                let delta = dot(&o.data[r * heads * d..][..d], &d_o.data[r * heads * d..][..d]);
                let limit = head.limit(rows.start + r);
                let (p, ds) = (&mut p[r * width..(r + 1) * width], &mut ds[r * width..(r + 1) * width]);
                grad_row(p, ds, limit, (lse, delta, head.scale));
            }
        });
        let (p, ds) = (Mat::new(&p, rows.len(), width, width), Mat::new(&ds, rows.len(), width, width));
        let q = rows_of(head.q, rows.clone());
        gemm(&mut g.dv, d, 1.0, 1.0, p.t(), d_o, Cores::One);
        gemm(&mut g.dk, d, 1.0, 1.0, ds.t(), q, Cores::One);
        gemm(&mut g.dq[j][rows.start * d..rows.end * d], d, 0.0, 1.0, ds, k, Cores::One);
    }
}

/// p: scores → probabilities; ds: dP → scaled dS. Zeros behind the mask.
#[inline(always)]
fn grad_row(p: &mut [f32], ds: &mut [f32], limit: usize, (lse, delta, scale): (f32, f32, f32)) {
    p[limit..].fill(0.0);
    ds[limit..].fill(0.0);
    for (p, ds) in p[..limit].iter_mut().zip(&mut ds[..limit]) {
        *p = exp_shifted(*p, lse);
        *ds = *p * (*ds - delta) * scale;
    }
}

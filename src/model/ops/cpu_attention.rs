//! Attention on the CPU: one task per segment and key/value head, scores of one block of queries at a time.
//!
//! The forward pass computes scores transposed, keys down and queries across: a softmax runs along vector lanes, and
//! the probabilities lie as the product with the values wants them.

use super::gemm::Mat;
use super::lanes::{exp_sum, max, with_simd};
use super::panels::{Out, Packed, ROWS, columns, multiply_part};
use super::running::{Running, UNIT};
use super::{Segment, tall, thin};
use rayon::prelude::*;
use std::ops::Range;

/// Keys in a block, and panels of queries that meet it.
const KEYS: usize = 32 * ROWS;
const PANELS: usize = 8;
/// So few queries, as when text is generated and some of it guessed, are not worth packing the keys for.
const FEW: usize = 8;

/// Sizes of one attention: q is [Tq, heads, d], k and v are [Tk, kv_heads, d].
#[derive(Clone, Copy)]
pub struct Sizes {
    pub heads: usize,
    pub kv_heads: usize,
    pub d: usize,
    pub causal: bool,
}

/// Matrices of one attention: a row a token, its heads side by side.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub q: Mat<'a>,
    pub k: Mat<'a>,
    pub v: Mat<'a>,
}

impl<'a> Inputs<'a> {
    /// Of row-major q, k and v.
    pub fn new([q, k, v]: [&'a [f32]; 3], s: Sizes) -> Self {
        let of = |x: &'a [f32], width: usize| Mat::new(x, x.len() / width, width, width);
        let kv = s.kv_heads * s.d;
        Self { q: of(q, s.heads * s.d), k: of(k, kv), v: of(v, kv) }
    }

    /// Of [q, k, v] side by side in the rows of `all`, with as many heads of each.
    pub fn beside(all: &'a [f32], s: Sizes) -> Self {
        let (width, row) = (s.heads * s.d, 3 * s.heads * s.d);
        let all = Mat::new(all, all.len() / row, row, row);
        let [q, k, v] = [0, 1, 2].map(|i| all.columns(i * width..(i + 1) * width));
        Self { q, k, v }
    }
}

/// One key/value head of one segment, and the group of query heads that share it.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    /// Queries of the first head of the group; the next head's are `d` numbers further.
    q: Mat<'a>,
    pub(super) k: Mat<'a>,
    pub(super) v: Mat<'a>,
    /// Query heads.
    pub(super) heads: usize,
    /// How many keys the first query sees with a causal mask.
    first_limit: usize,
    pub(super) scale: f32,
    causal: bool,
}

impl<'a> Group<'a> {
    pub(super) fn new(x: Inputs<'a>, s: Sizes, seg: &Segment, kv: usize) -> Self {
        let heads = s.heads / s.kv_heads;
        let (nq, nk) = (seg.q.len(), seg.k.len());
        let head = |x: Mat<'a>, rows: &Range<usize>, at: usize| {
            x.part(rows.clone()).columns(at * s.d..(at + 1) * s.d)
        };
        Self {
            q: head(x.q, &seg.q, kv * heads),
            k: head(x.k, &seg.k, kv),
            v: head(x.v, &seg.k, kv),
            heads,
            first_limit: nk + 1 - nq.min(nk),
            scale: 1.0 / (s.d as f32).sqrt(),
            causal: s.causal,
        }
    }

    /// Queries of the head `j` of the group.
    pub(super) fn queries(&self, j: usize) -> Mat<'a> {
        Mat { data: &self.q.data[j * self.q.cols..], ..self.q }
    }

    /// Keys visible to query `row`.
    pub(super) fn limit(&self, row: usize) -> usize {
        if self.causal { (self.first_limit + row).min(self.k.rows) } else { self.k.rows }
    }
}

/// Every (segment, key/value head), one task each.
pub(super) fn tasks(segments: &[Segment], s: Sizes) -> Vec<(&Segment, usize)> {
    segments.iter().flat_map(|seg| (0..s.kv_heads).map(move |kv| (seg, kv))).collect()
}

/// Copies [n, w] to the columns `at..at + w` of the rows `first..` of a matrix with rows `stride` apart.
pub(super) fn put(out: &mut [f32], part: &[f32], first: usize, stride: usize, (at, w): (usize, usize)) {
    for (out, row) in out[first * stride..].chunks_mut(stride).zip(part.chunks_exact(w)) {
        out[at..at + w].copy_from_slice(row);
    }
}

/// softmax(q·kᵀ/√d)·v per segment and head. Returns the result [Tq, heads, d] and the log-sum-exp of the
/// scaled scores [Tq, heads], which the backward pass needs.
pub fn forward(x: Inputs, s: Sizes, segments: &[Segment]) -> (Vec<f32>, Vec<f32>) {
    let tasks = tasks(segments, s);
    let of = |&(seg, kv): &(&Segment, usize)| {
        let group = Group::new(x, s, seg, kv);
        if seg.q.len() <= FEW { few_queries(&group) } else { many_queries(&group) }
    };
    let parts: Vec<(Vec<f32>, Vec<f32>)> = tasks.par_iter().map(of).collect();
    let group = s.heads / s.kv_heads;
    let (mut o, mut lse) = (vec![0f32; x.q.rows * x.q.cols], vec![0f32; x.q.rows * s.heads]);
    for (&(seg, kv), (part, part_lse)) in tasks.iter().zip(&parts) {
        let w = group * s.d;
        put(&mut o, part, seg.q.start, s.heads * s.d, (kv * w, w));
        put(&mut lse, part_lse, seg.q.start, s.heads, (kv * group, group));
    }
    (o, lse)
}

/// Results [nq, heads · d] and log-sum-exp [nq, heads] of a group.
fn many_queries(g: &Group) -> (Vec<f32>, Vec<f32>) {
    let (n, d) = (g.q.rows, g.q.cols);
    let (mut o, mut lse) = (vec![0f32; n * g.heads * d], vec![0f32; n * g.heads]);
    let blocks: Vec<(Packed, Packed)> = (0..g.k.rows)
        .step_by(KEYS)
        .map(|at| at..(at + KEYS).min(g.k.rows))
        .map(|keys| (Packed::left(g.k.part(keys.clone())), Packed::left(g.v.part(keys).t())))
        .collect();
    let mut scores = Packed::column(KEYS);
    for j in 0..g.heads {
        for from in (0..n).step_by(PANELS * columns()) {
            let rows = from..(from + PANELS * columns()).min(n);
            for (panel, first) in
                g.panels(j, rows.clone(), &blocks, &mut scores).iter().zip(rows.step_by(columns()))
            {
                let (at, queries) = (first * g.heads + j, columns().min(n - first));
                (0..queries).for_each(|c| lse[at + c * g.heads] = panel.log_sum(c));
                panel.write_means(&mut o[at * d..], g.heads * d, queries);
            }
        }
    }
    (o, lse)
}

impl Group<'_> {
    /// Attention of the queries `rows` of head `j`, [`columns`] of them a panel: each block of keys and values meets
    /// all panels while it is in a near cache.
    fn panels(
        &self,
        j: usize,
        rows: Range<usize>,
        blocks: &[(Packed, Packed)],
        scores: &mut Packed,
    ) -> Vec<Running> {
        let (d, w) = (self.q.cols, columns());
        let of = |first: usize| first..(first + w).min(rows.end);
        let firsts = || rows.clone().step_by(w);
        let queries: Vec<Packed> =
            firsts().map(|first| Packed::right(self.queries(j).part(of(first)).t())).collect();
        let mut all: Vec<Running> = firsts().map(|_| Running::new(d)).collect();
        for (i, (keys, values)) in blocks.iter().enumerate() {
            for ((first, q), running) in firsts().zip(&queries).zip(&mut all) {
                let at = i * KEYS;
                let seen = self.limit(of(first).end - 1).saturating_sub(at).min(keys.lines());
                if seen == 0 {
                    continue;
                }
                let out = Out { scale: self.scale * UNIT, ..Out::new(scores.values(), w) };
                multiply_part(out, keys, q, [seen, of(first).len(), d]);
                let limits = of(first).map(|row| self.limit(row).saturating_sub(at));
                hide(&mut scores.values()[..seen * w], w, limits);
                running.take(scores, seen, Some(values));
            }
        }
        all
    }
}

/// Puts −∞ where a column's query does not see the row's key.
fn hide(scores: &mut [f32], w: usize, limits: impl Iterator<Item = usize>) {
    let seen = scores.len() / w;
    for (c, limit) in limits.enumerate() {
        (limit..seen).for_each(|r| scores[r * w + c] = f32::NEG_INFINITY);
    }
}

/// [`many_queries`] for a few queries: keys and values are read where they lie. What a query gets does not depend on those
/// beside it, bit for bit: a token that was guessed gives what it would have given alone.
fn few_queries(g: &Group) -> (Vec<f32>, Vec<f32>) {
    let (n, d, heads) = (g.q.rows, g.q.cols, g.heads);
    let (mut o, mut lse) = (vec![0f32; n * heads * d], vec![0f32; n * heads]);
    let at_once = (thin::FEW / heads).max(1);
    for from in (0..n).step_by(at_once) {
        let rows = from..(from + at_once).min(n);
        let (first, m, seen) = (from * heads, rows.len() * heads, g.limit(rows.end - 1));
        let q: Vec<f32> =
            rows.flat_map(|row| &g.q.data[row * g.q.row_stride..][..heads * d]).copied().collect();
        let dots = thin::dots(g.k.part(0..seen), Mat::new(&q, m, d, d), false);
        let mut p = vec![0f32; m * seen];
        for (i, p) in p.chunks_exact_mut(seen).enumerate() {
            let p = &mut p[..g.limit(from + i / heads)];
            p.iter_mut().zip(dots.with(i)).for_each(|(p, dot)| *p = g.scale * dot);
            lse[first + i] = softmax(p);
        }
        let p = Mat::new(&p, m, seen, seen);
        tall::product(p, g.v.part(0..seen), false, |i, c, x| o[(first + i) * d + c] = x);
    }
    (o, lse)
}

/// Makes scores probabilities and returns their log-sum-exp.
fn softmax(p: &mut [f32]) -> f32 {
    with_simd(
        #[inline(always)]
        || {
            let shift = max(p);
            let sum = exp_sum(p, shift);
            p.iter_mut().for_each(|p| *p /= sum);
            shift + sum.ln()
        },
    )
}

//! Gradients of attention on the CPU. Scores are computed again, so nothing of size Tq·Tk is kept (as
//! FlashAttention-2, arXiv 2307.08691, algorithm 2: dS = P∘(dP − rowsum(dO∘O))).

use super::Segment;
use super::cpu::exp_shifted;
use super::cpu_attention::{Group, Inputs, Sizes, put, tasks};
use super::gemm::Mat;
use super::lanes::{dot, with_simd};
use super::panels::{Out, Packed, multiply, multiply_part};
use rayon::prelude::*;

/// Rows of queries whose scores are held at once.
const BLOCK: usize = 72;

/// What the forward pass left, and the gradient to its result.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    pub o: &'a [f32],
    pub lse: &'a [f32],
    pub d_o: &'a [f32],
}

/// Gradients to q, k and v.
pub fn backward(x: Inputs, saved: Saved, s: Sizes, segments: &[Segment]) -> [Vec<f32>; 3] {
    let tasks = tasks(segments, s);
    let of = |&(seg, kv): &(&Segment, usize)| {
        let work = Work::new(Group::new(x, s, seg, kv), saved, (seg.q.start, s.heads, kv));
        work.run()
    };
    let parts: Vec<[Vec<f32>; 3]> = tasks.par_iter().map(of).collect();
    let mut out = [x.q, x.k, x.v].map(|x| vec![0f32; x.rows * x.cols]);
    let w = s.heads / s.kv_heads * s.d;
    for (&(seg, kv), [dq, dk, dv]) in tasks.iter().zip(&parts) {
        put(&mut out[0], dq, seg.q.start, s.heads * s.d, (kv * w, w));
        put(&mut out[1], dk, seg.k.start, s.kv_heads * s.d, (kv * s.d, s.d));
        put(&mut out[2], dv, seg.k.start, s.kv_heads * s.d, (kv * s.d, s.d));
    }
    out
}

/// One key/value head of one segment with its group of query heads.
struct Work<'a> {
    group: Group<'a>,
    saved: Saved<'a>,
    /// First row of the segment among all queries, all query heads, the first of the group.
    first: usize,
    heads: usize,
    head: usize,
    keys_across: Packed,
    values_across: Packed,
    keys: Packed,
}

impl<'a> Work<'a> {
    fn new(group: Group<'a>, saved: Saved<'a>, (first, heads, kv): (usize, usize, usize)) -> Self {
        let keys_across = Packed::right(group.k.t());
        let values_across = Packed::right(group.v.t());
        let keys = Packed::right(group.k);
        let head = kv * group.heads;
        Self { group, saved, first, heads, head, keys_across, values_across, keys }
    }

    /// dq [nq, group · d], dk and dv [nk, d].
    fn run(&self) -> [Vec<f32>; 3] {
        let (nk, d) = (self.group.k.rows, self.group.k.cols);
        let n = self.group.queries(0).rows;
        let mut grads = [vec![0f32; n * self.group.heads * d], vec![0f32; nk * d], vec![0f32; nk * d]];
        let (mut p, mut ds) = (Vec::new(), Vec::new());
        for j in 0..self.group.heads {
            for from in (0..n).step_by(BLOCK) {
                let rows = from..(from + BLOCK).min(n);
                let seen = self.group.limit(rows.end - 1);
                p.resize(rows.len() * seen, 0.0);
                ds.resize(rows.len() * seen, 0.0);
                self.block(j, rows, (&mut p, &mut ds), &mut grads);
            }
        }
        grads
    }

    /// A row-major [n, d] view of the head `j` of the group in [Tq, heads, d].
    fn of_head(&self, all: &'a [f32], j: usize) -> Mat<'a> {
        let q = self.group.queries(0);
        let at = (self.first * self.heads + self.head + j) * q.cols;
        Mat::new(&all[at..], q.rows, q.cols, self.heads * q.cols)
    }

    /// Adds what the queries `rows` of the head `j` give.
    fn block(
        &self,
        j: usize,
        rows: std::ops::Range<usize>,
        (p, ds): (&mut [f32], &mut [f32]),
        [dq, dk, dv]: &mut [Vec<f32>; 3],
    ) {
        let (g, d, n) = (&self.group, self.group.k.cols, rows.len());
        let seen = g.limit(rows.end - 1);
        let q = g.queries(j).part(rows.clone());
        let (o, d_o) = (self.of_head(self.saved.o, j), self.of_head(self.saved.d_o, j));
        let (o, d_o) = (o.part(rows.clone()), d_o.part(rows.clone()));
        // 1. Scores and dP: (n, seen)
        let scores = Out { scale: g.scale, ..Out::new(p, seen) };
        multiply_part(scores, &Packed::left(q), &self.keys_across, [n, seen, d]);
        multiply_part(Out::new(ds, seen), &Packed::left(d_o), &self.values_across, [n, seen, d]);
        // 2. Scores → P, dP → dS
        with_simd(
            #[inline(always)]
            || {
                for r in 0..n {
                    let row = rows.start + r;
                    let lse = self.saved.lse[(self.first + row) * self.heads + self.head + j];
                    let delta = dot(o.row(r), d_o.row(r));
                    let (p, ds) = (&mut p[r * seen..(r + 1) * seen], &mut ds[r * seen..(r + 1) * seen]);
                    grad_row(p, ds, g.limit(row), (lse, delta, g.scale));
                }
            },
        );
        // 3. To values, keys and queries
        let (p, ds) = (Mat::new(p, n, seen, seen), Mat::new(ds, n, seen, seen));
        let add = |data| Out { add: true, ..Out::new(data, d) };
        multiply(add(dv), &Packed::left(p.t()), &Packed::right(d_o));
        multiply(add(dk), &Packed::left(ds.t()), &Packed::right(q));
        let to = Out::new(&mut dq[(rows.start * g.heads + j) * d..], g.heads * d);
        multiply_part(to, &Packed::left(ds), &self.keys, [n, d, seen]);
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

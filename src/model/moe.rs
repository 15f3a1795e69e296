//! Mixture of experts (Qwen3): router, experts as grouped products over sorted rows, gradient to the input.

use super::expert_lora::{add_backward, add_forward};
use super::lora::{Grads, Pass};
use super::ops::{self, rows};
use super::weight::ExpertWeight;
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::ops::Range;
use std::sync::Arc;

/// The frozen experts of one layer.
#[derive(Clone, Debug)]
pub struct Moe {
    /// [E, hidden]
    pub router: Tensor<2>,
    /// [E, 2·I, hidden]: gate rows, then up rows
    pub gate_up: ExpertWeight,
    /// [E, hidden, I]
    pub down: ExpertWeight,
    /// Experts per token.
    pub top_k: usize,
    /// The adapter's pairs of `gate_up` and `down`, where experts have one.
    pub slots: [Option<usize>; 2],
}

/// Where every token went, on the host. Kept of the forward pass also where the layer is computed again: in 16 bits, and
/// with kernels that add in another order, the same input need not route the same way twice.
pub struct Routing {
    /// Router probabilities [T, E].
    probs: Vec<f32>,
    /// Chosen experts [T·k] and their weights.
    choice: Vec<usize>,
    weights: Vec<f32>,
    /// Row of each choice among the rows sorted by expert, and the token of each sorted row.
    place: Vec<usize>,
    token: Vec<usize>,
    /// Sorted rows of each expert.
    groups: Vec<Range<usize>>,
}

/// What [`Moe::backward`] needs.
pub struct Saved {
    pub routing: Arc<Routing>,
    /// The experts' input, where `gate_up` has an adapter.
    sorted: Option<Tensor<2>>,
    /// Gate and up of the sorted rows, side by side.
    both: Tensor<2>,
    out: Tensor<2>,
}

impl Moe {
    /// y [T, hidden] for x [T, hidden].
    pub fn forward(&self, x: &Tensor<2>, pass: &Pass) -> (Tensor<2>, Saved) {
        // 1. Route: softmax in f32 → top-k → renormalise
        let saved = self.experts(x, Arc::new(self.route(x)), pass);
        // 5. Home again, weighted: (T, hidden)
        let r = &saved.routing;
        let y = rows::combine(&saved.out, &r.place, &r.weights, self.top_k);
        (y, saved)
    }

    /// The chosen experts' part of [`Moe::forward`], which is what its backward pass needs.
    pub fn experts(&self, x: &Tensor<2>, routing: Arc<Routing>, pass: &Pass) -> Saved {
        // 2. Sort rows by expert: (T·k, hidden)
        let sorted = rows::gather(x, &routing.token);
        // 3. Gate and up of each expert: (T·k, 2·I)
        let both = self.gate_up.forward(&sorted, &routing.groups);
        let both = add_forward(both, &sorted, &routing.groups, self.slots[0], pass);
        // 4. Down: (T·k, hidden)
        let act = ops::swiglu_halves(&both);
        let out = self.down.forward(&act, &routing.groups);
        let out = add_forward(out, &act, &routing.groups, self.slots[1], pass);
        let sorted = self.slots[0].map(|_| sorted);
        Saved { routing, sorted, both, out }
    }

    /// Gradient to x, also through the routing weights; those of the experts' adapters go into `grads`.
    pub fn backward(&self, dy: &Tensor<2>, saved: Saved, (pass, grads): (&Pass, &mut Grads)) -> Tensor<2> {
        let Saved { routing: r, sorted, both, out } = saved;
        let (d_out, d_weights) = rows::combine_backward(dy, &out, &r.place, &r.weights, self.top_k);
        drop(out);
        let mut d_act = self.down.backward(&d_out, &r.groups);
        if self.slots[1].is_some() {
            let act = ops::swiglu_halves(&both);
            d_act = add_backward(d_act, (&d_out, &act), &r.groups, self.slots[1], (pass, grads));
        }
        let d_both = ops::swiglu_halves_backward(&d_act, both);
        let mut d_sorted = self.gate_up.backward(&d_both, &r.groups);
        if let Some(sorted) = &sorted {
            d_sorted = add_backward(d_sorted, (&d_both, sorted), &r.groups, self.slots[0], (pass, grads));
        }
        let ones = vec![1.0; r.weights.len()];
        let dx = rows::combine(&d_sorted, &r.place, &ones, self.top_k);
        let d_logits = self.route_backward(&r, &d_weights, &dy.device()).cast(dy.dtype());
        ops::add_matmul(dx, &d_logits, &self.router, 1.0)
    }

    fn route(&self, x: &Tensor<2>) -> Routing {
        let logits = ops::matmul(x, &self.router.clone().transpose());
        let probs = ops::softmax(logits.cast(DType::F32)).into_data();
        let probs = probs.try_to_vec::<f32>().expect("cast to f32 above");
        let experts = self.router.dims()[0];
        let mut choice = Vec::with_capacity(probs.len() / experts * self.top_k);
        let mut weights = Vec::with_capacity(choice.capacity());
        for p in probs.chunks_exact(experts) {
            let best = top_k(p, self.top_k);
            let sum: f32 = best.iter().map(|&e| p[e]).sum();
            weights.extend(best.iter().map(|&e| p[e] / sum));
            choice.extend(best);
        }
        let (place, token, groups) = sort_by_expert(&choice, experts, self.top_k);
        Routing { probs, choice, weights, place, token, groups }
    }

    /// Gradient to the router's logits [T, E]: back through renormalisation and softmax.
    fn route_backward(&self, r: &Routing, d_weights: &[f32], device: &Device) -> Tensor<2> {
        let (experts, k) = (self.router.dims()[0], self.top_k);
        let tokens = r.probs.len() / experts;
        let mut d = vec![0f32; r.probs.len()];
        for t in 0..tokens {
            let (p, d) = (&r.probs[t * experts..][..experts], &mut d[t * experts..][..experts]);
            let (c, w, dw) = (&r.choice[t * k..][..k], &r.weights[t * k..][..k], &d_weights[t * k..][..k]);
            let sum: f32 = c.iter().map(|&e| p[e]).sum();
            let mean: f32 = w.iter().zip(dw).map(|(w, d)| w * d).sum();
            for (&e, dw) in c.iter().zip(dw) {
                d[e] = (dw - mean) / sum;
            }
            let dot: f32 = p.iter().zip(d.iter()).map(|(p, d)| p * d).sum();
            for (d, p) in d.iter_mut().zip(p) {
                *d = p * (*d - dot);
            }
        }
        Tensor::from_data(TensorData::new(d, [tokens, experts]), (device, DType::F32))
    }
}

/// Indices of the k largest, largest first; the lower index wins a tie. NaN counts as smallest.
fn top_k(p: &[f32], k: usize) -> Vec<usize> {
    let key = |i: usize| if p[i].is_nan() { f32::NEG_INFINITY } else { p[i] };
    let mut best: Vec<usize> = Vec::with_capacity(k);
    for _ in 0..k.min(p.len()) {
        let left = (0..p.len()).filter(|i| !best.contains(i));
        let next = left.reduce(|a, b| if key(b) > key(a) { b } else { a });
        best.extend(next);
    }
    best
}

/// Counting sort of choices by expert: (place of each choice, token of each sorted row, rows of each expert).
fn sort_by_expert(choice: &[usize], experts: usize, k: usize) -> (Vec<usize>, Vec<usize>, Vec<Range<usize>>) {
    let mut count = vec![0usize; experts];
    for &e in choice {
        count[e] += 1;
    }
    let mut at = 0;
    let groups: Vec<Range<usize>> = count
        .iter()
        .map(|&n| {
            at += n;
            at - n..at
        })
        .collect();
    let mut next: Vec<usize> = groups.iter().map(|g| g.start).collect();
    let (mut place, mut token) = (vec![0; choice.len()], vec![0; choice.len()]);
    for (j, &e) in choice.iter().enumerate() {
        place[j] = next[e];
        token[next[e]] = j / k;
        next[e] += 1;
    }
    (place, token, groups)
}

#[cfg(test)]
mod tests {
    use super::top_k;

    #[test]
    fn the_largest_first_and_the_lower_index_of_equals() {
        assert_eq!(top_k(&[0.1, 0.4, 0.4, 0.05, 0.2], 3), [1, 2, 4]);
        assert_eq!(top_k(&[f32::NAN, 0.0, f32::NAN], 2), [1, 0]);
        assert_eq!(top_k(&[1.0, 2.0], 4), [1, 0]);
    }
}

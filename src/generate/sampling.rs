//! Choosing the next token from its logits, in transformers' order: repetition penalty, temperature, top-k, top-p, min-p.

use crate::job::Sampling;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cmp::Ordering;

/// The rule of one sequence, with its own random numbers: the answer does not depend on what else is in the batch.
pub struct Sampler {
    rule: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// `index` is the sequence's number in the request, so that equal prompts get different draws.
    pub fn new(rule: Sampling, index: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(rule.seed);
        rng.set_stream(index as u64);
        Self { rule, rng }
    }

    /// How many of the largest logits tell the next token ([`Sampling::enough`]).
    pub fn enough(&self) -> Option<usize> {
        self.rule.enough()
    }

    /// The next token, of the largest logits with their tokens, the likeliest first: at least [`Sampler::enough`].
    pub fn next_of(&mut self, best: &[(u32, f32)]) -> u32 {
        if self.rule.temperature <= 0.0 {
            return best[0].0;
        }
        let best: Vec<_> = best.iter().take(self.rule.top_k).map(|(i, x)| (*i as usize, *x)).collect();
        self.draw(&best)
    }

    /// The next token for logits [vocab] after `seen` (prompt and answer so far).
    pub fn next(&mut self, logits: &mut [f32], seen: &[u32]) -> u32 {
        penalise(logits, seen, self.rule.repetition_penalty);
        if self.rule.temperature <= 0.0 {
            return argmax(logits);
        }
        let k = if self.rule.top_k == 0 { logits.len() } else { self.rule.top_k };
        self.draw(&likeliest(logits, k))
    }

    fn draw(&mut self, best: &[(usize, f32)]) -> u32 {
        let top = best[0].1;
        let weights: Vec<f32> = best.iter().map(|b| ((b.1 - top) / self.rule.temperature).exp()).collect();
        let total: f32 = weights.iter().sum();
        // top-p: the fewest tokens whose probabilities reach p
        let mut kept = 0;
        let mut mass = 0.0;
        while kept < weights.len() && (kept == 0 || mass < self.rule.top_p * total) {
            mass += weights[kept];
            kept += 1;
        }
        // min-p: a share of the likeliest one's probability (arXiv 2407.01082); that one has weight 1
        while kept > 1 && weights[kept - 1] < self.rule.min_p {
            kept -= 1;
            mass -= weights[kept];
        }
        let mut x = self.rng.random::<f32>() * mass;
        for (b, w) in best[..kept].iter().zip(&weights) {
            x -= w;
            if x <= 0.0 {
                return b.0 as u32;
            }
        }
        best[kept - 1].0 as u32
    }
}

/// Tokens already seen: positive logits are divided by the penalty, negative ones multiplied (arXiv 1909.05858).
fn penalise(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut ids = seen.to_vec();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        if let Some(x) = logits.get_mut(id as usize) {
            *x = if *x > 0.0 { *x / penalty } else { *x * penalty };
        }
    }
}

/// The `k` largest logits with their indices, best first; of equals the first.
fn likeliest(logits: &[f32], k: usize) -> Vec<(usize, f32)> {
    let by_logit =
        |a: &(usize, f32), b: &(usize, f32)| -> Ordering { b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)) };
    let mut best: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    if k < best.len() {
        best.select_nth_unstable_by(k.saturating_sub(1), by_logit);
        best.truncate(k);
    }
    best.sort_unstable_by(by_logit);
    best
}

/// The natural logarithm of each token's probability, of those chosen by [`LogProbs::of`] and [`LogProbs::top`].
pub struct LogProbs {
    logits: Vec<f32>,
    /// log Σ exp of the logits.
    norm: f32,
}

impl LogProbs {
    /// For the logits as the model gives them.
    pub fn new(logits: &[f32]) -> Self {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|x| f64::from(x - top).exp()).sum();
        Self { logits: logits.to_vec(), norm: top + sum.ln() as f32 }
    }

    pub fn of(&self, token: u32) -> f32 {
        self.logits[token as usize] - self.norm
    }

    /// The `k` likeliest tokens, best first.
    pub fn top(&self, k: usize) -> Vec<(u32, f32)> {
        if k == 0 {
            return Vec::new();
        }
        likeliest(&self.logits, k).into_iter().map(|(i, x)| (i as u32, x - self.norm)).collect()
    }
}

/// Index of the largest logit, the first one of equals.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &x) in logits.iter().enumerate() {
        if x > logits[best] {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_penalty_and_limits() {
        let mut greedy = Sampler::new(Sampling::default(), 0);
        assert_eq!(greedy.next(&mut [0.1, 2.0, 2.0, -1.0], &[]), 1);
        let mut penalised = Sampler::new(Sampling { repetition_penalty: 4.0, ..Sampling::default() }, 0);
        assert_eq!(penalised.next(&mut [0.6, 2.0, 0.1, -1.0], &[1]), 0);
        let rule = Sampling { temperature: 5.0, top_k: 2, top_p: 1.0, ..Sampling::default() };
        let mut some = Sampler::new(rule.clone(), 0);
        let drawn: Vec<u32> = (0..200).map(|_| some.next(&mut [0.0, 2.0, 1.5, 1.0], &[])).collect();
        assert!(drawn.iter().all(|t| [1, 2].contains(t)) && drawn.contains(&1) && drawn.contains(&2));
        let mut again = Sampler::new(rule, 0);
        let repeat: Vec<u32> = (0..200).map(|_| again.next(&mut [0.0, 2.0, 1.5, 1.0], &[])).collect();
        assert_eq!(drawn, repeat);
    }

    #[test]
    fn the_largest_few_give_the_draws_of_all() {
        let logits: Vec<f32> = (0..500u32).map(|i| (i * 7919 % 500) as f32 / 60.0).collect();
        let rules = [
            Sampling { temperature: 0.9, top_k: 20, top_p: 0.8, ..Sampling::default() },
            Sampling { temperature: 1.5, top_k: 3, min_p: 0.1, ..Sampling::default() },
            Sampling::default(),
        ];
        for rule in rules {
            let (mut all, mut few) = (Sampler::new(rule.clone(), 1), Sampler::new(rule.clone(), 1));
            let enough = few.enough().expect("not all");
            let best: Vec<_> =
                likeliest(&logits, enough + 4).into_iter().map(|(i, x)| (i as u32, x)).collect();
            for _ in 0..200 {
                assert_eq!(few.next_of(&best), all.next(&mut logits.clone(), &[]), "{rule:?}");
            }
        }
    }

    #[test]
    fn all_logits_are_asked_for_where_the_largest_few_are_not_enough() {
        let greedy = Sampling::default();
        let drawn = |top_k| Sampling { temperature: 1.0, top_k, ..Sampling::default() };
        assert_eq!((greedy.enough(), drawn(1).enough(), drawn(256).enough()), (Some(1), Some(1), Some(256)));
        assert_eq!((drawn(0).enough(), drawn(257).enough()), (None, None));
        for rule in [greedy, drawn(20)] {
            let penalised = Sampling { repetition_penalty: 1.1, ..rule };
            assert_eq!(penalised.enough(), None, "{penalised:?}");
        }
    }

    #[test]
    fn a_small_top_p_or_a_large_min_p_is_greedy() {
        let narrow = Sampling { temperature: 1.0, top_p: 0.01, ..Sampling::default() };
        let high = Sampling { temperature: 1.0, min_p: 0.99, ..Sampling::default() };
        for rule in [narrow, high] {
            let mut s = Sampler::new(rule, 3);
            assert!((0..50).all(|_| s.next(&mut [1.0, 1.2, 0.9], &[]) == 1));
        }
    }

    /// e^−0.7 ≈ 0.497 is over the limit, e^−1.0 ≈ 0.368 is not.
    #[test]
    fn min_p_keeps_what_is_likely_enough() {
        let rule = Sampling { temperature: 1.0, min_p: 0.4, ..Sampling::default() };
        let mut s = Sampler::new(rule, 0);
        let drawn: Vec<u32> = (0..300).map(|_| s.next(&mut [2.0, 1.3, 1.0], &[])).collect();
        assert!(drawn.contains(&0) && drawn.contains(&1) && !drawn.contains(&2));
    }

    #[test]
    fn log_probabilities_add_up() {
        let p = LogProbs::new(&[1.0, 3.0, 2.0]);
        let sum: f32 = (0..3).map(|i| p.of(i).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert_eq!(p.top(2).iter().map(|t| t.0).collect::<Vec<_>>(), [1, 2]);
        assert!(p.top(0).is_empty());
    }
}

//! Choosing the next token from its logits, in transformers' order: repetition penalty, temperature, top-k, top-p.

use crate::job::Sampling;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

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

    /// The next token for logits [vocab] after `seen` (prompt and answer so far).
    pub fn next(&mut self, logits: &mut [f32], seen: &[u32]) -> u32 {
        penalise(logits, seen, self.rule.repetition_penalty);
        if self.rule.temperature <= 0.0 {
            return argmax(logits);
        }
        let mut best: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
        let k = if self.rule.top_k == 0 { best.len() } else { self.rule.top_k.min(best.len()) };
        let by_logit = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if k < best.len() {
            best.select_nth_unstable_by(k - 1, by_logit);
            best.truncate(k);
        }
        best.sort_unstable_by(by_logit);
        self.draw(&best)
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
        let mut some = Sampler::new(rule, 0);
        let drawn: Vec<u32> = (0..200).map(|_| some.next(&mut [0.0, 2.0, 1.5, 1.0], &[])).collect();
        assert!(drawn.iter().all(|t| [1, 2].contains(t)) && drawn.contains(&1) && drawn.contains(&2));
        let mut again = Sampler::new(rule, 0);
        let repeat: Vec<u32> = (0..200).map(|_| again.next(&mut [0.0, 2.0, 1.5, 1.0], &[])).collect();
        assert_eq!(drawn, repeat);
    }

    #[test]
    fn a_small_top_p_is_greedy() {
        let rule = Sampling { temperature: 1.0, top_p: 0.01, ..Sampling::default() };
        let mut s = Sampler::new(rule, 3);
        assert!((0..50).all(|_| s.next(&mut [1.0, 1.2, 0.9], &[]) == 1));
    }
}

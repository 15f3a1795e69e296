//! Sentence BLEU-4 over characters, as `nltk.translate.bleu_score.sentence_bleu` with smoothing method 3.

use std::collections::HashMap;
use std::hash::Hash;

const ORDERS: usize = 4;

/// BLEU-4 in 0..=1 of one prediction against one label, each character (spaces too) being a token.
///
/// Modified n-gram precisions, uniform weights, brevity penalty (Papineni et al. 2002). An order without a
/// match counts 1 / (2^k · n-grams), k = 1 for the first such order (NIST geometric sequence smoothing);
/// without a single common character the score is 0.
pub fn bleu4(predict: &str, label: &str) -> f64 {
    let predict: Vec<char> = predict.chars().collect();
    let label: Vec<char> = label.chars().collect();
    bleu4_of(&predict, &label)
}

/// [`bleu4`] over tokens of any kind.
pub fn bleu4_of<T: Eq + Hash>(predict: &[T], label: &[T]) -> f64 {
    let mut log_sum = 0.0;
    let mut empty_orders = 0;
    for n in 1..=ORDERS {
        let (matches, total) = clipped_matches(predict, label, n);
        if n == 1 && matches == 0 {
            return 0.0;
        }
        let numerator = if matches > 0 {
            matches as f64
        } else {
            empty_orders += 1;
            0.5f64.powi(empty_orders)
        };
        log_sum += (numerator / total as f64).ln() / ORDERS as f64;
    }
    brevity_penalty(predict.len(), label.len()) * log_sum.exp()
}

/// Common n-grams, each at most as often as the label has it, and the prediction's n-grams (at least 1).
fn clipped_matches<T: Eq + Hash>(predict: &[T], label: &[T], n: usize) -> (usize, usize) {
    let mut left: HashMap<&[T], usize> = HashMap::new();
    for gram in label.windows(n) {
        *left.entry(gram).or_default() += 1;
    }
    let mut matches = 0;
    for gram in predict.windows(n) {
        if let Some(count) = left.get_mut(gram).filter(|count| **count > 0) {
            *count -= 1;
            matches += 1;
        }
    }
    (matches, (predict.len() + 1).saturating_sub(n).max(1))
}

fn brevity_penalty(predict_len: usize, label_len: usize) -> f64 {
    if predict_len > label_len { 1.0 } else { (1.0 - label_len as f64 / predict_len as f64).exp() }
}

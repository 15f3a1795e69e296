//! BLEU-4 and ROUGE of predictions, in per cent, as LLaMA-Factory's `ComputeSimilarity` reports them.

use super::{bleu, rouge};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Scores in per cent, of one prediction (4 decimals) or the mean of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    #[serde(rename = "bleu-4")]
    pub bleu_4: f64,
    #[serde(rename = "rouge-1")]
    pub rouge_1: f64,
    #[serde(rename = "rouge-2")]
    pub rouge_2: f64,
    #[serde(rename = "rouge-l")]
    pub rouge_l: f64,
}

impl Scores {
    /// LLaMA-Factory's names with their values.
    pub fn named(&self) -> [(&'static str, f64); 4] {
        [
            ("bleu-4", self.bleu_4),
            ("rouge-1", self.rouge_1),
            ("rouge-2", self.rouge_2),
            ("rouge-l", self.rouge_l),
        ]
    }
}

/// Scores one prediction against its label.
pub fn score(predict: &str, label: &str) -> Scores {
    let rouge = rouge::rouge(predict, label);
    Scores {
        bleu_4: percent(bleu::bleu4(predict, label)),
        rouge_1: percent(rouge.rouge_1),
        rouge_2: percent(rouge.rouge_2),
        rouge_l: percent(rouge.rouge_l),
    }
}

/// Scores (prediction, label) pairs on all cores, in order.
pub fn score_all<S: AsRef<str> + Sync>(pairs: &[(S, S)]) -> Vec<Scores> {
    pairs.par_iter().map(|(predict, label)| score(predict.as_ref(), label.as_ref())).collect()
}

/// The mean of each score; zeros for no scores.
pub fn mean(scores: &[Scores]) -> Scores {
    let of = |value: fn(&Scores) -> f64| scores.iter().map(value).sum::<f64>() / scores.len().max(1) as f64;
    Scores {
        bleu_4: of(|s| s.bleu_4),
        rouge_1: of(|s| s.rouge_1),
        rouge_2: of(|s| s.rouge_2),
        rouge_l: of(|s| s.rouge_l),
    }
}

/// Per cent with 4 decimals. Through text, as Python's `round`: exact where multiplying by 10⁴ is not.
fn percent(share: f64) -> f64 {
    format!("{:.4}", share * 100.0).parse().expect("a formatted number parses")
}

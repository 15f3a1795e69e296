//! Scores: BLEU-4 and ROUGE as LLaMA-Factory counts them, slot accuracy, predictions of a data set.

pub mod bleu;
pub mod feature_cache;
pub mod features;
pub mod loss;
pub mod predict;
pub mod rouge;
pub mod samples;
pub mod scores;
pub mod slots;
pub mod words;

pub use scores::Scores;

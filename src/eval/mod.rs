//! Scores: BLEU-4 and ROUGE as LLaMA-Factory counts them, further measures with intervals, predictions of a data set, reports.

pub mod bleu;
pub mod bootstrap;
pub mod feature_cache;
pub mod features;
pub mod groups;
pub mod items;
pub mod listen;
pub mod loss;
pub mod measures;
pub mod modality;
pub mod predict;
pub mod report;
pub mod rouge;
pub mod running;
pub mod sampled;
pub mod samples;
pub mod scores;
pub mod slots;
pub mod words;

pub use scores::Scores;

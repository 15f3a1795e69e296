//! Numbers of parameters by component, from the model's shapes.

use crate::config::TrainConfig;
use crate::error::Result;
use crate::job::Sampling;
use crate::model::modules::{self, Part};
use crate::model::{ModelConfig, targets};

/// Numbers of frozen and trained values.
pub(super) struct Shapes {
    /// Linear layers of the decoder, and its stacked experts: what is quantised.
    pub linears: u64,
    pub experts: u64,
    /// The largest matrix among them; one expert of stacked ones.
    pub largest: u64,
    /// Token embedding, and head where it is not the embedding.
    pub embeddings: u64,
    /// Norms and routers of the decoder.
    pub small: u64,
    pub vision: u64,
    /// Trained values, and those in the vision tower and its mergers.
    pub trained: u64,
    pub trained_vision: u64,
}

impl Shapes {
    pub fn of(config: &TrainConfig, model: &ModelConfig) -> Result<Self> {
        let (t, all) = (&model.text, modules::all(model));
        let of = |part: &[Part]| all.iter().filter(|m| part.contains(&m.part)).map(|m| m.size()).sum::<u64>();
        let text = all.iter().filter(|m| matches!(m.part, Part::Text | Part::Experts));
        let sparse = (0..t.num_hidden_layers).filter(|&i| t.is_sparse(i)).count();
        let routers = t.moe.as_ref().map_or(0, |m| sparse * m.num_experts * t.hidden_size);
        let norms = t.num_hidden_layers * (2 * t.hidden_size + 2 * t.head_dim) + t.hidden_size;
        let tables = if model.tie_word_embeddings { 1 } else { 2 };
        let chosen = targets::choose(model, config)?;
        let trained = |vision: bool| {
            let in_vision = |p: Part| !matches!(p, Part::Text | Part::Experts);
            let mine = chosen.iter().filter(|m| !vision || in_vision(m.part));
            mine.map(|m| m.trainable(config.lora_rank, config.use_dora)).sum()
        };
        let (v, matrices) = (&model.vision, of(&[Part::Tower, Part::Deepstack, Part::Projector]));
        Ok(Self {
            linears: of(&[Part::Text]),
            experts: of(&[Part::Experts]),
            largest: text.map(|m| m.size() / m.experts as u64).max().unwrap_or(0),
            embeddings: (tables * t.vocab_size * t.hidden_size) as u64,
            small: (routers + norms) as u64,
            // biases and norms are below a hundredth
            vision: matrices + (v.hidden_size * (v.patch_len() + v.num_position_embeddings)) as u64,
            trained: trained(false),
            trained_vision: trained(true),
        })
    }
}

/// Parameters of the decoder's layers that one token goes through.
pub(super) fn active(model: &ModelConfig) -> u64 {
    let per_token = model.text.moe.as_ref().map_or(1, |m| m.num_experts_per_tok) as u64;
    let share = |m: &modules::Module| match m.part {
        Part::Text => m.size(),
        Part::Experts => m.size() / m.experts as u64 * per_token,
        _ => 0,
    };
    modules::all(model).iter().map(share).sum()
}

/// Bytes of f32 weights that one token of each of `slots` answers has to read: the decoder's matrices, of the experts those
/// that are likely to be chosen by one of them, and the head (its copy in 8 bits where the largest few logits are enough).
pub fn read_for_a_token(model: &ModelConfig, slots: usize, sampling: &Sampling) -> u64 {
    let t = &model.text;
    let chosen = t.moe.as_ref().map_or(1.0, |m| {
        let missed = 1.0 - m.num_experts_per_tok as f64 / m.num_experts as f64;
        1.0 - missed.powi(slots as i32)
    });
    let share = |m: &modules::Module| match m.part {
        Part::Text => m.size(),
        Part::Experts => (m.size() as f64 * chosen) as u64,
        _ => 0,
    };
    let layers: u64 = modules::all(model).iter().map(share).sum();
    let head = if sampling.enough().is_some() { 1 } else { 4 };
    4 * layers + head * (t.vocab_size * t.hidden_size) as u64
}

/// Parameters of the last products of dense layers, whose results no backward pass needs.
pub(super) fn last(model: &ModelConfig) -> u64 {
    let all = modules::all(model);
    all.iter().filter(|m| m.part == Part::Text && m.leaf() == "down_proj").map(|m| m.size()).sum()
}

/// Parameters of the vision tower's blocks, which each patch goes through, and of its mergers, which each token does.
pub(super) fn vision(model: &ModelConfig) -> (u64, u64) {
    let all = modules::all(model);
    let sum = |part: fn(Part) -> bool| all.iter().filter(|m| part(m.part)).map(|m| m.size()).sum();
    (sum(|p| p == Part::Tower), sum(|p| matches!(p, Part::Deepstack | Part::Projector)))
}

//! Floating point operations of an update, by component. A product of [m, k] and [k, n] is 2·m·k·n of them.

use super::lengths::{Length, Sized};
use super::shapes::{self, Shapes};
use crate::config::TrainConfig;
use crate::error::Result;
use crate::model::ModelConfig;

/// Operations of the mean sample.
pub(super) struct Flops {
    /// Forward pass through the decoder's layers, and its attention.
    layers: f64,
    attention: f64,
    /// Forward pass through what is not computed again: the last product of dense layers.
    last: f64,
    /// Logits of labelled positions, forward and back.
    head: f64,
    /// Low-rank branches, forward and back with their gradients.
    lora: f64,
    /// Forward pass of the pictures.
    vision: f64,
    vision_trained: bool,
    /// Samples of an item of a batch: more than one in packs.
    each: f64,
    /// Frozen values read by a forward pass.
    read: u64,
}

impl Flops {
    pub fn of(c: &TrainConfig, model: &ModelConfig, lengths: &Sized) -> Result<Self> {
        let (t, v) = (&model.text, &model.vision);
        let shapes = Shapes::of(c, model)?;
        let (blocks, mergers) = shapes::vision(model);
        let tokens = lengths.mean(|l| l.tokens as f64);
        let patches = lengths.mean(|l| l.patches as f64);
        let square = |of: fn(&Length) -> usize| lengths.mean(|l| (of(l) as f64).powi(2));
        let q = (t.num_attention_heads * t.head_dim * t.num_hidden_layers) as f64;
        let merged = patches / v.merge_unit() as f64;
        let vision = 2.0 * patches * (blocks + (v.hidden_size * v.patch_len()) as u64) as f64
            + 2.0 * merged * mergers as f64
            + 4.0 * square(|l| l.largest) * (v.hidden_size * v.depth) as f64;
        Ok(Self {
            layers: 2.0 * tokens * shapes::active(model) as f64,
            last: 2.0 * tokens * shapes::last(model) as f64,
            // scores and their use, half of them masked
            attention: 2.0 * square(|l| l.tokens) * q,
            head: 4.0 * lengths.mean(|l| l.labels as f64) * (t.hidden_size * t.vocab_size) as f64,
            lora: 6.0 * tokens * (shapes.trained - shapes.trained_vision) as f64,
            vision,
            each: lengths.rows as f64 / lengths.items(c).max(1) as f64,
            vision_trained: shapes.trained_vision > 0,
            read: shapes.linears + shapes.experts,
        })
    }

    /// Of a mean update of a run of `epochs`. With `cached` features a picture is looked at once.
    pub fn step(&self, c: &TrainConfig, cached: bool, epochs: usize) -> f64 {
        let again = if c.recomputes() { 1.0 } else { 0.0 };
        // back: the gradient to the input is as much as the forward pass; attention has five products instead of two
        let layers = self.layers * (2.0 + again) - self.last * again;
        let text = layers + self.attention * (3.5 + again) + self.head + self.lora;
        let vision = match (self.vision_trained, cached) {
            (true, _) => self.vision * (2.0 + again),
            (false, true) => self.vision / epochs.max(1) as f64,
            (false, false) => self.vision,
        };
        (text + vision) * self.each * (c.per_device_train_batch_size * c.gradient_accumulation_steps) as f64
    }

    /// Bytes of frozen weights that an update reads.
    pub fn traffic(&self, c: &TrainConfig, model: &ModelConfig) -> f64 {
        let bytes = c.quantization().map_or(2 * self.read, |how| how.bytes(self.read));
        let head = 2 * (model.text.hidden_size * model.text.vocab_size) as u64;
        let passes = if c.recomputes() { 3 } else { 2 };
        ((bytes * passes + 2 * head) * c.gradient_accumulation_steps as u64) as f64
    }
}

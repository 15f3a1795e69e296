//! The matrices of a model that can have an adapter, from its `config.json` alone.

use super::config::ModelConfig;

/// Modules that cannot have an adapter here but whose names end as those of others do, for peft's short names.
pub const OTHERS: [&str; 2] = ["model.visual.patch_embed.proj", "lm_head"];

/// A kind of module: what the target report has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A linear layer of the text decoder.
    Text,
    /// The stacked experts of a layer of the text decoder.
    Experts,
    /// A linear layer of a block of the vision tower.
    Tower,
    /// A linear layer of the merger that features for deeper text layers come from.
    Deepstack,
    /// A linear layer of the merger between vision and text: LLaMA-Factory's multi-modal projector.
    Projector,
}

/// One matrix, or the stacked matrices of all experts of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The path in transformers' model, such as `model.visual.blocks.0.attn.qkv`.
    pub path: String,
    /// [out, in]
    pub shape: [usize; 2],
    /// 1 for a linear layer.
    pub experts: usize,
    pub part: Part,
}

impl Module {
    /// The last piece of the path.
    pub fn leaf(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// Rows of A and of B's transpose for rank `r`, and their widths: A [r·E, `a`], B [`b`, r·E].
    ///
    /// peft 0.18 names the axes of stacked experts [E, in, out] although transformers 5 keeps them [E, out, in], so
    /// that A of experts has the width of the output.
    pub fn widths(&self) -> [usize; 2] {
        let [out, inp] = self.shape;
        if self.part == Part::Experts { [out, inp] } else { [inp, out] }
    }

    /// Trainable parameters at rank `r`, with DoRA's magnitudes or without.
    pub fn trainable(&self, r: usize, dora: bool) -> u64 {
        let [out, inp] = self.shape;
        (self.experts * r * (out + inp) + if dora { out } else { 0 }) as u64
    }

    /// Values of the frozen weight, without its bias.
    pub fn size(&self) -> u64 {
        (self.experts * self.shape[0] * self.shape[1]) as u64
    }
}

/// All modules, the text decoder first, in the order of the model.
pub fn all(config: &ModelConfig) -> Vec<Module> {
    let mut all = Vec::new();
    text(config, &mut all);
    vision(config, &mut all);
    all
}

fn text(config: &ModelConfig, all: &mut Vec<Module>) {
    let c = &config.text;
    let (h, wide) = (c.hidden_size, c.intermediate_size);
    let (q, kv) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
    for i in 0..c.num_hidden_layers {
        let mut push = |leaf: &str, shape, experts, part| {
            let path = format!("model.language_model.layers.{i}.{leaf}");
            all.push(Module { path, shape, experts, part });
        };
        for (leaf, shape) in [("q", [q, h]), ("k", [kv, h]), ("v", [kv, h]), ("o", [h, q])] {
            push(&format!("self_attn.{leaf}_proj"), shape, 1, Part::Text);
        }
        match c.moe.as_ref().filter(|_| c.is_sparse(i)) {
            Some(m) => {
                let (e, inner) = (m.num_experts, m.moe_intermediate_size);
                push("mlp.experts.gate_up_proj", [2 * inner, h], e, Part::Experts);
                push("mlp.experts.down_proj", [h, inner], e, Part::Experts);
            }
            None => {
                for (leaf, shape) in [("gate", [wide, h]), ("up", [wide, h]), ("down", [h, wide])] {
                    push(&format!("mlp.{leaf}_proj"), shape, 1, Part::Text);
                }
            }
        }
    }
}

fn vision(config: &ModelConfig, all: &mut Vec<Module>) {
    let c = &config.vision;
    let (d, wide, merged) = (c.hidden_size, c.intermediate_size, c.hidden_size * c.merge_unit());
    let mut push = |path: String, shape, part| {
        all.push(Module { path: format!("model.visual.{path}"), shape, experts: 1, part });
    };
    for i in 0..c.depth {
        push(format!("blocks.{i}.attn.qkv"), [3 * d, d], Part::Tower);
        push(format!("blocks.{i}.attn.proj"), [d, d], Part::Tower);
        push(format!("blocks.{i}.mlp.linear_fc1"), [wide, d], Part::Tower);
        push(format!("blocks.{i}.mlp.linear_fc2"), [d, wide], Part::Tower);
    }
    let mut merger = |at: String, part| {
        push(format!("{at}.linear_fc1"), [merged, merged], part);
        push(format!("{at}.linear_fc2"), [c.out_hidden_size, merged], part);
    };
    merger("merger".into(), Part::Projector);
    for i in 0..c.deepstack_visual_indexes.len() {
        merger(format!("deepstack_merger_list.{i}"), Part::Deepstack);
    }
}

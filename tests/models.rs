//! Every row of `configs/models.toml` is a model that loads, of the size in its name.
#![allow(clippy::unwrap_used)]

use lorascope::model::{ModelConfig, TextConfig, VisionConfig};

fn text_parameters(c: &TextConfig, tied: bool) -> usize {
    let [h, d] = [c.hidden_size, c.head_dim];
    let attention = 2 * h * d * (c.num_attention_heads + c.num_key_value_heads) + 2 * d;
    let mlp = |i: usize| {
        c.moe
            .as_ref()
            .filter(|_| c.is_sparse(i))
            .map_or(3 * h * c.intermediate_size, |m| m.num_experts * (3 * h * m.moe_intermediate_size + h))
    };
    let layers: usize = (0..c.num_hidden_layers).map(|i| attention + mlp(i) + 2 * h).sum();
    layers + h + c.vocab_size * h * if tied { 1 } else { 2 }
}

fn vision_parameters(c: &VisionConfig) -> usize {
    let [h, merged] = [c.hidden_size, c.hidden_size * c.merge_unit()];
    let block = 4 * h * (h + 1) + 2 * h * c.intermediate_size + h + c.intermediate_size + 4 * h;
    let merger = |norm: usize| merged * (merged + 1) + c.out_hidden_size * (merged + 1) + 2 * norm;
    let embeddings = h * (c.patch_len() + 1 + c.num_position_embeddings);
    embeddings + c.depth * block + merger(h) + c.deepstack_visual_indexes.len() * merger(merged)
}

fn parameters(c: &ModelConfig) -> usize {
    text_parameters(&c.text, c.tie_word_embeddings) + vision_parameters(&c.vision)
}

/// The counting is right: it counts the golden checkpoints to the last value.
#[test]
fn counted_parameters_are_those_of_the_golden_checkpoints() {
    for model in ["tiny-dense", "tiny-moe"] {
        let dir = crate::golden::path("models").join(model);
        let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let stored: usize = file.tensors().iter().map(|(_, t)| t.data().len() / 4).sum();
        assert_eq!(parameters(&ModelConfig::load(&dir).unwrap()), stored, "{model}");
    }
}

#[test]
fn every_row_loads_and_has_the_size_in_its_name() {
    let table: toml::Table = include_str!("../configs/models.toml").parse().unwrap();
    let rows = table["model"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), serde_json::to_string(row).unwrap()).unwrap();
        let name = row["name"].as_str().unwrap();
        let size = name.trim_start_matches("Qwen3-VL-").split('B').next().unwrap();
        let nominal = size.parse::<f64>().unwrap() * 1e9;
        let counted = parameters(&ModelConfig::load(dir.path()).unwrap()) as f64;
        assert!((0.97..1.12).contains(&(counted / nominal)), "{name}: {counted:.3e} parameters");
    }
}

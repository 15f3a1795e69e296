//! Weights are found under every spelling and in both layouts, and what is not weights is said plainly.
#![allow(clippy::unwrap_used)]

use crate::golden::{self, values};
use burn::tensor::{DType, Device, Tensor};
use lorascope::model::weights::ExpertLayout;
use lorascope::model::{ModelConfig, Weights};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};

fn model(name: &str) -> std::path::PathBuf {
    golden::path("models").join(name)
}

/// A folder with one `model.safetensors` of f32 tensors that count up from 0.
fn folder(tensors: &[(&str, &[usize])]) -> TempDir {
    let dir = tempdir().unwrap();
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape)| (0..shape.iter().product()).flat_map(|i: usize| (i as f32).to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape), b)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), b).unwrap()));
    serialize_to_file(views, None, &dir.path().join("model.safetensors")).unwrap();
    dir
}

fn refusal(dir: &Path) -> String {
    let error = Weights::open(dir).err().unwrap();
    format!("{}\n{}", error.message, error.hint.unwrap())
}

#[test]
fn both_expert_layouts_give_equal_tensors() {
    let device = Device::flex();
    let config = ModelConfig::load(&model("tiny-moe")).unwrap().text;
    let [ours, hub] = ["tiny-moe", "tiny-moe-hub"].map(|m| Weights::open(&model(m)).unwrap());
    for layer in 0..config.num_hidden_layers {
        for dtype in [DType::F32, DType::BF16] {
            let (a_up, a_down) = ours.experts(layer, &config, &device, dtype).unwrap();
            let (b_up, b_down) = hub.experts(layer, &config, &device, dtype).unwrap();
            assert_eq!((a_up.dims(), a_down.dims()), ([8, 48, 64], [8, 64, 24]));
            assert_eq!(a_up.into_data(), b_up.into_data(), "layer {layer}");
            assert_eq!(a_down.into_data(), b_down.into_data(), "layer {layer}");
        }
    }
    assert_eq!(ours.names().collect::<Vec<_>>(), hub.names().collect::<Vec<_>>());
}

#[test]
fn square_experts_need_a_hint() {
    let device = Device::flex();
    let mut config = ModelConfig::load(&model("tiny-moe")).unwrap().text;
    let moe = config.moe.as_mut().unwrap();
    (config.hidden_size, moe.num_experts, moe.moe_intermediate_size) = (4, 2, 2);
    let name = |part| format!("model.language_model.layers.0.mlp.experts.{part}");
    let dir = folder(&[(&name("gate_up_proj"), &[2, 4, 4]), (&name("down_proj"), &[2, 2, 4])]);
    let read = |layout| {
        Weights::open(dir.path()).unwrap().with_expert_layout(layout).experts(0, &config, &device, DType::F32)
    };
    let error = read(None).err().unwrap();
    assert!(error.message.contains("[2, 4, 4] fits both layouts"), "{}", error.message);
    let first_row = |t: Tensor<3>| values(t)[..4].to_vec();
    assert_eq!(first_row(read(Some(ExpertLayout::Hub)).unwrap().0), [0.0, 4.0, 8.0, 12.0]);
    assert_eq!(first_row(read(Some(ExpertLayout::Transformers5)).unwrap().0), [0.0, 1.0, 2.0, 3.0]);
    let told = |version: &str| {
        let json = format!("{{\"transformers_version\": \"{version}\"}}");
        std::fs::write(dir.path().join("config.json"), json).unwrap();
        Weights::open(dir.path()).unwrap().experts(0, &config, &device, DType::F32).unwrap().0
    };
    assert_eq!(first_row(told("4.57.0.dev0")), [0.0, 4.0, 8.0, 12.0]);
    assert_eq!(first_row(told("5.6.0")), [0.0, 1.0, 2.0, 3.0]);
    // The shape of `down_proj` can only be the hub's, whatever the hint.
    assert_eq!(first_row(read(Some(ExpertLayout::Transformers5)).unwrap().1), [0.0, 4.0, 1.0, 5.0]);
}

#[test]
fn older_names_are_found() {
    let dir =
        folder(&[("model.layers.0.input_layernorm.weight", &[3]), ("visual.pos_embed.weight", &[2, 2])]);
    let weights = Weights::open(dir.path()).unwrap();
    assert!(weights.has("model.language_model.layers.0.input_layernorm.weight"));
    assert!(!weights.has("lm_head.weight"));
    let found = weights.tensor("model.visual.pos_embed.weight", [2, 2], &Device::flex(), DType::F32).unwrap();
    assert_eq!(values(found), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_wrong_or_missing_tensor_is_named() {
    let dir = folder(&[("lm_head.weight", &[3, 2])]);
    let weights = Weights::open(dir.path()).unwrap();
    let refusal =
        |name, shape| weights.tensor::<2>(name, shape, &Device::flex(), DType::F32).err().unwrap().message;
    let wrong = refusal("lm_head.weight", [2, 3]);
    assert!(wrong.contains("tensor lm_head.weight in") && wrong.contains("[3, 2], but"), "{wrong}");
    assert!(wrong.ends_with("asks for [2, 3]"), "{wrong}");
    assert!(refusal("model.visual.x", [1, 1]).ends_with("have no tensor model.visual.x"));
}

#[test]
fn a_folder_without_weights_says_what_to_do() {
    let dir = tempdir().unwrap();
    assert!(refusal(dir.path()).contains("neither model.safetensors nor model.safetensors.index.json"));
    fs::write(dir.path().join("pytorch_model.bin"), "x").unwrap();
    assert!(refusal(dir.path()).contains("only safetensors work"));
    fs::write(dir.path().join("model-00001-of-00002.safetensors"), "x").unwrap();
    assert!(refusal(dir.path()).contains("download that too"));
    fs::write(dir.path().join("adapter_model.safetensors"), "x").unwrap();
    assert!(refusal(dir.path()).contains("this is an adapter"));
    assert!(refusal(&dir.path().join("nowhere")).contains("model folder not found"));
}

#[test]
fn a_missing_or_foreign_shard_is_named() {
    let dir = tempdir().unwrap();
    let index = "model.safetensors.index.json";
    fs::copy(model("tiny-moe-hub").join(index), dir.path().join(index)).unwrap();
    let first = "model-00001-of-00002.safetensors";
    fs::copy(model("tiny-moe-hub").join(first), dir.path().join(first)).unwrap();
    let said = refusal(dir.path());
    assert!(said.contains("1 of 2 weight files are missing"), "{said}");
    assert!(said.contains(": model-00002-of-00002.safetensors\n"), "{said}");
    fs::copy(dir.path().join(first), dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(refusal(dir.path()).contains("but it is not there"));
    fs::write(dir.path().join(index), r#"{"weight_map": {"a": "../a.safetensors"}}"#).unwrap();
    assert!(refusal(dir.path()).contains("outside its folder: \"../a.safetensors\""));
    fs::write(dir.path().join(index), "{}").unwrap();
    assert!(refusal(dir.path()).contains("not an index of weight files"));
}

#[test]
fn a_file_that_is_not_weights_says_what_it_is() {
    let whole = fs::read(model("tiny-dense").join("model.safetensors")).unwrap();
    let cases: [(&[u8], &str); 7] = [
        (&whole[..whole.len() - 1], "its header does not fit its 2919359 bytes"),
        (&whole[..100], "its header does not fit its 100 bytes"),
        (&whole[..5], "its header does not fit its 5 bytes"),
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>not found</html>", "it is a web page"),
        (b"PK\x03\x04 an archive of some kind, longer than a header", "not a safetensors file"),
    ];
    let dir = tempdir().unwrap();
    for (bytes, said) in cases {
        fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let found = refusal(dir.path());
        assert!(found.contains(said), "{found}");
    }
}

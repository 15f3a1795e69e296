//! Adapters outside the text decoder, DoRA and experts: training equals LLaMA-Factory's, gradients equal differences.
#![allow(clippy::unwrap_used)]

use crate::golden;
use burn::tensor::{DType, Device, Tensor, TensorData};
use lorascope::config::TrainConfig;
use lorascope::config::fields;
use lorascope::data::encode::Encoder;
use lorascope::job::{Event, StepRow};
use lorascope::model::lora::{Adapter, Grads, Pass};
use lorascope::model::qwen3_vl::Qwen3Vl;
use lorascope::model::{ModelConfig, dora, peft, targets};
use lorascope::train::run::{Setup, run};
use lorascope::train::step::{Keep, forward_backward};
use lorascope::train::{checkpoint, init, split};
use serde_json::Value;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;

/// The settings of `tests/peer/make_adapter_goldens.py`.
pub fn config(kind: &str, out: &Path) -> TrainConfig {
    TrainConfig {
        model_name_or_path: golden::path(&format!("models/tiny-{kind}")),
        dataset: vec!["mllm_train_data".into()],
        dataset_dir: golden::path("data"),
        image_max_pixels: 65536,
        image_min_pixels: 1024,
        lora_rank: 4,
        lora_alpha: Some(8.0),
        per_device_train_batch_size: 3,
        gradient_accumulation_steps: 2,
        learning_rate: 5e-3,
        max_steps: 4,
        lr_scheduler_type: lorascope::config::LrScheduler::Constant,
        disable_shuffling: true,
        logging_steps: 1,
        save_steps: 100,
        output_dir: out.to_path_buf(),
        ..TrainConfig::default()
    }
}

pub fn load(config: &TrainConfig) -> Qwen3Vl {
    Qwen3Vl::load(&config.model_name_or_path, &Device::flex(), DType::F32, &|_, _| {}).unwrap()
}

/// Fills an adapter by the formula of the golden runs.
pub fn fill(adapter: &mut Adapter) {
    let paths: Vec<String> = adapter.pairs.iter().map(|p| p.name.clone()).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let wave = |name: &str, t: &Tensor<2>| -> Tensor<2> {
        let code = |(i, c): (usize, char)| (c as usize) * (i % 7 + 1);
        let phase = (name.chars().enumerate().map(code).sum::<usize>() % 1000) as f64 / 1000.0;
        let n = t.dims()[0] * t.dims()[1];
        let values: Vec<f32> = (0..n).map(|i| (i as f64 * 0.7 + phase * 6.0).sin() as f32).collect();
        Tensor::from_data(TensorData::new(values, t.dims()), (&t.device(), DType::F32))
    };
    for (pair, file) in adapter.pairs.iter_mut().zip(peft::file_names(&paths)) {
        pair.a = wave(&format!("{file}.lora_A.weight"), &pair.a) * 0.05;
        pair.b = wave(&format!("{file}.lora_B.weight"), &pair.b) * 0.05;
        if let Some(magnitude) = &mut pair.magnitude {
            let wave = wave(&format!("{file}.{}.weight", dora::NAME), &magnitude.m);
            magnitude.m = magnitude.m.clone() * (wave * 0.02 + 1.0);
        }
    }
}

fn goldens() -> serde_json::Map<String, Value> {
    serde_json::from_slice(&std::fs::read(golden::path("adapters.json")).unwrap()).unwrap()
}

/// The settings of one golden run.
fn settings(golden: &Value, out: &Path) -> TrainConfig {
    let mut config = config(golden["model"].as_str().unwrap(), out);
    for (key, value) in golden["settings"].as_object().unwrap() {
        let text = value.as_str().map_or(value.to_string(), String::from);
        fields::set(&mut config, key, &text).unwrap();
    }
    if !golden["target_parameters"].is_null() {
        config.lora_target = "all,experts".into();
    }
    config
}

fn steps(config: &TrainConfig) -> Vec<StepRow> {
    let mut model = load(config);
    let encoder = Encoder::load(&config.model_name_or_path, config).unwrap();
    let rows = Mutex::new(Vec::new());
    let emit = |e: Event| {
        if let Event::Step(row) = e {
            rows.lock().unwrap().push(row);
        }
    };
    run(Setup { model: &mut model, encoder: &encoder, config, device: "cpu".into() }, &channel().1, &emit).unwrap();
    rows.into_inner().unwrap()
}

/// Modules, number of parameters and short names are LLaMA-Factory's and peft's own.
#[test]
fn modules_are_those_that_llama_factory_picks() {
    for (name, golden) in goldens() {
        let config = settings(&golden, Path::new("unused"));
        let model = ModelConfig::load(&config.model_name_or_path).unwrap();
        let chosen = targets::choose(&model, &config).unwrap();
        let paths: Vec<&str> = chosen.iter().map(|m| m.path.as_str()).collect();
        let mut files = peft::file_names(&paths);
        files.iter_mut().for_each(|f| *f = f.trim_start_matches("base_model.model.").into());
        files.sort();
        assert!(serde_json::json!(files) == golden["modules"], "{name}: {files:?}");
        let trainable: u64 = chosen.iter().map(|m| m.trainable(4, config.use_dora)).sum();
        assert_eq!(trainable, golden["trainable"].as_u64().unwrap(), "{name}");
    }
}

/// Losses within 1e-4 and gradient norms within 1e-3 of LLaMA-Factory's over four updates: both compute in f32, but
/// sum in other orders, and each update carries the difference on.
#[test]
fn losses_and_norms_equal_llama_factory() {
    for (name, golden) in goldens() {
        let dir = tempfile::tempdir().unwrap();
        let start = TrainConfig { output_dir: dir.path().join("start"), ..settings(&golden, dir.path()) };
        let mut model = load(&start);
        let mut adapter = init::fresh(&model, &start).unwrap();
        fill(&mut adapter);
        model.attach(&adapter).unwrap();
        checkpoint::save_adapter(&start.output_dir, &adapter, &model, &start).unwrap();
        let config =
            TrainConfig { adapter_name_or_path: Some(start.output_dir), ..settings(&golden, &dir.path().join("run")) };
        let rows = steps(&config);
        let want = golden["steps"].as_array().unwrap();
        assert_eq!(rows.len(), want.len());
        for (row, want) in rows.iter().zip(want) {
            let off = |got: f64, key: &str| (got / want[key].as_f64().unwrap() - 1.0).abs();
            let at = format!("{name} step {}: loss {} norm {} against {want}", row.step, row.loss, row.grad_norm);
            assert!(off(row.loss, "loss") < 1e-4 && off(row.grad_norm, "grad_norm") < 1e-3, "{at}");
        }
    }
}

//! Training from where the data lies: parquet without conversion, and several data sets in one run.
#![allow(clippy::unwrap_used)]

use crate::golden;
use burn::tensor::{DType, Device};
use lorascope::config::{MixStrategy, TrainConfig, layers};
use lorascope::data::convert;
use lorascope::data::encode::Encoder;
use lorascope::data::registry::{self, Captions, Entry};
use lorascope::demo;
use lorascope::job::{Event, StepRow};
use lorascope::model::qwen3_vl::Qwen3Vl;
use lorascope::train::run::{Setup, run};
use lorascope::train::split;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;

/// Steps and scores of a run.
fn train(config: &TrainConfig) -> (Vec<StepRow>, Vec<(String, f64)>) {
    let mut model =
        Qwen3Vl::load(&config.model_name_or_path, &Device::flex(), DType::F32, &|_, _| {}).unwrap();
    let encoder = Encoder::load(&config.model_name_or_path, config).unwrap();
    let heard = Mutex::new((Vec::new(), Vec::new()));
    let emit = |event: Event| match event {
        Event::Step(row) => heard.lock().unwrap().0.push(row),
        Event::Score { name, value, .. } => heard.lock().unwrap().1.push((name, value)),
        _ => {}
    };
    let setup = Setup { model: &mut model, encoder: &encoder, config, device: "cpu".into() };
    run(setup, &channel().1, &emit).unwrap();
    heard.into_inner().unwrap()
}

#[test]
fn parquet_trains_bit_for_bit_as_its_conversion() {
    let temp = tempfile::tempdir().unwrap();
    let paths = demo::unpack(temp.path()).unwrap();
    let job = &paths.conversions()[0];
    convert::run(job, &AtomicBool::new(false), &|_| {}).unwrap();
    let captions = Captions { question: job.question.clone(), ..Captions::default() };
    registry::register(&paths.data, "direct", &Entry::captioned(paths.train_parquet.clone(), captions))
        .unwrap();
    let mut losses = Vec::new();
    for name in [job.names[0].as_str(), "direct"] {
        let overrides =
            ["max_steps=3", "max_samples=24", "logging_steps=1", "save_steps=100"].map(String::from);
        let mut config = layers::load(Some(&paths.config), &overrides).unwrap();
        (config.dataset, config.eval_dataset) = (vec![name.into()], Vec::new());
        config.output_dir = temp.path().join(name);
        let steps = train(&config).0;
        assert_eq!(steps.len(), 3);
        losses.push(steps.iter().map(|s| (s.loss.to_bits(), s.grad_norm.to_bits())).collect::<Vec<_>>());
    }
    assert_eq!(losses[0], losses[1]);
}

/// Two data sets `a` and `b` of text, 10 and 5 rows, on the tiny model.
fn two(dir: &Path) -> TrainConfig {
    for (name, rows) in [("a", 10), ("b", 5)] {
        let talk = |i: usize| json!([{"from": "user", "value": format!("{name}{i}")}, {"from": "assistant", "value": "x"}]);
        let rows: Vec<Value> =
            (0..rows).map(|i| json!({"conversations": talk(i), "id": format!("{name}{i}")})).collect();
        fs::write(dir.join(format!("{name}.json")), json!(rows).to_string()).unwrap();
        registry::register(dir, name, &Entry::sharegpt(format!("{name}.json"))).unwrap();
    }
    TrainConfig {
        model_name_or_path: golden::path("models/tiny-dense"),
        dataset: vec!["a".into(), "b".into()],
        dataset_dir: dir.to_path_buf(),
        output_dir: dir.join("out"),
        ..TrainConfig::default()
    }
}

fn ids(config: &TrainConfig) -> Vec<String> {
    let encoder = Encoder::load(&config.model_name_or_path, config).unwrap();
    let split = split::load(config, &encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
    split.train.all.iter().map(|s| s.id.clone()).collect()
}

/// The orders that LLaMA-Factory 0.9.5 gives with these entries, `max_samples: 6` and seed 42.
#[test]
fn data_sets_are_drawn_and_mixed_in_llama_factorys_order() {
    let temp = tempfile::tempdir().unwrap();
    let mut config = two(temp.path());
    registry::edit(temp.path(), |entries| {
        entries["a"]["num_samples"] = json!(4);
        entries["b"]["num_samples"] = json!(12);
        Ok(())
    })
    .unwrap();
    config.max_samples = Some(6);
    assert_eq!(ids(&config), ["a8", "a1", "a5", "a0", "b1", "b0", "b3", "b4", "b2", "b4"]);
    config.mix_strategy = MixStrategy::InterleaveUnder;
    config.interleave_probs = Some("0.3,0.7".into());
    assert_eq!(ids(&config), ["b1", "b0", "b3", "b4", "a8", "b2", "b4"]);
    config.mix_strategy = MixStrategy::InterleaveOver;
    config.interleave_probs = None;
    let over = ["a8", "b1", "a1", "b0", "a5", "b3", "a0", "b4", "a8", "b2", "a1", "b4"];
    assert_eq!(ids(&config), over);
    // A name given twice counts once, as in LLaMA-Factory's table of data sets.
    config.dataset = vec!["a".into(), "a".into()];
    assert_eq!(ids(&config), ["a8", "a1", "a5", "a0"]);
}

#[test]
fn each_data_set_has_its_own_loss() {
    let temp = tempfile::tempdir().unwrap();
    let mut config = two(temp.path());
    config.eval_dataset = vec!["a".into(), "b".into()];
    config.eval_on_each_dataset = true;
    config.max_steps = 1;
    let (_, scores) = train(&config);
    let names: Vec<&str> = scores.iter().map(|s| s.0.as_str()).collect();
    assert_eq!(names, ["eval_a_loss", "eval_b_loss"]);
    assert!(scores.iter().all(|s| s.1.is_finite()) && scores[0].1 != scores[1].1);
    let results: Value =
        serde_json::from_slice(&fs::read(config.output_dir.join("eval_results.json")).unwrap()).unwrap();
    assert_eq!(
        (&results["eval_a_loss"], &results["eval_b_loss"]),
        (&scores[0].1.into(), &scores[1].1.into())
    );
}

#[test]
fn a_default_system_message_stands_where_there_is_none() {
    let temp = tempfile::tempdir().unwrap();
    let mut config = two(temp.path());
    let length = |config: &TrainConfig| {
        let encoder = Encoder::load(&config.model_name_or_path, config).unwrap();
        let split = split::load(config, &encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
        split.train.all.iter().map(|s| s.encoded.input_ids.len()).collect::<Vec<_>>()
    };
    let without = length(&config);
    config.default_system = Some("Be brief.".into());
    let with = length(&config);
    assert!(with.iter().zip(&without).all(|(with, without)| with > without));
    registry::edit(temp.path(), |entries| {
        entries["a"]["columns"]["system"] = json!("id");
        Ok(())
    })
    .unwrap();
    assert!(length(&config)[..10] != with[..10], "a sample's own message comes first");
}

//! Learning rates equal transformers', data orders torch's, adapter files survive a round trip.
#![allow(clippy::unwrap_used)]

use crate::golden;
use lorascope::config::{LrScheduler, TrainConfig, fields};
use lorascope::model::peft;
use lorascope::train::plateau::Plateau;
use lorascope::train::{packing, sampler, schedule};
use serde_json::Value;

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden::path(name)).unwrap()).unwrap()
}

#[test]
fn learning_rates_equal_transformers() {
    for row in json("schedules.json").as_array().unwrap() {
        let kind: LrScheduler = serde_json::from_value(row["scheduler"].clone()).unwrap();
        let config = TrainConfig {
            learning_rate: row["lr"].as_f64().unwrap(),
            lr_scheduler_type: kind,
            warmup_steps: row["warmup"].as_f64().unwrap(),
            min_lr: row["min_lr"].as_f64(),
            ..TrainConfig::default()
        };
        let total = row["total"].as_u64().unwrap() as usize;
        for (done, want) in row["rates"].as_array().unwrap().iter().enumerate() {
            let (got, want) = (schedule::lr(&config, total, done), want.as_f64().unwrap());
            assert!((got - want).abs() < 1e-12, "{kind:?} of {total}, {done} done: {got} against {want}");
        }
    }
}

/// `lr_scheduler_kwargs` of every schedule that takes some.
#[test]
fn schedules_take_transformers_arguments() {
    let golden = json("schedule_args.json");
    for row in golden["schedules"].as_array().unwrap() {
        let config = with_arguments(row);
        let total = row["total"].as_u64().unwrap() as usize;
        for (done, want) in row["rates"].as_array().unwrap().iter().enumerate() {
            let (got, want) = (schedule::lr(&config, total, done), want.as_f64().unwrap());
            assert!((got - want).abs() < 1e-15, "{row}: {done} done: {got} against {want}");
        }
    }
    for row in golden["plateau"].as_array().unwrap() {
        let (config, mut plateau) = (with_arguments(row), Plateau::default());
        for (loss, want) in row["losses"].as_array().unwrap().iter().zip(row["rates"].as_array().unwrap()) {
            plateau.step(&config, loss.as_f64().unwrap());
            assert!((plateau.lr(&config) - want.as_f64().unwrap()).abs() < 1e-15, "{row}: after {loss}");
        }
    }
}

fn with_arguments(row: &Value) -> TrainConfig {
    let kind = row["scheduler"].as_str().unwrap_or("reduce_lr_on_plateau");
    let mut config = TrainConfig { learning_rate: row["lr"].as_f64().unwrap(), ..TrainConfig::default() };
    fields::set(&mut config, "lr_scheduler_type", kind).unwrap();
    fields::set(&mut config, "lr_scheduler_kwargs", &row["kwargs"].to_string()).unwrap();
    config.warmup_steps = row["warmup"].as_f64().unwrap_or(0.0);
    config
}

#[test]
fn orders_equal_torch() {
    let orders = json("orders.json");
    for row in orders["randperm"].as_array().unwrap() {
        let (n, seed) = (row["n"].as_u64().unwrap() as usize, row["seed"].as_u64().unwrap());
        let want: Vec<usize> =
            row["order"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap() as usize).collect();
        let got = sampler::order(n, seed, 0, true);
        assert_eq!(got[..want.len()], want, "{n} samples, seed {seed}");
        assert_eq!(sampler::order(n, seed - 1, 1, true), got, "the epoch is added to the seed");
    }
    assert_eq!(sampler::order(4, 42, 3, false), [0, 1, 2, 3]);
}

#[test]
fn packs_equal_llama_factory() {
    for row in json("packs.json").as_array().unwrap() {
        let of = |key: &str| row[key].as_u64().unwrap() as usize;
        let list = |value: &Value| -> Vec<usize> {
            value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
        };
        let lengths = list(&row["lengths"]);
        let want: Vec<Vec<usize>> = row["packs"].as_array().unwrap().iter().map(list).collect();
        assert_eq!(packing::packs(&lengths, of("capacity"), of("batch")), want);
    }
}

#[test]
fn splits_equal_those_of_datasets() {
    for row in json("orders.json")["split"].as_array().unwrap() {
        let of = |key: &str| -> Vec<usize> {
            row[key].as_array().unwrap().iter().map(|i| i.as_u64().unwrap() as usize).collect()
        };
        let (n, seed) = (row["n"].as_u64().unwrap() as usize, row["seed"].as_u64().unwrap());
        let (train, eval) = sampler::val_split(n, row["val_size"].as_f64().unwrap(), seed);
        assert_eq!(eval.len() as u64, row["n_test"].as_u64().unwrap());
        let (want_train, want_eval) = (of("train"), of("test"));
        assert_eq!(eval[..want_eval.len()], want_eval, "{n} samples, seed {seed}");
        assert_eq!(train[..want_train.len()], want_train, "{n} samples, seed {seed}");
    }
}

#[test]
fn a_split_holds_out_what_is_asked_and_loses_nothing() {
    for (n, size, held) in [(10, 0.2, 2), (11, 0.2, 3), (10, 4.0, 4), (2, 5.0, 1), (1, 0.5, 0)] {
        let (train, eval) = sampler::val_split(n, size, 42);
        assert_eq!(eval.len(), held, "{size} of {n}");
        let mut all = [train, eval].concat();
        all.sort_unstable();
        assert_eq!(all, (0..n).collect::<Vec<_>>());
    }
}

#[test]
fn adapters_round_trip_as_peft_has_them() {
    for kind in ["dense", "moe"] {
        let from = golden::path(&format!("adapter_{kind}_final"));
        let (config, tensors) = peft::load(&from).unwrap();
        assert_eq!((config.r, config.scale()), (4, 2.0));
        let dir = tempfile::tempdir().unwrap();
        peft::save(dir.path(), &config, &tensors).unwrap();
        assert!(peft::load(dir.path()).unwrap() == (config, tensors), "{kind}");
        let text = |dir: &std::path::Path| -> Value {
            serde_json::from_slice(&std::fs::read(dir.join("adapter_config.json")).unwrap()).unwrap()
        };
        assert_eq!(text(dir.path()), text(&from), "every key of peft is kept");
    }
}

/// The keys that we write ourselves are those of peft 0.18.1.
#[test]
fn a_new_adapter_configuration_has_pefts_keys() {
    let (golden, _) = peft::load(&golden::path("adapter_dense_final")).unwrap();
    let ours = peft::AdapterConfig::new(&TrainConfig::default(), vec!["q_proj".into()], Vec::new());
    let keys = |c: &peft::AdapterConfig| {
        let mut keys: Vec<String> = c.rest.keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&ours), keys(&golden));
}

#[test]
fn what_is_no_adapter_is_refused_by_name() {
    let error = peft::load(&golden::path("models/tiny-dense")).unwrap_err();
    assert!(error.message.contains("tiny-dense") && error.message.contains("adapter_config.json"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("adapter_config.json"),
        r#"{"peft_type": "IA3", "r": 1, "lora_alpha": 1}"#,
    )
    .unwrap();
    assert!(peft::load(dir.path()).unwrap_err().message.contains("IA3"));
    std::fs::write(
        dir.path().join("adapter_config.json"),
        r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 1}"#,
    )
    .unwrap();
    std::fs::write(dir.path().join("adapter_model.safetensors"), b"not safetensors").unwrap();
    assert!(peft::load(dir.path()).unwrap_err().message.contains("damaged"));
}

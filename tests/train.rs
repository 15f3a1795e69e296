//! Training equals LLaMA-Factory's run, step for step; a resumed run equals an uninterrupted one, bit for bit.
#![allow(clippy::unwrap_used)]

use crate::golden;
use burn::tensor::{DType, Device};
use lorascope::config::TrainConfig;
use lorascope::data::encode::Encoder;
use lorascope::error::{Kind, Result};
use lorascope::job::{Command, Event, StepRow};
use lorascope::model::lora::{Grads, Pass};
use lorascope::model::peft;
use lorascope::model::qwen3_vl::Qwen3Vl;
use lorascope::train::clock::Clock;
use lorascope::train::run::{Setup, run};
use lorascope::train::step::{Keep, Watch, forward_backward, watched};
use lorascope::train::{init, split};
use serde_json::Value;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};

/// LLaMA-Factory's settings of the golden runs.
fn config(kind: &str, out: &Path) -> TrainConfig {
    let fixtures = golden::path("");
    TrainConfig {
        model_name_or_path: fixtures.join(format!("models/tiny-{kind}")),
        adapter_name_or_path: Some(fixtures.join(format!("adapter_{kind}_initial"))),
        dataset: vec!["mllm_train_data".into()],
        dataset_dir: fixtures.join("data"),
        image_max_pixels: 65536,
        image_min_pixels: 1024,
        lora_rank: 4,
        lora_alpha: Some(8.0),
        per_device_train_batch_size: 3,
        gradient_accumulation_steps: 2,
        learning_rate: 5e-3,
        num_train_epochs: 3.0,
        warmup_ratio: 0.1,
        disable_shuffling: true,
        logging_steps: 1,
        save_steps: 100,
        output_dir: out.to_path_buf(),
        ..TrainConfig::default()
    }
}

fn train(
    config: &TrainConfig,
    inbox: &Receiver<Command>,
    on_event: impl Fn(&Event) + Sync,
) -> (Result<Value>, Vec<StepRow>) {
    let mut model =
        Qwen3Vl::load(&config.model_name_or_path, &Device::flex(), DType::F32, &|_, _| {}).unwrap();
    let encoder = Encoder::load(&config.model_name_or_path, config).unwrap();
    let rows = Mutex::new(Vec::new());
    let emit = |e: Event| {
        on_event(&e);
        if let Event::Step(row) = e {
            rows.lock().unwrap().push(row);
        }
    };
    let setup = Setup { model: &mut model, encoder: &encoder, config, device: "cpu".into() };
    let result = run(setup, inbox, &emit);
    (result, rows.into_inner().unwrap())
}

fn relative(got: f64, want: f64) -> f64 {
    (got - want).abs() / want.abs()
}

#[test]
fn losses_rates_norms_and_adapter_equal_llama_factory() {
    for kind in ["dense", "moe"] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(kind, dir.path());
        let (result, rows) = train(&config, &channel().1, |_| {});
        let golden: Value =
            serde_json::from_slice(&std::fs::read(golden::path(&format!("train_{kind}.json"))).unwrap())
                .unwrap();
        let history = golden["log_history"].as_array().unwrap();
        assert_eq!(rows.len(), 12);
        for (row, want) in rows.iter().zip(history) {
            let of = |key: &str| want[key].as_f64().unwrap();
            let at = format!("{kind} step {}", row.step);
            assert!(relative(row.loss, of("loss")) < 1e-3, "{at}: loss {} against {}", row.loss, of("loss"));
            assert!((row.lr - of("learning_rate")).abs() < 1e-9, "{at}: lr {}", row.lr);
            assert!(
                relative(row.grad_norm, of("grad_norm")) < 0.01,
                "{at}: norm {} against {}",
                row.grad_norm,
                of("grad_norm")
            );
            assert_eq!(row.epoch, of("epoch"), "{at}");
        }
        let results = &result.unwrap()["results"];
        assert_eq!(results["total_flos"], history[12]["total_flos"], "{kind}");
        let mean = results["train_loss"].as_f64().unwrap();
        assert!(relative(mean, history[12]["train_loss"].as_f64().unwrap()) < 1e-3, "{mean}");
        let (_, got) = peft::load(dir.path()).unwrap();
        let (_, want) = peft::load(&golden::path(&format!("adapter_{kind}_final"))).unwrap();
        assert_eq!(got.len(), want.len());
        for w in &want {
            let g = got.iter().find(|g| g.name == w.name).unwrap();
            let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let off = norm(&mut g.values.iter().zip(&w.values).map(|(a, b)| a - b))
                / norm(&mut w.values.iter().copied());
            assert!(off < 1e-2, "{kind} {}: {off}", w.name);
        }
    }
}

/// Computing a layer again on the way back gives the gradients that keeping everything gives, bit for bit.
#[test]
fn recomputed_layers_give_the_same_gradients() {
    for kind in ["dense", "moe"] {
        let config = config(kind, Path::new("unused"));
        let mut model =
            Qwen3Vl::load(&config.model_name_or_path, &Device::flex(), DType::F32, &|_, _| {}).unwrap();
        let encoder = Encoder::load(&config.model_name_or_path, &config).unwrap();
        let mut data = split::load(&config, &encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
        let mut adapter = init::from_folder(&model, config.adapter_name_or_path.as_ref().unwrap()).unwrap();
        adapter.dropout = 0.1;
        model.attach(&adapter).unwrap();
        let (pack, targets) = data.train.pack(&model, &encoder, &[0, 1, 2]).unwrap();
        let pass = Pass { adapter: Some(&adapter), dropout_key: Some(7) };
        let gradients = |keep| {
            let mut grads = Grads::new(adapter.pairs.len());
            forward_backward(&model, &pass, (&pack, &targets), (1.0, keep), &mut grads);
            let all = grads.a.into_iter().chain(grads.b);
            all.map(|g| g.expect("every pair has a gradient").into_data()).collect::<Vec<_>>()
        };
        assert!(gradients(Keep::All) == gradients(Keep::Inputs), "{kind}");
    }
}

/// A pass can be called off before each layer, on the way there and on the way back.
#[test]
fn a_pass_is_called_off_between_layers() {
    let config = config("dense", Path::new("unused"));
    let mut model =
        Qwen3Vl::load(&config.model_name_or_path, &Device::flex(), DType::F32, &|_, _| {}).unwrap();
    let encoder = Encoder::load(&config.model_name_or_path, &config).unwrap();
    let mut data = split::load(&config, &encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
    let adapter = init::from_folder(&model, config.adapter_name_or_path.as_ref().unwrap()).unwrap();
    model.attach(&adapter).unwrap();
    let (pack, targets) = data.train.pack(&model, &encoder, &[0]).unwrap();
    let pass = Pass { adapter: Some(&adapter), dropout_key: None };
    // How often is asked, and whether the pass came to its end, if the answer is yes after `patience` times.
    let pass_until = |patience: usize| {
        let (mut asked, mut clock) = (0, Clock::default());
        let mut stop = || {
            asked += 1;
            asked > patience
        };
        let watch = Watch { clock: &mut clock, stop: &mut stop };
        let mut grads = Grads::new(adapter.pairs.len());
        let ended =
            watched(&model, &pass, (&pack, &targets), (1.0, Keep::All), (&mut grads, watch)).is_some();
        (asked, ended)
    };
    let layers = model.text.blocks.len();
    assert_eq!(pass_until(usize::MAX), (2 * layers, true));
    for patience in 0..2 * layers {
        assert_eq!(pass_until(patience), (patience + 1, false));
    }
}

/// With dropout, shuffling and a stop in the middle of an epoch.
#[test]
fn resume_equals_uninterrupted_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let settings = |name: &str| TrainConfig {
        adapter_name_or_path: None,
        lora_dropout: 0.1,
        disable_shuffling: false,
        max_steps: 7,
        ..config("dense", &dir.path().join(name))
    };
    let whole = settings("whole");
    let (result, rows) = train(&whole, &channel().1, |_| {});
    result.unwrap();

    let parts = settings("parts");
    let (say, inbox) = channel();
    let (result, before) = train(&parts, &inbox, |e| {
        if matches!(e, Event::Step(row) if row.step == 3) {
            say.send(Command::Stop { save: true }).unwrap();
        }
    });
    assert_eq!(result.unwrap_err().kind, Kind::Stopped);
    let (result, after) = train(&parts, &channel().1, |_| {});
    result.unwrap();
    let losses = |rows: &[StepRow]| {
        rows.iter().map(|r| (r.step, r.loss.to_bits(), r.grad_norm.to_bits())).collect::<Vec<_>>()
    };
    assert_eq!([losses(&before), losses(&after)].concat(), losses(&rows));
    let adapter = |c: &TrainConfig| std::fs::read(c.output_dir.join("adapter_model.safetensors")).unwrap();
    assert!(adapter(&whole) == adapter(&parts), "the adapters differ");
    let log = |c: &TrainConfig| {
        std::fs::read_to_string(c.output_dir.join("trainer_log.jsonl")).unwrap().lines().count()
    };
    assert_eq!(log(&whole), log(&parts));
}

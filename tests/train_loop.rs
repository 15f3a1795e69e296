//! The training loop: stops, changes, skips and packs, and that a resumed run equals an uninterrupted one with each.
#![allow(clippy::unwrap_used)]

use crate::golden;
use burn::tensor::{DType, Device, Tensor};
use lorascope::config::{LrScheduler, ScheduleArgs, Strategy, TrainConfig};
use lorascope::data::encode::Encoder;
use lorascope::error::{Error, Kind, Result};
use lorascope::eval::loss;
use lorascope::job::{Command, Event, Phase, StepRow};
use lorascope::model::embedding::Embedding;
use lorascope::model::qwen3_vl::Qwen3Vl;
use lorascope::train::run::{Setup, run};
use lorascope::train::split;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};

/// Seven updates of two micro-batches on the golden data.
fn config(out: &Path) -> TrainConfig {
    let fixtures = golden::path("");
    TrainConfig {
        model_name_or_path: fixtures.join("models/tiny-dense"),
        dataset: vec!["mllm_train_data".into()],
        dataset_dir: fixtures.join("data"),
        image_max_pixels: 65536,
        image_min_pixels: 1024,
        lora_rank: 4,
        lora_dropout: 0.1,
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        learning_rate: 5e-3,
        lr_scheduler_type: LrScheduler::Linear,
        max_steps: 7,
        logging_steps: 1,
        output_dir: out.to_path_buf(),
        ..TrainConfig::default()
    }
}

/// With an evaluation on four samples after each second update.
pub fn evaluated(out: &Path) -> TrainConfig {
    TrainConfig { val_size: 4.0, eval_steps: 2, per_device_eval_batch_size: 2, save_steps: 2, ..config(out) }
}

pub struct Run {
    pub result: Result<Value>,
    pub events: Vec<Event>,
}

impl Run {
    pub fn steps(&self) -> Vec<&StepRow> {
        self.events.iter().filter_map(|e| if let Event::Step(row) = e { Some(row) } else { None }).collect()
    }

    /// Step and bits of loss, norm and rate: what must not differ.
    pub fn exact(&self) -> Vec<(usize, [u64; 3])> {
        let bits = |r: &&StepRow| (r.step, [r.loss.to_bits(), r.grad_norm.to_bits(), r.lr.to_bits()]);
        self.steps().iter().map(bits).collect()
    }

    pub fn scores(&self) -> Vec<(usize, u64)> {
        let score = |e: &Event| match e {
            Event::Score { value, step: Some(step), .. } => Some((*step, value.to_bits())),
            _ => None,
        };
        self.events.iter().filter_map(score).collect()
    }

    fn says(&self, part: &str) -> bool {
        self.events.iter().any(|e| matches!(e, Event::Log { line, .. } if line.contains(part)))
    }
}

fn model(config: &TrainConfig) -> (Qwen3Vl, Encoder) {
    let dir = &config.model_name_or_path;
    let model = Qwen3Vl::load(dir, &Device::flex(), DType::F32, &|_, _| {}).unwrap();
    (model, Encoder::load(dir, config).unwrap())
}

/// Trains; `on_event` may say something to the run.
pub fn train(config: &TrainConfig, on_event: impl Fn(&Event, &Sender<Command>) + Sync) -> Run {
    train_with(config, &mut model(config), on_event)
}

fn train_with(
    config: &TrainConfig,
    (model, encoder): &mut (Qwen3Vl, Encoder),
    on_event: impl Fn(&Event, &Sender<Command>) + Sync,
) -> Run {
    let (say, inbox) = channel();
    let say = Mutex::new(say);
    let events = Mutex::new(Vec::new());
    let emit = |e: Event| {
        on_event(&e, &say.lock().unwrap());
        events.lock().unwrap().push(e);
    };
    let setup = Setup { model, encoder, config, device: "cpu".into() };
    let result = run(setup, &inbox, &emit);
    Run { result, events: events.into_inner().unwrap() }
}

pub fn at_step(e: &Event, step: usize) -> bool {
    matches!(e, Event::Step(row) if row.step == step)
}

pub fn stop(say: &Sender<Command>, save: bool) {
    say.send(Command::Stop { save }).unwrap();
}

fn set(say: &Sender<Command>, key: &str, value: &str) {
    say.send(Command::Set { key: key.into(), value: value.into() }).unwrap();
}

pub fn adapter(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("adapter_model.safetensors")).unwrap()
}

pub fn state(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("trainer_state.json")).unwrap()).unwrap()
}

pub fn stopped(result: Result<Value>) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind, Kind::Stopped, "{error}");
    error
}

/// The log without its times.
pub fn log(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("trainer_log.jsonl")).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for time in ["elapsed_time", "remaining_time"] {
            line.as_object_mut().unwrap().remove(time);
        }
        line
    };
    text.lines().map(line).collect()
}

#[test]
fn a_pack_has_the_loss_of_its_samples_alone() {
    let config = TrainConfig { packing: true, cutoff_len: 400, ..config(Path::new("unused")) };
    let (model, encoder) = model(&config);
    let mut data = split::load(&config, &encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
    let mut of = |places: &[usize]| {
        let (pack, targets) = data.train.pack(&model, &encoder, places).unwrap();
        let mean = loss::mean(&model, None, &pack, &targets).into_data().try_to_vec::<f32>().unwrap()[0];
        (f64::from(mean), targets.len() as f64)
    };
    let places = [4, 0, 7];
    let (together, labels) = of(&places);
    let alone: f64 = places.iter().map(|p| of(&[*p])).map(|(mean, n)| mean * n).sum::<f64>() / labels;
    assert!((together - alone).abs() < 1e-5, "{together} against {alone}");
}

#[test]
fn packs_make_fewer_updates_and_go_on_where_they_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let packed = |name: &str| TrainConfig {
        packing: true,
        cutoff_len: 500,
        max_steps: -1,
        num_train_epochs: 2.0,
        per_device_train_batch_size: 1,
        ..config(&dir.path().join(name))
    };
    let plain = TrainConfig { packing: false, ..packed("plain") };
    let (whole, parts) = (packed("whole"), packed("parts"));
    let run = train(&whole, |_, _| {});
    run.result.as_ref().unwrap();
    let samples: usize = run.steps().iter().map(|r| r.samples).sum();
    assert_eq!(samples, 2 * 22, "each sample once in an epoch");
    let total = |run: &Run| run.steps()[0].total_steps;
    let unpacked = train(&plain, |e, say| {
        if at_step(e, 1) {
            stop(say, false);
        }
    });
    assert!(total(&run) < total(&unpacked), "{} against {}", total(&run), total(&unpacked));

    let before = train(&parts, |e, say| {
        if at_step(e, 2) {
            stop(say, true);
        }
    });
    stopped(before.result.clone());
    let other = TrainConfig { cutoff_len: 300, ..parts.clone() };
    let refused = train(&other, |_, _| {}).result.unwrap_err();
    assert!(refused.message.contains("packs"), "{refused}");
    let after = train(&parts, |_, _| {});
    assert_eq!([before.exact(), after.exact()].concat(), run.exact());
    assert!(adapter(&whole.output_dir) == adapter(&parts.output_dir), "the adapters differ");
}

/// With a rate that makes the evaluation worse and worse.
#[test]
fn training_ends_early_with_the_best_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let early = |name: &str| TrainConfig {
        max_steps: 40,
        eval_steps: 1,
        save_steps: 1,
        learning_rate: 0.3,
        lr_scheduler_type: LrScheduler::Constant,
        early_stopping_steps: Some(3),
        load_best_model_at_end: true,
        save_total_limit: Some(1),
        ..evaluated(&dir.path().join(name))
    };
    let whole = early("whole");
    let run = train(&whole, |_, _| {});
    let summary = run.result.as_ref().unwrap();
    let losses: Vec<(usize, f64)> =
        run.scores().into_iter().map(|(step, bits)| (step, f64::from_bits(bits))).collect();
    let best = losses.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let steps = summary["steps"].as_u64().unwrap() as usize;
    assert!(steps < 40 && steps == best.0 + 3, "{losses:?}");
    let out = &whole.output_dir;
    let state = state(out);
    assert_eq!(
        (state["best_metric"].as_f64(), state["best_global_step"].as_u64()),
        (Some(best.1), Some(best.0 as u64))
    );
    let checkpoint = out.join(format!("checkpoint-{}", best.0));
    assert_eq!(state["best_model_checkpoint"], checkpoint.display().to_string());
    assert!(adapter(out) == adapter(&checkpoint), "the result is the best adapter");
    let mut left: Vec<String> =
        fs::read_dir(out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.retain(|name| name.contains("checkpoint"));
    left.sort();
    let mut kept = [format!("checkpoint-{}", best.0), format!("checkpoint-{steps}")];
    kept.sort();
    assert_eq!(left, kept, "the best and the newest");
    let results: Value = serde_json::from_slice(&fs::read(out.join("eval_results.json")).unwrap()).unwrap();
    assert_eq!(results["eval_loss"].as_f64(), Some(best.1));
    let again = train(&whole, |_, _| {});
    assert!(again.result.is_ok() && again.says("ended early") && again.steps().is_empty());

    // Patience and best value are a part of what is resumed.
    let parts = early("parts");
    let before = train(&parts, |e, say| {
        if at_step(e, best.0 + 1) {
            stop(say, true);
        }
    });
    stopped(before.result.clone());
    let after = train(&parts, |_, _| {});
    assert_eq!([before.exact(), after.exact()].concat(), run.exact());
    assert_eq!([before.scores(), after.scores()].concat(), run.scores());
    assert!(adapter(out) == adapter(&parts.output_dir), "the adapters differ");
}

/// Stopped in the middle of an evaluation, a run does it again, and nothing else twice.
#[test]
fn a_stop_is_heard_during_an_evaluation() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (evaluated(&dir.path().join("whole")), evaluated(&dir.path().join("parts")));
    let run = train(&whole, |_, _| {});
    run.result.as_ref().unwrap();
    let before = train(&parts, |e, say| {
        if matches!(e, Event::Progress { phase: Phase::Evaluating, done: 2, .. }) {
            stop(say, true);
        }
    });
    stopped(before.result.clone());
    assert!(before.scores().is_empty() && before.steps().len() == 2);
    let after = train(&parts, |_, _| {});
    after.result.as_ref().unwrap();
    assert_eq!([before.exact(), after.exact()].concat(), run.exact());
    assert_eq!(after.scores(), run.scores());
    assert_eq!(run.scores().iter().map(|s| s.0).collect::<Vec<_>>(), [2, 4, 6, 7], "and at the end");
    assert_eq!(log(&whole.output_dir), log(&parts.output_dir));
    assert!(adapter(&whole.output_dir) == adapter(&parts.output_dir), "the adapters differ");
}

#[test]
fn a_stop_is_heard_while_samples_are_encoded() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let run = train(&config, |e, say| {
        if matches!(e, Event::Progress { phase: Phase::Encoding, done: 0, .. }) {
            stop(say, true);
        }
    });
    stopped(run.result.clone());
    assert!(run.steps().is_empty());
}

/// Log intervals, rates and checkpoints change while the run goes on; it is resumed from before and after them.
#[test]
fn settings_change_and_a_resumed_run_changes_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let changing =
        |name: &str| TrainConfig { save_steps: 4, logging_steps: 1, ..config(&dir.path().join(name)) };
    let say_changes = |e: &Event, say: &Sender<Command>| {
        if at_step(e, 2) {
            set(say, "learning_rate", "x0.5");
        }
        if at_step(e, 5) {
            set(say, "logging_steps", "2");
            set(say, "lora_rank", "8");
        }
    };
    let whole = changing("whole");
    let run = train(&whole, say_changes);
    run.result.as_ref().unwrap();
    assert!(run.says("learning_rate is 0.0025 from step 3 on (it was 0.005)"));
    assert!(run.says("lora_rank cannot be changed"));
    let rates: Vec<(usize, f64)> = run.steps().iter().map(|r| (r.step, r.lr)).collect();
    let linear = |peak: f64, step: usize| peak * (8 - step) as f64 / 7.0;
    for (step, rate) in &rates {
        let peak = if *step <= 2 { 5e-3 } else { 2.5e-3 };
        assert!((rate - linear(peak, *step)).abs() < 1e-12, "step {step}: {rate}");
    }
    assert_eq!(rates.iter().map(|r| r.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    let changed: Vec<Value> =
        log(&whole.output_dir).iter().filter_map(|l| l.get("changed").cloned()).collect();
    assert_eq!(
        changed,
        [serde_json::json!({ "learning_rate": 0.0025 }), serde_json::json!({ "logging_steps": 2 })]
    );

    // As if it had been killed after step 6: the second change is not in the checkpoint of step 4.
    let parts = changing("parts");
    let before = train(&parts, |e, say| {
        say_changes(e, say);
        if matches!(e, Event::Progress { phase: Phase::Training, done: 6, .. }) {
            stop(say, false);
        }
    });
    stopped(before.result.clone());
    let after = train(&parts, |_, _| {});
    after.result.as_ref().unwrap();
    assert!(after.steps().iter().map(|r| r.step).eq([5, 6, 7]));
    assert_eq!(after.exact(), run.exact()[4..]);
    assert_eq!(log(&whole.output_dir), log(&parts.output_dir));
    assert!(adapter(&whole.output_dir) == adapter(&parts.output_dir), "the adapters differ");
}

/// A loss log between two checkpoints goes on with what was summed up before the stop.
#[test]
fn a_stop_between_two_log_lines_loses_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| TrainConfig { logging_steps: 3, ..config(&dir.path().join(name)) };
    let (whole, parts) = (of("whole"), of("parts"));
    train(&whole, |_, _| {}).result.unwrap();
    let before = train(&parts, |e, say| {
        if matches!(e, Event::Progress { phase: Phase::Training, done: 5, .. }) {
            stop(say, true);
        }
    });
    stopped(before.result);
    train(&parts, |_, _| {}).result.unwrap();
    assert_eq!(log(&whole.output_dir), log(&parts.output_dir));
}

/// The golden data in `DIR/data`, to be spoiled.
fn copy_of_data(dir: &Path) -> PathBuf {
    let (from, data) = (golden::path("data"), dir.join("data"));
    fs::create_dir_all(data.join("img")).unwrap();
    for file in ["dataset_info.json", "mllm_train_data.json"] {
        fs::copy(from.join(file), data.join(file)).unwrap();
    }
    for file in fs::read_dir(from.join("img")).unwrap().map(|e| e.unwrap()) {
        fs::copy(file.path(), data.join("img").join(file.file_name())).unwrap();
    }
    data
}

/// A token that only one sample has, with an embedding that is no number.
fn poison(config: &TrainConfig, (model, encoder): &mut (Qwen3Vl, Encoder)) -> String {
    let data = split::load(config, encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
    let ids = |i: usize| data.train.all[i].encoded.input_ids.clone();
    let all = data.train.all.len();
    let (sample, token) = (8..all)
        .find_map(|i| {
            let others: Vec<u32> = (0..all).filter(|j| *j != i).flat_map(ids).collect();
            ids(i).into_iter().find(|token| !others.contains(token)).map(|token| (i, token))
        })
        .expect("a sample has a token of its own");
    let Embedding::Tensor(embed) = &mut model.text.embed else { panic!("it is the head too") };
    let bad = Tensor::full([1, embed.dims()[1]], f32::NAN, (&model.device, DType::F32));
    let row = token as usize;
    *embed = embed.clone().slice_assign([row..row + 1, 0..bad.dims()[1]], bad);
    data.train.all[sample].id.clone()
}

#[test]
fn a_bad_batch_stops_the_run_or_is_skipped_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let data = copy_of_data(dir.path());
    let file = data.join("mllm_train_data.json");
    let mut rows: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    rows[13]["conversations"][1]["value"] = "A CT of the §¶ lung.".into();
    fs::write(&file, rows.to_string()).unwrap();
    let of = |name: &str, skip| TrainConfig {
        dataset_dir: data.clone(),
        skip_bad_batch: skip,
        disable_shuffling: true,
        max_steps: -1,
        num_train_epochs: 1.0,
        ..config(&dir.path().join(name))
    };
    let stopping = of("stop", false);
    let mut parts = model(&stopping);
    let id = poison(&stopping, &mut parts);
    let run = train_with(&stopping, &mut parts, |_, _| {});
    let error = run.result.as_ref().unwrap_err();
    assert!(error.kind == Kind::Training && error.message.contains(&id), "{error}");
    let done = run.steps().len();
    assert!(stopping.output_dir.join(format!("checkpoint-{done}/optimizer.safetensors")).exists());
    let listed = |c: &TrainConfig| -> Value {
        serde_json::from_slice(&fs::read(c.output_dir.join("bad_batch.json")).unwrap()).unwrap()
    };
    let list = listed(&stopping);
    assert_eq!((list[0]["step"].as_u64(), list[0]["value"].as_str()), (Some(done as u64 + 1), Some("NaN")));
    assert!(list[0]["samples"].as_array().unwrap().iter().any(|s| s["id"] == id.as_str()), "{list}");

    let skipping = of("skip", true);
    let run = train_with(&skipping, &mut parts, |_, _| {});
    let summary = run.result.as_ref().unwrap();
    assert_eq!(summary["skipped_updates"], 1);
    assert!(run.steps().iter().all(|r| r.loss.is_finite()) && run.steps().len() == 5);
    assert_eq!(listed(&skipping).as_array().unwrap().len(), 1);
    assert!(summary["results"]["train_loss"].as_f64().unwrap().is_finite());

    // The same, stopped after the skipped update: the optimizer counts its own updates.
    let resumed = of("resumed", true);
    let before = train_with(&resumed, &mut parts, |e, say| {
        if matches!(e, Event::Progress { phase: Phase::Training, done, .. } if *done == run.steps().len()) {
            stop(say, true);
        }
    });
    stopped(before.result.clone());
    train_with(&resumed, &mut parts, |_, _| {}).result.unwrap();
    assert!(adapter(&skipping.output_dir) == adapter(&resumed.output_dir), "the adapters differ");
}

/// When every batch is bad, it is not the batch.
#[test]
fn not_every_batch_can_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { skip_bad_batch: true, max_steps: 40, ..config(dir.path()) };
    let mut parts = model(&config);
    parts.0.text.norm = parts.0.text.norm.clone().mul_scalar(f32::NAN);
    let run = train_with(&config, &mut parts, |_, _| {});
    let error = run.result.unwrap_err();
    assert!(error.hint.as_ref().unwrap().contains("5 batches in a row"), "{error:?}");
}

#[test]
fn a_picture_that_is_lost_costs_its_sample_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = copy_of_data(dir.path());
    let config = TrainConfig {
        dataset_dir: data.clone(),
        disable_shuffling: true,
        max_steps: 5,
        ..config(&dir.path().join("out"))
    };
    let run = train(&config, |e, _| {
        if at_step(e, 1) {
            fs::remove_file(data.join("img/6.png")).unwrap();
            fs::write(data.join("img/9.png"), b"no picture any more").unwrap();
        }
    });
    let summary = run.result.as_ref().unwrap();
    let lost: Vec<&Event> = run.events.iter().filter(|e| matches!(e, Event::Finding(_))).collect();
    assert_eq!(lost.len(), summary["skipped_samples"].as_u64().unwrap() as usize, "{lost:?}");
    assert!(!lost.is_empty() && run.says("training goes on without a sample"));
    assert!(run.steps().iter().map(|r| r.step).eq(1..=5));
    assert_eq!(run.steps().iter().map(|r| r.samples).sum::<usize>(), 20 - lost.len());
}

/// Something is in the way of a checkpoint (as a full disk is): the run goes on, and saves at the next update.
#[test]
fn a_checkpoint_that_cannot_be_saved_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { save_steps: 2, max_steps: 5, ..config(dir.path()) };
    let in_the_way = dir.path().join(".checkpoint-2.tmp");
    let run = train(&config, |e, _| {
        if at_step(e, 1) {
            fs::write(&in_the_way, b"").unwrap();
        }
    });
    run.result.as_ref().unwrap();
    assert!(run.says("checkpoint not saved, training goes on") && run.says("tried again at step 3"));
    assert!(!dir.path().join("checkpoint-2").exists() && dir.path().join("checkpoint-3").exists());
}

/// A long run goes through its worst micro-batch before the first update, and times the first ones: its numbers are those
/// of a run that is too short for that.
#[test]
fn a_rehearsal_changes_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let of = |steps: usize| {
        let config = TrainConfig {
            per_device_train_batch_size: 1,
            gradient_accumulation_steps: 1,
            lr_scheduler_type: LrScheduler::Constant,
            max_steps: steps as i64,
            ..config(&dir.path().join(steps.to_string()))
        };
        train(&config, |_, _| {})
    };
    let (short, long) = (of(63), of(64));
    let rehearsed = |run: &Run| (run.says("worst micro-batch"), run.says("an update takes"));
    assert_eq!((rehearsed(&short), rehearsed(&long)), ((false, false), (true, true)));
    let warm = |e: &Event| matches!(e, Event::Progress { phase: Phase::WarmingUp, .. });
    assert!(long.events.iter().any(warm) && !short.events.iter().any(warm));
    assert!(short.exact() == long.exact()[..63]);
}

/// Whether activations are kept or layers computed again is said, and changes no number.
#[test]
fn what_is_kept_follows_the_memory_or_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let of = |asked: Option<bool>, name: &str| {
        let config = TrainConfig {
            disable_gradient_checkpointing: asked,
            max_steps: 3,
            ..config(&dir.path().join(name))
        };
        train(&config, |_, _| {})
    };
    let (free, again) = (of(None, "free"), of(Some(false), "again"));
    assert!(free.says("all activations kept") && again.says("layers computed again"));
    assert!(free.exact() == again.exact());
    assert!(adapter(&dir.path().join("free")) == adapter(&dir.path().join("again")));
}

/// `reduce_lr_on_plateau` follows the evaluations, and a resumed run remembers them.
#[test]
fn the_rate_falls_on_a_plateau() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| TrainConfig {
        lr_scheduler_type: LrScheduler::ReduceLrOnPlateau,
        lr_scheduler_kwargs: ScheduleArgs::try_from(
            "{patience: 0, threshold: 1000, threshold_mode: abs}".to_string(),
        )
        .unwrap(),
        eval_steps: 1,
        max_steps: 5,
        save_strategy: Strategy::No,
        ..evaluated(&dir.path().join(name))
    };
    let (whole, parts) = (of("whole"), of("parts"));
    let run = train(&whole, |_, _| {});
    run.result.as_ref().unwrap();
    let rates: Vec<f64> = run.steps().iter().map(|r| r.lr).collect();
    for (i, rate) in rates.iter().enumerate() {
        let want = 5e-3 * 0.1f64.powi(i.saturating_sub(1) as i32);
        assert!((rate / want - 1.0).abs() < 1e-9, "{rates:?}");
    }
    assert!(!whole.output_dir.join("checkpoint-5").exists(), "save_strategy: no");
    let before = train(&parts, |e, say| {
        if at_step(e, 3) {
            stop(say, true);
        }
    });
    stopped(before.result.clone());
    let after = train(&parts, |_, _| {});
    assert_eq!([before.exact(), after.exact()].concat(), run.exact());
}

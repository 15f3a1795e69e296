//! Adapters outside the text decoder, DoRA and experts: training equals LLaMA-Factory's, gradients equal differences.
#![allow(clippy::unwrap_used)]

use crate::golden;
use burn::tensor::{DType, Device, Tensor, TensorData};
use lorascope::config::{TrainConfig, fields};
use lorascope::data::encode::Encoder;
use lorascope::eval::loss::Targets;
use lorascope::job::{Event, StepRow};
use lorascope::model::lora::{Adapter, Grads, Pass};
use lorascope::model::mlp::Mlp;
use lorascope::model::qwen3_vl::{Pack, Qwen3Vl};
use lorascope::model::text::{Block, BlockSaved, Visual};
use lorascope::model::{ModelConfig, dora, peft, targets};
use lorascope::train::run::{Setup, run};
use lorascope::train::step::{Keep, forward_backward};
use lorascope::train::{checkpoint, init, report, split};
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
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        learning_rate: 5e-3,
        max_steps: 3,
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
    run(Setup { model: &mut model, encoder: &encoder, config, device: "cpu".into() }, &channel().1, &emit)
        .unwrap();
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

/// Losses within 1e-4 and gradient norms within 1e-3 of LLaMA-Factory's over three updates: both compute in f32, but
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
        // peft shortens lists of 20 names and more.
        if adapter.pairs.len() >= 20 && golden["target_parameters"].is_null() {
            let saved = peft::load(&start.output_dir).unwrap().0.target_modules;
            assert!(saved == golden["target_modules"], "{name}: {saved}");
        }
        let config = TrainConfig {
            adapter_name_or_path: Some(start.output_dir),
            ..settings(&golden, &dir.path().join("run"))
        };
        let rows = steps(&config);
        let want = golden["steps"].as_array().unwrap();
        assert_eq!(rows.len(), want.len());
        for (row, want) in rows.iter().zip(want) {
            let off = |got: f64, key: &str| (got / want[key].as_f64().unwrap() - 1.0).abs();
            let at =
                format!("{name} step {}: loss {} norm {} against {want}", row.step, row.loss, row.grad_norm);
            assert!(off(row.loss, "loss") < 1e-4 && off(row.grad_norm, "grad_norm") < 1e-3, "{at}");
        }
    }
}

/// A filled adapter, the model it is attached to, and a pack of the golden data.
struct Ready {
    model: Qwen3Vl,
    adapter: Adapter,
    pack: Pack,
    targets: Targets,
}

fn ready(kind: &str, change: impl Fn(&mut TrainConfig)) -> Ready {
    let mut config = config(kind, Path::new("unused"));
    change(&mut config);
    let mut model = load(&config);
    let encoder = Encoder::load(&config.model_name_or_path, &config).unwrap();
    let mut adapter = init::fresh(&model, &config).unwrap();
    fill(&mut adapter);
    model.attach(&adapter).unwrap();
    let mut data = split::load(&config, &encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
    let (pack, targets) = data.train.pack(&model, &encoder, &[0, 1]).unwrap();
    Ready { model, adapter, pack, targets }
}

impl Ready {
    /// The loss and gradients with `adapter`, in training with dropout where it has some.
    fn step(&self, adapter: &Adapter, keep: Keep) -> (f64, Grads) {
        let pass = Pass { adapter: Some(adapter), dropout_key: Some(7) };
        let mut grads = Grads::new(adapter.pairs.len());
        let at = (&self.pack, &self.targets);
        let loss = forward_backward(&self.model, &pass, at, (1.0, keep), &mut grads);
        (f64::from(golden::values(loss)[0]), grads)
    }

    /// Moves the tensors that `part` picks along their gradients: the loss must rise by their length. The step is
    /// 1e-2 of a unit; f32 losses near 8 leave an error of some 1e-4 of the rise.
    fn rises_as_its_gradient(&self, what: &str, part: impl Fn(&str) -> bool) {
        let (_, grads) = self.step(&self.adapter, Keep::All);
        let chosen: Vec<usize> =
            (0..self.adapter.pairs.len()).filter(|&i| part(&self.adapter.pairs[i].name)).collect();
        assert!(!chosen.is_empty(), "{what}");
        let dora = self.adapter.pairs[0].magnitude.is_some();
        // DoRA takes the length for a constant, so that only its magnitudes have their true derivative.
        let of = |i: usize| if dora { [&grads.m[i], &None] } else { [&grads.a[i], &grads.b[i]] };
        let square =
            |t: &Tensor<2>| golden::values(t.clone()).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let norm = chosen.iter().flat_map(|&i| of(i)).flatten().map(square).sum::<f64>().sqrt();
        assert!(norm > 1e-3, "{what}: there is a gradient");
        let moved = |by: f64| {
            let mut adapter = self.adapter.clone();
            for &i in &chosen {
                let pair = &mut adapter.pairs[i];
                let [first, second] = of(i).map(|g| g.clone().map(|g| g * (by / norm)));
                match &mut pair.magnitude {
                    Some(magnitude) => magnitude.m = magnitude.m.clone() + first.unwrap(),
                    None => {
                        pair.a = pair.a.clone() + first.unwrap();
                        pair.b = pair.b.clone() + second.unwrap();
                    }
                }
            }
            self.step(&adapter, Keep::All).0
        };
        let rise = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!(
            (rise / norm - 1.0).abs() < 1e-2,
            "{what}: the loss rises by {rise}, the gradient says {norm}"
        );
    }
}

fn everything(config: &mut TrainConfig) {
    config.freeze_vision_tower = false;
    config.freeze_multi_modal_projector = false;
    config.lora_dropout = 0.1;
}

#[test]
fn gradients_of_the_tower_and_its_mergers_are_those_of_the_loss() {
    let ready = ready("dense", everything);
    ready.rises_as_its_gradient("first block", |n| n.contains("visual.blocks.0."));
    ready.rises_as_its_gradient("qkv", |n| n.ends_with("attn.qkv"));
    ready.rises_as_its_gradient("last block", |n| n.contains("visual.blocks.3.mlp"));
    ready.rises_as_its_gradient("merger", |n| n.contains("visual.merger"));
    ready.rises_as_its_gradient("deepstack", |n| n.contains("deepstack_merger_list.0"));
    ready.rises_as_its_gradient("text", |n| n.contains("language_model"));
}

#[test]
fn gradients_of_magnitudes_and_experts_are_those_of_the_loss() {
    let dora = |c: &mut TrainConfig| {
        everything(c);
        c.use_dora = true;
    };
    let ready_dora = ready("dense", dora);
    ready_dora.rises_as_its_gradient("magnitudes of the text", |n| n.contains("language_model"));
    ready_dora.rises_as_its_gradient("magnitudes of the tower", |n| n.contains("visual.blocks"));
    let experts = ready("moe", |c| c.lora_target = "all,experts".into());
    // Of the last layer: what moves an earlier one can send a token to another expert, and the loss jumps.
    experts.rises_as_its_gradient("gate_up", |n| n.ends_with("layers.3.mlp.experts.gate_up_proj"));
    experts.rises_as_its_gradient("down", |n| n.ends_with("layers.3.mlp.experts.down_proj"));
}

#[test]
fn recomputed_layers_give_the_same_gradients() {
    let everything_moe = |c: &mut TrainConfig| {
        everything(c);
        c.lora_dropout = 0.0;
        c.lora_target = "all,experts".into();
    };
    for ready in [ready("dense", everything), ready("moe", everything_moe)] {
        let flat = |keep| {
            let (_, grads) = ready.step(&ready.adapter, keep);
            grads.all().map(|g| golden::values(g.clone())).collect::<Vec<_>>()
        };
        let all = flat(Keep::All);
        assert_eq!(all.len(), 2 * ready.adapter.pairs.len());
        assert!(all == flat(Keep::Inputs));
    }
}

/// A layer that is computed again sends no token elsewhere, whatever its router would say by then.
#[test]
fn the_routing_of_the_forward_pass_is_kept() {
    let Ready { mut model, adapter, pack, .. } = ready("moe", |c| c.lora_target = "all,experts".into());
    let layer = model.text.blocks.iter().rposition(|b| matches!(b.mlp, Mlp::Moe(_))).unwrap();
    let pass = Pass { adapter: Some(&adapter), dropout_key: None };
    let at = (&pack.rope, pack.segments.as_slice());
    let x = model.text.embed(&pack.ids, &Visual::default());
    let (y, saved) = model.text.blocks[layer].forward(x.clone(), at.0, at.1, &pass);
    let turn_router = |block: &mut Block| {
        if let Mlp::Moe(moe) = &mut block.mlp {
            moe.router = moe.router.clone().neg();
        }
    };
    turn_router(&mut model.text.blocks[layer]);
    let (elsewhere, _) = model.text.blocks[layer].forward(x.clone(), at.0, at.1, &pass);
    assert!(golden::values(elsewhere) != golden::values(y.clone()), "the turned router chooses others");
    let again = model.text.blocks[layer].again(x, at, &pass, saved.routing());
    turn_router(&mut model.text.blocks[layer]);
    let gradients = |saved: BlockSaved| {
        let mut grads = Grads::new(adapter.pairs.len());
        let dx = model.text.blocks[layer].backward(y.clone(), saved, at, true, (&pass, &mut grads));
        let all = grads.all().cloned().chain(dx);
        all.map(golden::values).collect::<Vec<_>>()
    };
    let all = gradients(saved);
    assert!(all.len() > 8 && all == gradients(again));
}

/// Where only the upper layers have adapters, nothing below is computed and the gradients are the same.
#[test]
fn the_lowest_adapter_ends_the_backward_pass() {
    let upper = ready("dense", |c| c.lora_target = r".*language_model\.layers\.[23]\..*(q|down)_proj".into());
    let tower = ready("dense", |c| {
        c.freeze_vision_tower = false;
        c.lora_target = r".*visual\.blocks\.2\.attn\.qkv|.*deepstack_merger_list\.0\.linear_fc1".into();
    });
    assert_eq!((upper.adapter.pairs.len(), tower.adapter.pairs.len()), (4, 2));
    upper.rises_as_its_gradient("upper layers", |_| true);
    tower.rises_as_its_gradient("one block", |n| n.contains("blocks"));
    tower.rises_as_its_gradient("one merger", |n| n.contains("deepstack"));
}

#[test]
fn targets_that_fit_nothing_say_what_there_is() {
    let model = ModelConfig::load(&golden::path("models/tiny-moe")).unwrap();
    let error = |change: &dyn Fn(&mut TrainConfig)| {
        let mut config = config("moe", Path::new("unused"));
        change(&mut config);
        let e = targets::choose(&model, &config).unwrap_err();
        format!("{} | {}", e.message, e.hint.unwrap_or_default())
    };
    let target = |t: &'static str| move |c: &mut TrainConfig| c.lora_target = t.into();
    assert!(error(&target("q_proj,v_prok")).contains("\"v_prok\" | did you mean v_proj?"));
    assert!(error(&target("down_proj")).contains("did you mean experts.down_proj?"));
    assert!(error(&target("qkv")).contains("freeze_vision_tower is true"));
    assert!(error(&target("lm_head")).contains("not supported"));
    assert!(error(&target("q_proj(")).contains("not a pattern"));
    assert!(error(&target("q_proj$|x")).contains("fits no module"));
    let dropped = |c: &mut TrainConfig| (c.lora_target, c.lora_dropout) = ("experts".into(), 0.1);
    assert!(error(&dropped).contains("dropout"));
    let merger = |c: &mut TrainConfig| {
        (c.freeze_language_model, c.freeze_multi_modal_projector) = (true, false);
    };
    assert!(error(&merger).contains("lora_target: visual.merger"));
}

/// The report counts every parameter of the model once, and the trained ones as the adapter has them.
#[test]
fn the_report_counts_the_whole_model() {
    for kind in ["dense", "moe"] {
        let mut config = config(kind, Path::new("unused"));
        (config.freeze_vision_tower, config.lora_target) = (false, "all".into());
        if kind == "moe" {
            config.lora_target = "all,experts".into();
        }
        let model = load(&config);
        let adapter = init::fresh(&model, &config).unwrap();
        let rows = report::targets(&model.config, &report::of_adapter(&adapter), &config);
        assert_eq!(rows.iter().map(|r| r.parameters).sum::<u64>(), model.parameters, "{kind}: {rows:?}");
        assert_eq!(rows.iter().map(|r| r.trainable).sum::<u64>(), adapter.parameters(), "{kind}");
        let chosen = targets::choose(&model.config, &config).unwrap();
        assert_eq!(report::of_modules(&chosen, &config), report::of_adapter(&adapter), "{kind}");
        let note = |family: &str| &rows.iter().find(|r| r.family == family).unwrap().note;
        assert_eq!(note("vision merger (projector)"), "frozen: freeze_multi_modal_projector");
        assert_eq!(note("q_proj"), "LoRA");
    }
}

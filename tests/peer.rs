//! The real transformers and peft read what we write, and the real LLaMA-Factory scores as we do. Skipped, and said so,
//! where they are not installed.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::type_complexity)]

use crate::adapters::{config, fill, load};
use crate::golden::{self, Golden};
use lorascope::config::TrainConfig;
use lorascope::data::patches::Patches;
use lorascope::engine::Engine;
use lorascope::eval::loss::{self, Targets};
use lorascope::job::{Event, ExportJob, Job, Outcome};
use lorascope::model::export::{Merge, copy_companions};
use lorascope::model::lora::Adapter;
use lorascope::model::qwen3_vl::{Qwen3Vl, Sequence};
use lorascope::model::{ModelConfig, Weights, peft};
use lorascope::train::{checkpoint, init};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// Runs `check_adapter.py`; `None` where Python or a package is missing.
fn python(arguments: &[&str]) -> Option<Value> {
    script("check_adapter.py", arguments)
}

/// Runs a script of `tests/peer`; `None` where Python or a package is missing.
fn script(name: &str, arguments: &[&str]) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer").join(name);
    // One thread: torch's threads wait for each other in a busy loop where other tests run too.
    let run =
        Command::new("python3").arg(script).args(arguments).env("OMP_NUM_THREADS", "1").output().ok()?;
    let text = String::from_utf8(run.stdout).unwrap();
    match text.lines().last().and_then(|line| serde_json::from_str(line).ok()) {
        Some(value) => Some(value),
        None if arguments == ["versions"] => None,
        None => panic!("{}", String::from_utf8_lossy(&run.stderr)),
    }
}

/// Where peft cannot be asked.
fn no_peer() -> bool {
    let found = python(&["versions"]);
    if found.is_none() {
        eprintln!("skipped: peft is not installed");
    }
    found.is_none()
}

/// The first golden case: a picture and a question.
struct Case {
    ids: Vec<u32>,
    patches: Patches,
}

impl Case {
    fn of(kind: &str) -> Self {
        let golden = Golden::open(&format!("forward_{kind}"));
        let grid: Vec<usize> = golden.ints("case0.grid_thw").iter().map(|&n| n as usize).collect();
        Self {
            ids: golden.ints("case0.input_ids").iter().map(|&i| i as u32).collect(),
            patches: Patches { grid: grid.try_into().unwrap(), pixels: golden.floats("case0.pixel_values") },
        }
    }

    fn logits(&self, model: &Qwen3Vl, adapter: Option<&Adapter>) -> Vec<f32> {
        let features = [Arc::new(model.see(&self.patches, adapter))];
        let sequence = Sequence { ids: &self.ids, grids: &[self.patches.grid], features: &features };
        let pack = model.pack(&[sequence]).unwrap();
        // Every token but the first is a label of the position before it.
        let labels: Vec<i32> = self.ids.iter().map(|&i| i as i32).collect();
        loss::logits(model, adapter, &pack, &Targets::new(&pack, &labels)).0
    }

    /// One entry of the script's job, with our logits of all positions but the last.
    fn job(&self, dir: &Path, name: &str, [model, adapter]: [Option<&Path>; 2], logits: &[f32]) -> Value {
        let write = |file: String, values: &[f32]| -> PathBuf {
            let path = dir.join(file);
            std::fs::write(&path, bytemuck::cast_slice(values)).unwrap();
            path
        };
        json!({
            "model": model, "adapter": adapter, "ids": self.ids[..self.ids.len() - 1], "grid": self.patches.grid,
            "pixels": write(format!("{name}.pixels"), &self.patches.pixels),
            "logits": write(format!("{name}.logits"), logits),
        })
    }
}

/// name, model, settings
fn kinds() -> Vec<(&'static str, &'static str, fn(&mut TrainConfig))> {
    fn all(c: &mut TrainConfig) {
        (c.freeze_vision_tower, c.freeze_multi_modal_projector) = (false, false);
    }
    vec![
        ("text", "dense", |_| {}),
        ("vision", "dense", all),
        ("tower", "dense", |c| c.freeze_vision_tower = false),
        ("dora", "dense", |c| {
            all(c);
            c.use_dora = true;
        }),
        ("rslora", "moe", |c| c.use_rslora = true),
        ("experts", "moe", |c| {
            all(c);
            c.lora_target = "all,experts".into();
        }),
        ("one_stack", "moe", |c| c.lora_target = "q_proj,experts.gate_up_proj".into()),
        ("only_experts", "moe", |c| c.lora_target = r".*layers\.[13]\.mlp\.experts\.down_proj".into()),
    ]
}

/// A folder with a filled adapter, and our logits with it.
fn written(kind: &str, change: fn(&mut TrainConfig), dir: &Path) -> (TrainConfig, Vec<f32>) {
    let mut config = config(kind, dir);
    change(&mut config);
    let mut model = load(&config);
    let mut adapter = init::fresh(&model, &config).unwrap();
    fill(&mut adapter);
    model.attach(&adapter).unwrap();
    checkpoint::save_adapter(dir, &adapter, &model, &config).unwrap();
    let logits = Case::of(kind).logits(&model, Some(&adapter));
    (config, logits)
}

/// Logits within 1e-4 of the typical one: both sides compute in f32.
#[test]
fn peft_loads_our_adapters_and_answers_the_same() {
    if no_peer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut jobs = Vec::new();
    for (name, kind, change) in kinds() {
        let folder = dir.path().join(name);
        let (config, logits) = written(kind, change, &folder);
        let base = Case::of(kind).logits(&load(&config), None);
        assert!(
            base.iter().zip(&logits).any(|(a, b)| (a - b).abs() > 2e-3),
            "{name}: the adapter does something"
        );
        let paths = [Some(config.model_name_or_path.as_path()), Some(folder.as_path())];
        jobs.push(Case::of(kind).job(dir.path(), name, paths, &logits));
    }
    let job = dir.path().join("job.json");
    std::fs::write(&job, json!(jobs).to_string()).unwrap();
    let answers = python(&["logits", job.to_str().unwrap()]).unwrap();
    for ((name, ..), answer) in kinds().iter().zip(answers.as_array().unwrap()) {
        assert!(answer["off"].as_f64().unwrap() < 1e-4, "{name}: {answer}");
        assert_eq!(answer["warnings"], json!([]), "{name}");
        let stacked = answer["layers"].as_array().unwrap().contains(&json!("ParamWrapper"));
        assert_eq!(stacked, name.contains("experts") || *name == "one_stack", "{name}: {answer}");
    }
}

fn export(config: &TrainConfig, adapter: &Path, out: &Path) -> Outcome {
    let config = TrainConfig {
        adapter_name_or_path: Some(adapter.into()),
        export_dir: Some(out.into()),
        ..config.clone()
    };
    let (send, events) = channel();
    let job = Job::Export(ExportJob { config: Box::new(config), compare: true });
    let engine = Engine::start();
    let _handle = engine.submit(job, move |event| {
        if let Event::Finished(outcome) = event {
            let _ = send.send(outcome);
        }
    });
    events.recv().unwrap()
}

fn summary(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Done { summary } => summary,
        other => panic!("{other:?}"),
    }
}

/// The merged model, read by ourselves and by transformers, answers as model and adapter did.
#[test]
fn merged_models_answer_as_model_and_adapter() {
    if no_peer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut jobs = Vec::new();
    for (name, kind, change) in kinds() {
        let (folder, out) = (dir.path().join(name), dir.path().join(format!("{name}-merged")));
        let (config, logits) = written(kind, change, &folder);
        let compared = &summary(export(&config, &folder, &out))["compared"];
        let number = |key: &str| compared[key].as_f64().unwrap();
        assert!(number("difference") < 1e-5 && number("adapter_effect") > 1e-3, "{name}: {compared}");
        assert_eq!(compared["input"], "the first samples of mllm_train_data");
        assert!(out.join("tokenizer.json").exists() && out.join("processor_config.json").exists());
        jobs.push(Case::of(kind).job(dir.path(), name, [Some(&out), None], &logits));
    }
    if no_peer() {
        return;
    }
    let job = dir.path().join("job.json");
    std::fs::write(&job, json!(jobs).to_string()).unwrap();
    let answers = python(&["logits", job.to_str().unwrap()]).unwrap();
    for ((name, ..), answer) in kinds().iter().zip(answers.as_array().unwrap()) {
        assert!(answer["off"].as_f64().unwrap() < 1e-4, "{name}: {answer}");
    }
}

/// A copy of a golden model with its weights rounded to bfloat16.
fn in_bf16(kind: &str, dir: &Path) {
    let from = golden::path(&format!("models/tiny-{kind}"));
    std::fs::create_dir(dir).unwrap();
    for name in ["config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"] {
        let text = std::fs::read_to_string(from.join(name)).unwrap();
        std::fs::write(dir.join(name), text.replace("\"dtype\": \"float32\"", "\"dtype\": \"bfloat16\""))
            .unwrap();
    }
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let half = |data: &[u8]| -> Vec<u8> {
        let floats = data.as_chunks::<4>().0.iter();
        floats.flat_map(|b| half::bf16::from_f32(f32::from_le_bytes(*b)).to_le_bytes()).collect()
    };
    let all: Vec<(String, Vec<usize>, Vec<u8>)> =
        file.iter().map(|(name, t)| (name.into(), t.shape().to_vec(), half(t.data()))).collect();
    let views = all.iter().map(|(name, shape, data)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, shape.clone(), data).unwrap())
    });
    let meta = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    std::fs::write(dir.join("model.safetensors"), safetensors::serialize(views, Some(meta)).unwrap())
        .unwrap();
}

/// In bfloat16 every value is peft's, but for a few that lie between two and fall to the other side (their sums run in
/// another order): those are one rounding step away.
#[test]
fn merged_weights_are_rounded_as_peft_rounds_them() {
    if no_peer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut jobs = Vec::new();
    for (name, kind, change) in kinds() {
        let [folder, out, base] = ["", "-merged", "-base"].map(|end| dir.path().join(format!("{name}{end}")));
        let (config, _) = written(kind, change, &folder);
        in_bf16(kind, &base);
        let config = TrainConfig { model_name_or_path: base.clone(), ..config };
        let compared = &summary(export(&config, &folder, &out))["compared"];
        assert_eq!(compared["stored_as"], "BF16", "{name}");
        let number = |key: &str| compared[key].as_f64().unwrap();
        assert!(number("difference") < number("adapter_effect") / 5.0, "{name}: {compared}");
        jobs.push(json!({ "model": base, "adapter": folder, "export": out }));
    }
    if no_peer() {
        return;
    }
    let job = dir.path().join("job.json");
    std::fs::write(&job, json!(jobs).to_string()).unwrap();
    let answers = python(&["weights", job.to_str().unwrap()]).unwrap();
    for ((name, ..), answer) in kinds().iter().zip(answers.as_array().unwrap()) {
        let number = |key: &str| answer[key].as_f64().unwrap();
        assert_eq!(answer["dtype"], "torch.bfloat16");
        assert!(number("different") / number("values") < 1e-3 && number("worst") < 0.01, "{name}: {answer}");
    }
}

/// In shards, from shards, and from the hub's layout of experts.
#[test]
fn shards_have_an_index_and_experts_keep_their_layout() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let experts = |c: &mut TrainConfig| c.lora_target = "all,experts".into();
    let (config, logits) = written("moe", experts, &folder);
    let hub = golden::path("models/tiny-moe-hub");
    let (own, tensors) = peft::load(&folder).unwrap();
    let weights = Weights::open(&hub).unwrap();
    let merge = Merge::new(&weights, &ModelConfig::load(&hub).unwrap(), (&own, &tensors)).unwrap();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let told = std::cell::Cell::new((0, 0));
    merge
        .write(&out, 300_000, &|done, total| {
            told.set((done, total));
            Ok(())
        })
        .unwrap();
    copy_companions(&hub, &out).unwrap();
    assert!(told.get().0 == told.get().1 && told.get().1 > 300_000);
    let index: Value =
        serde_json::from_slice(&std::fs::read(out.join("model.safetensors.index.json")).unwrap()).unwrap();
    let files: std::collections::BTreeSet<&str> =
        index["weight_map"].as_object().unwrap().values().map(|f| f.as_str().unwrap()).collect();
    assert!(
        files.len() > 3 && files.iter().all(|f| f.ends_with(&format!("-of-{:05}.safetensors", files.len())))
    );
    assert_eq!(index["metadata"]["total_size"], told.get().1);
    let merged = load(&TrainConfig { model_name_or_path: out, ..config });
    golden::assert_close(&Case::of("moe").logits(&merged, None), &logits, 1e-4, "merged hub layout");
}

#[test]
fn an_export_never_overwrites_and_leaves_nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("adapter"), dir.path().join("out"));
    let (config, _) = written("dense", |_| {}, &folder);
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("precious"), b"x").unwrap();
    let refused = export(&config, &folder, &out);
    assert!(matches!(refused, Outcome::Failed { error } if error.message.contains("exists already")));
    // An adapter of another model.
    let other = TrainConfig { model_name_or_path: golden::path("models/tiny-moe"), ..config };
    let refused = export(&other, &folder, &dir.path().join("other"));
    assert!(matches!(refused, Outcome::Failed { error } if error.message.contains("does not fit")));
    let names = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!((names, std::fs::read_dir(&out).unwrap().count()), (2, 1));
}

/// Random Chinese and English, one by one and in the mean, to the four decimals that LLaMA-Factory keeps.
#[test]
fn a_thousand_random_pairs_are_scored_as_by_llama_factory() {
    const PAIRS: usize = 1000;
    if script("score_pairs.py", &["versions"]).is_none() {
        eprintln!("skipped: llamafactory is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pairs.jsonl");
    let wanted =
        script("score_pairs.py", &["score", file.to_str().unwrap(), &PAIRS.to_string(), "7"]).unwrap();
    let run =
        Command::new(env!("CARGO_BIN_EXE_lorascope")).arg("score").arg(&file).arg("--json").output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).unwrap();
    let found: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let rows = wanted["rows"].as_array().unwrap();
    // Each pair is a group of its own there.
    let groups = found["groups"].as_array().unwrap();
    assert_eq!((rows.len(), groups.len()), (PAIRS, PAIRS));
    let same = |a: f64, b: f64| (a - b).abs() < 5e-5;
    for name in ["bleu-4", "rouge-1", "rouge-2", "rouge-l"] {
        for (row, group) in rows.iter().zip(groups) {
            let measures = group["measures"].as_array().unwrap();
            let ours = measures.iter().find(|m| m["name"] == name).unwrap()["mean"].as_f64().unwrap();
            let theirs = row[name].as_f64().unwrap();
            assert!(same(ours, theirs), "{name} of pair {}: {ours}, LLaMA-Factory {theirs}", group["name"]);
        }
        let mean = [&found[format!("predict_{name}")], &wanted["mean"][name]].map(|m| m.as_f64().unwrap());
        assert!(same(mean[0], mean[1]), "{name}: {mean:?}");
        assert!(mean[0] > 5.0, "{name}: the pairs have too little in common to tell anything");
    }
}

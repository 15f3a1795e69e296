//! The real program from the outside: the whole way in short, what it prints, and how it refuses bad input.
#![allow(clippy::unwrap_used)]

use crate::golden;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn lorascope(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lorascope")).current_dir(dir).args(args).output().unwrap()
}

fn ok(dir: &Path, args: &[&str]) -> String {
    let out = lorascope(dir, args);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args:?}: {}\n{stderr}", out.status);
    String::from_utf8(out.stdout).unwrap()
}

/// The last line of standard output as JSON.
fn json(dir: &Path, args: &[&str]) -> Value {
    let text = ok(dir, args);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Runs a command that must fail: its exit code and what it says on standard error.
fn fails(dir: &Path, args: &[&str]) -> (i32, String) {
    let out = lorascope(dir, args);
    assert!(out.stdout.is_empty(), "{args:?} prints a result: {}", String::from_utf8_lossy(&out.stdout));
    (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
}

fn text(path: PathBuf) -> String {
    path.to_str().unwrap().to_string()
}

/// A training configuration on the golden data, two steps long.
fn config(dir: &Path, model: &str) -> String {
    let fixtures = golden::path("");
    let data = text(fixtures.join("data"));
    let yaml = format!(
        "model_name_or_path: {}\ndataset: mllm_train_data\neval_dataset: mllm_train_data\ndataset_dir: {data}\n\
         stage: sft\ndo_train: true\nfinetuning_type: lora\nlora_target: all\nlora_rank: 4\n\
         template: qwen3_vl_nothink\nimage_max_pixels: 65536\nimage_min_pixels: 1024\nmax_samples: 4\n\
         per_device_train_batch_size: 2\ngradient_accumulation_steps: 1\nnum_train_epochs: 1\nlearning_rate: 1.0e-3\n\
         logging_steps: 1\nsave_steps: 1\noutput_dir: {}\nmax_new_tokens: 8\ndo_sample: false\n",
        text(fixtures.join("models").join(model)),
        text(dir.join("out"))
    );
    let path = dir.join("config.yaml");
    fs::write(&path, yaml).unwrap();
    text(path)
}

#[test]
fn the_whole_job_on_the_embedded_demo() {
    let dir = tempfile::tempdir().unwrap();
    let summary = json(dir.path(), &["demo", "--quick", "--json"]);
    for side in ["base", "tuned"] {
        assert!(summary[side]["results"]["predict_bleu-4"].is_number(), "{summary}");
        assert!(summary[side]["slots"].is_object() || summary[side]["slots"].is_array(), "{summary}");
    }
    let loss = |side: &str| summary[side]["eval_loss"].as_f64().unwrap();
    assert!(loss("tuned") < loss("base"), "{} against {}", loss("tuned"), loss("base"));
    let run = dir.path().join("lorascope-demo/runs/demo");
    for file in [
        "adapter_model.safetensors",
        "adapter_config.json",
        "trainer_log.jsonl",
        "trainer_state.json",
        "all_results.json",
        "events.jsonl",
    ] {
        assert!(run.join(file).exists(), "{file}");
    }
    let show = [
        "show",
        "demo_heldout:0",
        "--data",
        "lorascope-demo/data",
        "--tokens",
        "--model",
        "lorascope-demo/model",
        "--json",
    ];
    let shown = json(dir.path(), &show);
    assert_eq!(shown["input_ids"].as_array().unwrap().len(), shown["labels"].as_array().unwrap().len());
    assert_eq!(shown["image_grid_thw"][0].as_array().unwrap().len(), 3);
}

#[test]
fn train_evaluate_ask_and_score_by_command() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "tiny-dense");
    let out = text(dir.path().join("out"));
    let trained = json(dir.path(), &["train", &config, "--json"]);
    assert_eq!(trained["steps"], 2, "{trained}");
    let log = fs::read_to_string(dir.path().join("out/trainer_log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 4, "two steps, the evaluation, and the end");
    assert!(dir.path().join("out/checkpoint-2/adapter_model.safetensors").exists());

    let adapter = format!("adapter_name_or_path={out}");
    let predictions = format!("output_dir={}", text(dir.path().join("predict")));
    let scored = json(dir.path(), &["eval", &config, &adapter, &predictions, "--json"]);
    assert_eq!(scored["samples"], 4);
    let file = text(dir.path().join("predict/generated_predictions.jsonl"));
    let again = json(dir.path(), &["score", &file, "--json"]);
    assert_eq!(again["predict_bleu-4"], scored["results"]["predict_bleu-4"]);
    assert_eq!(again["rouge-l"], scored["results"]["predict_rouge-l"]);

    let model = text(golden::path("models/tiny-dense"));
    let image = text(golden::path("data/img/0.png"));
    let ask = [
        "ask",
        "--model",
        &model,
        "--adapter",
        &out,
        "--image",
        &image,
        "图片中的诊断结果是怎样?",
        "max_new_tokens=5",
        "--json",
    ];
    assert!(json(dir.path(), &ask)["answer"].is_string());
}

#[test]
fn a_finished_run_is_not_overwritten_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "tiny-dense");
    ok(dir.path(), &["train", &config, "--quiet"]);
    let before = fs::read(dir.path().join("out/adapter_model.safetensors")).unwrap();
    // The newest checkpoint is the end of the run: nothing is left to do, and nothing is lost.
    ok(dir.path(), &["train", &config, "--quiet"]);
    assert!(before == fs::read(dir.path().join("out/adapter_model.safetensors")).unwrap());
    ok(dir.path(), &["train", &config, "overwrite_output_dir=true", "seed=7", "--quiet"]);
    assert!(before != fs::read(dir.path().join("out/adapter_model.safetensors")).unwrap());
}

#[test]
fn bad_input_is_refused_with_one_clear_message() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let good = config(at, "tiny-dense");

    let (code, said) = fails(at, &["convert", "no-such.parquet", "--out", "data"]);
    assert!(code == 3 && said.contains("no-such.parquet"), "{code} {said}");
    assert!(!at.join("data").exists(), "nothing half-written");

    let (code, said) = fails(at, &["train", "no-such.yaml"]);
    assert!(code == 3 && said.contains("no-such.yaml"), "{code} {said}");

    let (code, said) = fails(at, &["train", &good, "learnig_rate=1e-4"]);
    assert!(code == 2 && said.contains("learnig_rate") && said.contains("learning_rate"), "{code} {said}");

    let empty = at.join("empty-model");
    fs::create_dir(&empty).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "processor_config.json"] {
        fs::copy(golden::path("models/tiny-dense").join(file), empty.join(file)).unwrap();
    }
    let (code, said) = fails(at, &["train", &good, &format!("model_name_or_path={}", text(empty))]);
    assert!(code == 3 && said.contains("empty-model"), "{code} {said}");

    let moe = format!("adapter_name_or_path={}", text(golden::path("adapter_dense_final")));
    let model = format!("model_name_or_path={}", text(golden::path("models/tiny-moe")));
    let (code, said) = fails(at, &["eval", &good, &moe, &model]);
    assert!(code == 3 && said.contains("adapter"), "{code} {said}");

    fs::write(at.join("broken.jpg"), b"\xff\xd8\xff\xe0 not a picture").unwrap();
    let model = text(golden::path("models/tiny-dense"));
    let (code, said) = fails(at, &["ask", "--model", &model, "--image", "broken.jpg", "What is it?"]);
    assert!(code == 3 && said.contains("broken.jpg"), "{code} {said}");
}

/// Killed while it trains, while it saves and while it evaluates, a run ends as if nothing had happened: packs,
/// dropout, patience and best value go on too.
#[test]
fn a_killed_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "tiny-dense");
    let long = [
        "max_samples=20",
        "num_train_epochs=3",
        "packing=true",
        "cutoff_len=300",
        "per_device_train_batch_size=1",
        "lora_dropout=0.1",
        "eval_steps=3",
        "save_steps=3",
        "save_total_limit=2",
        "load_best_model_at_end=true",
        "early_stopping_steps=50",
        "--quiet",
    ];
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let run = |out: &Path| {
        let out = format!("output_dir={}", text(out.to_path_buf()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_lorascope"));
        command.current_dir(dir.path()).args(["train", &config, &out]).args(long);
        command
    };
    assert!(run(&whole).status().unwrap().success());
    let log = |d: &Path| fs::read_to_string(d.join("trainer_log.jsonl")).unwrap_or_default();
    let there = |name: &str| parts.join(name).exists();
    let logged =
        |step: usize| log(&parts).lines().any(|l| l.contains(&format!("\"current_steps\": {step}, ")));
    type When<'a> = Box<dyn Fn() -> bool + 'a>;
    let moments: [When; 4] = [
        Box::new(|| there("checkpoint-3")),
        Box::new(|| there(".checkpoint-6.tmp") || there("checkpoint-6")),
        Box::new(|| logged(8)),
        Box::new(|| logged(9)),
    ];
    for moment in moments {
        let mut killed = run(&parts).spawn().unwrap();
        while !moment() {
            assert!(killed.try_wait().unwrap().is_none() || moment(), "it ended early");
            std::thread::yield_now();
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    assert!(run(&parts).status().unwrap().success());
    let adapter = |d: &Path| fs::read(d.join("adapter_model.safetensors")).unwrap();
    assert!(adapter(&whole) == adapter(&parts), "the adapters differ");
    let numbers = |d: &Path| -> Vec<(u64, Option<u64>, Option<u64>)> {
        let bits = |l: &Value, key: &str| l[key].as_f64().map(f64::to_bits);
        let text = log(d);
        let lines = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        lines
            .map(|l| (l["current_steps"].as_u64().unwrap(), bits(&l, "loss"), bits(&l, "eval_loss")))
            .collect()
    };
    assert_eq!(numbers(&whole), numbers(&parts));
    let best = |d: &Path| {
        let state: Value = serde_json::from_slice(&fs::read(d.join("trainer_state.json")).unwrap()).unwrap();
        [state["best_metric"].clone(), state["best_global_step"].clone()]
    };
    assert_eq!(best(&whole), best(&parts));
}

/// Files larger than a few kilobytes cannot be written, as on a full disk: the run goes on to its end, and nothing
/// half-written is left. With room it goes well.
#[cfg(unix)]
#[test]
fn a_full_disk_ends_no_run_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "tiny-dense");
    let out = Command::new("sh")
        .current_dir(dir.path())
        // 25 is SIGXFSZ; without it a write fails as on a full disk
        .args([
            "-c",
            "trap '' 25; ulimit -f 16; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_lorascope"),
            "train",
            &config,
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(5), "{said}");
    assert!(said.contains("checkpoint not saved, training goes on") && said.contains("step 2/2"), "{said}");
    let run = dir.path().join("out");
    let mut left: Vec<String> =
        fs::read_dir(&run).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.retain(|name| name.contains("checkpoint") || name.contains("tmp") || name.contains("safetensors"));
    assert!(left.is_empty(), "{left:?}");
    ok(dir.path(), &["train", &config, "--quiet"]);
    assert!(run.join("checkpoint-2/adapter_model.safetensors").exists());
}

/// SIGTERM, as a batch system sends it before it kills: the run saves, and the same command goes on.
#[cfg(unix)]
#[test]
fn a_terminated_run_saves() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "tiny-dense");
    let long = ["max_samples=20", "num_train_epochs=50", "save_steps=100000", "--quiet"];
    let mut run = Command::new(env!("CARGO_BIN_EXE_lorascope"))
        .current_dir(dir.path())
        .arg("train")
        .arg(&config)
        .args(long)
        .spawn()
        .unwrap();
    let out = dir.path().join("out");
    while fs::read_to_string(out.join("trainer_log.jsonl")).unwrap_or_default().lines().count() < 2 {
        assert!(run.try_wait().unwrap().is_none(), "it ended early");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let saved: Vec<_> =
        fs::read_dir(out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(saved.iter().any(|name| name.starts_with("checkpoint-")), "{saved:?}");
}

//! `runs` as a user runs it: list, show, compare, export, delete and import, on folders of ours and of LLaMA-Factory.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const LOG: &str = include_str!("fixtures/runs/trainer_log.jsonl");
const STATE: &str = include_str!("fixtures/runs/trainer_state.json");
const RESULTS: &str = include_str!("fixtures/runs/all_results.json");

fn lorascope(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lorascope")).current_dir(dir).args(args).output().unwrap()
}

fn ok(dir: &Path, args: &[&str]) -> String {
    let out = lorascope(dir, args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(ok(dir, &[args, &["--json"]].concat()).lines().last().unwrap()).unwrap()
}

/// Two finished runs of LLaMA-Factory, the second with other settings and half the loss.
fn two_runs(root: &Path) {
    for (name, rank, factor) in [("saves/one", 8, 1.0), ("saves/two", 16, 0.5)] {
        let dir = root.join(name);
        fs::create_dir_all(&dir).unwrap();
        let halve = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if let Some(loss) = line["loss"].as_f64() {
                line["loss"] = (loss * factor).into();
            }
            format!("{line}\n")
        };
        fs::write(dir.join("trainer_log.jsonl"), LOG.lines().map(halve).collect::<String>()).unwrap();
        fs::write(dir.join("trainer_state.json"), STATE).unwrap();
        fs::write(dir.join("all_results.json"), RESULTS).unwrap();
        fs::write(dir.join("training_args.yaml"), format!("lora_rank: {rank}\noutput_dir: {name}\n"))
            .unwrap();
    }
}

#[test]
fn runs_are_shown_and_compared() {
    let root = tempfile::tempdir().unwrap();
    two_runs(root.path());
    let list = json(root.path(), &["runs", "list", "saves"]);
    assert_eq!(list["runs"].as_array().unwrap().len(), 2);
    let shown = ok(root.path(), &["runs", "show", "saves/two"]);
    assert!(shown.starts_with("finished · 12/12 steps"), "{shown}");
    assert!(shown.contains("lora_rank") && shown.contains("train_loss"), "{shown}");
    let compared = json(root.path(), &["runs", "compare", "saves/one", "saves/two"]);
    let settings = compared["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 1, "output_dir is no difference: {settings:?}");
    assert_eq!(settings[0], serde_json::json!({ "key": "lora_rank", "values": ["8", "16"] }));
    let loss = compared["metrics"].as_array().unwrap().iter().find(|m| m["name"] == "final_loss").unwrap();
    assert_eq!(loss["best"], 1);
    let table = ok(root.path(), &["runs", "compare", "saves/one", "saves/two"]);
    assert!(table.lines().any(|l| l.contains("final_loss") && l.ends_with('*')), "{table}");
    assert_eq!(lorascope(root.path(), &["runs", "compare", "saves/one"]).status.code(), Some(2));
    assert_eq!(lorascope(root.path(), &["runs", "compare", "saves/one", "nowhere"]).status.code(), Some(3));
}

#[test]
fn without_a_folder_the_runs_of_the_workbench_are_listed() {
    let root = tempfile::tempdir().unwrap();
    two_runs(root.path());
    let names = |args: &[&str]| {
        let list = json(root.path(), args);
        let name = |run: &Value| run["name"].as_str().unwrap().to_string();
        list["runs"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert!(names(&["runs", "list"]).is_empty(), "there is no workspace yet");
    let into = "lorascope-workspace/runs";
    ok(root.path(), &["runs", "import", "saves/one", "--into", into, "--name", "mine"]);
    assert_eq!(names(&["runs", "list"]), ["mine"]);
    assert_eq!(names(&["runs"]), ["mine"]);
    assert_eq!(names(&["runs", "saves"]).len(), 2);
    fs::rename(root.path().join("lorascope-workspace"), root.path().join("other")).unwrap();
    assert_eq!(names(&["--workspace", "other", "runs", "list"]), ["mine"]);
    assert!(names(&["runs"]).is_empty());
    assert_eq!(
        lorascope(root.path(), &["runs", "list", "nowhere"]).status.code(),
        Some(3),
        "a name that is wrong"
    );
}

#[test]
fn curves_become_files() {
    let root = tempfile::tempdir().unwrap();
    two_runs(root.path());
    for file in ["plot.png", "plot.svg", "plot.csv"] {
        ok(root.path(), &["runs", "export", "saves/one", "saves/two", "-o", file, "--log"]);
    }
    let csv = fs::read_to_string(root.path().join("plot.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 12);
    let row: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
    let first: Value = serde_json::from_str(LOG.lines().next().unwrap()).unwrap();
    let at = |name: &str| csv.lines().next().unwrap().split(',').position(|n| n == name).unwrap();
    assert_eq!(row[at("loss")].parse::<f64>().ok(), first["loss"].as_f64());
    let number = |name: &str| row[at(name)].parse::<f64>().unwrap();
    assert!((number("smoothed_loss") - number("loss")).abs() < 1e-12, "smoothing starts at the first value");
    assert!(row[at("grad_norm")].parse::<f64>().unwrap() > 0.0, "taken from trainer_state.json");
    let picture = image::open(root.path().join("plot.png")).unwrap().to_rgb8();
    assert!(picture.pixels().filter(|p| p.0 != [255; 3]).count() > 1000);
    let wrong = lorascope(root.path(), &["runs", "export", "saves/one", "-o", "plot.pdf"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_run_is_imported_and_deleted_only_when_asked_twice() {
    let root = tempfile::tempdir().unwrap();
    two_runs(root.path());
    let out = json(root.path(), &["runs", "import", "saves/one", "--into", "runs", "--name", "theirs"]);
    assert_eq!(out["run"], "runs/theirs");
    let of = |dir: &str| json(root.path(), &["runs", "show", dir, "--curve"])["curve"].clone();
    assert_eq!(of("runs/theirs"), of("saves/one"), "the same curves");
    assert_eq!(lorascope(root.path(), &["runs", "import", "runs", "--into", "x"]).status.code(), Some(3));

    let asked = lorascope(root.path(), &["runs", "delete", "runs/theirs"]);
    assert_eq!(asked.status.code(), Some(2));
    assert!(root.path().join("runs/theirs").exists());
    let mixed = lorascope(root.path(), &["runs", "delete", "--yes", "runs/theirs", "saves"]);
    assert!(!mixed.status.success() && root.path().join("runs/theirs").exists(), "all or none");
    ok(root.path(), &["runs", "delete", "--yes", "runs/theirs"]);
    assert!(!root.path().join("runs/theirs").exists() && root.path().join("saves/one").exists());
}

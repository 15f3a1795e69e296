//! `params` and `runs` as a user runs them: tables that fit a terminal, JSON that parses, exit codes.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::process::{Command, Output};
use unicode_width::UnicodeWidthStr;

fn lorascope(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lorascope")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn params_fits_eighty_columns_and_shows_values() {
    let out =
        lorascope(&["params", "model_name_or_path=/模型/一个很长的文件夹名字", "dataset=d", "lora_rank=32"]);
    assert!(out.status.success());
    let table = text(&out.stdout);
    let widest = table.lines().max_by_key(|line| line.width()).unwrap();
    assert!(widest.width() <= 80, "{widest}");
    let rank = table.lines().find(|line| line.contains("lora_rank ")).unwrap();
    let cells: Vec<_> = rank.split_whitespace().collect();
    assert_eq!(cells[..3], ["lora_rank", "32", "8"]);
    assert!(table.contains("advice: 8 to 32 helps"));
}

#[test]
fn params_as_json_and_its_errors() {
    let out = lorascope(&["params", "--json", "lora_rank=32"]);
    let object: Value = serde_json::from_slice(&out.stdout).unwrap();
    let rows = object["parameters"].as_array().unwrap();
    let rank = rows.iter().find(|r| r["key"] == "lora_rank").unwrap();
    assert_eq!((&rank["value"], &rank["default"]), (&Value::from(32), &Value::from(8)));
    assert_eq!(object["problems"][0]["key"], "model_name_or_path");

    let wrong = lorascope(&["params", "lora_rnk=32"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("did you mean lora_rank?"));
    let missing = lorascope(&["params", "nowhere.yaml"]);
    assert_eq!(missing.status.code(), Some(3));
}

#[test]
fn runs_lists_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("肺-run");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("trainer_log.jsonl"), include_str!("fixtures/runs/trainer_log.jsonl")).unwrap();
    let root = root.path().to_str().unwrap();
    let table = text(&lorascope(&["runs", root]).stdout);
    let cells: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..4], ["肺-run", "unknown", "12/12", "7.1145"]);
    let object: Value = serde_json::from_slice(&lorascope(&["runs", root, "--json"]).stdout).unwrap();
    assert_eq!(object["runs"][0]["total_steps"], 12);
    assert_eq!(lorascope(&["runs", "/nowhere at all"]).status.code(), Some(3));
}

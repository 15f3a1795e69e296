//! Evaluations that are stopped, and those that are begun again with something changed.
#![allow(clippy::unwrap_used)]

use crate::evaluate::{PARTIAL, data_with_sides, eval, killed_after_two, last_json, lorascope, ok};
use crate::golden;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The settings that take rows from a folder of their own, and its pictures from the fixtures.
fn from_sides(at: &Path, out: &str) -> Vec<String> {
    data_with_sides(&at.join("sides"));
    let media = golden::path("data").display().to_string();
    let mut arguments = eval(at, out);
    arguments.extend(["dataset_dir=sides".into(), format!("media_dir={media}")]);
    arguments
}

/// What was said to another question is no answer to this one.
#[test]
fn a_question_that_was_edited_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let arguments = from_sides(at, "out");
    killed_after_two(at, &arguments, "out");
    let file = at.join("sides/mllm_train_data.json");
    let mut rows: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for turn in rows.iter_mut().flat_map(|row| row["conversations"].as_array_mut().unwrap()) {
        if turn["from"] == "user" {
            turn["value"] = format!("{} Really?", turn["value"].as_str().unwrap()).into();
        }
    }
    fs::write(&file, serde_json::to_vec(&rows).unwrap()).unwrap();
    ok(lorascope(at).args(&arguments).output().unwrap());
    let text = fs::read_to_string(at.join("out/evaluated_samples.jsonl")).unwrap();
    let all: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let edited = |p: &Value| p["question"].as_str().unwrap().ends_with("Really?");
    assert!(all.len() == 6 && all.iter().all(edited), "{text}");
}

/// Base and tuned model are compared on the same samples and settings, also when these change between two calls.
#[test]
fn a_base_of_other_settings_is_evaluated_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let adapter = golden::path("adapter_dense_final").display().to_string();
    let both = |samples: usize| {
        let mut arguments = eval(at, "out");
        arguments.extend(["--with-base".into(), format!("adapter_name_or_path={adapter}")]);
        arguments.extend(["max_new_tokens=4".into(), format!("max_samples={samples}")]);
        let output = lorascope(at).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("lora_rank"), "nothing is trained: {said}");
        let anew = said.contains("the base model first");
        ok(output);
        let base: Value =
            serde_json::from_slice(&fs::read(at.join("out/base/evaluation.json")).unwrap()).unwrap();
        (anew, base["samples"].as_u64().unwrap())
    };
    assert_eq!(both(2), (true, 2));
    assert_eq!(both(2), (false, 2), "nothing is predicted twice");
    assert_eq!(both(3), (true, 3));
    let report = fs::read_to_string(at.join("out/report.md")).unwrap();
    assert!(report.contains("Compared with the base model on 3 samples"), "{report}");
}

/// An answer may take minutes; a stop does not wait for its end.
#[cfg(unix)]
#[test]
fn a_stop_is_heard_within_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut arguments = eval(at, "out");
    // All tokens are about as likely: no answer ends by itself.
    arguments
        .extend(["max_new_tokens=4000", "temperature=10", "top_p=1", "top_k=0", "min_p=0"].map(String::from));
    let mut child = lorascope(at)
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It is there when the first answer begins.
    while !at.join("out").join(PARTIAL).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::yield_now();
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped after 0 of 6"), "{said}");
}

/// Scores on what was trained on are told to be that, and a log has them while they come.
#[test]
fn what_a_log_says_of_an_evaluation() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut arguments = eval(at, "out");
    arguments.extend(["eval_dataset=", "dataset=mllm_train_data", "max_new_tokens=4"].map(String::from));
    let output = lorascope(at).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(last_json(&ok(output))["samples"], 6);
    assert!(said.contains("the training data are evaluated: mllm_train_data"), "{said}");
    assert!(said.contains("6 of 6 predictions"), "{said}");
}

/// Hours of predictions without the facts that were asked for would be in vain.
#[test]
fn labels_of_other_data_are_refused_before_anything_is_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::copy(golden::path("slots.labels.jsonl"), at.join("labels.jsonl")).unwrap();
    let mut arguments = eval(at, "out");
    arguments.push("slot_labels=labels.jsonl".into());
    let output = lorascope(at).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no label of labels.jsonl has the id of a sample"), "{said}");
    assert!(!at.join("out").join(PARTIAL).exists());
}

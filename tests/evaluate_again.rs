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

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// What was said to another question is no answer to this one.
#[test]
fn a_question_that_was_edited_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let arguments = from_sides(at, "out");
    let known = lines(&killed_after_two(at, &arguments, "out")).remove(1);
    let file = at.join("sides/mllm_train_data.json");
    let mut rows: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let row = rows.iter_mut().find(|row| row["id"] == known["id"]).unwrap();
    let asked = row["conversations"][0]["value"].as_str().unwrap().to_string();
    row["conversations"][0]["value"] = format!("{asked} Really?").into();
    fs::write(&file, serde_json::to_vec(&rows).unwrap()).unwrap();
    ok(lorascope(at).args(&arguments).output().unwrap());
    let all = lines(&at.join("out/evaluated_samples.jsonl"));
    let now = all.iter().find(|p| p["id"] == known["id"]).unwrap();
    assert!(now["question"].as_str().unwrap().ends_with("Really?"), "{now}");
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
        let anew = String::from_utf8_lossy(&output.stderr).contains("the base model first");
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

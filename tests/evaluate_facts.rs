//! Facts of a user's own label file: what `score` and `eval` tell of them, and files that cannot be used.
#![allow(clippy::unwrap_used)]

use crate::evaluate::{PARTIAL, eval, last_json, lorascope, ok};
use crate::golden;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Labels of five scans: words in two languages, numbers, facts that are not stated, a list and a note.
const LABELS: &str = r#"{"id": "scan-0", "modality": "CT", "finding": "no lesion", "count": null, "boxes": [], "_by": true}
{"id": "scan-1", "modality": "MR", "finding": "lesions", "count": 3, "boxes": [[1, 2]], "caption": "x"}
{"id": "scan-2", "modality": "ultrasound", "finding": "no lesion"}
{"id": "scan-3", "modality": "MR", "finding": "lesion", "count": 1.0}
{"id": "scan-4", "modality": "超声", "finding": "病灶", "count": 3}
"#;

fn rates(report: &Value, slot: &str) -> [Option<f64>; 4] {
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["slot"] == slot).unwrap();
    let rate = |key: &str| row[key].as_f64().map(|x| (x * 1e4).round() / 1e4);
    ["accuracy", "not_stated", "other_stated", "blind"].map(rate)
}

#[test]
fn facts_are_counted_by_the_words_of_the_label_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let answers = [
        "CT, no lesion.",
        "An MR scan with three lesions",
        "Nothing to see.",
        "MR or CT: one lesion",
        "超声图像，可见3个病灶。",
    ];
    let line = |(n, answer): (usize, &&str)| {
        json!({ "id": format!("scan-{n}"), "predict": answer, "label": "x" }).to_string() + "\n"
    };
    let predictions: String = answers.iter().enumerate().map(line).collect();
    fs::write(at.join("said.jsonl"), predictions).unwrap();
    fs::write(at.join("labels.jsonl"), LABELS).unwrap();
    let score = |more: &[&str]| {
        lorascope(at).args(["score", "said.jsonl", "--labels", "labels.jsonl"]).args(more).output().unwrap()
    };
    let output = score(&["--json", "--strict"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("slots of labels.jsonl: modality, finding, count"), "{said}");
    assert!(said.contains("no slots: boxes (a list)"), "{said}");
    let report = &last_json(&ok(output))["slots"];
    assert_eq!(rates(report, "modality"), [Some(0.6), Some(0.2), Some(0.2), Some(0.4)]);
    assert_eq!(rates(report, "finding"), [Some(0.8), Some(0.2), Some(0.0), Some(0.4)]);
    assert_eq!(rates(report, "count"), [Some(1.0), Some(0.0), Some(0.0), Some(0.6667)]);
    assert_eq!(rates(report, "all_slots"), [Some(0.6), None, None, Some(0.2)]);
    assert_eq!(report["rows"][2]["n"], 3, "what is not stated is not asked for");
    let table = ok(score(&[]));
    let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    let row = words(table.lines().find(|line| line.starts_with("modality")).unwrap());
    assert_eq!(row.join(" "), "modality 60.0 % 40.0 % 20.0 % 20.0 % 5", "{table}");

    // A bad row is left out and named, or with --strict an error.
    fs::write(at.join("labels.jsonl"), format!("{LABELS}{{\"modality\": \"CT\"}}\n")).unwrap();
    let output = score(&["--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("left out: labels.jsonl, line 6: it has no id"), "{said}");
    let report = &last_json(&ok(output))["slots"];
    assert_eq!(report["left_out"], json!([{ "line": 6, "why": "it has no id" }]));
    assert_eq!(rates(report, "count")[0], Some(1.0));
    let strict = score(&["--strict"]);
    assert_eq!(strict.status.code(), Some(4), "{}", String::from_utf8_lossy(&strict.stderr));
}

/// The arguments of a short evaluation of the golden rows, with ids, by `labels.jsonl`.
fn own(at: &Path, more: &[&str]) -> Vec<String> {
    let text = fs::read(golden::path("data/mllm_train_data.json")).unwrap();
    let mut rows: Vec<Value> = serde_json::from_slice(&text).unwrap();
    rows.iter_mut().enumerate().for_each(|(n, row)| row["id"] = json!(format!("scan-{n}")));
    fs::create_dir_all(at.join("own")).unwrap();
    fs::write(at.join("own/mllm_train_data.json"), serde_json::to_vec(&rows).unwrap()).unwrap();
    fs::copy(golden::path("data/dataset_info.json"), at.join("own/dataset_info.json")).unwrap();
    let mut arguments = eval(at, "out");
    arguments.extend(["dataset_dir=own", "max_new_tokens=8", "slot_labels=labels.jsonl"].map(String::from));
    arguments.push(format!("media_dir={}", golden::path("data").display()));
    arguments.extend(more.iter().map(ToString::to_string));
    arguments
}

#[test]
fn an_evaluation_tells_the_facts_of_base_and_tuned() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("labels.jsonl"), format!("{LABELS}{{ broken\n")).unwrap();
    let adapter = format!("adapter_name_or_path={}", golden::path("adapter_dense_final").display());
    let run = || {
        let output = lorascope(at).args(own(at, &["--with-base", &adapter])).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (last_json(&ok(output)), said)
    };
    let (summary, said) = run();
    assert!(said.contains("left out: labels.jsonl, line 6: "), "{said}");
    assert!(said.contains("all facts right "), "a log has them while they come: {said}");
    let report = &summary["evaluation"]["slots"];
    let names: Vec<&str> =
        report["rows"].as_array().unwrap().iter().map(|row| row["slot"].as_str().unwrap()).collect();
    assert_eq!(names, ["modality", "finding", "count", "all_slots"]);
    for slot in &names[..3] {
        let [accuracy, nothing, other, _] = rates(report, slot).map(Option::unwrap);
        assert!((accuracy + nothing + other - 1.0).abs() < 1e-3, "{slot}: {report}");
    }
    assert_eq!((&report["rows"][0]["n"], &report["rows"][2]["n"]), (&json!(5), &json!(3)));
    let kept: Value = serde_json::from_slice(&fs::read(at.join("out/evaluation.json")).unwrap()).unwrap();
    assert_eq!(kept["slots"], *report);
    let score = ["score", "out/evaluated_samples.jsonl", "--labels", "labels.jsonl", "--json"];
    let scored = last_json(&ok(lorascope(at).args(score).output().unwrap()));
    assert_eq!(scored["slots"], *report, "the same from the predictions alone");

    let markdown = fs::read_to_string(at.join("out/report.md")).unwrap();
    let heading = "| told right | samples | base | tuned | blind | not stated, base | not stated, tuned |";
    for part in [heading, "| modality | 5 |", "| all slots | 5 |", "| boxes | a list |", "| 6 | "] {
        assert!(markdown.contains(part), "{part}\n{markdown}");
    }
    let html = fs::read_to_string(at.join("out/report.html")).unwrap();
    assert!(html.contains("<th>something else, tuned</th>"));

    // The base model is judged by the same labels, also when these change.
    assert!(said.contains("the base model first") && !run().1.contains("the base model first"));
    fs::write(at.join("labels.jsonl"), LABELS.replace("ultrasound", "US")).unwrap();
    assert!(run().1.contains("the base model first"), "labels of another kind");
}

#[test]
fn labels_that_cannot_be_judged_are_refused_before_anything_is_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let refused = |labels: &str, more: &[&str]| {
        fs::write(at.join("labels.jsonl"), labels).unwrap();
        let output = lorascope(at).args(own(at, more)).output().unwrap();
        assert!(!at.join("out").join(PARTIAL).exists() && !at.join("out/evaluation.json").exists());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let truth = LABELS.replace("\"modality\": \"MR\"", "\"effusion\": false, \"modality\": \"MR\"");
    let (code, said) = refused(&truth, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("labels.jsonl, line 2: effusion is true or false"), "{said}");
    let (code, said) = refused(&format!("{LABELS}[]\n"), &["--strict"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("line 6: it is no object"), "{said}");
    let (code, said) = refused("", &[]);
    assert!(code == Some(3) && said.contains("labels.jsonl holds no facts"), "{said}");
}

//! Evaluation by command: LLaMA-Factory's file, a killed one that goes on, reports; questions from files and pipes.
#![allow(clippy::unwrap_used)]

use crate::golden;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const PARTIAL: &str = "evaluated_samples.partial.jsonl";

pub fn lorascope(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lorascope"));
    command.current_dir(dir).env("HOME", dir).env_remove("XDG_STATE_HOME");
    command
}

fn model() -> String {
    golden::path("models/tiny-dense").to_str().unwrap().into()
}

/// Lines to `chat --json`: its answers, and what it said beside them.
fn chat(at: &Path, arguments: &[&str], lines: &[&str]) -> (String, String) {
    let mut child = lorascope(at)
        .args(["chat", "--model", &model(), "--json"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (ok(output), said)
}

/// The arguments of an evaluation into `out`.
pub fn eval(dir: &Path, out: &str) -> Vec<String> {
    let data = golden::path("data");
    let yaml = format!(
        "model_name_or_path: {}\neval_dataset: mllm_train_data\ndataset_dir: {}\ntemplate: qwen3_vl_nothink\n\
         image_max_pixels: 65536\nimage_min_pixels: 1024\nmax_samples: 6\nper_device_eval_batch_size: 1\n\
         max_new_tokens: 60\ndo_sample: true\ntemperature: 1.2\ntop_p: 0.95\nmin_p: 0.01\nseed: 5\n",
        model(),
        data.display()
    );
    let path = dir.join("eval.yaml");
    fs::write(&path, yaml).unwrap();
    vec!["eval".into(), path.to_str().unwrap().into(), format!("output_dir={out}"), "--json".into()]
}

pub fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn last_json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Begins an evaluation into `out` and kills it after two predictions; gives the file that has them.
pub fn killed_after_two(at: &Path, arguments: &[String], out: &str) -> PathBuf {
    let mut child =
        lorascope(at).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let partial = at.join(out).join(PARTIAL);
    // The head and two predictions.
    let enough = || fs::read_to_string(&partial).is_ok_and(|t| t.lines().count() >= 3);
    while !enough() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(partial.exists(), "it ended before it could be killed: raise max_new_tokens");
    partial
}

#[test]
fn a_killed_evaluation_goes_on_and_predicts_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let whole = last_json(&ok(lorascope(at).args(eval(at, "whole")).output().unwrap()));
    assert_eq!(whole["samples"], 6);

    let partial = killed_after_two(at, &eval(at, "killed"), "killed");
    // A line torn by the end of the process.
    let mut text = fs::read(&partial).unwrap();
    text.extend(b"{\"index\":5,\"id\":\"x");
    fs::write(&partial, text).unwrap();

    let output = lorascope(at).args(eval(at, "killed")).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("of 6 predictions are there already"));
    ok(output);
    for file in ["generated_predictions.jsonl", "evaluated_samples.jsonl"] {
        let read = |out: &str| fs::read(at.join(out).join(file)).unwrap();
        assert!(
            read("whole") == read("killed"),
            "{file} differs from that of an evaluation that was left alone"
        );
    }
    let events = fs::read_to_string(at.join("killed/events.jsonl")).unwrap();
    let events: Vec<Value> = events.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let mut predicted: Vec<u64> =
        events.iter().filter(|e| e["event"] == "predicted").map(|e| e["index"].as_u64().unwrap()).collect();
    let count = predicted.len();
    predicted.sort_unstable();
    predicted.dedup();
    assert_eq!(predicted.len(), count, "a sample was predicted twice");
    assert!(!partial.exists());
}

#[test]
fn the_files_are_llama_factorys_and_the_report_tells_more() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let summary = last_json(&ok(lorascope(at).args(eval(at, "out")).output().unwrap()));
    let text = fs::read_to_string(at.join("out/generated_predictions.jsonl")).unwrap();
    for line in text.lines() {
        // As Python's json.dumps with ensure_ascii=False.
        assert!(line.starts_with("{\"prompt\": \"") && line.contains("\", \"predict\": \""), "{line}");
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["prompt", "predict", "label"]);
        assert!(!line.contains("\\u"), "nothing is escaped that Python would not escape: {line}");
    }
    let results: Value =
        serde_json::from_slice(&fs::read(at.join("out/predict_results.json")).unwrap()).unwrap();
    assert_eq!(results["predict_bleu-4"], summary["results"]["predict_bleu-4"]);
    let measures = summary["evaluation"]["measures"].as_array().unwrap();
    let bleu = &measures[0];
    assert_eq!((&bleu["name"], &bleu["mean"]), (&json!("bleu-4"), &results["predict_bleu-4"]));
    assert!(bleu["low"].as_f64() <= bleu["mean"].as_f64() && bleu["mean"].as_f64() <= bleu["high"].as_f64());

    // Any predictions file of LLaMA-Factory, and the same numbers.
    let scored = last_json(&ok(lorascope(at)
        .args(["score", "out/generated_predictions.jsonl", "--json"])
        .output()
        .unwrap()));
    assert_eq!(scored["predict_rouge-l"], results["predict_rouge-l"]);
    assert_eq!(scored["measures"], summary["evaluation"]["measures"]);

    let report =
        last_json(&ok(lorascope(at).args(["report", "out", "--base", "out", "--json"]).output().unwrap()));
    let html = fs::read_to_string(at.join(report["html"].as_str().unwrap())).unwrap();
    assert!(html.contains("data:image/jpeg;base64,") && html.contains("Best samples"));
    assert!(fs::read_to_string(at.join("out/report.md")).unwrap().contains("| exact-match |"));
    let missing = lorascope(at).args(["report", "nowhere"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(3));
}

fn image(n: usize) -> String {
    golden::path(&format!("data/img/{n}.png")).to_str().unwrap().into()
}

#[test]
fn questions_from_a_file_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let lines = [
        json!({ "id": "a", "image": image(0), "question": "What is shown?" }).to_string(),
        json!({ "images": [image(0), image(1)], "question": "Which differs?" }).to_string(),
        "{ broken".into(),
        json!({ "id": 7, "question": "No picture?" }).to_string(),
    ];
    fs::write(at.join("q.jsonl"), lines.join("\n")).unwrap();
    let model = model();
    let settings = ["image_max_pixels=65536", "image_min_pixels=1024", "max_new_tokens=6"];
    let ask = ["ask", "--model", &model, "--file", "q.jsonl", "--odds"];
    let output = lorascope(at).args(ask).args(settings).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "a line has no answer");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(answers.iter().map(|a| a["row"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!((&answers[0]["id"], &answers[3]["id"]), (&json!("a"), &json!(7)));
    assert!(answers[2]["error"]["message"].as_str().unwrap().contains("line 3"));
    for at in [0, 1, 3] {
        assert!(answers[at]["answer"].is_string(), "{}", answers[at]);
        assert_eq!(
            answers[at]["odds"].as_array().map(Vec::len),
            answers[at]["new_tokens"].as_u64().map(|n| n as usize)
        );
    }
    // One alone says the same.
    let image = image(0);
    let one = ["ask", "--model", &model, "--image", &image, "What is shown?", "--json"];
    let one = last_json(&ok(lorascope(at).args(one).args(settings).output().unwrap()));
    assert_eq!(one["answer"], answers[0]["answer"]);
}

#[test]
fn a_chat_over_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let settings = ["image_max_pixels=65536", "image_min_pixels=1024", "max_new_tokens=6"];
    fs::create_dir_all(at.join("runs/first/checkpoint-2")).unwrap();
    for run in ["first", "first/checkpoint-2"] {
        fs::write(at.join("runs").join(run).join("adapter_config.json"), "{}").unwrap();
    }
    let picture = image(0);
    let lines = [
        picture.as_str(), // dropped
        "What is\\",
        "shown?",
        "/fly",
        "And where?",
        "/correct A bright lesion.",
        "/add-to corrected",
        "/save talk.json",
        "/adapters",
        "/adapters runs",
        "/adapter 2",
        "/adapter",
        "/retry",
        "/quit",
        "never read",
    ];
    let arguments = [&["--dataset-dir", "data"], &settings[..]].concat();
    let (answers, said) = chat(at, &arguments, &lines);
    let answers: Vec<Value> = answers.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(answers.len(), 3, "two questions and one again");
    assert!(answers.iter().all(|a| a["answer"].is_string() && a["by"] == "base"));
    assert!(said.contains("there is no /fly"), "{said}");
    assert!(said.contains("no run in lorascope-workspace/runs has an adapter"), "{said}");
    let listed: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("  runs/")).map(|(_, run)| run).collect();
    assert!(listed.len() == 2 && listed.contains(&"first/checkpoint-2"), "{said}");
    assert!(said.contains(&format!("answers: {}", listed[1].rsplit('/').next().unwrap())), "{said}");

    let talk: Value = serde_json::from_slice(&fs::read(at.join("talk.json")).unwrap()).unwrap();
    let turns = talk[0]["conversations"].as_array().unwrap();
    assert_eq!((turns.len(), &turns[0]["value"]), (4, &json!("<image>What is\nshown?")));
    assert_eq!(turns[3]["value"], "A bright lesion.");
    let check = lorascope(at).args(["show", "corrected:0", "--data", "data", "--json"]).output().unwrap();
    assert!(ok(check).contains("A bright lesion."));
}

/// The golden rows with a key for some of them, in a data folder of their own.
pub fn data_with_sides(dir: &Path) {
    let text = fs::read(golden::path("data/mllm_train_data.json")).unwrap();
    let mut rows: Vec<Value> = serde_json::from_slice(&text).unwrap();
    for (i, row) in rows.iter_mut().enumerate().filter(|(i, _)| i % 3 != 0) {
        row["side"] = json!(if i % 3 == 1 { "left" } else { "right" });
    }
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("mllm_train_data.json"), serde_json::to_vec(&rows).unwrap()).unwrap();
    fs::copy(golden::path("data/dataset_info.json"), dir.join("dataset_info.json")).unwrap();
}

fn named(groups: [(&str, u64); 3]) -> Vec<(String, u64)> {
    groups.map(|(name, n)| (name.to_string(), n)).into()
}

fn groups(of: &Value) -> Vec<(String, u64)> {
    let group = |g: &Value| (g["name"].as_str().unwrap().to_string(), g["samples"].as_u64().unwrap());
    of.as_array().unwrap().iter().map(group).collect()
}

#[test]
fn scores_by_a_key_of_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    data_with_sides(&at.join("sides"));
    let mut arguments = eval(at, "out");
    let media = golden::path("data").display().to_string();
    arguments.extend(["dataset_dir=sides".into(), format!("media_dir={media}")]);
    let by_side = named([("left", 2), ("no side", 2), ("right", 2)]);
    let by_kind = last_json(&ok(lorascope(at).args(&arguments).output().unwrap()));
    assert_ne!(
        groups(&by_kind["evaluation"]["groups"]),
        by_side,
        "kinds of pictures, unless asked otherwise"
    );

    // An evaluation that is there can be looked at by a key too.
    ok(lorascope(at).args(["report", "out", "--group-by", "side"]).output().unwrap());
    let report = fs::read_to_string(at.join("out/report.md")).unwrap();
    for row in ["## By side", "| left | 2 |", "| right | 2 |", "| no side | 2 |"] {
        assert!(report.contains(row), "{row}\n{report}");
    }
    let grouped: Vec<String> = ["--group-by", "side"].map(String::from).into();
    arguments.extend(grouped.clone());
    let summary = last_json(&ok(lorascope(at).args(&arguments).output().unwrap()));
    assert_eq!(groups(&summary["evaluation"]["groups"]), by_side);
    assert_eq!(summary["evaluation"]["grouped_by"], "side");
    let typo = lorascope(at).args(["report", "out", "--group-by", "sied"]).output().unwrap();
    assert_eq!(typo.status.code(), Some(3));

    // Predictions by id, and by row where they have no ids.
    let score = |more: &[&str]| {
        let mut command = lorascope(at);
        command.args(["score", "--json", "--group-by", "side"]).args(more);
        command.output().unwrap()
    };
    let sets = ["--dataset", "mllm_train_data", "--dataset-dir", "sides", "--media-dir", &media];
    let without = score(&[&["out/evaluated_samples.jsonl"][..], &sets[..4]].concat());
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(without.status.code() == Some(3) && said.contains("row 0 cannot be used"), "{said}");
    let scored = last_json(&ok(score(&[&["out/evaluated_samples.jsonl"][..], &sets].concat())));
    assert_eq!(scored["groups"], summary["evaluation"]["groups"]);
    let few = score(&[&["out/generated_predictions.jsonl"][..], &sets].concat());
    assert_eq!(few.status.code(), Some(3), "6 predictions without ids for 22 rows");
    let line = |n: usize, more: &str| format!("{{\"predict\": \"a{n}\", \"label\": \"a\"{more}}}\n");
    fs::write(at.join("all.jsonl"), (0..22).map(|n| line(n, "")).collect::<String>()).unwrap();
    let scored = last_json(&ok(score(&[&["all.jsonl"][..], &sets].concat())));
    assert_eq!(groups(&scored["groups"]), named([("left", 7), ("no side", 8), ("right", 7)]));
    // Or by what the predictions say themselves.
    let own = [line(0, ", \"side\": \"left\""), line(1, ", \"side\": 2"), line(2, "")].concat();
    fs::write(at.join("own.jsonl"), own).unwrap();
    let scored = last_json(&ok(score(&["own.jsonl"])));
    assert_eq!(groups(&scored["groups"]), named([("2", 1), ("left", 1), ("no side", 1)]));
    assert_eq!(score(&["all.jsonl"]).status.code(), Some(3), "no prediction has the key");
}

#[test]
fn a_chat_sees_pictures_through_a_window_and_saves_them_so() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let picture = image(0);
    let lines = [
        picture.as_str(),
        "/window 40/100",
        "What is shown?",
        "/set temperature=0.5",
        "/save talk.json",
        "/set temperature=0.9",
        "/load talk.json",
        "/set",
        "/quit",
    ];
    let (_, said) = chat(at, &["image_max_pixels=65536", "max_new_tokens=4"], &lines);
    assert!(said.contains("window 40, level 100"), "{said}");
    assert!(said.contains("temperature = 0.5") && said.contains("1 turns, 1 pictures"), "{said}");
    let talk: Value = serde_json::from_slice(&fs::read(at.join("talk.json")).unwrap()).unwrap();
    assert_eq!(talk[0]["lorascope"]["sampling"]["temperature"], 0.5);
    let named = talk[0]["images"][0].as_str().unwrap();
    assert!(named.starts_with("talk_pictures/") && named.ends_with(".png"), "a file: {named}");
    let open = |path: &Path| image::open(path).unwrap().to_luma8();
    let (seen, stored) = (open(&at.join(named)), open(Path::new(&picture)));
    assert_eq!(seen.dimensions(), stored.dimensions());
    assert!(seen != stored, "the picture as it was seen");
}

#[test]
fn what_a_chat_does_not_do_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("wrong.png"), "no picture").unwrap();
    let picture = image(0);
    let lines = [
        picture.as_str(),
        "What is shown?",
        "/edit", // and something else instead
        "/adapter 9",
        "/save first.json",
        "wrong.png",
        "/edit",
        "And where?",
        "/save second.json",
        "/save second.json",
        "/save first.json",
        "/quit",
    ];
    let (answers, said) = chat(at, &["image_max_pixels=65536", "max_new_tokens=4"], &lines);
    assert_eq!(
        answers.lines().count(),
        2,
        "both questions are answered, whatever was dropped between: {said}"
    );
    assert!(said.contains("no adapter that was listed has this number"), "{said}");
    assert!(said.contains("wrong.png is not a picture"), "{said}");
    assert!(said.contains("cut off after 4 tokens"), "{said}");
    assert!(said.contains("first.json is there already") && !said.contains("second.json is there"), "{said}");
    for (file, question) in [("first.json", "<image>What is shown?"), ("second.json", "<image>And where?")] {
        let talk: Value = serde_json::from_slice(&fs::read(at.join(file)).unwrap()).unwrap();
        let turns = talk[0]["conversations"].as_array().unwrap();
        assert_eq!((turns.len(), turns[0]["value"].as_str()), (2, Some(question)));
    }
}

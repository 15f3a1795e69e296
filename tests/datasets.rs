//! `lorascope datasets`, and whether its verdict on an entry is LLaMA-Factory's.
#![allow(clippy::unwrap_used)]

use lorascope::data::verdict::judge;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn datasets(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lorascope"));
    command.current_dir(dir).arg("datasets").args(args).output().unwrap()
}

/// What `--json` prints, and the exit code.
fn answer(dir: &Path, args: &[&str]) -> (Value, i32) {
    let out = datasets(dir, &[args, &["--json"]].concat());
    let text = String::from_utf8(out.stdout).unwrap();
    let first = text.lines().next().unwrap_or("null");
    (serde_json::from_str(first).unwrap(), out.status.code().unwrap())
}

fn write(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).unwrap();
}

fn talk() -> Value {
    json!([{"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}])
}

fn registry(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("data/dataset_info.json")).unwrap()).unwrap()
}

#[test]
fn an_entry_from_add_to_remove() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir(dir.join("data")).unwrap();
    write(&dir.join("data/talk.json"), &talk());
    write(&dir.join("plain.jsonl"), &json!({"instruction": "do", "output": "done"}));
    fs::write(dir.join("data/dataset_info.json"), r#"{"hub": {"hf_hub_url": "a/b", "note": [1]}}"#).unwrap();

    let (shown, code) = answer(dir, &["add", "talk", "data/talk.json", "num_samples=1"]);
    assert_eq!((code, &shown["layout"], &shown["rows"]), (0, &json!("sharegpt"), &json!(1)));
    let written = &registry(dir)["talk"];
    assert_eq!((&written["file_name"], &written["num_samples"]), (&json!("talk.json"), &json!(1)));
    assert_eq!(
        (&written["tags"]["role_tag"], &written["tags"]["user_tag"]),
        (&json!("role"), &json!("user"))
    );
    assert_eq!(answer(dir, &["add", "plain", "plain.jsonl"]).0["layout"], "alpaca");
    let plain = registry(dir)["plain"].clone();
    assert!(Path::new(plain["file_name"].as_str().unwrap()).is_absolute());
    assert_eq!(plain["columns"], json!({"prompt": "instruction", "response": "output"}));
    assert_eq!(answer(dir, &["add", "talk", "plain.jsonl"]).1, 2, "the name is taken");

    let (list, _) = answer(dir, &[]);
    let states: Vec<_> = list["datasets"].as_array().unwrap().iter().map(|d| d["state"].clone()).collect();
    assert_eq!(states, ["remote", "there", "there"]);
    assert_eq!(answer(dir, &["validate"]).1, 0);

    assert_eq!(answer(dir, &["edit", "talk", "num_samples=", "tags.system_tag=system"]).1, 0);
    let written = registry(dir)["talk"].clone();
    assert_eq!((written.get("num_samples"), &written["tags"]["system_tag"]), (None, &json!("system")));
    let before = registry(dir);
    assert_eq!(answer(dir, &["edit", "talk", "formatting=chatml"]).1, 3);
    assert_eq!(answer(dir, &["edit", "nobody", "a=b"]).1, 3);
    assert_eq!(registry(dir), before, "a refused change writes nothing");

    assert_eq!(answer(dir, &["edit", "talk", "columns.messages=gone"]).1, 0);
    let (report, code) = answer(dir, &["validate"]);
    assert_eq!(code, 4);
    assert_eq!(report["datasets"][1]["llama_factory"], json!(["the column `gone` is in no row"]));

    assert_eq!(answer(dir, &["remove", "talk"]).1, 0);
    assert_eq!(answer(dir, &["remove", "talk"]).1, 3);
    assert!(dir.join("data/talk.json").exists());
    let names: Vec<String> = registry(dir).as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        (names, registry(dir)["hub"]["note"].clone()),
        (vec!["hub".into(), "plain".into()], json!([1]))
    );
}

#[test]
fn parquet_with_captions_is_registered_where_it_lies() {
    let temp = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bad/many_row_groups.parquet");
    let add = ["add", "scans", file.to_str().unwrap(), "lorascope.question=What is seen?"];
    let (shown, code) = answer(temp.path(), &add);
    assert_eq!((code, &shown["layout"]), (0, &json!("captions")), "{shown}");
    assert_eq!(registry(temp.path())["scans"]["lorascope"]["question"], "What is seen?");
    let (report, code) = answer(temp.path(), &["validate"]);
    assert_eq!((code, &report["datasets"][0]["own"]), (0, &json!(true)), "{report}");
    assert_eq!(report["datasets"][0]["rows"], shown["rows"]);
    let out = Command::new(env!("CARGO_BIN_EXE_lorascope"))
        .current_dir(temp.path())
        .args(["show", "scans:3", "--data", "data", "--no-pictures", "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && text.contains("<image>What is seen?"), "{text}");
}

#[test]
fn programs_that_register_at_once_lose_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir(dir.join("data")).unwrap();
    write(&dir.join("data/talk.json"), &talk());
    std::thread::scope(|scope| {
        for i in 0..8 {
            scope.spawn(move || assert_eq!(answer(dir, &["add", &format!("set{i}"), "data/talk.json"]).1, 0));
        }
    });
    assert_eq!(registry(dir).as_object().unwrap().len(), 8);
}

/// Each case was given to LLaMA-Factory 0.9.5: whether it reads it, and the word in our reason if not.
#[test]
fn verdicts_are_llama_factorys() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let turns = json!([{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]);
    write(&dir.join("sg.json"), &json!([{ "conversations": turns }]));
    write(&dir.join("al.json"), &json!([{"instruction": "q", "output": "a"}]));
    let whole = json!([{"instruction": "q", "input": "", "output": "a"}]);
    for folder in ["mixed", "empty"] {
        fs::create_dir(dir.join(folder)).unwrap();
    }
    for file in ["al2.json", "mixed/a.json", "UP.JSON"] {
        write(&dir.join(file), &whole);
    }
    fs::write(dir.join("mixed/.hidden"), "").unwrap();
    let tags =
        json!({"role_tag": "from", "content_tag": "value", "user_tag": "user", "assistant_tag": "assistant"});
    let mut other_role = tags.clone();
    other_role["role_tag"] = json!("role");
    let sharegpt = |columns: Value, tags: &Value| json!({"file_name": "sg.json", "formatting": "sharegpt", "columns": columns, "tags": tags});
    let messages = json!({"messages": "conversations"});
    let cases = [
        (sharegpt(messages.clone(), &tags), None),
        (json!({"file_name": "sg.json", "formatting": "sharegpt"}), None),
        (sharegpt(json!({"images": "images"}), &tags), Some("messages")),
        (sharegpt(json!({"messages": "conversations", "images": "images"}), &tags), Some("images")),
        (sharegpt(messages.clone(), &json!({"user_tag": "user"})), Some("role_tag")),
        (sharegpt(messages, &other_role), Some("`role`")),
        (json!({"file_name": "al.json"}), Some("input")),
        (json!({"file_name": "al2.json"}), None),
        (json!({"file_name": "al.json", "columns": {"prompt": "instruction", "response": "output"}}), None),
        (json!({"file_name": "al2.json", "columns": null}), Some("columns")),
        (json!({"file_name": "al2.json", "formatting": null}), Some("formatting")),
        (json!({"file_name": "al2.json", "ranking": true}), Some("ranking")),
        (json!({"file_name": "mixed"}), Some("")),
        (json!({"file_name": "empty"}), Some("empty")),
        (json!({"file_name": "gone.json"}), Some("neither")),
        (json!({"file_name": "UP.JSON"}), Some("small letters")),
        (json!({"columns": {}}), Some("file_name")),
        (json!({"file_name": "al2.json", "formatting": "chatml"}), Some("formatting")),
    ];
    for (entry, reason) in cases {
        let verdict = judge(dir, "set", &entry);
        let told = verdict.llama_factory.join("; ");
        match reason {
            None => assert_eq!(told, "", "{entry}"),
            Some(word) => assert!(!told.is_empty() && told.contains(word), "{entry}: {told}"),
        }
    }
}

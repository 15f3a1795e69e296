//! The registry, loading by its rules, and the check.

use super::fixture::png;
use lorascope::data::dataset::{self, Dataset};
use lorascope::data::registry::{self, Columns, Entry, Formatting, Registry, Source};
use lorascope::data::{ImageRef, Role};
use lorascope::error::Kind;
use lorascope::job::Finding;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn golden() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/registry/dataset_info.json");
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_tutorials_entry_is_read_and_written_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let entry = Entry::sharegpt("mllm_train_data.json");
    registry::register(temp.path(), "mllm_train_data", &entry).unwrap();
    assert_eq!(
        fs::read_to_string(temp.path().join("dataset_info.json")).unwrap().trim_end(),
        golden().trim_end()
    );
    let registry = Registry::open(temp.path()).unwrap();
    assert_eq!(registry.names(), ["mllm_train_data"]);
    assert_eq!(registry.entry("mllm_train_data").unwrap(), entry);
    assert_eq!((entry.columns.prompt, entry.tags.function), (None, None));
}

#[test]
fn registering_keeps_everything_else_as_and_where_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("dataset_info.json");
    let before = r#"{"zeta": {"file_name": "肺.json", "odd": [1, 2.50, null]},
        "mine": {"hf_hub_url": "a/b", "note": "keep", "num_samples": 5, "columns": {"prompt": "q"}}, "alpha": {"file_name": "a"}}"#;
    fs::write(&path, format!("\u{FEFF}{before}")).unwrap();
    registry::register(temp.path(), "mine", &Entry::sharegpt("m.json")).unwrap();
    registry::register(temp.path(), "new", &Entry::sharegpt("n.json")).unwrap();
    let registry = Registry::open(temp.path()).unwrap();
    assert_eq!(registry.names(), ["zeta", "mine", "alpha", "new"]);
    let (old, new): (Value, Value) =
        (serde_json::from_str(before).unwrap(), serde_json::from_slice(&fs::read(&path).unwrap()).unwrap());
    assert_eq!((&new["zeta"], &new["alpha"]), (&old["zeta"], &old["alpha"]));
    assert_eq!((&new["mine"]["note"], &new["mine"]["num_samples"]), (&json!("keep"), &json!(5)));
    assert_eq!(
        registry.entry("mine").unwrap().source,
        Source::File("m.json".into()),
        "a hub would come first"
    );
    assert!(fs::read_to_string(&path).unwrap().contains("肺.json"));
    registry::unregister(temp.path(), "mine").unwrap();
    assert_eq!(Registry::open(temp.path()).unwrap().names(), ["zeta", "alpha", "new"]);
}

#[test]
fn several_sets_change_in_one_write_or_not_at_all() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("dataset_info.json");
    registry::update(temp.path(), &[("none", None), ("nor", None)]).unwrap();
    assert!(!path.exists(), "there was nothing to take out");
    fs::write(
        &path,
        r#"{"val": {"file_name": "v.json"}, "train": {"file_name": "old.json", "note": "keep"}}"#,
    )
    .unwrap();
    let train = Entry::sharegpt("t.json");
    registry::update(temp.path(), &[("train", Some(&train)), ("val", None), ("more", Some(&train))]).unwrap();
    let registry = Registry::open(temp.path()).unwrap();
    assert_eq!(registry.names(), ["train", "more"]);
    assert_eq!(registry.entry("train").unwrap(), train);
    assert_eq!(registry.written("train").unwrap()["note"], "keep");
    fs::write(&path, "{").unwrap();
    registry::update(temp.path(), &[("train", Some(&train)), ("val", None)]).unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
}

#[test]
fn concurrent_registrations_lose_none() {
    let temp = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for i in 0..16 {
            let dir = temp.path();
            scope.spawn(move || {
                registry::register(dir, &format!("set{i}"), &Entry::sharegpt("x.json")).unwrap()
            });
        }
    });
    assert_eq!(Registry::open(temp.path()).unwrap().names().len(), 16);
}

#[test]
fn entries_follow_llama_factorys_defaults() {
    let temp = tempfile::tempdir().unwrap();
    let info = json!({
        "plain": {"file_name": "p.json"},
        "named": {"file_name": "n.json", "formatting": "sharegpt", "columns": {"images": "pics"}, "tags": {"role_tag": "r"}},
        "hub": {"hf_hub_url": "a/b", "file_name": "x.json"},
        "none": {"columns": {}},
        "odd": {"file_name": "o.json", "formatting": "chatml"},
    });
    fs::write(temp.path().join("dataset_info.json"), info.to_string()).unwrap();
    let registry = Registry::open(temp.path()).unwrap();
    let plain = registry.entry("plain").unwrap();
    assert_eq!((plain.formatting, &plain.columns), (Formatting::Alpaca, &Columns::default()));
    assert_eq!(plain.tags.user.as_deref(), Some("human"));
    let named = registry.entry("named").unwrap();
    assert_eq!((named.columns.messages, named.columns.images), (None, Some("pics".into())));
    assert_eq!((named.tags.role.as_deref(), named.tags.content, named.tags.system), (Some("r"), None, None));
    let remote = dataset::load(temp.path(), "hub", None).unwrap_err();
    assert!(remote.message.contains("hf_hub_url = a/b"), "{remote}");
    for name in ["none", "odd"] {
        assert_eq!(registry.entry(name).unwrap_err().kind, Kind::Input);
    }
    let error = registry.entry("plane").unwrap_err();
    assert!(error.message.contains("undefined data set plane") && error.hint.unwrap().contains("plain"));
}

/// A data folder with one data set `set` of these rows and a picture `a.png`.
pub fn folder(entry: Value, file: &str, content: &str) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("dataset_info.json"), json!({ "set": entry }).to_string()).unwrap();
    fs::write(temp.path().join(file), content).unwrap();
    fs::write(temp.path().join("a.png"), png(1)).unwrap();
    temp
}

pub fn sharegpt(rows: &Value) -> tempfile::TempDir {
    let mut entry: Value = serde_json::from_str(&golden()).unwrap();
    entry = entry["mllm_train_data"].take();
    entry["file_name"] = json!("set.json");
    folder(entry, "set.json", &rows.to_string())
}

pub fn talk(turns: &[(&str, &str)]) -> Value {
    turns.iter().map(|(from, value)| json!({ "from": from, "value": value })).collect()
}

pub fn codes(findings: &[Finding]) -> Vec<(&str, Vec<usize>)> {
    findings.iter().map(|f| (f.code.as_str(), f.rows.clone())).collect()
}

#[test]
fn rows_that_cannot_be_used_are_left_out_with_a_finding() {
    let good = talk(&[("user", "<image>q"), ("assistant", "a")]);
    let rows = json!([
        {"conversations": good, "images": ["a.png"], "id": 7},
        {"conversations": talk(&[("system", "be brief"), ("user", "q"), ("assistant", "a")]), "images": []},
        {"conversations": good, "images": "a.png"},
        {"conversations": talk(&[("user", "q"), ("user", "q")])},
        {"conversations": talk(&[("user", "q")])},
        {"conversations": good, "images": ["a.png", "a.png"]},
        {"conversations": good, "images": ["gone.png"]},
        {"conversations": talk(&[("user", "q"), ("assistant", "<video>")])},
        {"conversations": [{"from": "user"}]},
        {"other": 1},
        "text",
        {"conversations": []},
        {"conversations": good, "images": [3]},
    ]);
    let temp = sharegpt(&rows);
    let Dataset { samples, findings, rows, .. } = dataset::load(temp.path(), "set", None).unwrap();
    assert_eq!(rows, 13);
    assert_eq!(samples.iter().map(|s| s.row).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(samples.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["7", "row 1", "a"]);
    assert_eq!(samples[1].system.as_deref(), Some("be brief"));
    assert_eq!(samples[1].messages.iter().map(|m| m.role).collect::<Vec<_>>(), [Role::User, Role::Assistant]);
    assert_eq!(samples[2].images, [ImageRef::Path(temp.path().join("a.png"))]);
    let expected = [
        ("not_an_object", vec![10]),
        ("missing_column", vec![9]),
        ("bad_turn", vec![8]),
        ("bad_role", vec![3]),
        ("odd_turns", vec![4, 11]),
        ("placeholder_mismatch", vec![5, 7]),
        ("bad_images", vec![12]),
        ("missing_picture", vec![6]),
    ];
    assert_eq!(codes(&findings), expected);
}

#[test]
fn alpaca_jsonl_and_folders_are_read() {
    let lines = concat!(
        r#"{"instruction": "do", "input": "this", "output": "done", "sys": "S", "past": [["q", "a"]]}"#,
        "\n\n",
        r#"{"instruction": "only", "input": "", "output": "ok"}"#,
        "\n",
        r#"{"instruction": "no answer"}"#,
    );
    let columns = json!({"prompt": "instruction", "query": "input", "response": "output", "system": "sys", "history": "past"});
    let temp = folder(json!({"file_name": "dir", "columns": columns}), "set.jsonl", "");
    fs::create_dir(temp.path().join("dir")).unwrap();
    fs::write(temp.path().join("dir/b.jsonl"), lines).unwrap();
    fs::write(temp.path().join("dir/a.jsonl"), r#"{"instruction": "first", "output": "1"}"#).unwrap();
    let set = dataset::load(temp.path(), "set", None).unwrap();
    let text = |i: usize| set.samples[i].messages.iter().map(|m| m.content.as_str()).collect::<Vec<_>>();
    assert_eq!(text(0), ["first", "1"]);
    assert_eq!(text(1), ["q", "a", "do\nthis", "done"]);
    assert_eq!((text(2), set.samples[1].system.as_deref()), (vec!["only", "ok"], Some("S")));
    assert_eq!(codes(&set.findings), [("missing_column", vec![3])]);
    fs::write(temp.path().join("dir/c.csv"), "x").unwrap();
    assert!(dataset::load(temp.path(), "set", None).unwrap_err().message.contains("different types"));
}

#[test]
fn malformed_json_names_the_place() {
    let temp = folder(json!({"file_name": "set.json"}), "set.json", "[\n  {\"instruction\": \"x\",}\n]");
    let error = dataset::load(temp.path(), "set", None).unwrap_err();
    assert!(
        error.message.ends_with("set.json: malformed JSON at line 2, column 23: trailing comma"),
        "{error}"
    );
    fs::remove_file(temp.path().join("set.json")).unwrap();
    let error = dataset::load(temp.path(), "set", None).unwrap_err();
    assert!(error.message.contains("the file of the data set set is missing"), "{error}");
}

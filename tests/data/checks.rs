//! The check: every rule, leaks, the cleaned copy, what is kept beside the data, and the numbers.

use super::fixture::{convert, fixture, png};
use super::sets::{codes, sharegpt, talk};
use crate::golden;
use lorascope::config::TrainConfig;
use lorascope::data::batch::{Pass, encode_all};
use lorascope::data::check::{self, stats};
use lorascope::data::dataset;
use lorascope::data::encode::Encoder;
use lorascope::data::overlay::{Change, Overlay};
use lorascope::data::registry::{self, Entry};
use lorascope::error::{Kind, Result};
use lorascope::job::{CheckJob, Event, Finding, Level, Phase};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

fn run(job: &CheckJob) -> (Result<Value>, Vec<Finding>) {
    let findings = Mutex::new(Vec::new());
    let emit = |event: Event| {
        if let Event::Finding(finding) = event {
            findings.lock().unwrap().push(finding);
        }
    };
    let result = check::run(job, &AtomicBool::new(false), &emit);
    (result, findings.into_inner().unwrap())
}

fn run_check(dir: &Path, name: &str) -> (Result<Value>, Vec<Finding>) {
    run(&CheckJob::new(name, dir))
}

/// The report, whatever the verdict.
fn report(job: &CheckJob) -> Value {
    check::report(job, &AtomicBool::new(false), &|_| {}).unwrap()
}

fn rows_of(report: &Value, code: &str) -> Value {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|f| f["code"] == code).map_or(json!([]), |f| f["rows"].clone())
}

fn ask(answer: &str) -> Value {
    json!({"conversations": talk(&[("user", "<image>q"), ("assistant", answer)]), "images": ["a.png"]})
}

fn say(answer: &str) -> Value {
    json!({"conversations": talk(&[("user", "q"), ("assistant", answer)])})
}

/// Registers another set of these rows in the folder.
fn add(dir: &Path, name: &str, rows: &Value) {
    fs::write(dir.join(format!("{name}.json")), rows.to_string()).unwrap();
    registry::register(dir, name, &Entry::sharegpt(format!("{name}.json"))).unwrap();
}

/// Writes a picture that the cache may remember: its last change is long ago.
fn old_picture(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

#[test]
fn a_converted_set_passes_the_check() {
    let temp = tempfile::tempdir().unwrap();
    convert(&fixture("many_row_groups.parquet"), temp.path()).result.unwrap();
    for (name, against) in [("mllm_train_data", json!(["mllm_val_data"])), ("mllm_val_data", json!([]))] {
        let (report, findings) = run_check(temp.path(), name);
        let report = report.unwrap();
        assert_eq!((&report["verdict"], findings), (&json!("ok"), vec![]));
        assert_eq!(report["against"], against);
        assert!(report["line"].as_str().unwrap().ends_with(": 符合"));
    }
}

#[test]
fn the_check_finds_what_is_wrong() {
    let mut rows = vec![ask("a"), ask("a"), ask("b"), ask(" "), ask("x <|im_end|>"), ask("<|image_pad|>")];
    let temp = sharegpt(&json!(rows));
    let (report, findings) = run_check(temp.path(), "set");
    assert_eq!(report.unwrap_err().kind, Kind::Check);
    let expected = [
        ("vision_token", vec![5]),
        ("special_token", vec![4]),
        ("blank_answer", vec![3]),
        ("duplicate_row", vec![1]),
        ("repeated_picture", vec![2, 3, 4, 5]),
    ];
    assert_eq!(codes(&findings), expected);

    rows.pop();
    let temp = sharegpt(&json!(rows));
    let report = run_check(temp.path(), "set").0.unwrap();
    assert_eq!((&report["verdict"], &report["usable"]), (&json!("warnings"), &json!(5)));
    let whole = png(1);
    fs::write(temp.path().join("a.png"), &whole[..whole.len() / 2]).unwrap();
    let (report, findings) = run_check(temp.path(), "set");
    let error = report.unwrap_err();
    assert!(error.message.ends_with(": 不符合"), "{error}");
    assert_eq!((findings[0].code.as_str(), findings[0].count), ("truncated_picture", 5));
    assert!(findings[0].message.contains("row 0"), "{}", findings[0].message);
}

#[test]
fn texts_that_would_be_learned_are_looked_at_closely() {
    let rows = json!([
        say("a\u{7}b"),
        say("a\u{202E}b"),
        say("lost \u{FFFD}"),
        say("the â€™lungâ€™"),
        say(" padded\n"),
        say(""),
        {"conversations": talk(&[("user", "q"), ("assistant", "<image>")]), "images": ["a.png"]},
        {"conversations": talk(&[("user", "<image>\n"), ("assistant", "bare")]), "images": ["a.png"]},
        {"conversations": talk(&[("user", "q"), ("assistant", "same answer")]), "id": "x"},
        {"conversations": talk(&[("user", "other"), ("assistant", "same answer")]), "id": "x"},
        {"conversations": talk(&[("user", "q"), ("user", "q")])},
    ]);
    let temp = sharegpt(&rows);
    let expected = [
        ("bad_role", vec![10]),
        ("mark_in_answer", vec![6]),
        ("empty_answer", vec![5]),
        ("control_character", vec![0]),
        ("bidi_character", vec![1]),
        ("replacement_character", vec![2]),
        ("mojibake", vec![3]),
        ("repeated_picture", vec![7]),
        ("duplicate_caption", vec![9]),
        ("duplicate_id", vec![9]),
        ("outer_blanks", vec![4]),
        ("empty_question", vec![7]),
    ];
    let (_, findings) = run_check(temp.path(), "set");
    assert_eq!(codes(&findings), expected);
    assert!(findings[3].message.contains("U+0007"), "{}", findings[3].message);
    assert!(findings.iter().all(|f| !f.message.contains(['\u{7}', '\u{202E}'])), "harmless on a terminal");
}

#[test]
fn a_few_answers_in_another_writing_are_listed() {
    let mut rows: Vec<Value> = (0..40).map(|i| say(&format!("The image shows finding {i}."))).collect();
    rows[17] = say("这是一张CT图像。");
    let temp = sharegpt(&json!(rows));
    let report = report(&CheckJob::new("set", temp.path()));
    assert_eq!(rows_of(&report, "minority_language"), json!([17]));
    assert_eq!(report["profile"]["answers"]["writing"], json!({ "latin": 39, "chinese": 1 }));
}

/// A check with the small model of the goldens.
fn with_model(dir: &Path, config: TrainConfig) -> CheckJob {
    let model = Some(golden::path("models/tiny-dense"));
    CheckJob { model, config: Box::new(config), ..CheckJob::new("set", dir) }
}

#[test]
fn tokens_are_those_of_the_training() {
    let long = "word ".repeat(60);
    let rows = json!([say("short"), ask("a picture"), say(&long), {
        "conversations": talk(&[("user", &format!("<image>{}", "word ".repeat(9))), ("assistant", "yes")]),
        "images": ["big.png"]
    }]);
    let temp = sharegpt(&rows);
    let big = image::GrayImage::from_pixel(256, 320, image::Luma([9]));
    big.save(temp.path().join("big.png")).unwrap();
    let config = TrainConfig { cutoff_len: 84, ..TrainConfig::default() };
    let report = report(&with_model(temp.path(), config.clone()));
    assert_eq!(rows_of(&report, "over_cutoff"), json!([2]));
    assert_eq!(rows_of(&report, "picture_cut"), json!([3]));
    assert_eq!(report["usable"], 3);

    let endless = TrainConfig { cutoff_len: 100_000, ..config };
    let encoder = Encoder::load(&golden::path("models/tiny-dense"), &endless).unwrap();
    let samples = dataset::load(temp.path(), "set", None).unwrap().samples;
    let lengths: Vec<usize> = samples
        .iter()
        .map(|s| encoder.encode(s, &encoder.grids(s).unwrap()).unwrap().input_ids.len())
        .collect();
    let tokens = &report["tokens"];
    let (min, max) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    assert_eq!((&tokens["min"], &tokens["max"], &tokens["over"]), (&json!(min), &json!(max), &json!(2)));
    assert_eq!(tokens["total"], json!(lengths.iter().sum::<usize>()));
    assert_eq!(report["estimate"]["suggested"]["cutoff_len"], json!(max.next_multiple_of(64)));
}

#[test]
fn what_is_in_both_sets_is_a_leak() {
    let temp = sharegpt(&json!([]));
    let dir = temp.path();
    fs::write(dir.join("copy.png"), png(1)).unwrap();
    fs::write(dir.join("b.png"), png(2)).unwrap();
    let talk = |answer| talk(&[("user", "<image>q"), ("assistant", answer)]);
    let train = json!([
        ask("mine"),
        {"conversations": talk("other"), "images": ["b.png"], "id": "shared"},
        say("the same text"),
        say("own text"),
    ]);
    let val = json!([
        {"conversations": talk("theirs"), "images": ["copy.png"], "id": "shared"},
        say("the same text"),
    ]);
    add(dir, "x_train", &train);
    add(dir, "x_val", &val);
    add(dir, "later", &val);
    let codes_of = |job: &CheckJob| {
        let report = report(job);
        (rows_of(&report, "leaked_picture"), rows_of(&report, "leaked_row"), rows_of(&report, "leaked_id"))
    };
    let leaks = (json!([0]), json!([2]), json!([1]));
    assert_eq!(codes_of(&CheckJob::new("x_train", dir)), leaks);
    let named = CheckJob { against: vec!["later".into()], ..CheckJob::new("x_train", dir) };
    assert_eq!(codes_of(&named), leaks);
    let mut config = CheckJob::new("later", dir);
    config.config.eval_dataset = vec!["x_train".into()];
    assert_eq!(codes_of(&config).0, json!([0]));
    assert_eq!(codes_of(&CheckJob::new("x_val", dir)), (json!([]), json!([]), json!([])));
    let unknown = CheckJob { against: vec!["nothing".into()], ..CheckJob::new("x_train", dir) };
    assert_eq!(run(&unknown).0.unwrap_err().kind, Kind::Input);
}

#[test]
fn the_cleaned_copy_is_clean_and_the_original_untouched() {
    let temp = sharegpt(&json!([]));
    let dir = temp.path();
    fs::write(dir.join("cut.png"), &png(3)[..40]).unwrap();
    fs::write(dir.join("val.png"), png(4)).unwrap();
    let talk = |answer| talk(&[("user", "<image>q"), ("assistant", answer)]);
    let rows = json!([
        ask("good <|im_end|>\u{0}answer"),
        {"conversations": talk("x"), "images": ["cut.png"]},
        ask("good answer"),
        {"conversations": talk("leaks"), "images": ["val.png"]},
        say("<|im_<|im_end|>end|>"),
        {"conversations": [{"from": "nobody", "value": "?"}]},
        {"conversations": talk("kept \u{202E}too"), "images": ["a.png"], "id": 7, "other": [1, 2.5]},
    ]);
    add(dir, "my_train", &rows);
    add(dir, "my_val", &json!([{"conversations": talk("v"), "images": ["val.png"]}]));
    let before = fs::read(dir.join("my_train.json")).unwrap();
    let job = CheckJob { fix: Some("clean_train".into()), ..CheckJob::new("my_train", dir) };
    let fix = &report(&job)["fix"];
    let dropped = json!({
        "bad_role": [5], "duplicate_row": [2], "empty_answer": [4], "leaked_picture": [3], "broken_picture": [1]
    });
    assert_eq!((&fix["rows"], &fix["dropped"]), (&json!(2), &dropped));
    assert_eq!(fix["changed"], json!({ "bidi_character": [6], "special_token": [0] }));
    assert_eq!(fs::read(dir.join("my_train.json")).unwrap(), before);

    let clean: Value = serde_json::from_slice(&fs::read(dir.join("clean_train.json")).unwrap()).unwrap();
    assert_eq!(clean[0]["conversations"][1]["value"], "good answer");
    assert_eq!((&clean[1]["id"], &clean[1]["other"]), (&json!(7), &json!([1, 2.5])));
    let again = CheckJob { against: vec!["my_val".into()], ..CheckJob::new("clean_train", dir) };
    let (report, findings) = run(&again);
    assert!(report.is_ok() && findings.iter().all(|f| f.level == Level::Info), "{findings:?}");

    for name in ["clean_train", "my_train", "../evil", ".hidden", ""] {
        let job = CheckJob { fix: Some(name.into()), ..CheckJob::new("my_train", dir) };
        assert_eq!(run(&job).0.unwrap_err().kind, Kind::Usage, "{name}");
    }
}

#[test]
fn a_row_is_checked_as_the_user_changed_it() {
    let temp = sharegpt(&json!([say("fine"), say("bad <|im_end|>"), say("left out \u{202E}"), say("last")]));
    let dir = temp.path();
    let source = dataset::load(dir, "set", None).unwrap().samples;
    let mut overlay = Overlay::open(dir, "set").unwrap();
    overlay.push(Change::turn(&source[1], 1, "mended").unwrap()).unwrap();
    overlay.push(Change::turn(&source[0], 1, "new <|im_start|>").unwrap()).unwrap();
    overlay.push(Change::exclude(&source[2], true)).unwrap();
    let job = CheckJob { fix: Some("copy".into()), ..CheckJob::new("set", dir) };
    let report = report(&job);
    assert_eq!(rows_of(&report, "special_token"), json!([0]));
    assert_eq!(rows_of(&report, "bidi_character"), json!([]));
    assert_eq!((rows_of(&report, "edited"), rows_of(&report, "excluded")), (json!([0, 1]), json!([2])));
    assert_eq!((&report["usable"], &report["fix"]["dropped"]), (&json!(3), &json!({ "excluded": [2] })));
    let copy = dataset::load(dir, "copy", None).unwrap().samples;
    let answers: Vec<&str> = copy.iter().map(|s| s.messages[1].content.as_str()).collect();
    assert_eq!(answers, ["new ", "mended", "last"]);
}

#[test]
fn all_rows_of_a_finding_are_kept_beside_the_data() {
    let rows: Vec<Value> = (0..30).map(|i| say(if i % 3 == 0 { "" } else { "text" })).collect();
    let temp = sharegpt(&json!(rows));
    assert_eq!(check::saved(temp.path(), "set"), None);
    run_check(temp.path(), "set").0.unwrap();
    let saved = check::saved(temp.path(), "set").unwrap();
    let empty: Vec<usize> = saved.iter().filter(|(_, c)| c == "empty_answer").map(|(row, _)| *row).collect();
    assert_eq!(empty, (0..30).step_by(3).collect::<Vec<_>>());
    let copies = saved.iter().filter(|(_, code)| code == "duplicate_row").count();
    assert_eq!(copies, 28, "more than a finding lists");
    assert!(saved.is_sorted());
    let findings = check::saved_findings(temp.path(), "set").unwrap().findings;
    assert_eq!((findings[0].level, findings[0].rows.len()), (Level::Warning, 10));

    fs::write(temp.path().join("set.json"), json!([say("new")]).to_string()).unwrap();
    assert_eq!(check::saved(temp.path(), "set"), None, "of another file");
}

#[test]
fn a_stopped_check_tells_what_it_found_so_far() {
    let rows: Vec<Value> = (0..2000).map(|i| say(if i == 3 { "" } else { "text" })).collect();
    let temp = sharegpt(&json!(rows));
    let (stop, events) = (AtomicBool::new(false), AtomicUsize::new(0));
    let job = CheckJob::new("set", temp.path());
    // The first event of the check comes before any row; stopped then, nothing is looked at.
    let emit = |event: Event| {
        if matches!(event, Event::Progress { phase: Phase::Checking, .. }) {
            events.fetch_add(1, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        }
    };
    let report = check::report(&job, &stop, &emit).unwrap();
    assert_eq!((&report["verdict"], &report["looked_at"]), (&json!("stopped"), &json!(0)));
    assert!(report["line"].as_str().unwrap().contains("stopped after 0 of 2000 rows"));
    assert_eq!(check::refusal(&report).unwrap().kind, Kind::Stopped);
    assert!(events.into_inner() >= 2 && check::saved(temp.path(), "set").is_none());
}

#[test]
fn the_start_of_a_training_decodes_each_picture_once() {
    let temp = sharegpt(&json!([ask("a"), ask("b")]));
    let dir = temp.path();
    let path = dir.join("a.png");
    let whole = png(1);
    old_picture(&path, &whole);
    let encoder = Encoder::load(&golden::path("models/tiny-dense"), &TrainConfig::default()).unwrap();
    let samples = dataset::load(dir, "set", None).unwrap().samples;
    let pass = |cache| {
        let pass = Pass { workers: 2, cache };
        encode_all(&encoder, &samples, pass, &|_| {}, &AtomicBool::new(false)).unwrap()
    };
    let (first, _) = pass(Some(dir));
    assert_eq!(first.len(), 2);
    // Spoilt without a trace: who remembers does not decode again, who does not remember finds it.
    old_picture(&path, &vec![0; whole.len()]);
    let (second, findings) = pass(Some(dir));
    assert!(findings.is_empty());
    let ids = |s: &[lorascope::data::batch::EncodedSample]| {
        s.iter().map(|s| s.encoded.input_ids.clone()).collect::<Vec<_>>()
    };
    assert!(ids(&first) == ids(&second), "the same tokens");
    let (none, findings) = pass(None);
    assert_eq!((none.len(), findings[0].code.as_str()), (0, "broken_picture"));
    // A header that was read does not stand for pixels that were not.
    fs::remove_file(dir.join(".lorascope-pictures")).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() - 20;
    damaged[middle] ^= 0xFF;
    old_picture(&path, &damaged);
    assert!(rows_of(&report(&CheckJob::new("set", dir)), "broken_picture") == json!([]));
    assert_eq!(pass(Some(dir)).0.len(), 0);
    let deep = CheckJob { deep: true, ..CheckJob::new("set", dir) };
    assert_eq!(rows_of(&report(&deep), "broken_picture"), json!([0, 1]));
}

#[test]
fn stats_count_without_judging() {
    let rows =
        json!([ask("The image shows a CT scan."), say("The image shows an MRI."), say(""), {"bad": 1}]);
    let temp = sharegpt(&rows);
    let job = CheckJob::new("set", temp.path());
    let stats = stats::stats(&job, &AtomicBool::new(false), &|_| {}).unwrap();
    let profile = &stats["profile"];
    assert_eq!(
        (&stats["rows"], &profile["readable"], &stats["finished"]),
        (&json!(4), &json!(3), &json!(true))
    );
    assert_eq!(profile["pictures"]["formats"], json!({ "png": 1 }));
    assert_eq!(profile["answers"]["words"]["max"], 6);
    assert_eq!(stats["words"]["openings"][0], json!({ "text": "the image shows", "count": 2 }));
    let kinds: Vec<&str> = stats["words"]["modalities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["text"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["CT", "MRI", "none named"]);
    assert!(stats["estimate"].is_null() && profile["tokens"].is_null());
}

#[test]
fn only_the_registered_number_of_rows_is_looked_at() {
    let temp = sharegpt(&json!([say("a"), say("b"), say("")]));
    let entry = Entry { num_samples: Some(2), ..Entry::sharegpt("set.json") };
    registry::register(temp.path(), "set", &entry).unwrap();
    let (report, findings) = run_check(temp.path(), "set");
    assert_eq!(codes(&findings), [("num_samples", vec![])]);
    assert_eq!(report.unwrap()["looked_at"], 2);
}

#[test]
fn a_set_without_a_usable_row_does_not_pass() {
    let temp = sharegpt(&json!([]));
    let (report, findings) = run_check(temp.path(), "set");
    assert_eq!((report.unwrap_err().kind, findings[0].code.as_str()), (Kind::Check, "no_rows"));
}

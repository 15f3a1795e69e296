//! `ask` and `score` as scripts use them: odd encodings, a stop in the middle, a full disk.
#![allow(clippy::unwrap_used)]

use crate::golden;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

fn lorascope(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lorascope"));
    command.current_dir(dir).env("HOME", dir).env_remove("XDG_STATE_HOME");
    command
}

fn model() -> String {
    golden::path("models/tiny-dense").to_str().unwrap().into()
}

/// What some editors and Windows make of a file is no broken line; another encoding costs its line alone.
#[test]
fn questions_with_a_byte_order_mark_and_in_another_encoding() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let gbk = b"{\"question\": \"\xb7\xce\"}\n";
    let good = "{\"question\": \"What?\"}\r\n".as_bytes();
    fs::write(at.join("q.jsonl"), [b"\xEF\xBB\xBF", good, gbk, good].concat()).unwrap();
    let model = model();
    let output = lorascope(at)
        .args(["ask", "--model", &model, "--file", "q.jsonl", "max_new_tokens=2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "the second line has no answer");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let answered: Vec<bool> = answers.iter().map(|a| a["answer"].is_string()).collect();
    assert_eq!(answered, [true, false, true]);
    assert!(answers[1]["error"]["message"].as_str().unwrap().contains("line 2"), "{}", answers[1]);

    // An id may be a number.
    let line = "{\"id\": 7, \"predict\": \"a lung\", \"label\": \"a lung\"}\r\n".as_bytes();
    fs::write(at.join("p.jsonl"), [b"\xEF\xBB\xBF", line, line].concat()).unwrap();
    let scored = lorascope(at).args(["score", "p.jsonl", "--strict", "--json"]).output().unwrap();
    let scored: Value = serde_json::from_slice(&scored.stdout).unwrap();
    assert_eq!(scored["samples"], 2, "{scored}");
}

/// A wrong file is no flood of lines, and what the right one looks like is said.
#[test]
fn a_file_without_predictions_is_told_in_a_few_lines() {
    let dir = tempfile::tempdir().unwrap();
    let rows = serde_json::to_string_pretty(&vec![serde_json::json!({ "question": 1 }); 64]).unwrap();
    fs::write(dir.path().join("rows.json"), &rows).unwrap();
    let output = lorascope(dir.path()).args(["score", "rows.json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.lines().count() < 12, "{said}");
    let all = rows.lines().count();
    assert!(said.contains(&format!("left out: {} more lines, {all} of {all}", all - 5)), "{said}");
    assert!(said.contains("rows.json holds no predictions") && said.contains("\"predict\""), "{said}");
}

/// An answer that is broken off is no answer to a script.
#[cfg(unix)]
#[test]
fn a_stopped_question_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let model = model();
    // All tokens are about as likely: it does not end by itself.
    let long = ["max_new_tokens=4000", "do_sample=true", "temperature=10", "top_p=1", "top_k=0"];
    let mut child = lorascope(dir.path())
        .args(["ask", "--model", &model, "Go on."])
        .args(long)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    // The first piece of the answer.
    out.read_exact(&mut [0]).unwrap();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped after"), "{said}");
}

/// A script that keeps results in a file must hear that they did not all get there.
#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("p.jsonl"), "{\"predict\": \"a\", \"label\": \"a\"}\n").unwrap();
    fs::write(at.join("q.jsonl"), "{\"question\": \"What?\"}\n".repeat(3)).unwrap();
    let model = model();
    let ask = ["ask", "--model", &model, "--file", "q.jsonl", "max_new_tokens=2"];
    for arguments in [&["score", "p.jsonl"][..], &["score", "p.jsonl", "--json"], &ask] {
        // Each write to it fails as on a full disk.
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = lorascope(at).args(arguments).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {said}");
        assert!(said.contains("cannot write to standard output"), "{said}");
    }
    // Who reads no further does not want more: that is no error.
    let mut child = lorascope(at).args(["score", "p.jsonl"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

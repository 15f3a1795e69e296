//! `lorascope chat` in a pseudo-terminal: how typed lines stand, what Ctrl-C means, how it ends.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use crate::golden;
use crate::terminal::Pty;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A talk that waits for its first line.
fn chat(dir: &Path) -> Pty {
    let model = golden::path("models/tiny-dense");
    let args = ["chat", "--model", model.to_str().unwrap(), "max_new_tokens=4"];
    let mut chat = Pty::start_with(dir, &args, (80, 24), &[]);
    chat.until_sent("Ctrl-D leaves", 1);
    chat
}

#[test]
fn a_line_stands_at_the_left_and_ctrl_c_leaves_the_talk_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut chat = chat(dir.path());
    chat.press("\x03");
    chat.until_sent("Ctrl-D leaves", 2);
    chat.press("/odds\r");
    // Not where the typing ended: at the left, and what it does below it.
    chat.until_shows("\n> /odds\nhow sure the model is of each token: shown");
    chat.until_sent("Ctrl-D leaves", 3);
    chat.press("one\ntwo\x1b[A\x1b[A\x1b[B\x1b[B\r");
    // Through the history and back: what was being typed is there, and asked.
    chat.until_shows("\n> one\n  two\n");
    chat.until_sent("Ctrl-D leaves", 4);
    chat.press("\x04");
    assert_eq!(chat.end(), Some(0));
    let history = fs::read_to_string(dir.path().join("state/lorascope/chat_history.jsonl")).unwrap();
    assert_eq!(history, "\"/odds\"\n\"one\\ntwo\"\n");
}

#[test]
fn a_closed_terminal_ends_the_talk() {
    let dir = tempfile::tempdir().unwrap();
    let chat = chat(dir.path());
    let process = chat.note("pid");
    chat.hang_up();
    let waits = format!("--pid={process}");
    let ended = Command::new("timeout").args(["60", "tail", &waits, "-f", "/dev/null"]).status().unwrap();
    // Where nobody takes in what is left of orphans, one that has ended stays as a zombie.
    let left = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    if !ended.success() && !left.contains("State:\tZ") {
        let _ = Command::new("kill").args(["-KILL", &process]).status();
        panic!("it goes on without its terminal");
    }
}

#[test]
fn a_terminated_talk_gives_the_terminal_back_and_keeps_what_was_typed() {
    let dir = tempfile::tempdir().unwrap();
    let mut chat = chat(dir.path());
    chat.press("/new\r");
    chat.until_sent("Ctrl-D leaves", 2);
    chat.signal("-TERM");
    assert_eq!(chat.end(), Some(130));
    let last = |sequence: &[u8]| chat.raw.windows(8).rposition(|bytes| bytes == sequence);
    assert!(last(b"\x1b[?2004l") > last(b"\x1b[?2004h"), "pastes are left in brackets");
    let history = fs::read_to_string(dir.path().join("state/lorascope/chat_history.jsonl")).unwrap();
    assert_eq!(history, "\"/new\"\n");
}

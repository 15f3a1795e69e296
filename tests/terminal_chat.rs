//! `lorascope chat` in a pseudo-terminal: how typed lines stand, what Ctrl-C means, how it ends.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use crate::golden;
use crate::terminal::{PROGRAM, Pty};
use std::fs;
use std::path::Path;
use std::process::Command;
use unicode_width::UnicodeWidthStr;

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

/// What is piped is as it was said.
#[test]
fn an_answer_breaks_between_words_on_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let model = golden::path("models/tiny-dense");
    let question = "What is shown in the picture?";
    let args = ["ask", "--quiet", "--model", model.to_str().unwrap(), question, "max_new_tokens=60"];
    let piped = Command::new(PROGRAM).args(args).env("LORASCOPE_DEVICE", "cpu").output().unwrap();
    let piped = String::from_utf8(piped.stdout).unwrap();
    let words: Vec<&str> =
        piped.split_whitespace().filter(|word| word.is_ascii() && word.len() < 30).collect();
    assert!(words.len() > 5 && piped.lines().any(|line| line.width() > 60), "{piped}");

    let mut ask = Pty::start_with(dir.path(), &args, (30, 24), &[]);
    assert_eq!(ask.end(), Some(0));
    let shown = String::from_utf8_lossy(&ask.raw).into_owned();
    let wide: Vec<&str> = shown.lines().filter(|line| line.width() > 30).collect();
    assert!(wide.is_empty(), "{wide:?}");
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(bare(&shown), bare(&piped), "nothing is lost");
    let times = |text: &str, word: &str| text.split_whitespace().filter(|w| *w == word).count();
    for word in words {
        assert_eq!(times(&shown, word), times(&piped, word), "{word}\n{shown}");
    }
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

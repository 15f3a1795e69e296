//! How runs and screens end that nobody ends: panics and `kill -9`. What is promised stands in README.md, "Over SSH".
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use crate::terminal::{PATIENCE, PROGRAM, Pty, Workspace};
use lorascope::engine::watch::{self, Heard};
use lorascope::job::Event;
use lorascope::runs::{Curve, lock};
use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;

const PANICS: &str = "LORASCOPE_TEST_PANIC";

/// `lorascope train` on the workspace's settings, eight updates with a checkpoint after each.
fn train(ws: &Workspace, envs: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .args(["train", "ws/demo.yaml", "max_steps=8", "save_steps=1", "--json", "--quiet"])
        .current_dir(ws.dir.path())
        .env("LORASCOPE_DEVICE", "cpu")
        .envs(envs.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn status(ws: &Workspace) -> String {
    let listed = ws.lorascope(&["runs", "show", "RUN"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8_lossy(&listed.stdout).split(' ').next().unwrap().to_string()
}

/// Steps that were logged in this process.
fn steps(out: &Output) -> Vec<usize> {
    let text = String::from_utf8_lossy(&out.stdout);
    let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let step = |event: Event| match event {
        Event::Step(row) => Some(row.step),
        _ => None,
    };
    events.filter_map(step).collect()
}

#[test]
fn a_panic_in_the_trainer_fails_the_run_and_the_same_command_goes_on() {
    let ws = Workspace::new();
    let failed = train(&ws, &[(PANICS, "trainer")]);
    assert_eq!(failed.status.code(), Some(70), "{}", String::from_utf8_lossy(&failed.stderr));
    assert_eq!(steps(&failed), [1, 2]);
    let said = String::from_utf8_lossy(&failed.stdout);
    assert!(said.contains("stopped with a panic: LORASCOPE_TEST_PANIC asks for it"), "{said}");
    assert_eq!(status(&ws), "failed");
    assert!(!lock::is_held(&ws.run) && !ws.run.join("run.sock").exists());

    let again = train(&ws, &[]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(steps(&again), [3, 4, 5, 6, 7, 8], "from the newest checkpoint");
    assert_eq!(status(&ws), "finished");
    let all: Vec<usize> = Curve::read(&ws.run).unwrap().steps.iter().map(|row| row.step).collect();
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn the_workbench_shows_a_panic_in_the_trainer() {
    let ws = Workspace::new();
    let panics = [(PANICS, "trainer")];
    let mut screen = Pty::start_with(ws.dir.path(), &["--workspace", "ws"], (120, 40), &panics);
    screen.until_shows("tiny-dense on mllm_train_data");
    screen.press("t");
    screen.until_status("failed");
    screen.until_shows("stopped with a panic: LORASCOPE_TEST_PANIC");
    screen.press("q");
    assert_eq!(screen.end(), Some(0));
    screen.assert_given_back();
    assert!(!lock::is_held(&ws.run));
}

#[test]
fn a_panic_of_the_screen_gives_the_terminal_back_and_leaves_the_run_alone() {
    let ws = Workspace::new();
    let started = ws.lorascope(&["train", "ws/demo.yaml", "--detach"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let panics = [(PANICS, "screen")];
    let mut screen = Pty::start_with(ws.dir.path(), &["--workspace", "ws"], (120, 40), &panics);
    screen.until_status("training");
    screen.press("j");
    assert_eq!(screen.end(), Some(70));
    screen.assert_given_back();
    let said = String::from_utf8_lossy(&screen.raw);
    let (_, after) = said.rsplit_once("\u{1b}[?1049l").expect("the screen of before is shown again");
    assert!(after.contains("LORASCOPE_TEST_PANIC asks for it"), "the message is seen: {after:?}");
    assert!(lock::is_held(&ws.run), "the run goes on");
    ws.until_alone();
    assert_eq!(ws.tell("stop-now"), "stopped\n");
}

#[test]
fn a_killed_run_is_interrupted_and_the_same_command_goes_on() {
    let ws = Workspace::new();
    let long = ["train", "ws/demo.yaml", "--detach", "save_steps=1"];
    let started = ws.lorascope(&long);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let (out, heard) = channel();
    let link = watch::attach(&ws.run, None, move |h| drop(out.send(h))).unwrap();
    let saved = loop {
        if let Heard::Event(Event::Saved { step, .. }) = heard.recv_timeout(PATIENCE).unwrap() {
            break step;
        }
    };
    let process = fs::read_to_string(ws.run.join("run.lock")).unwrap();
    assert!(Command::new("kill").args(["-KILL", process.trim()]).status().unwrap().success());
    while !matches!(heard.recv_timeout(PATIENCE).unwrap(), Heard::Gone) {}
    drop(link);
    lock::until_free(&ws.run);
    assert_eq!(status(&ws), "interrupted");

    let again = ws.lorascope(&long);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(status(&ws), "running");
    assert_eq!(ws.tell("stop"), "stopped\n");
    let rows = Curve::read(&ws.run).unwrap().steps;
    assert!(rows.len() >= saved, "{} rows, {saved} were saved", rows.len());
    let rising = rows.windows(2).all(|pair| pair[1].step == pair[0].step + 1);
    assert!(rising, "no step is missing or done twice");
    assert_eq!(status(&ws), "stopped");
}

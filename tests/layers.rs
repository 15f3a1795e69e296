//! Who may know whom, and the shape of files: what a workspace split would enforce, checked by reading `src/`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

const BASE: &[&str] = &["config", "job", "files", "error"];

/// A room and those it may name, besides itself. The rooms of `BASE` may be named by all from `data` on.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("allocator", &[]),
    ("error", &[]),
    ("files", &["error"]),
    ("job", &["config", "error"]),
    ("config", &["job", "files", "error"]),
    ("data", &[]),
    ("runs", &[]),
    ("demo", &[]),
    ("model", &["data"]),
    ("plan", &["model", "data"]),
    ("generate", &["model", "data"]),
    ("eval", &["generate", "model", "data", "runs"]),
    ("train", &["generate", "eval", "plan", "model", "data", "runs"]),
    ("engine", &["plan", "train", "eval", "generate", "model", "data", "runs", "demo"]),
    // The screen never touches a tensor: it asks the engine.
    ("tui", &["engine", "plan", "runs", "demo", "data"]),
    ("serve", &["engine"]),
    (
        "cli",
        &["tui", "serve", "engine", "plan", "train", "eval", "generate", "model", "data", "runs", "demo"],
    ),
];

/// A word, the rooms whose files may have it, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("burn::", &["model", "train", "generate", "eval"], "tensors stay where they are computed with"),
    ("ratatui", &["tui"], "the core knows no screen"),
    ("crossterm", &["tui"], "the core knows no screen"),
    ("clap::", &["cli", "main"], "the core knows no command line"),
    ("println!", &["cli"], "anything else may run under the workbench and would spoil its screen"),
    ("process::Command", &["engine"], "other programs are the engine's business"),
    ("process::exit", &[], "it skips destructors: return an error instead"),
    ("repeat_dim", &[], "its backward pass is wrong in the pinned burn; use expand"),
];

const NO_NAMES: &[&str] = &["utils", "util", "common", "helpers", "base", "core", "manager"];

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

impl Source {
    /// The lines of code, comments left out, with their numbers from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line| if str::trim_start(line).starts_with("//") { "" } else { line };
        self.text.lines().map(code).enumerate().map(|(i, line)| (i + 1, line))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 10, "src is read");
    found
}

fn walk(root: &Path, dir: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let below = path.strip_prefix(root).unwrap();
            let room = below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_string();
            let text = fs::read_to_string(&path).unwrap();
            found.push(Source { path: below.to_path_buf(), room, text });
        }
    }
}

/// The rooms a piece of code names by `crate::room` or `crate::{room, room::x}`.
fn named(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.push(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    rooms.push(word(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn may_know(room: &str, other: &str) -> bool {
    let rooms: Vec<&str> = MAY_KNOW.iter().map(|r| r.0).collect();
    let low = ["error", "files", "job", "config"].contains(&room);
    let own = MAY_KNOW.iter().find(|r| r.0 == room).map_or(&[][..], |r| r.1);
    // `crate::Something` that is no room is a re-export or a macro.
    room == other || own.contains(&other) || (!low && BASE.contains(&other)) || !rooms.contains(&other)
}

#[test]
fn rooms_know_only_those_to_their_right() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !["lib", "main"].contains(&s.room.as_str())) {
        assert!(MAY_KNOW.iter().any(|r| r.0 == source.room), "a room without a rule: {}", source.room);
        let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
        for other in named(&code).iter().filter(|other| !may_know(&source.room, other)) {
            wrong.push(format!("{}: {} may not know {other}", source.path.display(), source.room));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (line, code) in source.code() {
            for (word, rooms, why) in ONLY_IN {
                if code.contains(word) && !rooms.contains(&source.room.as_str()) {
                    wrong.push(format!("{}:{line}: {word}: {why}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in sources() {
        let (at, lines) = (source.path.display(), source.text.lines().count());
        if lines > 400 {
            wrong.push(format!("{at}: {lines} lines, 400 are allowed"));
        }
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{at}: does not open with a `//!` sentence"));
        }
        let stem = source.path.file_stem().unwrap().to_str().unwrap();
        if NO_NAMES.contains(&stem) || NO_NAMES.contains(&source.room.as_str()) {
            wrong.push(format!("{at}: a name that says nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_checks_see_what_they_should() {
    let code = "use crate::{model::Rope, data::{a, b},\n  error}; let x = crate::train::run();";
    assert_eq!(named(code), ["model", "data", "error", "train"]);
    assert!(may_know("train", "model") && may_know("tui", "engine") && may_know("data", "files"));
    assert!(!may_know("model", "train") && !may_know("tui", "model") && !may_know("error", "config"));
    assert!(!may_know("data", "runs") && !may_know("engine", "cli"));
    let text = "//! x\n// println!\n    println!();\n".to_string();
    let source = Source { path: "a.rs".into(), room: "a".into(), text };
    assert_eq!(
        source.code().filter(|(_, line)| line.contains("println!")).map(|l| l.0).collect::<Vec<_>>(),
        [3]
    );
}

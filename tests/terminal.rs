//! The real program in a pseudo-terminal: what outlives a closed terminal, who watches, how the screen is left.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use crate::golden;
use lorascope::engine::watch::{self, Heard};
use lorascope::runs::lock;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long anything may take before a test says what is missing.
pub const PATIENCE: Duration = Duration::from_secs(120);
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_lorascope");

/// A program in a terminal of its own, made by `script` of util-linux.
pub struct Pty {
    script: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    pub raw: Vec<u8>,
    notes: PathBuf,
}

impl Pty {
    /// Runs the program with `args` in `dir`, on `rows` lines and `columns`.
    fn start(dir: &Path, args: &[&str], size: (u16, u16)) -> Self {
        Self::start_with(dir, args, size, &[])
    }

    /// The same with more in the environment.
    pub fn start_with(dir: &Path, args: &[&str], (columns, rows): (u16, u16), envs: &[(&str, &str)]) -> Self {
        let notes = tempfile::Builder::new().prefix("pty").tempdir_in(dir).unwrap().keep();
        let at = notes.display();
        let words: Vec<String> = args.iter().map(|a| format!("'{a}'")).collect();
        let line = format!(
            "stty rows {rows} cols {columns}; tty > '{at}/tty'; echo $$ > '{at}/pid'; exec '{PROGRAM}' {}",
            words.join(" ")
        );
        let mut script = Command::new("script")
            .args(["-q", "-e", "-f", "-c", &line, "/dev/null"])
            .current_dir(dir)
            .envs([("SHELL", "/bin/sh"), ("TERM", "xterm-256color"), ("LANG", "en_US.UTF-8")])
            .envs([("LORASCOPE_PICTURES", "off"), ("LORASCOPE_DEVICE", "cpu")])
            .env("XDG_STATE_HOME", dir.join("state"))
            .env("XDG_CONFIG_HOME", dir.join("config"))
            .env_remove("LC_ALL")
            .env_remove("NO_COLOR")
            .envs(envs.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux is there");
        let (send, output) = channel();
        let mut from = script.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                if send.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keys = script.stdin.take().unwrap();
        Self { script, keys, output, parser: vt100::Parser::new(rows, columns, 0), raw: Vec::new(), notes }
    }

    pub fn note(&self, name: &str) -> String {
        fs::read_to_string(self.notes.join(name)).unwrap().trim().to_string()
    }

    pub fn text(&self) -> String {
        self.parser.screen().contents()
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Takes output in. A program that asks where the cursor is, and waits, is told, as by any terminal.
    fn take(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
        self.raw.extend(bytes);
        if self.raw.ends_with(b"\x1b[6n") {
            let (row, column) = self.parser.screen().cursor_position();
            self.press(&format!("\x1b[{};{}R", row + 1, column + 1));
        }
    }

    fn take_more(&mut self, wanted: &str) {
        match self.output.recv_timeout(PATIENCE) {
            Ok(bytes) => self.take(&bytes),
            Err(_) => panic!("{wanted} is not on the screen:\n{}", self.text()),
        }
    }

    /// Takes output in until the screen is as wanted.
    fn until(&mut self, what: &str, there: impl Fn(&str) -> bool) {
        while !there(&self.text()) {
            self.take_more(what);
        }
    }

    /// Takes output in until it has had this so many times.
    pub fn until_sent(&mut self, wanted: &str, times: usize) {
        while String::from_utf8_lossy(&self.raw).matches(wanted).count() < times {
            self.take_more(wanted);
        }
    }

    pub fn until_shows(&mut self, wanted: &str) {
        self.until(wanted, |text| text.contains(wanted));
    }

    /// Waits until the last line, which says where the run stands, begins with this.
    pub fn until_status(&mut self, wanted: &str) {
        let status = |text: &str| text.lines().last().is_some_and(|l| l.trim_start().starts_with(wanted));
        self.until(wanted, status);
    }

    /// Takes the rest in and gives the exit code.
    pub fn end(&mut self) -> Option<i32> {
        loop {
            match self.output.recv_timeout(PATIENCE) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Disconnected) => return self.script.wait().unwrap().code(),
                Err(RecvTimeoutError::Timeout) => {
                    self.script.kill().unwrap();
                    panic!("it does not end:\n{}", self.text());
                }
            }
        }
    }

    /// The terminal goes away, as when a connection breaks.
    pub fn hang_up(mut self) {
        self.script.kill().unwrap();
        self.script.wait().unwrap();
    }

    pub fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.note("pid")]).status().unwrap().success());
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        let tty = self.note("tty");
        let sizes = [rows.to_string(), columns.to_string()];
        let stty =
            Command::new("stty").args(["-F", &tty, "rows", &sizes[0], "cols", &sizes[1]]).status().unwrap();
        assert!(stty.success());
    }

    pub fn assert_given_back(&self) {
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        let begun = self.raw.windows(8).filter(|w| w == b"\x1b[?2026h").count();
        let ended = self.raw.windows(8).filter(|w| w == b"\x1b[?2026l").count();
        assert!(begun > 0 && begun == ended, "{begun} frames begun, {ended} ended");
    }
}

/// A workspace with settings for a long run on the golden data; what still trains in it at the end is killed.
pub struct Workspace {
    pub dir: tempfile::TempDir,
    pub run: PathBuf,
}

impl Workspace {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("ws/runs/long");
        let fixtures = golden::path("");
        let yaml = format!(
            "model_name_or_path: {}\ndataset: mllm_train_data\ndataset_dir: {}\nlora_rank: 4\n\
             image_max_pixels: 16384\nmax_samples: 4\nper_device_train_batch_size: 1\n\
             gradient_accumulation_steps: 1\nnum_train_epochs: 10000\nlogging_steps: 1\nsave_steps: 1000000\n\
             output_dir: {}\nmax_new_tokens: 4\n",
            fixtures.join("models/tiny-dense").display(),
            fixtures.join("data").display(),
            run.display()
        );
        fs::create_dir(dir.path().join("ws")).unwrap();
        fs::write(dir.path().join("ws/demo.yaml"), yaml).unwrap();
        Self { dir, run }
    }

    fn screen(&self, args: &[&str]) -> Pty {
        Pty::start(self.dir.path(), args, (120, 40))
    }

    fn workbench(&self) -> Pty {
        self.screen(&["--workspace", "ws"])
    }

    pub fn lorascope(&self, args: &[&str]) -> Output {
        let run = self.run.to_str().unwrap();
        let args = args.iter().map(|a| if *a == "RUN" { run } else { a });
        Command::new(PROGRAM)
            .args(args)
            .current_dir(self.dir.path())
            .env("LORASCOPE_DEVICE", "cpu")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub fn tell(&self, command: &str) -> String {
        let out = self.lorascope(&["watch", "RUN", "--tell", command]);
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Waits until nobody but this test watches the run.
    pub fn until_alone(&self) {
        let (out, heard) = channel();
        let _link = watch::attach(&self.run, None, move |h| drop(out.send(h))).unwrap();
        let alone = |h: Heard| matches!(h, Heard::Control(c) if c.watching == 1);
        while !alone(heard.recv_timeout(PATIENCE).expect("the other watcher leaves")) {}
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if lock::is_held(&self.run) {
            let process = fs::read_to_string(self.run.join("run.lock")).unwrap_or_default();
            let _ = Command::new("kill").args(["-KILL", process.trim()]).status();
        }
    }
}

#[test]
fn a_run_outlives_its_workbench_and_is_found_again() {
    let ws = Workspace::new();
    let mut first = ws.workbench();
    first.until_shows("No data yet");
    // The settings are read while the first screen is drawn.
    first.until_shows("tiny-dense on mllm_train_data");
    first.press("t");
    first.until_shows("smoothed");
    first.press("Q");
    assert_eq!(first.end(), Some(0));
    first.assert_given_back();
    assert!(first.text().contains("come back:  lorascope watch"), "{}", first.text());
    assert!(lock::is_held(&ws.run), "the run goes on");

    assert_eq!(ws.tell("pause"), "paused\n");
    let mut second = ws.workbench();
    second.until_status("paused");
    second.press("p");
    second.until_status("training");
    second.hang_up();
    ws.until_alone();
    assert!(ws.tell("learning_rate=x0.5").starts_with("learning_rate is "));
    assert_eq!(ws.tell("stop"), "stopped\n");
    assert!(!lock::is_held(&ws.run) && !ws.run.join("run.sock").exists());
    let saved = fs::read_dir(&ws.run).unwrap().flatten();
    assert!(saved.into_iter().any(|e| e.file_name().to_string_lossy().starts_with("checkpoint-")));
    let again = ws.lorascope(&["watch", "RUN", "--plain", "--quiet"]);
    assert_eq!(again.status.code(), Some(130), "the run was stopped, and watching it says so");
}

#[test]
fn neither_a_killed_screen_nor_a_terminated_one_ends_a_run() {
    let ws = Workspace::new();
    let mut killed = ws.workbench();
    killed.until_shows("No data yet");
    // The settings are read while the first screen is drawn.
    killed.until_shows("tiny-dense on mllm_train_data");
    killed.press("t");
    killed.until_shows("smoothed");
    killed.signal("-KILL");
    killed.end();
    let mut terminated = ws.workbench();
    terminated.until_status("training");
    terminated.signal("-TERM");
    assert_eq!(terminated.end(), Some(130));
    terminated.assert_given_back();
    assert!(terminated.text().contains("the run goes on"), "{}", terminated.text());
    ws.until_alone();
    // Killed itself, it is told as what it is, and its folder can be used again.
    let process = fs::read_to_string(ws.run.join("run.lock")).unwrap();
    let mut watcher = ws.screen(&["watch", ws.run.to_str().unwrap()]);
    watcher.until_shows("smoothed");
    assert!(Command::new("kill").args(["-KILL", process.trim()]).status().unwrap().success());
    watcher.until_shows("the process of this run is gone");
    watcher.press("q");
    assert_eq!(watcher.end(), Some(0));
    let listed = ws.lorascope(&["runs", "ws"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("interrupted"));
}

#[test]
fn one_commands_and_the_others_watch() {
    let ws = Workspace::new();
    let started = ws.lorascope(&["train", "ws/demo.yaml", "--detach"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let run = ws.run.to_str().unwrap();
    let mut first = ws.screen(&["watch", run, "--control"]);
    first.until_shows("smoothed");
    let mut second = ws.screen(&["watch", run, "--lang", "zh"]);
    second.until_shows("只读观看");
    second.press("p");
    second.until_shows("按 T 取得控制");
    first.until_shows("1 more watching");
    first.press("p");
    first.until_status("paused");
    second.until_status("已暂停");
    second.press("T");
    first.until_shows("another screen has taken the controls");
    second.until("the controls", |text| !text.contains("只读观看"));
    second.press("p");
    first.until_status("training");
    second.press("Q");
    assert_eq!(second.end(), Some(0));
    second.assert_given_back();
    // The controls fall back to the first.
    first.until("the controls", |text| !text.contains("watching only"));
    first.press("4");
    first.press("iWhat is it?\r");
    first.until_shows("adapter, step");
    first.press("\x1b");
    first.until_shows("? help");
    first.press("3x");
    first.until_status("stopped");
    first.press("q");
    assert_eq!(first.end(), Some(0));
}

#[test]
fn train_goes_on_without_its_terminal() {
    let ws = Workspace::new();
    let mut shell = ws.screen(&["train", "ws/demo.yaml"]);
    shell.until_shows("step 2/");
    shell.hang_up();
    let (out, heard) = channel();
    let _link = watch::attach(&ws.run, None, move |h| drop(out.send(h))).unwrap();
    let mut steps = 0;
    // Steps of the past, and many that come after the terminal was gone.
    while steps < 50 {
        let heard = heard.recv_timeout(PATIENCE).expect("the run goes on");
        assert!(!matches!(heard, Heard::Gone), "it ended with its terminal");
        steps += usize::from(matches!(heard, Heard::Event(lorascope::job::Event::Step(_))));
    }
    assert_eq!(ws.tell("stop"), "stopped\n");
}

#[test]
fn from_start_to_an_answer_by_what_the_screen_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut screen = Pty::start(dir.path(), &["--workspace", "ws"], (80, 24));
    screen.until_shows("d gets the demo");
    screen.press("d");
    screen.until_shows("t starts training");
    screen.press("t");
    screen.until_shows("4 ask the model while it trains");
    screen.press("p");
    screen.until_status("paused");
    screen.press("4");
    screen.until_shows("to ask, for example");
    screen.press("i\r");
    screen.until("an answer of the adapter", |text| {
        text.contains("adapter, step") && !text.contains("waiting …") && !text.contains(" · …")
    });
    screen.press("\x1b");
    screen.until_shows("? help");
    screen.press("3");
    screen.until_shows("╭ 3 Training");
    // A storm of sizes; the last one is drawn.
    screen.parser.screen_mut().set_size(30, 100);
    for (columns, rows) in [(20, 5), (200, 60), (1, 1), (79, 23), (300, 80), (100, 30)] {
        screen.resize(columns, rows);
    }
    screen.until("the last size", |text| {
        let lines: Vec<_> = text.lines().collect();
        lines.len() == 30 && lines[1].chars().count() == 100 && lines[28].contains("? help")
    });
    screen.press("q");
    screen.until_shows("A training run goes on");
    screen.press("x");
    assert_eq!(screen.end(), Some(0));
    screen.assert_given_back();
}

#[test]
fn a_mistake_in_the_users_keys_is_told_before_the_screen_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("config/lorascope/keys.toml");
    fs::create_dir_all(keys.parent().unwrap()).unwrap();
    fs::write(&keys, "[everywhere]\nquit = [\"Z\"]\nfly = [\"f\"]\n").unwrap();
    let mut screen = Pty::start(dir.path(), &[], (80, 24));
    assert_eq!(screen.end(), Some(2));
    assert!(screen.text().replace('\n', "").contains("keys.toml:3: no action \"fly\""), "{}", screen.text());
    fs::write(&keys, "[everywhere]\nquit = [\"Z\"]\n").unwrap();
    let mut screen = Pty::start(dir.path(), &[], (80, 24));
    screen.until_shows("Z quit");
    screen.press("Z");
    assert_eq!(screen.end(), Some(0));
    screen.assert_given_back();
}

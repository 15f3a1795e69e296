//! Watching a run from outside its process: a socket in the run folder, events out and commands in, a JSON line each.

mod client;
mod history;
mod server;

pub use client::{Connection, Heard, Link, attach, connect};
pub use history::{history, past};
pub use server::Server;

use crate::job::{Command, Event};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The socket in a run folder, there while a job runs in it. Mode 0600: for its owner alone.
pub const SOCKET: &str = "run.sock";

/// A line from the job's process: an [`Event`] as in `events.jsonl`, or one of these about watching itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said {
    Event(Event),
    /// The first line.
    Hello {
        hello: Hello,
    },
    /// Who may command has changed, or how many watch.
    Control {
        control: Controls,
    },
    Refused {
        refused: String,
    },
}

/// What a watcher is told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Bytes of `events.jsonl` that were written before the first event that follows here.
    pub past: u64,
    /// The process that works in the folder.
    pub process: u32,
}

/// Who may command, as one watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controls {
    pub yours: bool,
    /// Those who watch now, this one included.
    pub watching: usize,
}

/// A line to the job's process: a [`Command`], or a wish about the controls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Asked {
    Command(Box<Command>),
    Control { control: Take },
}

/// One watcher has the controls at a time. When it goes they fall back to the one that had them before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    Take,
    /// Only when nobody has them.
    IfFree,
    Leave,
}

/// Whether a process works in the folder and can be watched.
pub fn is_running(run_dir: &Path) -> bool {
    crate::runs::lock::is_held(run_dir) && run_dir.join(SOCKET).exists()
}

/// Names of sockets are limited to about a hundred bytes.
const LONGEST: usize = 100;

/// A path to a file of `dir` that is short enough for a socket; valid while the folder is held.
fn short_path(dir: &Path, name: &str) -> std::io::Result<(PathBuf, Option<File>)> {
    let path = dir.join(name);
    if path.as_os_str().len() <= LONGEST {
        return Ok((path, None));
    }
    use std::os::fd::AsRawFd;
    let held = File::open(dir)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{name}", held.as_raw_fd())), Some(held)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::job::{Outcome, Phase, StepRow};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn step(step: usize) -> Event {
        Event::Step(StepRow { step, total_steps: 9, ..StepRow::default() })
    }

    fn watcher(dir: &Path, take: Option<Take>) -> (Link, Receiver<Heard>) {
        let (out, heard) = channel();
        let link = attach(dir, take, move |h| drop(out.send(h))).unwrap();
        (link, heard)
    }

    /// What comes until `end` says that it is enough.
    fn until(heard: &Receiver<Heard>, end: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            let next = heard.recv_timeout(PATIENCE).unwrap();
            let last = end(&next);
            all.push(next);
            if last {
                return all;
            }
        }
    }

    fn steps(all: &[Heard]) -> Vec<usize> {
        let step = |h: &Heard| match h {
            Heard::Event(Event::Step(row)) => Some(row.step),
            _ => None,
        };
        all.iter().filter_map(step).collect()
    }

    fn controls(yours: bool) -> impl Fn(&Heard) -> bool {
        move |h| matches!(h, Heard::Control(c) if c.yours == yours)
    }

    #[test]
    fn lines_are_events_and_commands_as_they_are_kept() {
        let text = serde_json::to_string(&Said::Event(Event::Paused(true))).unwrap();
        assert_eq!(text, r#"{"event":"paused","paused":true}"#);
        let text = serde_json::to_string(&Asked::Control { control: Take::IfFree }).unwrap();
        assert_eq!(text, r#"{"control":"if_free"}"#);
        let stop: Asked = serde_json::from_str(r#"{"command":"stop","save":true}"#).unwrap();
        assert!(matches!(stop, Asked::Command(stop) if matches!(*stop, Command::Stop { save: true })));
        let hello: Said = serde_json::from_str(r#"{"hello":{"past":7,"process":1}}"#).unwrap();
        assert!(matches!(hello, Said::Hello { hello: Hello { past: 7, .. } }));
    }

    #[test]
    fn all_watch_and_one_commands() {
        // Longer than the name of a socket may be.
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("r".repeat(120));
        std::fs::create_dir(&dir).unwrap();
        let events = dir.join(crate::runs::EVENTS);
        std::fs::write(&events, serde_json::to_string(&step(1)).unwrap() + "\n").unwrap();
        let (commands, inbox) = channel();
        let server = Server::open(&dir, commands).unwrap();
        let mode = std::fs::metadata(dir.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (first, heard_first) = watcher(&dir, Some(Take::IfFree));
        until(&heard_first, controls(true));
        let (second, heard_second) = watcher(&dir, None);
        let at_first = until(&heard_second, controls(false));
        assert_eq!(steps(&at_first), [1], "the past comes first");

        second.send(Command::Pause);
        until(&heard_second, |h| matches!(h, Heard::Refused(_)));
        first.send(Command::SaveNow);
        assert!(matches!(inbox.recv_timeout(PATIENCE).unwrap(), Command::SaveNow));
        second.control(Take::Take);
        until(&heard_second, controls(true));
        until(&heard_first, controls(false));

        // An answer goes to the one who asked, under the number it asked with.
        second.send(Command::Ask { id: 5, turn: Box::default() });
        let Command::Ask { id, .. } = inbox.recv_timeout(PATIENCE).unwrap() else { panic!("not asked") };
        server.tell(&Event::Token { id, text: "a".into(), done: true }, || {});
        server.tell(&step(2), || {});
        let both =
            [&heard_first, &heard_second].map(|h| until(h, |h| !steps(std::slice::from_ref(h)).is_empty()));
        let token = |h: &Heard| matches!(h, Heard::Event(Event::Token { id: 5, .. }));
        assert_eq!(both.map(|all| all.iter().filter(|h| token(h)).count()), [0, 1]);

        drop(second);
        until(&heard_first, controls(true));
        server.tell(&Event::Finished(Outcome::Stopped { summary: serde_json::Value::Null }), || {});
        drop(server);
        let end = until(&heard_first, |h| matches!(h, Heard::Gone));
        assert!(end.iter().any(|h| matches!(h, Heard::Event(Event::Finished(_)))), "the last word arrives");
        assert!(!dir.join(SOCKET).exists());
    }

    #[test]
    fn nothing_is_missed_and_nothing_comes_twice() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let events = dir.join(crate::runs::EVENTS);
        let (commands, _inbox) = channel();
        let server = Server::open(dir, commands).unwrap();
        let keep = |event: &Event| {
            use std::io::Write;
            let mut file = File::options().append(true).create(true).open(&events).unwrap();
            writeln!(file, "{}", serde_json::to_string(event).unwrap()).unwrap();
        };
        server.tell(&Event::Progress { phase: Phase::Loading, done: 1, total: 2 }, || {});
        let heard: Vec<_> = std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..=300).for_each(|n| server.tell(&step(n), || keep(&step(n)))));
            let heard = (0..8).map(|_| watcher(dir, None)).collect();
            writer.join().unwrap();
            heard
        });
        drop(server);
        for (_link, heard) in &heard {
            let all = until(heard, |h| matches!(h, Heard::Gone));
            assert!(steps(&all).iter().copied().eq(1..=300), "{:?}", steps(&all));
        }
    }
}

//! The side of the job: sends its events to all who watch, and takes the commands of the one who has the controls.

use super::{Asked, Controls, Hello, SOCKET, Said, Take, short_path};
use crate::error::{At, Result};
use crate::job::{Command, Event};
use crate::runs::EVENTS;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that may wait for a watcher; one that reads so slowly is cut off, and can come again.
const MOST_WAITING: usize = 8192;
/// How long a watcher may keep the end of a run waiting.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Numbers of questions are made different for each watcher by the bits above these.
const ASK_BITS: u32 = 32;

/// An open socket. Dropping it sends what still waits and removes it.
pub struct Server {
    dir: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    events: PathBuf,
    commands: Sender<Command>,
    watchers: Mutex<Watchers>,
}

#[derive(Default)]
struct Watchers {
    all: Vec<Watcher>,
    /// Those who took the controls and did not leave them; the last one has them.
    claims: Vec<u64>,
    last_number: u64,
    /// Progress is not kept in the file: a new watcher is told the last one.
    progress: Option<Event>,
    closed: bool,
}

struct Watcher {
    number: u64,
    lines: SyncSender<String>,
    writer: JoinHandle<()>,
}

impl Server {
    /// Opens the socket of `run_dir`; the caller holds the folder's lock. What is said goes to `commands`.
    ///
    /// # Errors
    /// The file system has no sockets, or the folder cannot be written.
    pub fn open(run_dir: &Path, commands: Sender<Command>) -> Result<Self> {
        let listener = listen(run_dir).at("create", run_dir.join(SOCKET))?;
        let events = run_dir.join(EVENTS);
        let shared = Arc::new(Shared { events, commands, watchers: Mutex::default() });
        let accept = shared.clone();
        spawn("watch", move || {
            for stream in listener.incoming().flatten() {
                if accept.watchers().closed {
                    return;
                }
                // A watcher that is gone already is none.
                let _ = admit(&accept, stream);
            }
        })
        .at("start a thread for", run_dir)?;
        Ok(Self { dir: run_dir.to_path_buf(), shared })
    }

    /// Keeps an event with `keep` and sends it to all who watch, without waiting for them. Both happen as one: who
    /// comes meanwhile reads it in the file or gets it here.
    pub fn tell(&self, event: &Event, keep: impl FnOnce()) {
        let mut watchers = self.shared.watchers();
        keep();
        match event {
            Event::Progress { .. } => watchers.progress = Some(event.clone()),
            Event::Step(_) => watchers.progress = None,
            _ => {}
        }
        let mut own = event.clone();
        if let Event::Token { id, .. } | Event::Odds { id, .. } | Event::Answered { id, .. } = &mut own {
            let watcher = *id >> ASK_BITS;
            *id &= (1 << ASK_BITS) - 1;
            return watchers.send_to(watcher, &Said::Event(own));
        }
        if !watchers.all.is_empty() {
            watchers.send(&Said::Event(own));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let all = {
            let mut watchers = self.shared.watchers();
            watchers.closed = true;
            std::mem::take(&mut watchers.all)
        };
        // Wakes the thread that waits for watchers, so that it ends.
        if let Ok((path, _held)) = short_path(&self.dir, SOCKET) {
            let _ = UnixStream::connect(path);
        }
        let _ = std::fs::remove_file(self.dir.join(SOCKET));
        for Watcher { lines, writer, .. } in all {
            drop(lines);
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line of a watcher.
    fn hear(&self, number: u64, line: &str) {
        let asked = serde_json::from_str::<Asked>(line);
        let mut watchers = self.watchers();
        match asked {
            Err(e) => watchers.send_to(number, &refused(&format!("not understood: {e}"))),
            Ok(Asked::Control { control }) => watchers.control(number, control),
            Ok(Asked::Command(_)) if watchers.claims.last() != Some(&number) => {
                watchers.send_to(number, &refused("you are only watching: take the controls first"));
            }
            Ok(Asked::Command(command)) => {
                if self.commands.send(with_number(*command, number)).is_err() {
                    watchers.send_to(number, &refused("the job has ended"));
                }
            }
        }
    }
}

impl Watchers {
    fn control(&mut self, number: u64, take: Take) {
        match take {
            Take::IfFree if !self.claims.is_empty() => {}
            Take::Take | Take::IfFree => {
                self.claims.retain(|n| *n != number);
                self.claims.push(number);
            }
            Take::Leave => self.claims.retain(|n| *n != number),
        }
        self.tell_controls();
    }

    /// Everybody hears whether it has the controls, and how many watch.
    fn tell_controls(&mut self) {
        let (holder, watching) = (self.claims.last().copied(), self.all.len());
        let numbers: Vec<u64> = self.all.iter().map(|w| w.number).collect();
        for number in numbers {
            let control = Controls { yours: holder == Some(number), watching };
            self.send_to(number, &Said::Control { control });
        }
    }

    fn send(&mut self, said: &Said) {
        let line = line(said);
        // Who is cut off here tells it itself: its reader ends, which counts again who watches.
        self.all.retain(|w| w.lines.try_send(line.clone()).is_ok());
    }

    fn send_to(&mut self, number: u64, said: &Said) {
        self.all.retain(|w| w.number != number || w.lines.try_send(line(said)).is_ok());
    }

    fn leave(&mut self, number: u64) {
        self.all.retain(|w| w.number != number);
        self.claims.retain(|n| *n != number);
        self.tell_controls();
    }
}

/// Binds the socket where only its owner can reach it, and moves it into place: also over one left by a process that
/// was killed.
fn listen(dir: &Path) -> std::io::Result<UnixListener> {
    let private = tempfile::Builder::new().prefix(".lorascope-").tempdir_in(dir)?;
    let (path, held) = short_path(private.path(), SOCKET)?;
    let listener = UnixListener::bind(path)?;
    drop(held);
    let made = private.path().join(SOCKET);
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(made, dir.join(SOCKET))?;
    Ok(listener)
}

/// Tells a new watcher where the run stands and starts its two threads.
fn admit(shared: &Arc<Shared>, stream: UnixStream) -> std::io::Result<()> {
    stream.set_write_timeout(Some(LAST_LINES))?;
    let reader = BufReader::new(stream.try_clone()?);
    let (lines, waiting) = sync_channel(MOST_WAITING);
    let mut watchers = shared.watchers();
    watchers.last_number += 1;
    let number = watchers.last_number;
    // Under the lock no event is between the file and the watchers.
    let past = std::fs::metadata(&shared.events).map_or(0, |m| m.len());
    let hello = Said::Hello { hello: Hello { past, process: std::process::id() } };
    let first = std::iter::once(hello).chain(watchers.progress.clone().map(Said::Event));
    first.for_each(|said| drop(lines.try_send(line(&said))));
    let writer = spawn("watch writer", move || write_lines(stream, &waiting))?;
    watchers.all.push(Watcher { number, lines, writer });
    watchers.tell_controls();
    drop(watchers);
    let shared = shared.clone();
    spawn("watch reader", move || {
        for line in reader.lines().map_while(std::result::Result::ok) {
            shared.hear(number, &line);
        }
        shared.watchers().leave(number);
    })?;
    Ok(())
}

/// Writes lines until there are no more, or the watcher does not take them.
fn write_lines(mut stream: UnixStream, waiting: &Receiver<String>) {
    for line in waiting {
        if stream.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// The same command, a question under a number that no other watcher has.
fn with_number(command: Command, number: u64) -> Command {
    let own = |id: u64| (number << ASK_BITS) | (id & ((1 << ASK_BITS) - 1));
    match command {
        Command::Ask { id, turn } => Command::Ask { id: own(id), turn },
        Command::CancelAsk { id } => Command::CancelAsk { id: own(id) },
        other => other,
    }
}

fn refused(why: &str) -> Said {
    Said::Refused { refused: why.into() }
}

fn line(said: &Said) -> String {
    serde_json::to_string(said).expect("plain data serialises") + "\n"
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

//! A training run in a process of its own, which a closed terminal, a crash or the end of this process does not touch.

use super::watch::{self, Heard, Link, Take};
use crate::config::TrainConfig;
use crate::error::{At, Error, Kind, Result};
use crate::job::{Command, Event, Outcome};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the new process is looked for until it answers.
const LOOK: Duration = Duration::from_millis(20);

/// The way to talk to a run in another process. Dropping it leaves the run alone.
pub struct Remote {
    to: Arc<Mutex<To>>,
}

/// Commands wait until the run's process has answered.
enum To {
    Waiting(Vec<Command>),
    Link(Link),
    Gone,
}

impl Remote {
    /// Says something to the run; `false` when it has ended.
    pub fn send(&self, command: Command) -> bool {
        match &mut *lock(&self.to) {
            To::Waiting(commands) => {
                commands.push(command);
                true
            }
            To::Link(link) => link.send(command),
            To::Gone => false,
        }
    }

    /// Takes or leaves the controls.
    pub fn control(&self, take: Take) -> bool {
        matches!(&*lock(&self.to), To::Link(link) if link.control(take))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The connection ends, and with it the thread that follows.
        *lock(&self.to) = To::Gone;
    }
}

/// Starts `lorascope train` with these settings and follows it. `heard` gets everything it says, and exactly one
/// `Finished`, also when the process does not start or is killed.
pub fn train(config: &TrainConfig, heard: impl Fn(Heard) + Send + 'static) -> Remote {
    let to = Arc::new(Mutex::new(To::Waiting(Vec::new())));
    let (config, link) = (config.clone(), to.clone());
    let follow = move || {
        let failed = match start(&config) {
            Ok(run) => run.follow(&link, &heard),
            Err(error) => Some(error),
        };
        *lock(&link) = To::Gone;
        if let Some(error) = failed {
            heard(Heard::Event(Event::Finished(Outcome::Failed { error })));
        }
    };
    std::thread::Builder::new().name("run".into()).spawn(follow).expect("the system can start a thread");
    Remote { to }
}

/// Follows a run that is there. `heard` gets its past, and what comes; of a run that nobody works on its past alone.
/// The last word is [`Heard::Gone`], unless this is dropped before.
pub fn watch(run_dir: &Path, take: Option<Take>, heard: impl Fn(Heard) + Send + 'static) -> Remote {
    let to = Arc::new(Mutex::new(To::Waiting(Vec::new())));
    let (dir, link) = (run_dir.to_path_buf(), to.clone());
    let follow = move || {
        let known = match watch::connect(&dir) {
            Ok((connection, found)) => {
                if let Some(take) = take {
                    found.control(take);
                }
                if !open(&link, found) {
                    return;
                }
                return connection.follow(&mut |h| {
                    heard(h);
                    true
                });
            }
            Err(_) => watch::history(&dir),
        };
        *lock(&link) = To::Gone;
        for event in known.unwrap_or_default() {
            heard(Heard::Event(event));
        }
        heard(Heard::Gone);
    };
    std::thread::Builder::new().name("watcher".into()).spawn(follow).expect("the system can start a thread");
    Remote { to }
}

/// From now on commands go this way, the waiting ones first; `false` when nobody wants to hear of the run any more.
fn open(to: &Mutex<To>, link: Link) -> bool {
    let mut to = lock(to);
    let To::Waiting(commands) = std::mem::replace(&mut *to, To::Gone) else { return false };
    for command in commands {
        link.send(command);
    }
    *to = To::Link(link);
    true
}

/// Starts a run and waits until it works in its folder; it goes on by itself. Gives the number of its process.
///
/// # Errors
/// Whatever ends the run before it works in its folder.
pub fn train_detached(config: &TrainConfig) -> Result<u32> {
    let mut run = start(config)?;
    match run.connect() {
        Some(_) => Ok(run.child.id()),
        None => Err(run.end()),
    }
}

/// A process that was started.
struct Run {
    child: Child,
    dir: PathBuf,
    /// Its last line on standard output, when it has ended.
    last_line: Option<JoinHandle<String>>,
}

fn start(config: &TrainConfig) -> Result<Run> {
    let program = program()?;
    let failed = |e: std::io::Error| Error::io("start", &program, &e);
    let mut child = std::process::Command::new(&program)
        .arg0("lorascope")
        .args(["train", "-", "--json", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Out of reach of the terminal's Ctrl-C and of its end.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let settings = crate::config::layers::to_yaml(config)?;
    let sent = child.stdin.take().map(|mut stdin| stdin.write_all(settings.as_bytes()));
    // A process that has ended already says itself why.
    drop(sent);
    let output = child.stdout.take();
    let last_line = std::thread::Builder::new()
        .name("run output".into())
        .spawn(move || output.map(last_line).unwrap_or_default())
        .at("start a thread for", &program)?;
    Ok(Run { child, dir: config.output_dir.clone(), last_line: Some(last_line) })
}

/// This program, also when its file was replaced meanwhile.
fn program() -> Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.to_path_buf());
    }
    std::env::current_exe().at("find", "the running program")
}

fn last_line(output: impl Read) -> String {
    BufReader::new(output).lines().map_while(std::result::Result::ok).last().unwrap_or_default()
}

impl Run {
    /// Waits until the process answers in its folder, or has ended.
    fn connect(&mut self) -> Option<(watch::Connection, Link)> {
        loop {
            let connected = watch::connect(&self.dir).ok();
            // Another run may work in that folder; then this one is about to say so.
            if let Some(found) = connected.filter(|(c, _)| c.hello.process == self.child.id()) {
                return Some(found);
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return None;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Follows the process to its end; gives why it failed if it did not say it itself.
    fn follow(mut self, to: &Mutex<To>, heard: &dyn Fn(Heard)) -> Option<Error> {
        let mut finished = false;
        if let Some((connection, link)) = self.connect() {
            link.control(Take::Take);
            if !open(to, link) {
                return None;
            }
            connection.follow(&mut |h| {
                finished |= matches!(h, Heard::Event(Event::Finished(_)));
                if !matches!(h, Heard::Gone) {
                    heard(h);
                }
                true
            });
        }
        let error = self.end();
        (!finished).then_some(error)
    }

    /// Why the process ended.
    fn end(&mut self) -> Error {
        let status = self.child.wait();
        let said = self.last_line.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let told = serde_json::from_str::<serde_json::Value>(&said).ok();
        let told = told.and_then(|mut value| serde_json::from_value(value["error"].take()).ok());
        told.unwrap_or_else(|| {
            Error::new(Kind::Io, format!("the process of the run {}", how(status.ok())))
                .hint("starting it again goes on from its newest checkpoint")
        })
    }
}

fn how(status: Option<ExitStatus>) -> String {
    match status.map(|s| (s.signal(), s.code())) {
        Some((Some(9), _)) => {
            "was killed (signal 9): by hand, or because the machine ran out of memory".into()
        }
        Some((Some(signal), _)) => format!("was ended by signal {signal}"),
        Some((None, Some(code))) => format!("ended with exit code {code} and no word"),
        _ => "is gone".into(),
    }
}

fn lock(to: &Mutex<To>) -> MutexGuard<'_, To> {
    to.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The side of those who watch: connects to the socket of a run, reads its past from the run folder, then follows.

use super::{Asked, Controls, Hello, SOCKET, Said, Take, history, short_path};
use crate::error::{Error, Kind, Result};
use crate::job::{Command, Event};
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a watcher hears.
#[derive(Clone, Debug)]
pub enum Heard {
    Event(Event),
    Control(Controls),
    /// A command was not taken, and why.
    Refused(String),
    /// The job's process has closed the socket, or is gone.
    Gone,
}

/// The way to talk to a run that is watched. Dropping it ends the watching, not the run.
pub struct Link {
    stream: Mutex<UnixStream>,
}

impl Link {
    /// Says something to the job; `false` when its process is gone.
    pub fn send(&self, command: Command) -> bool {
        self.say(&Asked::Command(Box::new(command)))
    }

    /// Takes or leaves the controls; the answer is a [`Heard::Control`].
    pub fn control(&self, take: Take) -> bool {
        self.say(&Asked::Control { control: take })
    }

    fn say(&self, asked: &Asked) -> bool {
        let line = serde_json::to_string(asked).expect("plain data serialises") + "\n";
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(line.as_bytes()).is_ok()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// A run's process that has answered.
pub struct Connection {
    run_dir: PathBuf,
    reader: BufReader<UnixStream>,
    pub hello: Hello,
}

/// Connects to the process that works in `run_dir`.
///
/// # Errors
/// Nobody works there, or nobody who can be watched.
pub fn connect(run_dir: &Path) -> Result<(Connection, Link)> {
    let gone = |what: String| {
        Error::new(Kind::Input, format!("{}: {what}", run_dir.display()))
            .hint("`lorascope runs` lists the runs; a stopped one goes on with the command that began it")
    };
    let connected = short_path(run_dir, SOCKET).and_then(|(path, _held)| UnixStream::connect(path));
    let stream = connected.map_err(|e| gone(format!("no run to watch ({e})")))?;
    let link = stream.try_clone().map_err(|e| gone(format!("cannot watch the run ({e})")))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let read = reader.read_line(&mut line);
    match read.ok().and_then(|_| serde_json::from_str(&line).ok()) {
        Some(Said::Hello { hello }) => {
            let connection = Connection { run_dir: run_dir.to_path_buf(), reader, hello };
            Ok((connection, Link { stream: Mutex::new(link) }))
        }
        _ => Err(gone("the run has just ended".into())),
    }
}

impl Connection {
    /// Tells the past and then what comes, until the socket is closed or `heard` says `false`. A line of a newer
    /// version is passed over.
    pub fn follow(self, heard: &mut dyn FnMut(Heard) -> bool) {
        for event in history::past(&self.run_dir, self.hello.past) {
            if !heard(Heard::Event(event)) {
                return;
            }
        }
        for line in self.reader.lines().map_while(std::result::Result::ok) {
            let goes_on = match serde_json::from_str(&line) {
                Ok(Said::Event(event)) => heard(Heard::Event(event)),
                Ok(Said::Control { control }) => heard(Heard::Control(control)),
                Ok(Said::Refused { refused }) => heard(Heard::Refused(refused)),
                Ok(Said::Hello { .. }) | Err(_) => true,
            };
            if !goes_on {
                return;
            }
        }
        heard(Heard::Gone);
    }
}

/// [`connect`] and follow on a thread of its own; takes the controls first if asked to.
pub fn attach(run_dir: &Path, take: Option<Take>, heard: impl Fn(Heard) + Send + 'static) -> Result<Link> {
    let (connection, link) = connect(run_dir)?;
    if let Some(take) = take {
        link.control(take);
    }
    let follow = move || {
        connection.follow(&mut |h| {
            heard(h);
            true
        });
    };
    let thread = std::thread::Builder::new().name("watcher".into()).spawn(follow);
    thread.map_err(|e| Error::new(Kind::Io, format!("cannot start a thread: {e}")))?;
    Ok(link)
}

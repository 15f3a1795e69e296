//! A run folder while a job works in it: its lock, the file of its events, the socket for those who watch.

use super::watch::Server;
use crate::error::{Error, Result};
use crate::job::{Command, Event};
use crate::runs::{EventLog, RunLock};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

/// The open folder. Its parts go in this order: whoever takes the folder next finds nothing of this job's.
pub(super) struct Record {
    server: Option<Server>,
    log: EventLog,
    _lock: RunLock,
}

impl Record {
    /// Opens file and socket. Without the socket (a file system that has none) the run goes on; the error says why.
    pub(super) fn open(
        dir: &Path,
        lock: RunLock,
        commands: Sender<Command>,
    ) -> Result<(Self, Option<Error>)> {
        let log = EventLog::open(dir)?;
        let (server, error) = match Server::open(dir, commands) {
            Ok(server) => (Some(server), None),
            Err(error) => (None, Some(error)),
        };
        Ok((Self { server, log, _lock: lock }, error))
    }

    fn keep(&mut self, event: &Event) {
        let Self { server, log, .. } = self;
        let kept = !matches!(
            event,
            Event::Token { .. }
                | Event::Odds { .. }
                | Event::Answered { .. }
                | Event::Scores { .. }
                | Event::Progress { .. }
        );
        // A full disk must not end a run: what cannot be kept waits for the next event.
        let mut keep = || {
            if kept {
                let _ = log.push(event);
            }
        };
        match server {
            Some(server) => server.tell(event, keep),
            None => keep(),
        }
    }
}

/// Keeps an event and tells those who watch, once the job has a folder. Pieces of answers and progress are not kept.
pub(super) fn keep(record: &Mutex<Option<Record>>, event: &Event) {
    if let Some(record) = record.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        record.keep(event);
    }
}

/// Lets go of the folder, after those who watch have been told everything.
pub(super) fn close(record: &Mutex<Option<Record>>) {
    let record = record.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(record);
}

//! A model that stands ready for the questions of a subcommand.

use super::output::Out;
use crate::engine::{Engine, JobHandle};
use crate::error::{Error, Result};
use crate::job::{Answer, Command, Event, Job, Level, Odds, Outcome, TalkJob, Turn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// An open talk.
pub struct Talk {
    handle: JobHandle,
    events: Receiver<Event>,
    next: u64,
    _engine: Engine,
}

impl Talk {
    /// Loads the model; `stop` breaks that off.
    ///
    /// # Errors
    /// The model or the adapter does not load.
    pub fn open(job: TalkJob, out: &Out, stop: &AtomicBool) -> Result<Self> {
        let engine = Engine::start();
        let (send, events) = channel();
        let handle = engine.submit(Job::Talk(job), move |event| {
            let _ = send.send(event);
        });
        let talk = Self { handle, events, next: 0, _engine: engine };
        while !stop.load(Ordering::Relaxed) {
            match talk.next(Duration::from_millis(100))? {
                Some(Event::Started { .. }) => {
                    out.clear_bar();
                    return Ok(talk);
                }
                Some(event @ Event::Progress { .. }) => out.progress(&event),
                Some(Event::Log { level: Level::Warning | Level::Error, line }) => {
                    out.note(format!("warning: {line}"));
                }
                _ => {}
            }
        }
        Err(Error::new(crate::error::Kind::Stopped, "stopped while the model was loading"))
    }

    /// Asks; events of the answer carry the number that is given back.
    pub fn ask(&mut self, turn: Turn) -> u64 {
        self.next += 1;
        self.handle.send(Command::Ask { id: self.next, turn });
        self.next
    }

    /// Breaks an answer off.
    pub fn cancel(&self, id: u64) {
        self.handle.send(Command::CancelAsk { id });
    }

    /// The next event; `None` when none came in this time.
    ///
    /// # Errors
    /// The model is no longer there.
    pub fn next(&self, wait: Duration) -> Result<Option<Event>> {
        match self.events.recv_timeout(wait) {
            Ok(Event::Finished(Outcome::Failed { error })) => Err(error),
            Ok(Event::Finished(_)) | Err(RecvTimeoutError::Disconnected) => {
                Err(Error::internal("the model is no longer there"))
            }
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
        }
    }

    /// Asks and waits for the answer; every piece goes to `on_piece`. `stop` breaks it off, and is set back.
    ///
    /// # Errors
    /// The question cannot be answered.
    pub fn answer(
        &mut self,
        turn: Turn,
        stop: &AtomicBool,
        on_piece: &mut dyn FnMut(&str),
    ) -> Result<(Answer, Vec<Odds>)> {
        let asked = self.ask(turn);
        let mut all = Vec::new();
        loop {
            if stop.swap(false, Ordering::Relaxed) {
                self.cancel(asked);
            }
            match self.next(Duration::from_millis(100))? {
                Some(Event::Token { id, text, .. }) if id == asked => on_piece(&text),
                Some(Event::Odds { id, odds }) if id == asked => all.push(odds),
                Some(Event::Answered { id, answer, error }) if id == asked => {
                    let none = || error.unwrap_or_else(|| Error::internal("there is no answer"));
                    return Ok((answer.ok_or_else(none)?, all));
                }
                _ => {}
            }
        }
    }
}

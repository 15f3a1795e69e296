//! Between connections and the engine: who waits for which answer, and how many may.

use super::fault::Fault;
use crate::engine::{Engine, JobHandle};
use crate::error::{Error, Result};
use crate::job::{Answer, Command, Emit, Event, Finish, Job, Odds, Outcome, TalkJob, Turn};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is heard of an answer.
pub enum Heard {
    Text(String),
    Odds(Odds),
    End(Result<Answer>),
}

/// The open talk and those who wait at it.
pub struct Desk {
    handle: JobHandle,
    state: Arc<Mutex<State>>,
    /// What the job says before it is ready.
    loading: Mutex<Receiver<Event>>,
    seats: usize,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Requests that were counted.
    counted: u64,
    taken: usize,
    waiting: HashMap<u64, Sender<Heard>>,
    ended: Option<Error>,
}

impl Desk {
    /// Loads the model; at most `seats` questions are open at a time.
    pub fn open(engine: &Engine, job: TalkJob, seats: usize) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (told, loading) = channel();
        let heard = state.clone();
        let handle = engine.submit(Job::Talk(job), move |event| {
            if let Some(event) = pass_on(&heard, event) {
                let _ = told.send(event); // nobody listens any more once it is ready
            }
        });
        Self { handle, state, loading: Mutex::new(loading), seats }
    }

    /// Waits for the model; `false` if it should stop before.
    ///
    /// # Errors
    /// The model does not load.
    pub fn wait_until_ready(&self, stop: &AtomicBool, emit: Emit) -> Result<bool> {
        let loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        while !stop.load(Ordering::Relaxed) {
            match loading.recv_timeout(Duration::from_millis(100)) {
                Ok(Event::Started { .. }) => return Ok(true),
                Ok(event) => emit(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(error) = self.ended() {
                return Err(error);
            }
        }
        Ok(false)
    }

    /// Why the engine answers no more.
    pub fn ended(&self) -> Option<Error> {
        lock(&self.state).ended.clone()
    }

    /// The number of this request, from 0.
    pub fn count(&self) -> u64 {
        let mut state = lock(&self.state);
        state.counted += 1;
        state.counted - 1
    }

    /// Breaks all answers off; those who wait for one hear that the server is ending.
    pub fn close(&self) {
        self.handle.send(Command::Stop { save: false });
    }

    /// A place in the queue.
    ///
    /// # Errors
    /// There is none.
    pub fn seat(self: &Arc<Self>) -> Result<Seat, Fault> {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return Err(Fault::ending());
        }
        if state.taken >= self.seats {
            return Err(Fault::full());
        }
        state.taken += 1;
        Ok(Seat { desk: self.clone() })
    }
}

/// Gives an event to the one who waits for it; the others come back.
fn pass_on(state: &Mutex<State>, event: Event) -> Option<Event> {
    let mut state = lock(state);
    let (id, heard) = match event {
        Event::Token { done: true, .. } => return None,
        Event::Token { id, text, .. } => (id, Heard::Text(text)),
        Event::Odds { id, odds } => (id, Heard::Odds(odds)),
        // Who left is not waiting: this one is broken off by the end of the server, and is no answer.
        Event::Answered { id, answer: Some(answer), .. } if answer.finish == Finish::Cancelled => {
            state.waiting.remove(&id);
            return None;
        }
        Event::Answered { id, answer, error } => {
            let none = || Err(error.unwrap_or_else(|| Error::internal("there is no answer")));
            (id, Heard::End(answer.map_or_else(none, Ok)))
        }
        Event::Finished(outcome) => {
            state.ended = Some(match outcome {
                Outcome::Failed { error } => error,
                _ => Error::internal("the model is no longer there"),
            });
            state.waiting.clear();
            return None;
        }
        other => return Some(other),
    };
    if let Some(waiting) = state.waiting.get(&id) {
        let _ = waiting.send(heard); // a client that has gone
    }
    None
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in the queue, given back when it is dropped.
pub struct Seat {
    desk: Arc<Desk>,
}

impl Seat {
    /// Asks; the answer comes to the ticket.
    pub fn ask(self, turn: Turn) -> Ticket {
        let (send, heard) = channel();
        let mut state = lock(&self.desk.state);
        state.next += 1;
        let id = state.next;
        // After the end nobody would ever answer: without a sender the ticket hears of it.
        if state.ended.is_none() {
            state.waiting.insert(id, send);
        }
        drop(state);
        self.desk.handle.send(Command::Ask { id, turn: Box::new(turn) });
        Ticket { seat: self, id, heard }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.desk.state).taken -= 1;
    }
}

/// An answer to come. Dropped before its end, the answer is broken off.
pub struct Ticket {
    seat: Seat,
    id: u64,
    pub heard: Receiver<Heard>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.seat.desk.state).waiting.remove(&self.id);
        // Of an answer that has ended nobody knows the number any more.
        self.seat.desk.handle.send(Command::CancelAsk { id: self.id });
    }
}

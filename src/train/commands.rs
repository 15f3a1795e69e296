//! What is said to a running job: read between two micro-steps, and while an answer is being written.

use crate::generate::ask::{self, Who};
use crate::generate::talk;
use crate::job::{Command, Emit, Event, Level, Turn};
use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

/// What the loop does next.
pub enum Control {
    GoOn,
    Stop { save: bool },
}

/// The job's inbox, with what arrived while something else was going on.
pub struct Inbox<'a> {
    from: &'a Receiver<Command>,
    waiting: VecDeque<Command>,
    paused: bool,
}

impl<'a> Inbox<'a> {
    /// `waiting` came before the job could listen.
    pub fn new(from: &'a Receiver<Command>, waiting: Vec<Command>) -> Self {
        Self { from, waiting: waiting.into(), paused: false }
    }

    /// Commands that are served first the next time.
    pub fn put_back(&mut self, commands: Vec<Command>) {
        commands.into_iter().rev().for_each(|command| self.waiting.push_front(command));
    }

    /// The next command, or `None` when there is nothing to do but to go on. Blocks while paused; a vanished
    /// sender (the workbench was closed) ends a pause.
    pub fn next(&mut self, emit: Emit) -> Option<Command> {
        let command = match self.waiting.pop_front() {
            Some(command) => command,
            None if self.paused => match self.from.recv() {
                Ok(command) => command,
                Err(_) => {
                    self.set_paused(false, emit);
                    return None;
                }
            },
            None => self.from.try_recv().ok()?,
        };
        match command {
            Command::Pause => self.set_paused(true, emit),
            Command::Resume => self.set_paused(false, emit),
            _ => {}
        }
        Some(command)
    }

    /// Whether a stop is among what was said: work that takes long asks before it goes on.
    pub fn stop_waits(&mut self) -> bool {
        self.waiting.extend(self.from.try_iter());
        self.waiting.iter().any(|command| matches!(command, Command::Stop { .. }))
    }

    fn set_paused(&mut self, paused: bool, emit: Emit) {
        if self.paused != paused {
            self.paused = paused;
            emit(Event::Paused(paused));
        }
    }

    /// Answers a question, piece by piece. `CancelAsk` and `Stop` break it off; other commands wait.
    pub fn answer(&mut self, who: Who, id: u64, turn: &Turn, emit: Emit) {
        let result = ask::answer(&who, id, turn, emit, &mut || {
            while let Ok(command) = self.from.try_recv() {
                let ends = match &command {
                    Command::CancelAsk { id: other } => *other == id,
                    Command::Stop { .. } => true,
                    _ => false,
                };
                self.waiting.push_back(command);
                if ends {
                    return false;
                }
            }
            true
        });
        if let Err(e) = result {
            emit(Event::Log {
                level: Level::Error,
                line: format!("the question was not answered: {}", e.message),
            });
            talk::refuse(id, e, emit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_stop_that_waits_is_seen_and_nothing_is_lost_or_reordered() {
        let (say, from) = channel();
        let mut inbox = Inbox::new(&from, vec![Command::SaveNow]);
        assert!(!inbox.stop_waits());
        say.send(Command::Pause).expect("it listens");
        assert!(!inbox.stop_waits());
        say.send(Command::Stop { save: false }).expect("it listens");
        assert!(inbox.stop_waits() && inbox.stop_waits());
        let mut next = || inbox.next(&|_| {});
        assert!(matches!(next(), Some(Command::SaveNow)));
        assert!(matches!(next(), Some(Command::Pause)));
        assert!(matches!(next(), Some(Command::Stop { save: false })));
    }
}

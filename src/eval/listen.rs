//! Work of some minutes that still hears a stop.

use crate::job::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// What came of the work.
pub struct Heard<T> {
    pub done: T,
    /// A stop was asked for meanwhile.
    pub stopped: bool,
    /// Other commands that came meanwhile; they wait to be served.
    pub waiting: Vec<Command>,
}

/// Does `work` on another thread and sets its flag when a stop comes.
pub fn while_listening<T: Send>(
    inbox: &Receiver<Command>,
    work: impl FnOnce(&AtomicBool) -> T + Send,
) -> Heard<T> {
    let stop = AtomicBool::new(false);
    let mut waiting = Vec::new();
    let done = std::thread::scope(|scope| {
        let working = scope.spawn(|| work(&stop));
        while !working.is_finished() {
            match inbox.recv_timeout(Duration::from_millis(20)) {
                Ok(Command::Stop { .. }) => stop.store(true, Ordering::Relaxed),
                Ok(command) => waiting.push(command),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody is left who could say something.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    Heard { done, stopped: stop.load(Ordering::Relaxed), waiting }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_stop_reaches_the_work_and_other_commands_wait() {
        let (say, inbox) = channel();
        say.send(Command::CancelAsk { id: 3 }).unwrap();
        say.send(Command::Stop { save: true }).unwrap();
        let heard = while_listening(&inbox, |stop| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            7
        });
        assert!(heard.stopped && heard.done == 7);
        assert!(matches!(heard.waiting[..], [Command::CancelAsk { id: 3 }]));
        let heard = while_listening(&inbox, |_| ());
        assert!(!heard.stopped && heard.waiting.is_empty());
    }
}

//! Jobs that answer questions: one, or all that come until the job is stopped.

use super::loaded::Loaded;
use crate::error::Result;
use crate::generate::{Talk, Who, ask, talk};
use crate::job::{AskJob, Command, Emit, Event, TalkJob, Turn};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

/// Base and adapter, one after the other about the same picture, each find what the other question left.
const SLOTS_OF_ONE: usize = 2;

/// Answers one question.
pub(super) fn ask(loaded: &mut Loaded, job: &AskJob, inbox: &Receiver<Command>, emit: Emit) -> Result<Value> {
    let mut talk = loaded.take_talk(SLOTS_OF_ONE);
    let adapter = job.turn.adapter.as_deref().or(job.adapter.as_deref());
    // The base model needs no adapter; one that is there stays for the next question.
    if adapter.is_some() && !job.turn.use_base {
        switch(loaded, &mut talk, adapter)?;
    }
    let use_base = job.turn.use_base || adapter.is_none();
    let turn = Turn { use_base, ..job.turn.clone() };
    let mut go_on = || {
        let ends = |c: Command| matches!(c, Command::Stop { .. } | Command::CancelAsk { .. });
        !std::iter::from_fn(|| inbox.try_recv().ok()).any(ends)
    };
    let answer = ask::write(&mut talk, &who(loaded), (0, &turn), emit, &mut go_on);
    loaded.keep_talk(talk);
    let answer = answer?;
    Ok(json!({
        "answer": answer.text, "finish": answer.finish, "prompt_tokens": answer.prompt_tokens,
        "reused_tokens": answer.reused_tokens, "new_tokens": answer.new_tokens,
        "first_token": answer.first_token, "seconds": answer.seconds,
    }))
}

/// Answers what comes, several questions at a time, until it is told to stop or nobody can ask any more.
pub(super) fn run(
    loaded: &mut Loaded,
    job: &TalkJob,
    inbox: &Receiver<Command>,
    emit: Emit,
) -> Result<Value> {
    let talk = loaded.take_talk(job.slots);
    let mut open = Open { loaded, talk, job, emit, waiting: VecDeque::new(), answered: 0 };
    // A bad adapter is told at once, not with the first question.
    switch(open.loaded, &mut open.talk, job.adapter.as_deref())?;
    emit(open.started());
    while open.listen(inbox) {
        open.start_waiting();
        let done = open.talk.step(&who(open.loaded), emit).len();
        open.answered += done;
    }
    open.talk.cancel_all(emit);
    let Open { loaded, talk, answered, .. } = open;
    loaded.keep_talk(talk);
    Ok(json!({ "answered": answered }))
}

struct Open<'a> {
    loaded: &'a mut Loaded,
    talk: Talk,
    job: &'a TalkJob,
    emit: Emit<'a>,
    waiting: VecDeque<(u64, Turn, Instant)>,
    answered: usize,
}

impl Open<'_> {
    fn started(&self) -> Event {
        let (model, _, adapter) = self.loaded.parts();
        Event::Started {
            run_dir: self.job.model.clone(),
            device: self.loaded.device().into(),
            total_steps: 0,
            trainable: adapter.map_or(0, |a| a.parameters()),
            parameters: model.parameters,
            targets: Vec::new(),
        }
    }

    /// Takes in what was said; waits while there is nothing to do. `false` at the end.
    fn listen(&mut self, inbox: &Receiver<Command>) -> bool {
        loop {
            let command = match self.talk.idle() && self.waiting.is_empty() {
                true => match inbox.try_recv().or_else(|_| {
                    self.talk.read_ahead(&who(self.loaded));
                    inbox.recv()
                }) {
                    Ok(command) => command,
                    Err(_) => return false,
                },
                false => match inbox.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                },
            };
            match command {
                Command::Ask { id, turn } => self.waiting.push_back((id, *turn, Instant::now())),
                Command::CancelAsk { id } => {
                    self.talk.cancel(id, self.emit);
                    self.waiting.retain(|w| w.0 != id);
                }
                Command::Stop { .. } => return false,
                _ => {}
            }
        }
    }

    /// Begins the answers that there is room for, in the order of their questions.
    fn start_waiting(&mut self) {
        while self.talk.room() > 0 {
            let Some((id, turn, began)) = self.waiting.pop_front() else { return };
            let adapter = turn.adapter.as_deref().or(self.job.adapter.as_deref());
            let adapter = adapter.filter(|_| !turn.use_base).map(Path::to_path_buf);
            let other = adapter.is_some() && adapter.as_deref() != self.loaded.adapter_dir();
            if other && self.talk.tuned_running() {
                self.waiting.push_front((id, turn, began));
                return;
            }
            let ready = match &adapter {
                Some(dir) => switch(self.loaded, &mut self.talk, Some(dir)),
                None => Ok(()),
            };
            let turn = Turn { use_base: adapter.is_none(), ..turn };
            let asked = ready.and_then(|()| self.talk.ask(&who(self.loaded), id, &turn, began));
            if let Err(error) = asked {
                talk::refuse(id, error, self.emit);
            }
        }
    }
}

/// Switches to an adapter; what was computed with another one is forgotten.
fn switch(loaded: &mut Loaded, talk: &mut Talk, adapter: Option<&Path>) -> Result<()> {
    if loaded.use_adapter(adapter)? {
        talk.forget_tuned();
    }
    Ok(())
}

fn who(loaded: &Loaded) -> Who<'_> {
    let (model, encoder, adapter) = loaded.parts();
    Who { model, encoder, adapter }
}

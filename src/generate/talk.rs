//! Questions to a loaded model, several at the same time, and what is kept between them: features and beginnings.

use super::ahead;
use super::ask::{self, Who};
use super::batch::{Batch, Request};
use super::pictures::Pictures;
use super::writing::Writing;
use crate::data::ImageRef;
use crate::error::{Error, Result};
use crate::job::{Answer, Emit, Event, Finish, Turn};
use std::time::Instant;

/// Answers that are being written, and what they share.
pub struct Talk {
    batch: Batch,
    pictures: Pictures,
    answers: Vec<Writing>,
}

impl Talk {
    /// Room for `slots` answers at a time.
    pub fn new(slots: usize) -> Self {
        Self { batch: Batch::new(slots, true), pictures: Pictures::default(), answers: Vec::new() }
    }

    pub fn slots(&self) -> usize {
        self.batch.slots()
    }

    /// How many more answers can be written at the same time.
    pub fn room(&self) -> usize {
        self.batch.room()
    }

    pub fn idle(&self) -> bool {
        self.answers.is_empty()
    }

    /// Whether an answer of the tuned model is being written: its adapter must stay.
    pub fn tuned_running(&self) -> bool {
        self.batch.tuned_running()
    }

    /// Another adapter answers from now on.
    pub fn forget_tuned(&mut self) {
        self.batch.forget_tuned();
        self.pictures.forget_tuned();
    }

    /// Takes a question in; [`Talk::step`] writes its answer. Without one the reason is told.
    ///
    /// # Errors
    /// A picture or the talk cannot be used, or there is no room.
    pub fn ask(&mut self, who: &Who, id: u64, turn: &Turn, began: Instant) -> Result<()> {
        let seen = turn.brightness;
        let (mut images, mut identities, mut grids) = (Vec::new(), Vec::new(), Vec::new());
        for (i, name) in turn.images.iter().enumerate() {
            let known = || -> Result<_> {
                let image = ImageRef::named(name.clone())?;
                let identity = Pictures::identity(&image, seen)?;
                let grid = who.encoder.grids_of(std::slice::from_ref(&image))?;
                Ok((image, identity, grid))
            };
            let (image, identity, grid) = known().map_err(|e| which(e, i, turn))?;
            identities.push(identity);
            grids.extend(grid);
            images.push(image);
        }
        let ids = who.encoder.prompt(turn.system.as_deref(), &ask::messages(turn), &grids)?;
        let most = who.model.config.text.max_position_embeddings;
        let tokens = ids.len();
        if tokens + turn.sampling.max_new_tokens > most {
            return Err(Error::input(format!(
                "the talk has {tokens} tokens and the answer may have {}: the model takes {most}",
                turn.sampling.max_new_tokens
            ))
            .hint("start a new talk, use smaller pictures, or lower max_new_tokens"));
        }
        let tuned = who.adapter.is_some() && !turn.use_base;
        let request = Request {
            tag: id,
            ids,
            grids,
            pictures: identities.clone(),
            tuned,
            sampling: turn.sampling.clone(),
            stream: 0,
            odds: turn.odds,
        };
        let pictures = &mut self.pictures;
        let mut look = |i: usize| {
            let features = pictures.see(who, (&images[i], seen), identities[i], tuned);
            features.map_err(|e| which(e, i, turn))
        };
        let reused = self.batch.add(who.model, request, &mut look)?;
        let mut writing = Writing::new(id, who.encoder, &turn.sampling.stop, began);
        writing.reads(tokens, reused);
        self.answers.push(writing);
        Ok(())
    }

    /// One token further for every answer; gives those that have ended.
    pub fn step(&mut self, who: &Who, emit: Emit) -> Vec<(u64, Answer)> {
        let mut ended = Vec::new();
        let answers = &mut self.answers;
        self.batch.step((who.model, who.adapter), who.encoder.stop_ids(), &mut |tag, said| {
            let Some(at) = answers.iter().position(|a| a.id == tag) else { return false };
            let goes_on = answers[at].take(said, who.encoder, emit);
            if !goes_on {
                ended.push((tag, answers.remove(at).into_answer()));
            }
            goes_on
        });
        ended
    }

    /// While nobody waits: reads what is known of the next question to the answers that have ended.
    pub fn read_ahead(&mut self, who: &Who) {
        if self.idle() {
            self.batch.read_ahead((who.model, who.adapter), &ahead::between_turns(who.encoder));
        }
    }

    /// Breaks an answer off; gives what there is of it.
    pub fn cancel(&mut self, id: u64, emit: Emit) -> Option<Answer> {
        let at = self.answers.iter().position(|a| a.id == id)?;
        self.batch.cancel(id);
        let mut writing = self.answers.remove(at);
        writing.end(Finish::Cancelled, emit);
        Some(writing.into_answer())
    }

    /// Breaks all answers off.
    pub fn cancel_all(&mut self, emit: Emit) {
        let ids: Vec<u64> = self.answers.iter().map(|a| a.id).collect();
        ids.into_iter().for_each(|id| drop(self.cancel(id, emit)));
    }
}

/// Says that a question has no answer, and why.
pub fn refuse(id: u64, error: Error, emit: Emit) {
    emit(Event::Answered { id, answer: None, error: Some(error) });
    emit(Event::Token { id, text: String::new(), done: true });
}

/// Says which of several pictures an error is about: not all have names.
fn which(error: Error, at: usize, turn: &Turn) -> Error {
    match turn.images.len() {
        0 | 1 => error,
        all => Error { message: format!("picture {} of {all}: {}", at + 1, error.message), ..error },
    }
}

//! An answer that is being written: tokens in, whole characters, odds and the finished answer out.

use super::batch::{Said, TokenOdds};
use super::stops::Stops;
use crate::data::encode::Encoder;
use crate::data::stream::TextStream;
use crate::job::{Answer, Emit, Event, Finish, Odds};
use std::time::Instant;

/// One answer.
pub struct Writing {
    pub id: u64,
    stream: TextStream,
    stops: Stops,
    answer: Answer,
    began: Instant,
}

impl Writing {
    /// `stop` are texts that end it, `began` is when it was asked.
    pub fn new(id: u64, encoder: &Encoder, stop: &[String], began: Instant) -> Self {
        let (stream, stops) = (encoder.stream(true), Stops::new(stop));
        Self { id, stream, stops, answer: Answer::default(), began }
    }

    /// Tokens of its prompt, and how many of them were there already.
    pub fn reads(&mut self, tokens: usize, reused: usize) {
        (self.answer.prompt_tokens, self.answer.reused_tokens) = (tokens, reused);
    }

    /// Takes in what became of its sequence and tells it; `false` when the answer ends here.
    pub fn take(&mut self, said: Said, encoder: &Encoder, emit: Emit) -> bool {
        let (token, odds) = match said {
            Said::Token { id, odds } => (id, odds),
            Said::End(finish) => {
                self.end(finish, emit);
                return false;
            }
        };
        self.answer.new_tokens += 1;
        if self.answer.new_tokens == 1 {
            self.answer.first_token = self.began.elapsed().as_secs_f64();
        }
        if let Some(odds) = odds {
            emit(Event::Odds { id: self.id, odds: named(token, odds, encoder) });
        }
        let (text, stopped) = self.stops.push(&self.stream.push(token));
        self.tell(text, emit);
        if stopped {
            self.finish(Finish::Stop, emit);
        }
        !stopped
    }

    /// What is left goes out, then the end.
    pub fn end(&mut self, finish: Finish, emit: Emit) {
        let (mut text, stopped) = self.stops.push(&self.stream.finish());
        if !stopped {
            text += &self.stops.finish();
        }
        self.tell(text, emit);
        self.finish(finish, emit);
    }

    fn tell(&mut self, text: String, emit: Emit) {
        if !text.is_empty() {
            self.answer.text.push_str(&text);
            emit(Event::Token { id: self.id, text, done: false });
        }
    }

    fn finish(&mut self, finish: Finish, emit: Emit) {
        self.answer.finish = finish;
        self.answer.seconds = self.began.elapsed().as_secs_f64();
        emit(Event::Answered { id: self.id, answer: Some(self.answer.clone()), error: None });
        emit(Event::Token { id: self.id, text: String::new(), done: true });
    }

    pub fn into_answer(self) -> Answer {
        self.answer
    }
}

/// Odds with the tokens as text; a token may be half a character.
fn named(token: u32, odds: TokenOdds, encoder: &Encoder) -> Odds {
    let text = |id: u32| encoder.decode(&[id], false);
    Odds {
        token: text(token),
        logprob: odds.logprob,
        top: odds.top.into_iter().map(|(id, p)| (text(id), p)).collect(),
    }
}

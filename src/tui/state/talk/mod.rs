//! The talk with the model: questions, streamed answers, whom they are asked, and what becomes of them.

pub mod answerer;
mod asking;
mod keeping;

use super::look::Look;
use super::{JobId, State};
use crate::data::clean;
use crate::error::Error;
use crate::job::{Brightness, Event, Finish, Odds, Outcome, Sampling};
use crate::tui::widgets::editor::Editor;
use answerer::{Answerer, By};
use std::path::PathBuf;

/// How far an answer is.
#[derive(Clone, Debug, PartialEq)]
pub enum Answering {
    Waiting,
    Streaming,
    Done,
    Stopped,
    Failed(String),
}

/// The data set that corrected answers go to.
pub const CORRECTED: &str = "corrected";

/// One question and its answer.
pub struct Exchange {
    pub question: String,
    pub answer: String,
    /// Names of the pictures of the talk so far.
    pub pictures: Vec<PathBuf>,
    /// The window that they were seen through.
    pub seen: Option<Brightness>,
    /// What was asked besides the question.
    pub manner: Manner,
    pub by: By,
    pub status: Answering,
    pub odds: Vec<Odds>,
    /// Seconds to the first token.
    pub first_token: Option<f64>,
    /// The tokens after which it was cut off.
    pub cut: Option<usize>,
    /// The same question as the exchange before, of another model.
    pub beside: bool,
    pub corrected: bool,
    /// Not part of the history that is sent: asked again, or the other side of a comparison.
    replaced: bool,
    /// Its line is in the run's history.
    kept: bool,
    job: JobId,
    ask: Option<u64>,
}

impl Exchange {
    pub fn running(&self) -> bool {
        matches!(self.status, Answering::Waiting | Answering::Streaming)
    }

    /// Whether it counts no longer: it was asked again, or is the side of a comparison that the talk does not go on from.
    pub fn replaced(&self) -> bool {
        self.replaced
    }
}

/// What the line of input is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Typing {
    #[default]
    Question,
    /// The last answer, as it should be.
    Correction,
    /// The file that the talk is saved to.
    Save,
    /// The file that a talk is loaded from.
    Load,
}

/// What the model is told first, and how it chooses its words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manner {
    pub system: Option<String>,
    /// Not set: greedy, as long as the settings say.
    pub sampling: Option<Sampling>,
}

/// All exchanges and the question being written.
#[derive(Default)]
pub struct Talk {
    pub exchanges: Vec<Exchange>,
    pub answerer: Answerer,
    /// Who answered before the base model was chosen by the key for it.
    before: Answerer,
    pub manner: Manner,
    /// How the pictures that are asked about are seen, here and by the model.
    pub look: Look,
    pub show_odds: bool,
    /// Pictures that were dropped: asked about instead of the sample's.
    pub dropped: Vec<PathBuf>,
    pub input: Editor,
    pub typing: bool,
    pub typing_what: Typing,
    /// The question being written takes the place of the last one.
    editing: bool,
    /// The file that this talk was saved to.
    saved: Option<PathBuf>,
    next_ask: u64,
}

impl Talk {
    /// Takes in an event if it belongs to an answer; says whether it did.
    pub fn on_event(&mut self, job: JobId, event: &Event) -> bool {
        let id = match event {
            Event::Token { id, .. } | Event::Odds { id, .. } | Event::Answered { id, .. } => *id,
            Event::Finished(outcome) => return self.on_finished(job, outcome),
            _ => return false,
        };
        let mine = |e: &&mut Exchange| e.running() && e.job == job && e.ask.is_none_or(|a| a == id);
        let Some(exchange) = self.exchanges.iter_mut().find(mine) else {
            return self.exchanges.iter().any(|e| e.job == job && e.ask.is_none_or(|a| a == id));
        };
        match event {
            Event::Token { text, done, .. } => {
                exchange.answer.push_str(&clean::for_terminal_lines(text));
                exchange.status = if *done { Answering::Done } else { Answering::Streaming };
            }
            Event::Odds { odds, .. } => exchange.odds.push(odds.clone()),
            Event::Answered { answer, error, .. } => {
                exchange.first_token = answer.as_ref().map(|a| a.first_token);
                let cut = answer.as_ref().filter(|a| a.finish == Finish::Length);
                exchange.cut = cut.map(|a| a.new_tokens);
                if let Some(error) = error {
                    exchange.status = Answering::Failed(reason(error));
                }
            }
            _ => {}
        }
        true
    }

    fn on_finished(&mut self, job: JobId, outcome: &Outcome) -> bool {
        let mut any = false;
        for exchange in self.exchanges.iter_mut().filter(|e| e.running() && e.job == job) {
            exchange.status = ended(outcome, exchange);
            any = true;
        }
        any
    }

    /// A question that the job did not take.
    pub fn refused(&mut self, job: JobId, why: &str) {
        for exchange in self.exchanges.iter_mut().filter(|e| e.running() && e.job == job) {
            exchange.status = Answering::Failed(clean::for_terminal(why));
        }
    }

    /// Whether an answer is being written.
    pub fn answering(&self) -> bool {
        self.exchanges.iter().rev().take(2).any(Exchange::running)
    }

    /// The base model answers, or again who answered before.
    pub fn toggle_base(&mut self) {
        self.answerer = match self.answerer {
            Answerer::Base => std::mem::take(&mut self.before),
            _ => {
                self.before = std::mem::take(&mut self.answerer);
                Answerer::Base
            }
        };
    }

    /// The line is no longer written; what was typed for anything but a question is thrown away.
    pub fn leave(&mut self) {
        (self.typing, self.editing) = (false, false);
        if self.typing_what != Typing::Question {
            (self.typing_what, self.input) = (Typing::Question, Editor::default());
        }
    }

    /// Forgets what was said; who answers and how stays.
    pub fn clear(&mut self) {
        self.exchanges.clear();
        self.dropped.clear();
        self.saved = None;
    }

    /// The line is written, beginning with `text`.
    pub fn begin(&mut self, what: Typing, text: &str) {
        (self.input, self.typing, self.typing_what) = (Editor::with(text), true, what);
        self.editing = false;
    }

    /// The exchanges before this one about the same pictures that count, in order.
    fn history(&self, pictures: &[PathBuf]) -> Vec<(String, String)> {
        let same = self.exchanges.iter().rev().take_while(|e| e.pictures == pictures);
        let mut pairs: Vec<_> = same
            .filter(|e| e.status == Answering::Done && !e.replaced)
            .map(|e| (e.question.clone(), e.answer.clone()))
            .collect();
        pairs.reverse();
        pairs
    }

    fn last(&mut self) -> Option<&mut Exchange> {
        self.exchanges.last_mut().filter(|e| !e.running())
    }

    /// Takes the last question out of what counts, and gives it.
    fn take_back(&mut self) -> Option<String> {
        if self.answering() {
            return None;
        }
        let last = self.exchanges.last_mut()?;
        last.replaced = true;
        Some(last.question.clone())
    }
}

/// How an answer ended whose job has ended without a last token.
fn ended(outcome: &Outcome, exchange: &Exchange) -> Answering {
    match outcome {
        Outcome::Failed { error } => Answering::Failed(reason(error)),
        Outcome::Done { .. } if exchange.ask.is_none() => Answering::Done,
        Outcome::Done { .. } | Outcome::Stopped { .. } => Answering::Stopped,
    }
}

fn reason(error: &Error) -> String {
    let hint = error.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
    clean::for_terminal(&format!("{}{hint}", error.message))
}

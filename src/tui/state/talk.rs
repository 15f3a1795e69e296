//! The talk with the model: questions, streamed answers, and whom they are asked.

use super::{JobId, State};
use crate::data::ImageRef;
use crate::data::clean;
use crate::error::Error;
use crate::job::{AskJob, Command, Event, Job, Outcome, Sampling, Turn};
use crate::tui::effects::Effect;
use crate::tui::widgets::input::Input;

/// How far an answer is.
#[derive(Clone, Debug, PartialEq)]
pub enum Answering {
    Waiting,
    Streaming,
    Done,
    Stopped,
    Failed(String),
}

/// One question and its answer.
pub struct Exchange {
    pub question: String,
    pub answer: String,
    pub picture: Option<ImageRef>,
    /// Who answers: "base", "adapter", "adapter at step 120".
    pub by: String,
    pub status: Answering,
    /// Replaced by a retry: not part of the history that is sent.
    replaced: bool,
    job: JobId,
    ask: Option<u64>,
}

impl Exchange {
    pub fn running(&self) -> bool {
        matches!(self.status, Answering::Waiting | Answering::Streaming)
    }
}

/// All exchanges and the question being written.
#[derive(Default)]
pub struct Talk {
    pub exchanges: Vec<Exchange>,
    pub use_base: bool,
    pub input: Input,
    pub typing: bool,
    next_ask: u64,
}

impl Talk {
    /// Takes in an event if it belongs to a running answer; says whether it did.
    pub fn on_event(&mut self, job: JobId, event: &Event) -> bool {
        match event {
            Event::Token { id, text, done } => {
                let mine = |e: &&mut Exchange| e.running() && e.job == job && e.ask.is_none_or(|a| a == *id);
                let Some(exchange) = self.exchanges.iter_mut().find(mine) else { return false };
                exchange.answer.push_str(&clean::for_terminal_lines(text));
                exchange.status = if *done { Answering::Done } else { Answering::Streaming };
                true
            }
            Event::Finished(outcome) => {
                let mut any = false;
                for exchange in self.exchanges.iter_mut().filter(|e| e.running() && e.job == job) {
                    exchange.status = ended(outcome, exchange);
                    any = true;
                }
                any
            }
            _ => false,
        }
    }

    /// A question that the job did not take.
    pub fn refused(&mut self, job: JobId, why: &str) {
        for exchange in self.exchanges.iter_mut().filter(|e| e.running() && e.job == job) {
            exchange.status = Answering::Failed(clean::for_terminal(why));
        }
    }

    /// Whether an answer is being written.
    pub fn answering(&self) -> bool {
        self.exchanges.last().is_some_and(Exchange::running)
    }

    /// Earlier pairs about the same picture, in order.
    fn history(&self, picture: Option<&ImageRef>) -> Vec<(String, String)> {
        let same = self.exchanges.iter().rev().take_while(|e| e.picture.as_ref() == picture);
        let mut pairs: Vec<_> = same
            .filter(|e| e.status == Answering::Done && !e.replaced)
            .map(|e| (e.question.clone(), e.answer.clone()))
            .collect();
        pairs.reverse();
        pairs
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

impl State {
    /// Asks the model about the selected sample's picture: the one in training if there is one.
    pub fn ask(&mut self, question: &str) -> Vec<Effect> {
        if question.trim().is_empty() || self.talk.answering() {
            return Vec::new();
        }
        let picture = self.data.picture().cloned();
        let images = match &picture {
            Some(ImageRef::Path(path)) => vec![path.clone()],
            Some(ImageRef::Embedded(picture)) => vec![picture.name().into()],
            Some(ImageRef::Bytes(_)) => {
                self.fail(&Error::input("this picture is in no file").hint("convert the data first"));
                return Vec::new();
            }
            None => Vec::new(),
        };
        if !self.training() && self.config.model_name_or_path.as_os_str().is_empty() {
            let hint = "set model_name_or_path in the parameters, or unpack the demo";
            self.fail(&Error::usage("there is no model to ask").hint(hint));
            return Vec::new();
        }
        let mut turn = Turn {
            history: self.talk.history(picture.as_ref()),
            images,
            question: question.trim().to_string(),
            use_base: self.talk.use_base,
            sampling: Sampling { max_new_tokens: self.config.max_new_tokens.min(512), ..Sampling::default() },
            ..Turn::default()
        };
        // The mark stands where training puts it: before the first question of the talk.
        let first = turn.history.first_mut().map_or(&mut turn.question, |pair| &mut pair.0);
        if !turn.images.is_empty() && !first.contains("<image>") {
            first.insert_str(0, "<image>");
        }
        self.send_turn(turn, question.trim(), picture)
    }

    fn send_turn(&mut self, turn: Turn, question: &str, picture: Option<ImageRef>) -> Vec<Effect> {
        let (by, job, ask, effect) = match self.run.as_ref().filter(|r| r.alive()) {
            Some(run) => {
                self.talk.next_ask += 1;
                let ask = self.talk.next_ask;
                let by = if turn.use_base { "base".into() } else { format!("adapter, step {}", run.step()) };
                let command = Command::Ask { id: ask, turn };
                (by, run.job, Some(ask), Effect::Send { id: run.job, command })
            }
            None => {
                let adapter = self.adapter.clone().or_else(|| self.config.adapter_name_or_path.clone());
                let by = if turn.use_base || adapter.is_none() { "base" } else { "adapter" };
                let ask = AskJob {
                    model: self.config.model_name_or_path.clone(),
                    adapter,
                    turn,
                    config: Box::new(self.config.clone()),
                };
                let (job, effect) = self.submit(Job::Ask(ask));
                (by.to_string(), job, None, effect)
            }
        };
        self.talk.exchanges.push(Exchange {
            question: clean::for_terminal(question),
            answer: String::new(),
            picture,
            by,
            status: Answering::Waiting,
            replaced: false,
            job,
            ask,
        });
        vec![effect]
    }

    /// Asks the last question again, of whoever is chosen now.
    pub fn retry(&mut self) -> Vec<Effect> {
        let Some(last) = self.talk.exchanges.last_mut().filter(|e| !e.running()) else { return Vec::new() };
        last.replaced = true;
        let question = last.question.clone();
        self.ask(&question)
    }

    /// Stops the answer being written.
    pub fn stop_answer(&mut self) -> Vec<Effect> {
        let Some(last) = self.talk.exchanges.last_mut().filter(|e| e.running()) else { return Vec::new() };
        last.status = Answering::Stopped;
        let command = match last.ask {
            Some(id) => Command::CancelAsk { id },
            None => Command::Stop { save: false },
        };
        vec![Effect::Send { id: last.job, command }]
    }
}

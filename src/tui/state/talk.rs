//! The talk with the model: questions, streamed answers, whom they are asked, and what becomes of them.

use super::{JobId, State};
use crate::data::clean;
use crate::data::conversation::Conversation;
use crate::data::picture;
use crate::data::{ImageRef, Sample};
use crate::error::Error;
use crate::job::{AskJob, Command, Event, Job, Level, Odds, Outcome, Sampling, Turn};
use crate::tui::action::Action;
use crate::tui::effects::{Effect, Load};
use crate::tui::talk_worker::{Ask, Told};
use crate::tui::widgets::input::Input;
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
/// Likely tokens that are told beside each.
const ALTERNATIVES: usize = 2;

/// One question and its answer.
pub struct Exchange {
    pub question: String,
    pub answer: String,
    /// Names of the pictures of the talk so far.
    pub pictures: Vec<PathBuf>,
    /// Who answers: "base", "adapter", "adapter at step 120".
    pub by: String,
    pub status: Answering,
    pub odds: Vec<Odds>,
    /// Seconds to the first token.
    pub first_token: Option<f64>,
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
}

/// What the line of input is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Typing {
    #[default]
    Question,
    /// The last answer, as it should be.
    Correction,
}

/// All exchanges and the question being written.
#[derive(Default)]
pub struct Talk {
    pub exchanges: Vec<Exchange>,
    pub use_base: bool,
    pub show_odds: bool,
    /// Pictures that were dropped: asked about instead of the sample's.
    pub dropped: Vec<PathBuf>,
    pub input: Input,
    pub typing: bool,
    pub typing_what: Typing,
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

/// Names by which the engine finds the pictures; `None` for one that is in no file.
fn names(sample: &Sample) -> Option<Vec<PathBuf>> {
    let name = |image: &ImageRef| match image {
        ImageRef::Path(path) => Some(path.clone()),
        ImageRef::Embedded(embedded) => Some(embedded.name().into()),
        ImageRef::Bytes(_) => None,
    };
    sample.images.iter().map(name).collect()
}

impl State {
    /// Asks the model about the dropped pictures or the selected sample's: the one in training if there is one.
    pub fn ask(&mut self, question: &str) -> Vec<Effect> {
        let use_base = self.talk.use_base;
        self.ask_of(question, use_base, false)
    }

    /// Asks base and adapter, the answers side by side.
    pub fn compare(&mut self, question: &str) -> Vec<Effect> {
        let mut effects = self.ask_of(question, true, false);
        if effects.is_empty() {
            return effects;
        }
        // The adapter's answer is the one that the talk goes on from.
        if let Some(base) = self.talk.exchanges.last_mut() {
            base.replaced = true;
        }
        effects.extend(self.ask_of(question, false, true));
        effects
    }

    fn ask_of(&mut self, question: &str, use_base: bool, beside: bool) -> Vec<Effect> {
        if question.trim().is_empty() || (self.talk.answering() && !beside) {
            return Vec::new();
        }
        let pictures = match (self.talk.dropped.is_empty(), self.data.sample()) {
            (false, _) => Some(self.talk.dropped.clone()),
            (true, Some(sample)) => names(sample),
            (true, None) => Some(Vec::new()),
        };
        let Some(images) = pictures else {
            self.fail(&Error::input("this picture is in no file").hint("convert the data first"));
            return Vec::new();
        };
        if !self.training() && self.config.model_name_or_path.as_os_str().is_empty() {
            let hint = "set model_name_or_path in the parameters, or unpack the demo";
            self.fail(&Error::usage("there is no model to ask").hint(hint));
            return Vec::new();
        }
        let mut turn = Turn {
            history: self.talk.history(&images),
            images,
            question: question.trim().to_string(),
            use_base,
            sampling: Sampling { max_new_tokens: self.config.max_new_tokens.min(512), ..Sampling::default() },
            odds: self.talk.show_odds.then_some(ALTERNATIVES),
            ..Turn::default()
        };
        // The marks stand where training puts them: before the first question of the talk.
        let first = turn.history.first_mut().map_or(&mut turn.question, |pair| &mut pair.0);
        let missing = turn.images.len().saturating_sub(first.matches("<image>").count());
        first.insert_str(0, &"<image>".repeat(missing));
        self.send_turn(turn, question.trim(), beside)
    }

    fn send_turn(&mut self, turn: Turn, question: &str, beside: bool) -> Vec<Effect> {
        let pictures = turn.images.clone();
        let (by, job, ask, effect) = match self.run.as_ref().filter(|r| r.alive()) {
            Some(run) => {
                self.talk.next_ask += 1;
                let ask = self.talk.next_ask;
                let by = if turn.use_base { "base".into() } else { format!("adapter, step {}", run.step()) };
                let command = Command::Ask { id: ask, turn: Box::new(turn) };
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
                let (job, effect) = self.submit(Job::Ask(Box::new(ask)));
                (by.to_string(), job, None, effect)
            }
        };
        self.talk.exchanges.push(Exchange {
            question: clean::for_terminal(question),
            answer: String::new(),
            pictures,
            by,
            status: Answering::Waiting,
            odds: Vec::new(),
            first_token: None,
            beside,
            corrected: false,
            replaced: false,
            kept: false,
            job,
            ask,
        });
        vec![effect]
    }

    /// Asks the last question again, of whoever is chosen now.
    pub fn retry(&mut self) -> Vec<Effect> {
        let Some(question) = self.talk.take_back() else { return Vec::new() };
        self.ask(&question)
    }

    /// The last question again, of base and adapter.
    pub fn compare_last(&mut self) -> Vec<Effect> {
        let Some(question) = self.talk.take_back() else { return Vec::new() };
        self.compare(&question)
    }

    /// Puts the last question into the line of input.
    pub fn edit_last(&mut self) {
        if let Some(question) = self.talk.take_back() {
            (self.talk.input, self.talk.typing) = (Input::with(&question), true);
            self.talk.typing_what = Typing::Question;
        }
    }

    /// Puts the last answer into the line of input, to be written as it should be.
    pub fn begin_correction(&mut self) {
        let Some(last) = self.talk.last() else { return };
        let answer = last.answer.trim().replace('\n', " ");
        (self.talk.input, self.talk.typing) = (Input::with(&answer), true);
        self.talk.typing_what = Typing::Correction;
    }

    /// Takes the corrected answer.
    pub fn correct(&mut self, answer: String) {
        self.talk.typing = false;
        if let Some(last) = self.talk.last().filter(|_| !answer.trim().is_empty()) {
            (last.answer, last.corrected, last.status) = (answer, true, Answering::Done);
            let key = self.keys.hint(Action::AddPair);
            self.notify(Level::Info, self.words.fill("chat.take_now", &[("key", &key), ("name", CORRECTED)]));
        }
    }

    /// The last question and answer become a row of the data set [`CORRECTED`].
    pub fn add_pair(&mut self) -> Vec<Effect> {
        let Some(last) = self.talk.last() else { return Vec::new() };
        let talk = Conversation {
            system: None,
            images: last.pictures.clone(),
            turns: vec![(last.question.clone(), last.answer.trim().to_string())],
        };
        let (dir, name) = (self.data.dir.clone(), CORRECTED.to_string());
        vec![Effect::Load(Load::Talk(Ask::Add { dir, name, talk: Box::new(talk) }))]
    }

    /// Lines of the run's history for answers that have ended.
    pub fn keep_talk(&mut self) -> Vec<Effect> {
        let adapter = self.adapter.clone().or_else(|| self.config.adapter_name_or_path.clone());
        let run = self.run.as_ref().map(|r| r.run_dir.clone());
        let dir = run.or(adapter).unwrap_or_else(|| self.workspace.clone());
        let ended = |e: &&mut Exchange| e.status == Answering::Done && !e.kept;
        let line = |e: &mut Exchange| {
            e.kept = true;
            let line = serde_json::json!({
                "by": e.by, "images": e.pictures, "question": e.question, "answer": e.answer,
            });
            Effect::Load(Load::Talk(Ask::Keep { dir: dir.clone(), line: format!("{line}\n") }))
        };
        self.talk.exchanges.iter_mut().filter(ended).map(line).collect()
    }

    /// Takes in what the worker did for the talk.
    pub fn on_talk(&mut self, told: Told) -> Vec<Effect> {
        match told {
            Told::Files(files) => {
                let names: Vec<String> =
                    files.iter().map(|f| picture::name(&ImageRef::Path(f.clone()))).collect();
                self.notify(Level::Info, format!("the next questions are about {}", names.join(", ")));
                self.talk.dropped.extend(files);
            }
            Told::Words(words) => self.talk.input.paste(&words),
            Told::Kept(Err(error)) | Told::Added(Err(error)) => self.fail(&error),
            Told::Kept(Ok(())) => {}
            Told::Added(Ok(path)) => {
                self.notify(Level::Info, format!("added to the data set {CORRECTED}: {}", path.display()));
                // The open set stays as it is looked at; the new one can be opened.
                if !self.data.names.iter().any(|name| name == CORRECTED) {
                    self.data.names.push(CORRECTED.into());
                }
            }
            Told::Evaluation { dir, sides } => self.evaluation.loaded(&dir, sides),
        }
        Vec::new()
    }

    /// Stops the answers being written.
    pub fn stop_answer(&mut self) -> Vec<Effect> {
        let stop = |e: &mut Exchange| {
            e.status = Answering::Stopped;
            let command = match e.ask {
                Some(id) => Command::CancelAsk { id },
                None => Command::Stop { save: false },
            };
            Effect::Send { id: e.job, command }
        };
        self.talk.exchanges.iter_mut().filter(|e| e.running()).map(stop).collect()
    }
}

//! Questions on their way: about which pictures, of whom, in which manner.

use super::answerer::{Answerer, By};
use super::{Answering, Exchange, Manner, State};
use crate::data::{ImageRef, Sample, clean, picture};
use crate::error::Error;
use crate::job::{AskJob, Brightness, Command, Job, Sampling, Turn};
use crate::tui::effects::Effect;
use crate::tui::pictures::View;
use crate::tui::state::look::Level;
use std::path::PathBuf;

/// Likely tokens that are told beside each.
const ALTERNATIVES: usize = 2;
/// The longest answer, where nothing else is set.
const LONGEST: usize = 512;

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
    /// The pictures that the next question is about.
    pub fn talk_pictures(&self) -> Vec<ImageRef> {
        match (self.talk.dropped.is_empty(), self.data.sample()) {
            (false, _) => self.talk.dropped.iter().cloned().map(ImageRef::Path).collect(),
            (true, Some(sample)) => sample.images.clone(),
            (true, None) => Vec::new(),
        }
    }

    /// Takes the picture that was added last away again. Questions that were asked keep it.
    pub fn drop_picture(&mut self) {
        let gone = self.talk.dropped.pop().map(|path| picture::name(&ImageRef::Path(path)));
        let said = match gone {
            Some(name) => self.words.fill("chat.taken_away", &[("name", &name)]),
            None => self.words.get("chat.none_added").into(),
        };
        self.notify(crate::job::Level::Info, said);
    }

    /// How they are looked at beside the talk: whole, through the window.
    pub fn talk_view(&self) -> View {
        View { level: self.talk.look.level, ..View::default() }
    }

    /// The window that the model sees them through; `None`: as stored.
    pub fn talk_brightness(&self) -> Option<Brightness> {
        match self.talk.look.level {
            Level::Auto => Some(Brightness::Auto),
            level if level == View::default().level => None,
            Level::Set(window) => Some(Brightness::Set { centre: window.centre, width: window.width }),
        }
    }

    /// How words are chosen: as set for the talk, else greedily.
    pub fn talk_sampling(&self) -> Sampling {
        self.talk.manner.sampling.clone().unwrap_or_else(|| self.greedy_sampling())
    }

    /// How words are chosen where nothing is set for the talk.
    pub fn greedy_sampling(&self) -> Sampling {
        Sampling { max_new_tokens: self.config.max_new_tokens.min(LONGEST), ..Sampling::default() }
    }

    /// Asks the model about the dropped pictures or the selected sample's: the one in training if there is one.
    pub fn ask(&mut self, question: &str) -> Vec<Effect> {
        self.ask_of(question, &self.answerer_now(), false)
    }

    /// Asks `other` and whoever answers now, the answers side by side.
    pub fn compare(&mut self, question: &str, other: &Answerer) -> Vec<Effect> {
        let now = match (self.answerer_now(), other) {
            // Two answers of the base model are no comparison.
            (Answerer::Base, Answerer::Base) => Answerer::Newest,
            (now, _) => now,
        };
        let mut effects = self.ask_of(question, other, false);
        if effects.is_empty() {
            return effects;
        }
        // The second answer is the one that the talk goes on from.
        if let Some(first) = self.talk.exchanges.last_mut() {
            first.replaced = true;
        }
        effects.extend(self.ask_of(question, &now, true));
        effects
    }

    fn ask_of(&mut self, question: &str, who: &Answerer, beside: bool) -> Vec<Effect> {
        if question.trim().is_empty() || (self.talk.answering() && !beside) {
            return Vec::new();
        }
        let pictures = match (self.talk.dropped.is_empty(), self.data.sample()) {
            (false, _) => Some(self.talk.dropped.clone()),
            (true, Some(sample)) => names(sample),
            (true, None) => Some(Vec::new()),
        };
        let Some(images) = pictures else {
            let hint = self.words.get("chat.convert_first");
            self.fail(&Error::input(self.words.get("chat.in_no_file")).hint(hint));
            return Vec::new();
        };
        if !self.training() && self.config.model_name_or_path.as_os_str().is_empty() {
            let hint = self.words.get("chat.set_model");
            self.fail(&Error::usage(self.words.get("chat.no_model")).hint(hint));
            return Vec::new();
        }
        let mut turn = Turn {
            system: self.talk.manner.system.clone(),
            history: self.talk.history(&images),
            brightness: self.talk_brightness().filter(|_| !images.is_empty()),
            images,
            question: question.trim().to_string(),
            sampling: self.talk_sampling(),
            odds: self.talk.show_odds.then_some(ALTERNATIVES),
            ..Turn::default()
        };
        // The marks stand where training puts them: before the first question of the talk.
        let first = turn.history.first_mut().map_or(&mut turn.question, |pair| &mut pair.0);
        let missing = turn.images.len().saturating_sub(first.matches("<image>").count());
        first.insert_str(0, &"<image>".repeat(missing));
        self.send_turn(turn, question.trim(), (who, beside))
    }

    fn send_turn(&mut self, mut turn: Turn, question: &str, (who, beside): (&Answerer, bool)) -> Vec<Effect> {
        let (pictures, seen) = (turn.images.clone(), turn.brightness);
        turn.use_base = *who == Answerer::Base;
        let (by, job, ask, effect) = match self.run.as_ref().filter(|r| r.alive()) {
            Some(run) => {
                self.talk.next_ask += 1;
                let ask = self.talk.next_ask;
                let by = if turn.use_base { By::Base } else { By::Step(run.step()) };
                let command = Command::Ask { id: ask, turn: Box::new(turn) };
                (by, run.job, Some(ask), Effect::Send { id: run.job, command })
            }
            None => {
                // The base model needs no adapter; the one that is there stays for the next question.
                let own = self.adapter_of(who);
                let adapter = own.clone().or_else(|| self.adapter_of(&Answerer::Newest));
                let by = own.map_or(By::Base, |dir| By::Adapter(self.adapter_name(&dir)));
                let ask = AskJob {
                    model: self.config.model_name_or_path.clone(),
                    adapter,
                    turn,
                    config: Box::new(self.config.clone()),
                };
                let (job, effect) = self.submit(Job::Ask(Box::new(ask)));
                (by, job, None, effect)
            }
        };
        self.talk.exchanges.push(Exchange {
            question: clean::for_terminal_lines(question),
            pictures,
            seen,
            manner: self.talk.manner.clone(),
            job,
            ask,
            beside,
            ..Exchange::new(by)
        });
        vec![effect]
    }

    /// Asks what was written: as the next question, or in the place of the one that was edited.
    pub fn ask_written(&mut self, question: &str) -> Vec<Effect> {
        match std::mem::take(&mut self.talk.editing) {
            true => self.again(|state, _| state.ask(question)),
            false => self.ask(question),
        }
    }

    /// Asks the last question again, of whoever is chosen now.
    pub fn retry(&mut self) -> Vec<Effect> {
        self.again(|state, question| state.ask(question))
    }

    /// The last question again, of `other` and of whoever answers now.
    pub fn compare_last(&mut self, other: Answerer) -> Vec<Effect> {
        self.again(|state, question| state.compare(question, &other))
    }

    /// Asks something in the place of the last question, which goes on to count if nothing is asked.
    fn again(&mut self, ask: impl FnOnce(&mut Self, &str) -> Vec<Effect>) -> Vec<Effect> {
        let place = self.talk.exchanges.len().saturating_sub(1);
        let counted = self.talk.exchanges.last().is_some_and(|e| !e.replaced);
        let Some(question) = self.talk.take_back() else { return Vec::new() };
        let effects = ask(self, &question);
        if effects.is_empty() && counted {
            self.talk.exchanges[place].replaced = false;
        }
        effects
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

impl Exchange {
    /// A question without words, of nobody's job.
    pub(super) fn new(by: By) -> Self {
        Self {
            question: String::new(),
            answer: String::new(),
            pictures: Vec::new(),
            seen: None,
            manner: Manner::default(),
            by,
            status: Answering::Waiting,
            odds: Vec::new(),
            first_token: None,
            cut: None,
            beside: false,
            corrected: false,
            replaced: false,
            kept: false,
            job: 0,
            ask: None,
        }
    }
}

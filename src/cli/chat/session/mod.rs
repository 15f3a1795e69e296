//! The state of a chat, and what its commands do to it.

mod answerers;
mod pictures;

use super::ChatArgs;
use super::command::{Command, HELP};
use crate::cli::ask::{self, ALTERNATIVES};
use crate::cli::columns;
use crate::cli::output::Out;
use crate::cli::talk::Talk;
use crate::config::decoding::LIVE;
use crate::config::{TrainConfig, fields};
use crate::data::conversation::{self, Conversation};
use crate::data::windowed::Levels;
use crate::error::{Error, Result};
use crate::job::{Answer, Finish, Odds, Turn};
use crate::tui::prompt::terminal_columns;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Where a picture stands in a question.
const MARK: &str = "<image>";

/// What happens after a line.
pub enum Next {
    GoOn,
    /// The next line begins with this text.
    Edit(String),
    Leave,
}

/// A talk, who answers it and how.
pub struct Session<'a> {
    talk: Conversation,
    /// Pictures at the end of `talk.images` that no question has shown yet.
    fresh: usize,
    /// The pictures of the talk as they were named, and the window they are seen through.
    named: Vec<PathBuf>,
    levels: Option<Levels>,
    adapter: Option<PathBuf>,
    /// Those that were shown last, to be named by number.
    listed: Vec<PathBuf>,
    /// All that have answered, or were to.
    met: Vec<PathBuf>,
    use_base: bool,
    config: TrainConfig,
    odds: bool,
    /// The next question takes the place of the last one.
    editing: bool,
    /// The file that this talk was saved to.
    saved: Option<PathBuf>,
    dataset_dir: PathBuf,
    out: &'a Out,
}

impl<'a> Session<'a> {
    pub fn new(args: &ChatArgs, config: TrainConfig, out: &'a Out) -> Self {
        Self {
            talk: Conversation::default(),
            fresh: 0,
            named: Vec::new(),
            levels: None,
            adapter: args.who.adapter.clone(),
            listed: Vec::new(),
            met: args.who.adapter.iter().cloned().collect(),
            use_base: false,
            config,
            odds: false,
            editing: false,
            saved: None,
            dataset_dir: args.dataset_dir.clone(),
            out,
        }
    }

    /// Does what a line says.
    pub fn act(&mut self, command: Command, talk: &mut Talk, stop: &AtomicBool) -> Result<Next> {
        let editing = std::mem::take(&mut self.editing);
        match command {
            Command::Ask(question) if editing => {
                self.again(|session, _| session.ask(question, talk, stop))?;
            }
            Command::Ask(question) => self.ask(question, talk, stop)?,
            Command::Pictures(paths, levels) => return self.add_pictures(&paths, levels),
            Command::Dropped(named) => return self.add_dropped(&named),
            Command::Drop(number) => self.drop_picture(number)?,
            Command::Window(levels) => self.window(levels)?,
            Command::System(text) => {
                let said = if text.is_some() { "the model is told this first" } else { "no system text" };
                self.talk.system = text;
                self.out.note(said);
            }
            Command::Adapter(dir) => self.switch(dir)?,
            Command::Adapters(folder) => self.list_adapters(folder)?,
            Command::Base => {
                self.use_base = !self.use_base;
                self.out.note(format!("answers: {}", self.who()));
            }
            Command::Compare(other, question) => self.compare(other, question, (talk, stop))?,
            Command::Set(key, value) => self.set(&key, &value)?,
            Command::Settings => LIVE
                .iter()
                .for_each(|key| self.out.note(format!("{key} = {}", fields::get(&self.config, key)))),
            Command::Odds => {
                self.odds = !self.odds;
                let said = if self.odds { "shown from the next answer on" } else { "no longer shown" };
                self.out.note(format!("how sure the model is of each token: {said}"));
            }
            Command::Save(path) => self.save(path)?,
            Command::Load(path, row) => self.load(&path, row)?,
            Command::Retry => self.again(|session, question| session.ask(question, talk, stop))?,
            Command::Edit => {
                let question = self.last_question()?.trim_start_matches(MARK).to_string();
                self.editing = true;
                return Ok(Next::Edit(question));
            }
            Command::Correct(text) => return self.correct(text),
            Command::AddTo(name) => self.add_to(&name)?,
            Command::New => {
                (self.talk, self.fresh, self.saved) = (Conversation::default(), 0, None);
                self.named.clear();
                self.out.note("a new talk: no pictures, no system text");
            }
            Command::Help => self.help(),
            Command::Quit => return Ok(Next::Leave),
        }
        Ok(Next::GoOn)
    }

    /// The question that was to be edited stays as it is.
    pub fn leave_edit(&mut self) {
        self.editing = false;
    }

    fn help(&self) {
        let widths = [34, terminal_columns().saturating_sub(36).max(20)];
        HELP.iter().for_each(|(name, what)| self.out.note(columns::row(&[name, what], &widths)));
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if !LIVE.contains(&key) {
            return Err(Error::usage(format!("{key} cannot be set in a talk"))
                .hint(format!("these can: {}; others when the chat starts", LIVE.join(", "))));
        }
        fields::set(&mut self.config, key, value)?;
        // Who sets how to draw wants to draw.
        if ["temperature", "top_p", "top_k", "min_p"].contains(&key) && !self.config.do_sample {
            self.config.do_sample = true;
            self.out.note("do_sample is true now");
        }
        self.out.note(format!("{key} = {}", fields::get(&self.config, key)));
        Ok(())
    }

    /// The turn for a question whose marks are set.
    fn turn(&self, question: &str, adapter: Option<PathBuf>) -> Turn {
        Turn {
            system: self.talk.system.clone(),
            history: self.talk.turns.clone(),
            images: self.talk.images.clone(),
            question: question.into(),
            use_base: adapter.is_none(),
            adapter,
            sampling: self.config.sampling(),
            odds: self.odds.then_some(ALTERNATIVES),
            ..Turn::default()
        }
    }

    /// The question with marks for the pictures it shows.
    fn marked(&mut self, question: &str) -> String {
        let own = question.matches(MARK).count();
        let missing = self.fresh.saturating_sub(own);
        format!("{}{question}", MARK.repeat(missing))
    }

    fn ask(&mut self, question: String, talk: &mut Talk, stop: &AtomicBool) -> Result<()> {
        let question = self.marked(&question);
        let turn = self.turn(&question, self.adapter.clone().filter(|_| !self.use_base));
        let (answer, odds) = self.answer(turn, talk, stop)?;
        self.fresh = 0;
        self.out.object(&json!({
            "by": self.who(), "answer": answer.text, "finish": answer.finish, "first_token": answer.first_token,
            "new_tokens": answer.new_tokens, "odds": odds,
        }));
        self.talk.turns.push((question, answer.text));
        Ok(())
    }

    fn answer(&self, turn: Turn, talk: &mut Talk, stop: &AtomicBool) -> Result<(Answer, Vec<Odds>)> {
        let answered = talk.answer(turn, stop, &mut |text| self.out.piece(text, false));
        if answered.is_err() {
            self.out.end_text();
        }
        let (answer, odds) = answered?;
        self.out.piece("", true);
        odds.iter().for_each(|one| self.out.line(format!("  {}", ask::odds_line(one))));
        match answer.finish {
            Finish::Stop => {}
            Finish::Length => {
                self.out.note(format!("cut off after {} tokens: /set max_new_tokens=N", answer.new_tokens));
            }
            Finish::Cancelled => self.out.note("broken off; what there is of it counts, /retry asks again"),
        }
        Ok((answer, odds))
    }

    /// The adapter's answer stays in the talk.
    fn compare(
        &mut self,
        other: Option<PathBuf>,
        question: Option<String>,
        (talk, stop): (&mut Talk, &AtomicBool),
    ) -> Result<()> {
        if self.adapter.is_none() {
            return Err(Error::usage("there is no adapter to compare").hint("name one: /adapter DIR"));
        }
        match question {
            Some(question) => self.compare_on(&question, other, talk, stop),
            None => self.again(|session, question| session.compare_on(&question, other, talk, stop)),
        }
    }

    fn compare_on(
        &mut self,
        question: &str,
        other: Option<PathBuf>,
        talk: &mut Talk,
        stop: &AtomicBool,
    ) -> Result<()> {
        let question = self.marked(question);
        self.met.extend(other.clone());
        let sides = [other, self.adapter.clone()];
        let mut answers = Vec::new();
        for adapter in sides {
            let by = adapter.as_deref().map_or("base".into(), |dir| self.name(dir));
            self.out.line(format!("── {by}"));
            let (answer, _) = self.answer(self.turn(&question, adapter), talk, stop)?;
            answers.push(json!({ "by": by, "answer": answer.text }));
            if answers.len() == 2 {
                self.talk.turns.push((question.clone(), answer.text));
            }
        }
        self.fresh = 0;
        self.out.object(&json!({ "compared": answers }));
        Ok(())
    }

    /// The last question with its marks.
    fn last_question(&self) -> Result<&str> {
        let none = || Error::usage("nothing was asked yet").hint("write a question first");
        Ok(&self.talk.turns.last().ok_or_else(none)?.0)
    }

    /// Asks something instead of the last question, which comes without the marks of its pictures: they wait again. It
    /// stays where the new one fails.
    fn again(&mut self, ask: impl FnOnce(&mut Self, String) -> Result<()>) -> Result<()> {
        let question = self.last_question()?;
        let bare = question.trim_start_matches(MARK).to_string();
        let marks = (question.len() - bare.len()) / MARK.len();
        let (kept, fresh) = (self.talk.turns.pop(), self.fresh);
        self.fresh += marks;
        let asked = ask(self, bare);
        if asked.is_err() {
            self.talk.turns.extend(kept);
            self.fresh = fresh;
        }
        asked
    }

    fn correct(&mut self, text: Option<String>) -> Result<Next> {
        let none = || Error::usage("there is no answer to correct").hint("ask something first");
        let (_, answer) = self.talk.turns.last_mut().ok_or_else(none)?;
        match text {
            Some(text) => *answer = text,
            None => return Ok(Next::Edit(format!("/correct {answer}"))),
        }
        self.out.note("corrected; /add-to NAME makes it a row of a data set");
        Ok(Next::GoOn)
    }

    fn add_to(&self, data_set: &str) -> Result<()> {
        let none = || Error::usage("there is nothing to add").hint("ask something first");
        let pair = self.talk.last_pair().ok_or_else(none)?;
        let path = conversation::add_to(&self.dataset_dir, data_set, &pair)?;
        self.out.note(format!("added to {data_set}: {}", path.display()));
        Ok(())
    }

    /// Only a file that this talk was saved to is written again.
    fn save(&mut self, path: PathBuf) -> Result<()> {
        if path.exists() && self.saved.as_ref() != Some(&path) {
            return Err(
                Error::usage(format!("{} is there already", path.display())).hint("take another name")
            );
        }
        let talk = Conversation { sampling: Some(self.config.sampling()), ..self.talk.clone() };
        talk.save(&path)?;
        self.out.note(format!("saved: {}", path.display()));
        self.saved = Some(path);
        Ok(())
    }

    fn load(&mut self, path: &Path, row: usize) -> Result<()> {
        let (talk, rows) = Conversation::load(path, row)?;
        if rows > 1 {
            self.out.note(format!("row {row} of {rows}, counted from 0; another one: /load FILE ROW"));
        }
        self.talk = talk;
        self.saved = None;
        (self.named, self.levels) = (self.talk.images.clone(), None);
        if let Some(sampling) = self.talk.sampling.take() {
            self.config.set_sampling(&sampling);
            self.out.note("words are chosen as in that talk; /set shows how");
        }
        let marks: usize = self.talk.turns.iter().map(|(q, _)| q.matches(MARK).count()).sum();
        self.fresh = if self.talk.turns.is_empty() { self.talk.images.len() } else { 0 };
        self.out.note(format!(
            "{} turns, {} pictures{}",
            self.talk.turns.len(),
            self.talk.images.len(),
            if marks > self.talk.images.len() { "; more are marked than there are" } else { "" }
        ));
        for (question, answer) in &self.talk.turns {
            self.out.line(format!("> {question}"));
            self.out.line(answer);
        }
        Ok(())
    }
}

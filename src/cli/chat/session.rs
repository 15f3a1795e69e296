//! The state of a chat, and what its commands do to it.

use super::ChatArgs;
use super::command::{Command, HELP};
use crate::cli::WORKSPACE;
use crate::cli::ask::{self, ALTERNATIVES};
use crate::cli::output::Out;
use crate::cli::talk::Talk;
use crate::config::decoding::LIVE;
use crate::config::{TrainConfig, fields};
use crate::data::conversation::{self, Conversation};
use crate::data::windowed::Levels;
use crate::error::{Error, Result, must_exist};
use crate::job::{Answer, Odds, Turn};
use crate::runs::adapters;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

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
    use_base: bool,
    config: TrainConfig,
    odds: bool,
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
            use_base: false,
            config,
            odds: false,
            dataset_dir: args.dataset_dir.clone(),
            out,
        }
    }

    /// Pictures of the next question.
    pub fn add_pictures(&mut self, paths: &[PathBuf], levels: Option<Levels>) -> Result<Next> {
        let images = ask::pictures(paths, levels.or(self.levels))?;
        self.fresh += images.len();
        self.named.extend_from_slice(paths);
        self.talk.images.extend(images);
        let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        if !names.is_empty() {
            self.out.note(format!("with the next question: {}", names.join(", ")));
        }
        Ok(Next::GoOn)
    }

    /// All pictures of the talk, and those to come, are seen through a window; `None`: as stored.
    fn window(&mut self, levels: Option<Levels>) -> Result<()> {
        self.talk.images = ask::pictures(&self.named, levels)?;
        self.levels = levels;
        let said = match levels {
            Some(Levels::Auto) => "window and level are found for each picture".to_string(),
            Some(Levels::Set { window, level }) => format!("window {window}, level {level}"),
            None => "as stored".to_string(),
        };
        self.out.note(format!("the model sees {} pictures: {said}", self.named.len()));
        Ok(())
    }

    /// Does what a line says.
    pub fn act(&mut self, command: Command, talk: &mut Talk, stop: &AtomicBool) -> Result<Next> {
        match command {
            Command::Ask(question) => self.ask(question, talk, stop)?,
            Command::Pictures(paths, levels) => return self.add_pictures(&paths, levels),
            Command::Window(levels) => self.window(levels)?,
            Command::System(text) => self.talk.system = text,
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
            Command::Odds => self.odds = !self.odds,
            Command::Save(path) => {
                let talk = Conversation { sampling: Some(self.config.sampling()), ..self.talk.clone() };
                talk.save(&path)?;
                self.out.note(format!("saved: {}", path.display()));
            }
            Command::Load(path) => self.load(&path)?,
            Command::Retry => {
                let question = self.take_back()?;
                self.ask(question, talk, stop)?;
            }
            Command::Edit => return self.take_back().map(Next::Edit),
            Command::Correct(text) => return self.correct(text),
            Command::AddTo(name) => self.add_to(&name)?,
            Command::New => {
                (self.talk, self.fresh) = (Conversation::default(), 0);
                self.named.clear();
            }
            Command::Help => HELP.iter().for_each(|(name, what)| self.out.note(format!("{name:34} {what}"))),
            Command::Quit => return Ok(Next::Leave),
        }
        Ok(Next::GoOn)
    }

    fn who(&self) -> String {
        match self.adapter.as_ref().filter(|_| !self.use_base) {
            Some(dir) => name(dir),
            None => "base".into(),
        }
    }

    /// Without a folder: where the adapter that answers has its neighbours, or the workbench its runs.
    fn list_adapters(&mut self, folder: Option<PathBuf>) -> Result<()> {
        let beside = || self.adapter.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let folder = folder.or_else(beside).unwrap_or_else(|| Path::new(WORKSPACE).join("runs"));
        self.listed = adapters::newest_first(&folder);
        if self.listed.is_empty() {
            return Err(Error::usage(format!("no run in {} has an adapter", folder.display()))
                .hint("name the folder that the runs are in: /adapters FOLDER"));
        }
        for (i, dir) in self.listed.iter().enumerate() {
            self.out.note(format!("{:3}  {}", i + 1, dir.display()));
        }
        Ok(())
    }

    fn switch(&mut self, dir: Option<PathBuf>) -> Result<()> {
        let number = dir.as_ref().and_then(|dir| dir.to_str()?.parse::<usize>().ok()?.checked_sub(1));
        let dir = number.and_then(|at| self.listed.get(at).cloned()).or(dir);
        if let Some(dir) = &dir {
            must_exist(&dir.join("adapter_config.json"), "adapter")?;
        }
        (self.use_base, self.adapter) = (dir.is_none(), dir.or(self.adapter.take()));
        self.out.note(format!("answers: {}", self.who()));
        Ok(())
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
        let own = question.matches("<image>").count();
        let missing = self.fresh.saturating_sub(own);
        format!("{}{question}", "<image>".repeat(missing))
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
        let (answer, odds) = talk.answer(turn, stop, &mut |text| self.out.piece(text, false))?;
        self.out.piece("", true);
        odds.iter().for_each(|one| self.out.line(format!("  {}", ask::odds_line(one))));
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
        let question = match question {
            Some(question) => question,
            None => self.take_back()?,
        };
        let question = self.marked(&question);
        let sides = [other, self.adapter.clone()];
        let mut answers = Vec::new();
        for adapter in sides {
            let by = adapter.as_deref().map_or("base".into(), name);
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

    /// Takes the last question out of the talk, without the marks of its pictures, which wait again.
    fn take_back(&mut self) -> Result<String> {
        let none = || Error::usage("nothing was asked yet").hint("write a question first");
        let (question, _) = self.talk.turns.pop().ok_or_else(none)?;
        let leading = question.chars().count() - question.trim_start_matches("<image>").chars().count();
        self.fresh += leading / "<image>".len();
        Ok(question.trim_start_matches("<image>").to_string())
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

    fn load(&mut self, path: &Path) -> Result<()> {
        self.talk = Conversation::load(path)?;
        (self.named, self.levels) = (self.talk.images.clone(), None);
        if let Some(sampling) = self.talk.sampling.take() {
            self.config.set_sampling(&sampling);
            self.out.note("words are chosen as in that talk; /set shows how");
        }
        let marks: usize = self.talk.turns.iter().map(|(q, _)| q.matches("<image>").count()).sum();
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

fn name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

//! What becomes of a talk: corrected, a row of a data set, a line of the run's history, a file and back.

use super::answerer::By;
use super::{Answering, CORRECTED, Exchange, Manner, State, Typing};
use crate::data::conversation::Conversation;
use crate::data::dropped::{self, Named};
use crate::data::{ImageRef, clean, picture};
use crate::job::{Brightness, Level};
use crate::tui::action::Action;
use crate::tui::effects::{Effect, Load};
use crate::tui::talk_worker::{Ask, Told};
use std::path::{Path, PathBuf};

/// The file that is offered for a talk.
const TALK_FILE: &str = "talk.json";

impl State {
    /// Puts the last question into the line of input; it counts until another one is asked in its place.
    pub fn edit_last(&mut self) {
        if self.talk.answering() {
            return;
        }
        if let Some(question) = self.talk.exchanges.last().map(|e| e.question.clone()) {
            self.talk.begin(Typing::Question, &question);
            self.talk.editing = true;
        }
    }

    /// Puts the last answer into the line of input, to be written as it should be.
    pub fn begin_correction(&mut self) {
        let Some(last) = self.talk.last() else { return };
        let answer = last.answer.trim().to_string();
        self.talk.begin(Typing::Correction, &answer);
    }

    /// Asks for the file that the talk is saved to, or loaded from.
    pub fn begin_file(&mut self, what: Typing) {
        if what == Typing::Save && self.talk.exchanges.is_empty() {
            return self.notify(Level::Info, self.words.get("chat.ask_first"));
        }
        let file = self.workspace.join(TALK_FILE).display().to_string();
        self.talk.begin(what, &file);
    }

    /// Takes the corrected answer.
    pub fn correct(&mut self, answer: String) {
        if let Some(last) = self.talk.last().filter(|_| !answer.trim().is_empty()) {
            (last.answer, last.corrected, last.status) = (answer, true, Answering::Done);
            last.odds.clear();
            last.cut = None;
            let key = self.keys.hint(Action::AddPair);
            self.notify(Level::Info, self.words.fill("chat.take_now", &[("key", &key), ("name", CORRECTED)]));
        }
    }

    /// The last question and answer become a row of the data set [`CORRECTED`], with the pictures as they were seen.
    pub fn add_pair(&mut self) -> Vec<Effect> {
        let Some(last) = self.talk.last() else { return Vec::new() };
        // What failed or was stopped is no answer to learn from, unless it is written as it should be.
        if last.status != Answering::Done || last.answer.trim().is_empty() {
            let key = self.keys.hint(Action::CorrectAnswer);
            self.notify(Level::Warning, self.words.fill("chat.no_whole", &[("key", &key)]));
            return Vec::new();
        }
        let seen = vec![last.seen; last.pictures.len()];
        let talk = Conversation {
            system: last.manner.system.clone(),
            images: last.pictures.clone(),
            turns: vec![(last.question.clone(), last.answer.trim().to_string())],
            sampling: None,
        };
        let (dir, name) = (self.data.dir.clone(), CORRECTED.to_string());
        vec![Effect::Load(Load::Talk(Ask::Add { dir, name, talk: Box::new(talk), seen }))]
    }

    /// Writes the talk to a file.
    pub fn save_talk(&mut self, path: &str) -> Vec<Effect> {
        let (talk, seen) = self.conversation();
        let path = dropped::path(path.trim());
        // Only a file that this talk was written to is written again.
        let again = self.talk.saved.as_ref() == Some(&path);
        vec![Effect::Load(Load::Talk(Ask::Save { path, talk: Box::new(talk), seen, again }))]
    }

    /// Reads a talk from a file.
    pub fn load_talk(&mut self, path: &str) -> Vec<Effect> {
        vec![Effect::Load(Load::Talk(Ask::Load(dropped::path(path.trim()))))]
    }

    /// The talk as it counts: each picture where it was first asked about, and how it was seen.
    fn conversation(&self) -> (Conversation, Vec<Option<Brightness>>) {
        let mut talk = Conversation {
            system: self.talk.manner.system.clone(),
            sampling: self.talk.manner.sampling.clone(),
            ..Conversation::default()
        };
        let mut seen = Vec::new();
        let mut shown: &[PathBuf] = &[];
        for exchange in self.talk.exchanges.iter().filter(|e| e.status == Answering::Done && !e.replaced) {
            let mut question = exchange.question.clone();
            if exchange.pictures != shown {
                shown = &exchange.pictures;
                let missing = shown.len().saturating_sub(question.matches("<image>").count());
                question.insert_str(0, &"<image>".repeat(missing));
                talk.images.extend_from_slice(shown);
                seen.resize(talk.images.len(), exchange.seen);
            }
            talk.turns.push((question, exchange.answer.trim().to_string()));
        }
        (talk, seen)
    }

    /// The talk of a file, the first of so many rows, takes the place of the one that is there.
    fn take_conversation(&mut self, talk: Conversation, rows: usize) {
        let mut images = talk.images.into_iter();
        let mut shown: Vec<PathBuf> = Vec::new();
        self.talk.exchanges.clear();
        for (question, answer) in talk.turns {
            let marks = question.matches("<image>").count();
            if marks > 0 {
                shown = images.by_ref().take(marks).collect();
            }
            self.talk.exchanges.push(Exchange {
                question: clean::for_terminal_lines(&question.replace("<image>", "")),
                answer: clean::for_terminal_lines(&answer),
                pictures: shown.clone(),
                status: Answering::Done,
                kept: true,
                ..Exchange::new(By::File)
            });
        }
        // The next question is about the pictures that the talk ended with.
        (self.talk.dropped, self.talk.look, self.talk.saved) = (shown, Default::default(), None);
        self.talk.manner = Manner { system: talk.system, sampling: talk.sampling };
        let turns = self.talk.exchanges.len().to_string();
        let mut said = self.words.fill("chat.loaded", &[("n", &turns)]);
        if rows > 1 {
            said += &self.words.fill("chat.first_row", &[("all", &rows.to_string())]);
        }
        self.notify(Level::Info, said);
    }

    /// Lines of the run's history for answers that have ended.
    pub fn keep_talk(&mut self) -> Vec<Effect> {
        let adapter = self.adapter.clone().or_else(|| self.config.adapter_name_or_path.clone());
        let run = self.run.as_ref().map(|r| r.run_dir.clone());
        let dir = run.or(adapter).unwrap_or_else(|| self.workspace.clone());
        let ended = |e: &&mut Exchange| e.status == Answering::Done && !e.kept;
        let line = |e: &mut Exchange| {
            e.kept = true;
            let mut line = serde_json::json!({
                "by": e.by.name(), "images": e.pictures, "question": e.question, "answer": e.answer,
            });
            let more = [
                ("system", serde_json::json!(e.manner.system)),
                ("sampling", serde_json::json!(e.manner.sampling)),
                ("brightness", serde_json::json!(e.seen)),
            ];
            for (key, value) in more.into_iter().filter(|(_, value)| !value.is_null()) {
                line[key] = value;
            }
            Effect::Load(Load::Talk(Ask::Keep { dir: dir.clone(), line: format!("{line}\n") }))
        };
        self.talk.exchanges.iter_mut().filter(ended).map(line).collect()
    }

    /// The next questions are about these files, as far as they are there.
    fn take_files(&mut self, named: Named) {
        let say = |files: &[PathBuf]| {
            let names = files.iter().map(|f| picture::name(&ImageRef::Path(f.clone())));
            names.collect::<Vec<_>>().join(", ")
        };
        let about = self.words.fill("chat.about", &[("names", &say(&named.files))]);
        match named.lost.is_empty() {
            true => self.notify(Level::Info, about),
            false => {
                let lost = self.words.fill("chat.lost", &[("names", &say(&named.lost))]);
                self.notify(Level::Warning, format!("{lost} · {about}"));
            }
        }
        self.talk.dropped.extend(named.files);
    }

    /// Takes in what the worker did for the talk.
    pub fn on_talk(&mut self, told: Told) -> Vec<Effect> {
        let say = |path: &Path| clean::for_terminal(&path.display().to_string());
        match told {
            Told::Files(named) => self.take_files(named),
            Told::Words(words) => self.talk.input.insert(&words),
            Told::Question(question) if !self.talk.answering() => return self.ask_written(&question),
            Told::Question(question) => self.talk.input.insert(&question),
            Told::NotAsked { text, error } => {
                self.talk.input.insert(&text);
                self.fail(&error);
            }
            Told::NoPicture(error)
            | Told::Kept(Err(error))
            | Told::Added(Err(error))
            | Told::Saved(Err(error))
            | Told::Loaded(Err(error)) => self.fail(&error),
            Told::Kept(Ok(())) => {}
            Told::Added(Ok(path)) => {
                let parts = [("name", CORRECTED), ("path", &say(&path))];
                self.notify(Level::Info, self.words.fill("chat.added", &parts));
                // The open set stays as it is looked at; the new one can be opened.
                if !self.data.names.iter().any(|name| name == CORRECTED) {
                    self.data.names.push(CORRECTED.into());
                }
            }
            Told::Saved(Ok(path)) => {
                self.notify(Level::Info, self.words.fill("chat.saved", &[("path", &say(&path))]));
                self.talk.saved = Some(path);
            }
            Told::Loaded(Ok(_)) if self.talk.answering() => {}
            Told::Loaded(Ok((talk, rows))) => self.take_conversation(*talk, rows),
            Told::Adapters { found, choice } => self.offer_adapters(found, choice),
            Told::Evaluation { dir, sides } => self.evaluation.loaded(&dir, sides),
        }
        Vec::new()
    }
}

//! Who answers a question: the base model, the newest adapter, or another one that was chosen.

use super::State;
use crate::data::clean;
use crate::job::Level;
use crate::tui::effects::{Effect, Load};
use crate::tui::talk_worker::Ask;
use crate::tui::widgets::pick::Pick;
use crate::tui::widgets::popup::{Answer, Popup};
use crate::tui::words::Words;
use std::path::{Path, PathBuf};

/// Who answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answerer {
    Base,
    /// The model in training, else the newest adapter.
    #[default]
    Newest,
    /// The adapter of this folder.
    Adapter(PathBuf),
}

/// What somebody is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// To answer from now on.
    Answer,
    /// To answer the last question, beside whoever answers now.
    Compare,
}

/// Who gave an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    Base,
    /// The model in training at this step.
    Step(usize),
    /// The adapter of this name.
    Adapter(String),
    /// Nobody here: it was read from a file.
    File,
}

impl By {
    /// For files, whatever the language of the screen.
    pub fn name(&self) -> String {
        match self {
            By::Base => "base".into(),
            By::Step(step) => format!("adapter, step {step}"),
            By::Adapter(name) => format!("adapter {name}"),
            By::File => "file".into(),
        }
    }

    /// For people.
    pub fn say(&self, words: Words) -> String {
        match self {
            By::Base => words.get("chat.by_base").into(),
            By::Step(step) => words.fill("chat.by_step", &[("n", &step.to_string())]),
            By::Adapter(name) => words.fill("chat.adapter", &[("name", name)]),
            By::File => words.get("chat.by_file").into(),
        }
    }
}

impl State {
    /// The folder of an adapter that is not in training; `None`: the base model answers.
    pub fn adapter_of(&self, who: &Answerer) -> Option<PathBuf> {
        match who {
            Answerer::Base => None,
            Answerer::Newest => self.adapter.clone().or_else(|| self.config.adapter_name_or_path.clone()),
            Answerer::Adapter(dir) => Some(dir.clone()),
        }
    }

    /// How an adapter is called: its path below the runs, else its folder's name.
    pub fn adapter_name(&self, dir: &Path) -> String {
        let below = dir.strip_prefix(&self.runs.root).ok().filter(|path| !path.as_os_str().is_empty());
        let name = below.map_or_else(|| dir.file_name().unwrap_or(dir.as_os_str()), Path::as_os_str);
        clean::for_terminal(&name.to_string_lossy())
    }

    /// Who would answer, for people.
    pub fn say_answerer(&self, who: &Answerer) -> String {
        let words = self.words;
        let run = self.run.as_ref().filter(|r| r.alive());
        match (who, run, self.adapter_of(who)) {
            (Answerer::Base, ..) => words.get("chat.base").into(),
            (_, Some(run), _) => words.fill("chat.in_training", &[("n", &run.step().to_string())]),
            (_, None, Some(dir)) => words.fill("chat.adapter", &[("name", &self.adapter_name(&dir))]),
            (_, None, None) => words.get("chat.no_adapter").into(),
        }
    }

    /// Asks for the adapters there are, to choose one.
    pub fn wanted_adapters(&mut self, choice: Choice) -> Vec<Effect> {
        if choice == Choice::Compare && (self.talk.exchanges.is_empty() || self.talk.answering()) {
            self.notify(Level::Info, self.words.get("chat.ask_first"));
            return Vec::new();
        }
        vec![Effect::Load(Load::Talk(Ask::Adapters { runs: self.runs.root.clone(), choice }))]
    }

    /// Offers who could answer. A model in training answers as it is, so that there is nobody else beside the base.
    pub fn offer_adapters(&mut self, found: Vec<PathBuf>, choice: Choice) {
        let own = self.adapter_of(&Answerer::Newest);
        let mut all = vec![Answerer::Base];
        if self.training() || own.is_some() {
            all.push(Answerer::Newest);
        }
        let set = self.config.adapter_name_or_path.clone();
        let others = set.into_iter().chain(found).filter(|dir| Some(dir) != own.as_ref() && !self.training());
        for who in others.map(Answerer::Adapter) {
            if !all.contains(&who) {
                all.push(who);
            }
        }
        let now = self.answerer_now();
        if choice == Choice::Compare {
            all.retain(|who| *who != now);
        }
        let selected = all.iter().position(|who| *who == now).unwrap_or(0);
        let rows = all.into_iter().map(|who| (self.say_answerer(&who), Answer::Who(choice, who))).collect();
        let title = match choice {
            Choice::Answer => self.words.get("chat.who"),
            Choice::Compare => self.words.get("chat.compare_with"),
        };
        self.popup = Some(Popup::Pick(Pick::new(title, rows, selected)));
    }

    /// Who answers now. The newest adapter is called so, however it was chosen.
    pub fn answerer_now(&self) -> Answerer {
        match &self.talk.answerer {
            Answerer::Adapter(_) if self.training() => Answerer::Newest,
            Answerer::Adapter(dir) if Some(dir) == self.adapter_of(&Answerer::Newest).as_ref() => {
                Answerer::Newest
            }
            who => who.clone(),
        }
    }

    /// Somebody was chosen.
    pub fn chosen(&mut self, choice: Choice, who: Answerer) -> Vec<Effect> {
        match choice {
            Choice::Answer => {
                self.talk.answerer = who;
                Vec::new()
            }
            Choice::Compare => self.compare_last(who),
        }
    }
}

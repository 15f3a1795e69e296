//! Around the settings: what was edited and taken back, what they will take, what they are compared with.

use super::{PaneId, State};
use crate::config::{TrainConfig, fields};
use crate::data::clean;
use crate::job::Level;
use crate::tui::effects::{Effect, Load};
use crate::tui::panes::derived;
use crate::tui::settings_worker::{Ask, Estimate, Told};

/// Everything about the settings but the settings.
#[derive(Default)]
pub struct Settings {
    undo: Vec<TrainConfig>,
    redo: Vec<TrainConfig>,
    /// What the settings will take; of older ones while the new is on its way.
    pub estimate: Option<Estimate>,
    /// The settings and the number of rows that an estimate was asked for.
    asked: Option<(TrainConfig, Option<usize>)>,
    /// Other settings, with their name, that differences are shown to.
    pub other: Option<(String, Box<TrainConfig>)>,
    /// The settings with the value that is being typed, while it can be taken.
    pub draft: Option<Box<TrainConfig>>,
    /// What was typed of a path, and what it may become.
    pub completions: (String, Vec<String>),
}

impl State {
    /// The settings, with a value that is being typed.
    pub fn draft(&self) -> &TrainConfig {
        self.settings.draft.as_deref().unwrap_or(&self.config)
    }

    /// Replaces the settings; the old ones can be had back.
    pub fn set_config(&mut self, config: TrainConfig) {
        if config != self.config {
            self.settings.undo.push(std::mem::replace(&mut self.config, config));
            self.settings.redo.clear();
        }
    }

    /// Goes back to earlier settings, or forward again. `false` when there are none.
    pub fn time_travel(&mut self, back: bool) -> bool {
        let Settings { undo, redo, .. } = &mut self.settings;
        let (from, to) = if back { (undo, redo) } else { (redo, undo) };
        let Some(config) = from.pop() else { return false };
        to.push(std::mem::replace(&mut self.config, config));
        true
    }

    /// Asks for an estimate where the settings are not those of the last one.
    pub fn wanted_estimate(&mut self) -> Option<Effect> {
        let config = self.draft();
        let rows = derived::samples(config, self);
        let same = |asked: &(TrainConfig, Option<usize>)| asked.0 == *config && asked.1 == rows;
        if config.model_name_or_path.as_os_str().is_empty() || self.settings.asked.as_ref().is_some_and(same)
        {
            return None;
        }
        let config = Box::new(config.clone());
        self.settings.asked = Some((*config.clone(), rows));
        Some(Effect::Load(Load::Settings(Ask::Estimate { config, rows })))
    }

    /// Takes in what the worker found.
    pub fn on_settings(&mut self, told: Told) {
        match told {
            Told::Estimate { config, found } => {
                // An older one would be replaced at once.
                if self.settings.asked.as_ref().is_some_and(|asked| asked.0 == *config) {
                    self.settings.estimate = found;
                }
            }
            Told::Completions { typed, found } => {
                let found = found.iter().map(|path| clean::for_terminal(path)).collect();
                self.settings.completions = (typed, found);
            }
            Told::Loaded { name, found: Ok((config, notes)) } => {
                let changed = fields::all().iter().filter(|f| differ(&config, &self.config, f.key)).count();
                self.set_config(*config);
                self.focus = PaneId::Parameters;
                let (words, n) = (self.words, changed.to_string());
                let mut said = words.fill("params.loaded", &[("name", &name), ("n", &n)]);
                notes.iter().for_each(|note| said.push_str(&format!(" · {}", words.said(note))));
                self.notify(Level::Info, said);
            }
            Told::Other { name, found: Ok(config) } => {
                self.focus = PaneId::Parameters;
                self.settings.other = Some((clean::for_terminal(&name), config));
            }
            Told::Saved(Ok(path)) => {
                let path = path.display().to_string();
                self.notify(Level::Info, self.words.fill("params.saved", &[("path", &path)]));
            }
            Told::Loaded { found: Err(error), .. }
            | Told::Other { found: Err(error), .. }
            | Told::Saved(Err(error)) => {
                self.fail(&error);
            }
        }
    }
}

/// Whether two configurations have different values of `key`.
pub fn differ(a: &TrainConfig, b: &TrainConfig, key: &str) -> bool {
    fields::get(a, key) != fields::get(b, key)
}

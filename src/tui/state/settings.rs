//! Around the settings: what was edited and taken back, what they will take, what they are compared with.

use super::{PaneId, State};
use crate::config::validate::{self, Problem};
use crate::config::{TrainConfig, fields};
use crate::data::clean;
use crate::job::Level;
use crate::tui::effects::{Effect, Load};
use crate::tui::panes::derived;
use crate::tui::settings_worker::{Ask, Estimate, Told};
use std::cell::OnceCell;
use std::ops::Deref;

/// Settings with what is shown of them, which is made at the first look. It cannot be that of other settings: these come as a
/// whole, and nothing changes them in place.
pub struct Settled {
    config: TrainConfig,
    texts: OnceCell<Vec<String>>,
    problems: OnceCell<Vec<Problem>>,
}

impl Settled {
    /// The text of every setting, in the order of the table.
    pub fn texts(&self) -> &[String] {
        self.texts.get_or_init(|| fields::texts(&self.config))
    }

    /// What is wrong with them.
    pub fn problems(&self) -> &[Problem] {
        self.problems.get_or_init(|| validate::problems(&self.config))
    }
}

impl From<TrainConfig> for Settled {
    fn from(config: TrainConfig) -> Self {
        Self { config, texts: OnceCell::new(), problems: OnceCell::new() }
    }
}

impl Deref for Settled {
    type Target = TrainConfig;

    fn deref(&self) -> &TrainConfig {
        &self.config
    }
}

/// Everything about the settings but the settings.
#[derive(Default)]
pub struct Settings {
    undo: Vec<Settled>,
    redo: Vec<Settled>,
    /// What the settings will take; of older ones while the new is on its way.
    pub estimate: Option<Estimate>,
    /// The settings and the number of rows that an estimate was asked for.
    asked: Option<(TrainConfig, Option<usize>)>,
    /// Other settings, with their name, that differences are shown to.
    pub other: Option<(String, Settled)>,
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

    /// What the settings are compared with: the preset, or other ones.
    pub fn compared(&self) -> &Settled {
        self.settings.other.as_ref().map_or(&self.preset, |(_, other)| other)
    }

    /// Starts from these settings: differences are marked to them.
    pub fn start_from(&mut self, config: TrainConfig) {
        (self.config, self.preset) = (config.clone().into(), config.into());
    }

    /// Replaces the settings; the old ones can be had back.
    pub fn set_config(&mut self, config: impl Into<Settled>) {
        let config = config.into();
        if *config != *self.config {
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
                let config = Settled::from(*config);
                let pairs = config.texts().iter().zip(self.config.texts());
                let changed = pairs.filter(|(new, old)| new != old).count();
                self.set_config(config);
                self.focus = PaneId::Parameters;
                let (words, n) = (self.words, changed.to_string());
                let mut said = words.fill("params.loaded", &[("name", &name), ("n", &n)]);
                notes.iter().for_each(|note| said.push_str(&format!(" · {}", words.said(note))));
                self.notify(Level::Info, said);
            }
            Told::Other { name, found: Ok(config) } => {
                self.focus = PaneId::Parameters;
                self.settings.other = Some((clean::for_terminal(&name), (*config).into()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::Theme;

    /// The text of `lora_rank`, that of what it is compared with, and whether `quantization_bit` cannot be.
    fn shown(state: &State) -> (String, String, bool) {
        let at = fields::all().iter().position(|f| f.key == "lora_rank").expect("a setting");
        let bad = state.config.problems().iter().any(|p| p.key == "quantization_bit" && p.fatal);
        (state.config.texts()[at].clone(), state.compared().texts()[at].clone(), bad)
    }

    #[test]
    fn what_is_shown_is_of_the_settings_as_they_are() {
        let of = |lora_rank, quantization_bit| TrainConfig {
            lora_rank,
            quantization_bit,
            ..TrainConfig::default()
        };
        let said = |own: &str, other: &str, bad| (own.to_string(), other.to_string(), bad);
        let mut state = State::new("/w".into(), of(8, None), Theme::dark());
        assert_eq!(shown(&state), said("8", "8", false));
        state.set_config(of(16, Some(3)));
        assert_eq!(shown(&state), said("16", "8", true));
        assert!(state.time_travel(true));
        assert_eq!(shown(&state), said("8", "8", false));
        assert!(state.time_travel(false));
        assert_eq!(shown(&state), said("16", "8", true));
        let found = Ok(Box::new(of(64, None)));
        state.on_settings(Told::Other { name: "other".into(), found });
        assert_eq!(shown(&state), said("16", "64", true));
        state.settings.other = None;
        state.start_from(of(4, None));
        assert_eq!(shown(&state), said("4", "4", false));
    }
}

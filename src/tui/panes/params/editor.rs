//! The editor of one value: checked while it is typed, completed by Tab, stepped by the arrows.

use crate::config::fields::{self, Field, Kind};
use crate::config::{TrainConfig, validate};
use crate::tui::effects::{Effect, Load};
use crate::tui::settings_worker::Ask;
use crate::tui::state::State;
use crate::tui::widgets::input::{Input, Typed};
use crossterm::event::{KeyCode, KeyEvent};

/// A value being edited.
pub struct Editor {
    pub field: &'static Field,
    pub input: Input,
    /// What is wrong with the value itself: it cannot be taken.
    pub error: Option<String>,
    /// What the value would break or weaken together with others.
    pub problems: Vec<String>,
    /// The settings with this value, if it can be taken.
    pub draft: Option<Box<TrainConfig>>,
    /// The last completion put in, to take the next one on the next Tab.
    completed: Option<usize>,
}

/// What became of the editor.
pub enum Edited {
    Open(Vec<Effect>),
    Closed,
    /// This value is to be set.
    Taken(String),
}

impl Editor {
    pub fn open(field: &'static Field, state: &State) -> Self {
        let input = Input::with(&fields::get(&state.config, field.key));
        Self { field, input, error: None, problems: Vec::new(), draft: None, completed: None }
    }

    pub fn type_key(&mut self, key: KeyEvent, state: &State) -> Edited {
        match key.code {
            KeyCode::Tab => return Edited::Open(self.complete(state)),
            KeyCode::Up => self.step(1),
            KeyCode::Down => self.step(-1),
            _ => match self.input.key(key) {
                Typed::Cancel => return Edited::Closed,
                Typed::Submit => {
                    self.check(state);
                    return match self.error {
                        None => Edited::Taken(self.input.take()),
                        Some(_) => Edited::Open(Vec::new()),
                    };
                }
                Typed::Changed => self.completed = None,
                Typed::Other => return Edited::Open(Vec::new()),
            },
        }
        self.check(state);
        Edited::Open(self.ask_paths(state))
    }

    pub fn paste(&mut self, pasted: &str, state: &State) -> Vec<Effect> {
        self.input.paste(pasted);
        self.completed = None;
        self.check(state);
        self.ask_paths(state)
    }

    /// Says at once what is wrong with the value: by itself, and together with the others.
    pub fn check(&mut self, state: &State) {
        let mut copy = state.config.clone();
        self.problems.clear();
        self.draft = None;
        let taken = fields::set(&mut copy, self.field.key, self.input.text());
        self.error = taken.err().map(|e| state.words.said(&e.message).into_owned());
        if self.error.is_some() {
            return;
        }
        let before = state.config.problems();
        for problem in validate::problems(&copy) {
            if problem.key == self.field.key && problem.fatal {
                self.error = Some(state.words.said(&problem.message).into_owned());
            } else if problem.key == self.field.key || !before.contains(&problem) {
                self.problems.push(format!("{}: {}", problem.key, state.words.said(&problem.message)));
            }
        }
        self.draft = Some(Box::new(copy)).filter(|_| self.error.is_none());
    }

    /// Paths that what is typed may become, unless they are known.
    pub fn ask_paths(&self, state: &State) -> Vec<Effect> {
        let path = matches!(self.field.kind, Kind::Path | Kind::Folder);
        let typed = self.input.text().to_string();
        if !path || self.completed.is_some() || state.settings.completions.0 == typed {
            return Vec::new();
        }
        let folders_only = self.field.kind == Kind::Folder;
        vec![Effect::Load(Load::Settings(Ask::Complete { typed, folders_only }))]
    }

    /// What Tab offers: paths, choices, names of data sets.
    pub fn offers<'a>(&self, state: &'a State) -> Vec<&'a str> {
        match self.field.kind {
            Kind::Path | Kind::Folder => state.settings.completions.1.iter().map(String::as_str).collect(),
            Kind::Choice(choices) => choices.to_vec(),
            Kind::Bool => vec!["true", "false"],
            Kind::List if self.field.key.ends_with("dataset") => {
                let begun = self.input.text().rsplit(',').next().unwrap_or_default().trim();
                let fits = |name: &&str| name.starts_with(begun) || self.completed.is_some();
                state.data.names.iter().map(String::as_str).filter(fits).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Puts in what all offers have in common; where that is there already, the offers in turn.
    fn complete(&mut self, state: &State) -> Vec<Effect> {
        let offers = self.offers(state);
        if offers.is_empty() {
            return self.ask_paths(state);
        }
        let path = matches!(self.field.kind, Kind::Path | Kind::Folder);
        let shared = shared_start(&offers);
        let text = match self.completed {
            None if path && (shared.len() > self.input.text().len() || offers.len() == 1) => {
                shared.to_string()
            }
            last => {
                let next = last.map_or(0, |i| (i + 1) % offers.len());
                self.completed = Some(next);
                offers[next].to_string()
            }
        };
        let kept = match (self.field.kind, self.input.text().rsplit_once(',')) {
            (Kind::List, Some((before, _))) => format!("{before},"),
            _ => String::new(),
        };
        self.input = Input::with(&(kept + &text));
        self.check(state);
        self.ask_paths(state)
    }

    /// The next or previous whole number or choice; twice or half of another number.
    fn step(&mut self, by: i64) {
        let text = self.input.text();
        let stepped = match self.field.kind {
            Kind::Int { min, max } => {
                text.parse::<i64>().ok().map(|n| n.saturating_add(by).clamp(min, max).to_string())
            }
            Kind::Float { min, max } => text.parse::<f64>().ok().map(|x| {
                let factor = if by > 0 { 2.0 } else { 0.5 };
                fields::number((x * factor).clamp(min, max))
            }),
            Kind::Choice(choices) => {
                let n = choices.len() as i64;
                let at = choices.iter().position(|c| *c == text).map_or(0, |i| (i as i64 - by).rem_euclid(n));
                Some(choices[at as usize].to_string())
            }
            Kind::Bool => Some((if text == "true" { "false" } else { "true" }).to_string()),
            _ => None,
        };
        if let Some(text) = stepped {
            self.input = Input::with(&text);
        }
    }

    /// The keys worth knowing now: the key of their text.
    pub fn hint(&self) -> &'static str {
        match self.field.kind {
            Kind::Int { .. } => "params.edit_whole",
            Kind::Float { .. } => "params.edit_number",
            Kind::Choice(_) | Kind::Bool => "params.edit_choice",
            Kind::Path | Kind::Folder | Kind::List => "params.edit_path",
            Kind::Text => "params.edit_text",
        }
    }
}

/// The longest start that all texts share.
fn shared_start<'a>(texts: &[&'a str]) -> &'a str {
    let Some((first, rest)) = texts.split_first() else { return "" };
    let end = rest.iter().fold(first.len(), |end, text| {
        let same = first.chars().zip(text.chars()).take_while(|(a, b)| a == b);
        end.min(same.map(|(c, _)| c.len_utf8()).sum())
    });
    &first[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_starts_end_between_characters() {
        assert_eq!(shared_start(&["/a/肺x", "/a/肺y"]), "/a/肺");
        assert_eq!(shared_start(&["/a/肺", "/a/脑"]), "/a/");
        assert_eq!(shared_start(&["one"]), "one");
        assert_eq!(shared_start(&[]), "");
    }
}

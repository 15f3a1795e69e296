//! What the workbench remembers from one time to the next: splits, theme, language, in the user's state folder.

use super::state::State;
use super::theme::Variant;
use super::words::Language;
use crate::files;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The remembered things; what a file does not have is as at first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// Shares of the left column and the upper row, in percent.
    pub split: Option<(u16, u16)>,
    pub theme: Option<String>,
    pub language: Option<String>,
}

impl Remembered {
    /// What is to be remembered of a workbench: the theme and the language only if they were chosen in it.
    pub fn of(state: &State, before: &Self) -> Self {
        let mut now = before.clone();
        now.split = Some(state.split);
        if state.chosen.theme {
            now.theme = Some(state.theme.variant.name().into());
        }
        if state.chosen.language {
            now.language = Some(state.words.language.name().into());
        }
        now
    }

    pub fn variant(&self) -> Option<Variant> {
        self.theme.as_deref().and_then(Variant::named)
    }

    pub fn language(&self) -> Option<Language> {
        self.language.as_deref().and_then(Language::named)
    }

    /// Reads the file; a missing or broken one is nothing remembered.
    pub fn read(env: impl Fn(&str) -> Option<String>) -> Self {
        let text = path(env).and_then(|p| std::fs::read_to_string(p).ok()).unwrap_or_default();
        toml::from_str(&text).unwrap_or_default()
    }

    /// Writes the file, if something changed. That it cannot be written is no reason to complain.
    pub fn write(&self, before: &Self, env: impl Fn(&str) -> Option<String>) {
        if self == before {
            return;
        }
        if let (Some(path), Ok(text)) = (path(env), toml::to_string(self)) {
            let _ = files::write(&path, text.as_bytes());
        }
    }
}

/// `$XDG_STATE_HOME/lorascope/workbench.toml`, by default below `~/.local/state`.
fn path(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(home.join("lorascope/workbench.toml"))
}

/// `$XDG_CONFIG_HOME/lorascope/keys.toml`, by default below `~/.config`.
pub fn keys_path(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(home.join("lorascope/keys.toml"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_broken_files_harm_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let env = |k: &str| (k == "XDG_STATE_HOME").then(|| dir.path().to_str().unwrap().to_string());
        assert_eq!(Remembered::read(env), Remembered::default());
        let now =
            Remembered { split: Some((35, 60)), theme: Some("light".into()), language: Some("zh".into()) };
        now.write(&Remembered::default(), env);
        assert_eq!(Remembered::read(env), now);
        assert_eq!((now.variant(), now.language()), (Some(Variant::Light), Some(Language::Chinese)));
        std::fs::write(dir.path().join("lorascope/workbench.toml"), "split = 3").unwrap();
        assert_eq!(Remembered::read(env), Remembered::default());
    }
}

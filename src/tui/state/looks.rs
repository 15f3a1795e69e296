//! Looks that a key changes: theme, language, low-bandwidth mode.

use super::State;
use crate::job::Level;
use crate::tui::action::Action;
use crate::tui::theme::Theme;
use crate::tui::words::{Language, Words};

impl State {
    /// Takes the next theme or language, or turns low-bandwidth mode on or off, and says so.
    pub fn change_looks(&mut self, action: Action) {
        let said = match action {
            Action::NextTheme if !self.theme.colours => self.words.get("looks.no_colours").to_string(),
            Action::NextTheme => {
                self.theme = Theme::new(self.theme.variant.next(), self.theme.depth);
                self.chosen.theme = true;
                self.words.fill("looks.theme", &[("name", self.words.get(self.theme.variant.name()))])
            }
            Action::NextLanguage if self.ascii => self.words.get("looks.ascii").to_string(),
            Action::NextLanguage => {
                let language = match self.words.language {
                    Language::English => Language::Chinese,
                    Language::Chinese => Language::English,
                };
                (self.words, self.chosen.language) = (Words { language }, true);
                self.words.get("looks.language").to_string()
            }
            _ => {
                self.line.slow = !self.line.slow;
                let key = if self.line.slow { "looks.slow" } else { "looks.fast" };
                self.words.get(key).to_string()
            }
        };
        self.notify(Level::Info, said);
    }
}

//! The key table: `configs/keys.toml`, and a user's own file over it.

use super::action::Action;
use crate::error::{Error, Result};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::collections::HashMap;
use toml::Spanned;

/// A key as bound: without the noise terminals add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub code: KeyCode,
    pub ctrl: bool,
    pub alt: bool,
}

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Self {
        let code = match event.code {
            KeyCode::Tab if event.modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
            code => code,
        };
        let alt = event.modifiers.contains(KeyModifiers::ALT);
        Self { code, ctrl: event.modifiers.contains(KeyModifiers::CONTROL), alt }
    }
}

const NAMED: &[(&str, KeyCode, &str)] = &[
    ("up", KeyCode::Up, "↑"),
    ("down", KeyCode::Down, "↓"),
    ("left", KeyCode::Left, "←"),
    ("right", KeyCode::Right, "→"),
    ("enter", KeyCode::Enter, "Enter"),
    ("esc", KeyCode::Esc, "Esc"),
    ("tab", KeyCode::Tab, "Tab"),
    ("shift-tab", KeyCode::BackTab, "Shift-Tab"),
    ("space", KeyCode::Char(' '), "Space"),
    ("backspace", KeyCode::Backspace, "Backspace"),
    ("delete", KeyCode::Delete, "Del"),
    ("home", KeyCode::Home, "Home"),
    ("end", KeyCode::End, "End"),
    ("pageup", KeyCode::PageUp, "PgUp"),
    ("pagedown", KeyCode::PageDown, "PgDn"),
];

impl Key {
    /// Reads `ctrl-x`, `shift-tab`, `f1`, `G`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut key = Key { code: KeyCode::Null, ctrl: false, alt: false };
        let mut rest = text;
        loop {
            if let Some(r) = rest.strip_prefix("ctrl-") {
                (key.ctrl, rest) = (true, r);
            } else if let Some(r) = rest.strip_prefix("alt-") {
                (key.alt, rest) = (true, r);
            } else {
                break;
            }
        }
        let mut chars = rest.chars();
        key.code = match (chars.next(), chars.next()) {
            (Some(c), None) => KeyCode::Char(c),
            _ => match NAMED.iter().find(|n| n.0 == rest) {
                Some(named) => named.1,
                None => KeyCode::F(rest.strip_prefix('f')?.parse().ok()?),
            },
        };
        Some(key)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.ctrl {
            f.write_str("Ctrl-")?;
        }
        if self.alt {
            f.write_str("Alt-")?;
        }
        match (NAMED.iter().find(|n| n.1 == self.code), self.code) {
            (Some(named), _) => f.write_str(named.2),
            (None, KeyCode::Char(c)) => write!(f, "{c}"),
            (None, KeyCode::F(n)) => write!(f, "F{n}"),
            (None, code) => write!(f, "{code:?}"),
        }
    }
}

/// Where a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    Data,
    Picture,
    Parameters,
    Training,
    Chat,
    TalkPicture,
    Runs,
    Evaluation,
    Lists,
    Everywhere,
}

impl Context {
    const ALL: [(Context, &str); 10] = [
        (Context::TalkPicture, "talk_picture"),
        (Context::Data, "data"),
        (Context::Picture, "picture"),
        (Context::Parameters, "parameters"),
        (Context::Training, "training"),
        (Context::Chat, "chat"),
        (Context::Runs, "runs"),
        (Context::Evaluation, "evaluation"),
        (Context::Lists, "lists"),
        (Context::Everywhere, "everywhere"),
    ];

    /// This one, and those whose keys win over its own.
    fn hidden_by(self) -> impl Iterator<Item = Context> {
        // Panes stand first, then lists.
        let more = move |c: &Context| match self {
            Context::Everywhere => true,
            Context::Lists => *c != Context::Everywhere,
            pane => *c == pane,
        };
        Self::ALL.map(|c| c.0).into_iter().filter(more)
    }
}

/// The key table.
#[derive(Clone, Debug)]
pub struct Keymap {
    actions: HashMap<(Context, Key), Action>,
    keys: HashMap<(Context, Action), Vec<Key>>,
}

const EMBEDDED: &str = include_str!("../../configs/keys.toml");

type Table = HashMap<Spanned<String>, HashMap<Spanned<String>, Vec<Spanned<String>>>>;
/// What a table binds: where, which action, to which keys.
type Binding = (Context, Action, Vec<Key>);

impl Keymap {
    /// The table that comes with the program.
    pub fn embedded() -> Self {
        let none = Self { actions: HashMap::new(), keys: HashMap::new() };
        none.with(EMBEDDED, "configs/keys.toml").expect("a test reads the embedded key table")
    }

    /// The same with a user's table over it: an action that it names has the keys given there and no others, and a key
    /// given there has no other action where it counts: a key for everywhere or for lists is taken from the panes that
    /// have it for something else, unless the table gives it to them itself. `name` stands for the file in messages.
    ///
    /// # Errors
    /// Not TOML, an unknown pane, action or key, a key with two actions; with the line.
    pub fn with(mut self, text: &str, name: &str) -> Result<Self> {
        let bindings = read(text, name)?;
        for (context, action, keys) in &bindings {
            for old in self.keys.remove(&(*context, *action)).unwrap_or_default() {
                self.actions.remove(&(*context, old));
            }
            for (key, hiding) in keys.iter().flat_map(|key| context.hidden_by().map(move |c| (key, c))) {
                if let Some(other) = self.actions.remove(&(hiding, *key))
                    && let Some(others) = self.keys.get_mut(&(hiding, other))
                {
                    others.retain(|k| k != key);
                }
            }
        }
        for (context, action, keys) in bindings {
            self.actions.extend(keys.iter().map(|key| ((context, *key), action)));
            self.keys.insert((context, action), keys);
        }
        Ok(self)
    }

    /// The action of a key in a pane.
    pub fn action(&self, pane: Context, key: impl Into<Key>) -> Option<Action> {
        let key = key.into();
        [pane, Context::Lists, Context::Everywhere]
            .iter()
            .find_map(|context| self.actions.get(&(*context, key)).copied())
    }

    /// The first key of an action, one that works everywhere if there is one.
    pub fn hint(&self, action: Action) -> String {
        let bound = Context::ALL.iter().rev().find_map(|(c, _)| self.keys.get(&(*c, action))?.first());
        bound.map(Key::to_string).unwrap_or_default()
    }

    /// Whether an action is one of a context's.
    pub fn has(&self, context: Context, action: Action) -> bool {
        self.keys.contains_key(&(context, action))
    }

    /// Actions bound in a context with the keys that do them in a pane, in the order of the help.
    pub fn bound(&self, pane: Context, context: Context) -> Vec<(Action, String)> {
        let text = |action: &Action| {
            let keys = self.keys.get(&(context, *action))?;
            let keys = keys.iter().filter(|key| self.action(pane, **key) == Some(*action));
            Some((*action, keys.map(Key::to_string).collect::<Vec<_>>().join(" ")))
        };
        Action::ALL.iter().filter_map(text).collect()
    }

    /// The first key that does an action in one pane, else its key elsewhere.
    pub fn hint_in(&self, pane: Context, action: Action) -> String {
        let bound = [pane, Context::Lists, Context::Everywhere].map(|c| self.keys.get(&(c, action)));
        let mut here = bound.into_iter().flatten().flatten();
        match here.find(|key| self.action(pane, **key) == Some(action)) {
            Some(key) => key.to_string(),
            None => self.hint(action),
        }
    }
}

/// The bindings of a table.
fn read(text: &str, name: &str) -> Result<Vec<Binding>> {
    let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let wrong = |at: usize, what: String| {
        Error::usage(format!("{name}:{}: {what}", line(at)))
            .hint("the panes, actions and names of keys are those of configs/keys.toml")
    };
    let table: Table =
        toml::from_str(text).map_err(|e| wrong(e.span().map_or(0, |s| s.start), e.message().to_string()))?;
    let (mut bindings, mut taken) = (Vec::new(), HashMap::new());
    for (section, actions) in table {
        let context = Context::ALL.iter().find(|c| c.1 == section.get_ref()).map(|c| c.0);
        let context = context
            .ok_or_else(|| wrong(section.span().start, format!("no pane \"{}\"", section.get_ref())))?;
        for (action, keys) in actions {
            let at = action.span().start;
            let found = Action::ALL.iter().copied().find(|a| a.name() == action.get_ref());
            let action = found.ok_or_else(|| wrong(at, format!("no action \"{}\"", action.get_ref())))?;
            let mut bound = Vec::new();
            for text in keys {
                let at = text.span().start;
                let key = Key::parse(text.get_ref())
                    .ok_or_else(|| wrong(at, format!("no key is named \"{}\"", text.get_ref())))?;
                if let Some(other) = taken.insert((context, key), action).filter(|other| *other != action) {
                    let both = format!("{} and {}", other.name(), action.name());
                    return Err(wrong(at, format!("[{}] {key} is bound to {both}", section.get_ref())));
                }
                bound.push(key);
            }
            bindings.push((context, action, bound));
        }
    }
    Ok(bindings)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_key_and_a_distinct_name() {
        let keys = Keymap::embedded();
        for (i, action) in Action::ALL.iter().enumerate() {
            assert!(!keys.hint(*action).is_empty(), "{action:?} has no key");
            assert!(Action::ALL[..i].iter().all(|a| a.name() != action.name()), "{action:?}");
        }
    }

    #[test]
    fn panes_win_over_lists_and_everywhere() {
        let keys = Keymap::embedded();
        let key = |c| Key { code: KeyCode::Char(c), ctrl: false, alt: false };
        assert_eq!(keys.action(Context::Training, key('x')), Some(Action::StopAndSave));
        assert_eq!(keys.action(Context::Chat, key('x')), Some(Action::StopAnswer));
        assert_eq!(keys.action(Context::Chat, key('j')), Some(Action::Down));
        assert_eq!(keys.action(Context::Chat, key('?')), Some(Action::Help));
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(keys.action(Context::Data, ctrl_c), Some(Action::Quit));
    }

    fn key(c: char) -> Key {
        Key { code: KeyCode::Char(c), ctrl: false, alt: false }
    }

    #[test]
    fn mistakes_in_a_table_are_named_with_their_line() {
        let wrong = |text: &str| Keymap::embedded().with(text, "my.toml").err().unwrap().message;
        assert_eq!(wrong("[data]\n\nfly = [\"f\"]"), "my.toml:3: no action \"fly\"");
        assert_eq!(wrong("[moon]\nup = [\"f\"]"), "my.toml:1: no pane \"moon\"");
        assert_eq!(wrong("[data]\nup = [\"x\",\n \"hyper-x\"]"), "my.toml:3: no key is named \"hyper-x\"");
        let twice = wrong("[data]\nup = [\"x\"]\ndown = [\"x\"]");
        assert!(twice.starts_with("my.toml:") && twice.contains("is bound to"), "{twice}");
        assert!(wrong("[data]\nup = 3").starts_with("my.toml:2: "));
    }

    #[test]
    fn a_users_table_lies_over_the_embedded_one() {
        let keys =
            Keymap::embedded().with("[everywhere]\nzoom = [\"y\"]\nquit = []\n[data]\nexclude = [\"f\"]", "");
        let keys = keys.unwrap();
        assert_eq!(keys.action(Context::Data, key('y')), Some(Action::Zoom), "a user's key wins");
        assert_eq!(keys.hint_in(Context::Data, Action::CopyCaption), "", "and nothing else claims it");
        assert_eq!(keys.hint_in(Context::Training, Action::LogY), "");
        assert_eq!(keys.hint_in(Context::Data, Action::Zoom), "y");
        assert_eq!(keys.action(Context::Chat, key('y')), Some(Action::Zoom));
        assert_eq!(keys.action(Context::Chat, key('z')), None, "the old key is free");
        assert_eq!(keys.action(Context::Chat, key('q')), None);
        assert_eq!(keys.action(Context::Data, key('f')), Some(Action::Exclude), "a key has one action");
        assert_eq!(keys.hint(Action::Findings), "");
        assert_eq!(keys.action(Context::Data, key('e')), Some(Action::EditCaption), "the rest stays");
    }

    #[test]
    fn what_a_user_binds_in_a_pane_wins_over_what_is_bound_everywhere() {
        let table = "[everywhere]\nzoom = [\"y\"]\n[lists]\ndown = [\"x\"]\n[data]\nexclude = [\"y\", \"?\"]";
        let keys = Keymap::embedded().with(table, "").unwrap();
        assert_eq!(keys.action(Context::Data, key('y')), Some(Action::Exclude), "the user said both");
        assert_eq!(keys.action(Context::Training, key('y')), Some(Action::Zoom));
        assert_eq!(keys.action(Context::Training, key('x')), Some(Action::Down), "lists are in every pane");
        assert_eq!(keys.hint_in(Context::Data, Action::Help), "F1", "the key that still helps there");
        assert_eq!(keys.hint_in(Context::Training, Action::Help), "?");
        let help = |pane| {
            let bound = keys.bound(pane, Context::Everywhere);
            bound.into_iter().find(|b| b.0 == Action::Help).map(|b| b.1).unwrap_or_default()
        };
        assert_eq!((help(Context::Data), help(Context::Chat)), ("F1".to_string(), "? F1".to_string()));
    }
}

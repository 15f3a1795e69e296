//! The texts of the interface, by key: English and Chinese, one file each under `assets/text`.

use super::action::Action;
use std::collections::HashMap;
use std::sync::OnceLock;

/// A language of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::English, Language::Chinese];

    /// The name in `--lang` and in the settings file.
    pub fn name(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh",
        }
    }

    /// The language of a name or a locale: `zh`, `zh_CN.UTF-8`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| name.split(['_', '-', '.']).next() == Some(l.name()))
    }

    /// The language of an environment: `LC_ALL`, `LC_MESSAGES`, `LANG`, the first that is set.
    pub fn of(env: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| env(name).filter(|v| !v.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set);
        locale.and_then(|l| Self::named(&l)).unwrap_or(Language::English)
    }

    fn text(self) -> &'static str {
        match self {
            Language::English => include_str!("../../assets/text/en.toml"),
            Language::Chinese => include_str!("../../assets/text/zh.toml"),
        }
    }

    fn table(self) -> &'static HashMap<String, String> {
        static TABLES: [OnceLock<HashMap<String, String>>; 2] = [const { OnceLock::new() }; 2];
        TABLES[self as usize].get_or_init(|| parse(self.text()).expect("a test reads the embedded texts"))
    }
}

fn parse(text: &str) -> Result<HashMap<String, String>, toml::de::Error> {
    let sections: HashMap<String, HashMap<String, String>> = toml::from_str(text)?;
    let flat = |(section, texts): (String, HashMap<String, String>)| {
        // Words that are said in many places are their own keys.
        let key = move |key: String| if section == "word" { key } else { format!("{section}.{key}") };
        texts.into_iter().map(move |(k, text)| (key(k), text))
    };
    Ok(sections.into_iter().flat_map(flat).collect())
}

/// The texts of one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    pub language: Language,
}

impl Words {
    /// The text of a key such as `quit.title`, or of a word in English such as `pause`; a text that is no key is given
    /// back as it is.
    pub fn get(self, key: &'static str) -> &'static str {
        let own = self.language.table().get(key);
        own.or_else(|| Language::English.table().get(key)).map_or(key, String::as_str)
    }

    /// [`Words::get`] with the marks `{name}` filled in.
    pub fn fill(self, key: &'static str, parts: &[(&str, &str)]) -> String {
        let text = self.get(key);
        parts.iter().fold(text.to_string(), |t, (name, value)| t.replace(&format!("{{{name}}}"), value))
    }

    /// What an action does. English is said where the action is declared.
    pub fn action(self, action: Action) -> &'static str {
        let key = format!("action.{}", action.name());
        self.language.table().get(&key).map_or(action.help(), String::as_str)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tui::text::width;

    /// Marks such as `{key}` of a text, in order.
    fn marks(text: &str) -> Vec<&str> {
        let mut marks: Vec<_> = text.split('{').skip(1).filter_map(|t| t.split('}').next()).collect();
        marks.sort_unstable();
        marks
    }

    #[test]
    fn both_files_have_all_keys_and_the_same_marks() {
        let english = parse(Language::English.text()).unwrap();
        let mut chinese = parse(Language::Chinese.text()).unwrap();
        for action in Action::ALL {
            let key = format!("action.{}", action.name());
            assert!(chinese.remove(&key).is_some(), "zh.toml lacks {key} ({})", action.help());
        }
        chinese.retain(|key, _| key.contains('.'));
        for (key, text) in &english {
            let other = chinese.remove(key).unwrap_or_else(|| panic!("zh.toml lacks {key}"));
            assert_eq!(marks(text), marks(&other), "{key}");
        }
        assert!(chinese.is_empty(), "zh.toml has more: {:?}", chinese.keys().collect::<Vec<_>>());
    }

    /// Texts in columns of fixed width, or on one line of the smallest screen.
    #[test]
    fn widths_fit() {
        for language in Language::ALL {
            let words = Words { language };
            for action in Action::ALL {
                let text = words.action(*action);
                assert!((1..=56).contains(&width(text)), "{}: {text}", action.name());
            }
            for (key, text) in language.table() {
                let most = match key.split('.').next().unwrap_or_default() {
                    word if !key.contains('.') => width(word).max(8) + 6,
                    "hint" => 14,
                    "status" => 24,
                    "action" => 56,
                    _ => 76,
                };
                assert!((1..=most).contains(&width(text)), "{} {key}: {text}", language.name());
            }
        }
    }

    /// Every key that the code names is there.
    #[test]
    fn keys_in_the_code_exist() {
        fn walk(dir: &std::path::Path, all: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, all);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    all.push(std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let mut sources = Vec::new();
        walk(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tui")), &mut sources);
        let mut seen = 0;
        for source in sources {
            for call in ["words.get(\"", "words.fill(\""] {
                for (at, _) in source.match_indices(call) {
                    let key = source[at + call.len()..].split('"').next().unwrap();
                    assert!(Language::English.table().contains_key(key), "en.toml lacks {key}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn the_language_is_that_of_the_locale() {
        let of = |lang: &str| Language::of(|k| (k == "LANG").then(|| lang.to_string()));
        assert_eq!(
            [of("zh_CN.UTF-8"), of("zh"), of("en_US.UTF-8"), of("C")].map(Language::name),
            ["zh", "zh", "en", "en"]
        );
        let chinese = Words { language: Language::Chinese };
        assert_eq!(chinese.get("no such key"), "no such key");
        assert!(chinese.action(Action::Quit) != Action::Quit.help());
    }
}

//! The texts of the interface, by key: English and Chinese, one file each under `assets/text`.

use super::action::Action;
use super::said::Said;
use crate::config::fields::Field;
use std::borrow::Cow;
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

    fn texts(self) -> &'static Texts {
        static TEXTS: [OnceLock<Texts>; 2] = [const { OnceLock::new() }; 2];
        TEXTS[self as usize]
            .get_or_init(|| Texts::parse(self.text()).expect("a test reads the embedded texts"))
    }

    fn table(self) -> &'static HashMap<String, String> {
        &self.texts().table
    }
}

/// What a file says.
struct Texts {
    /// By `section.key`; common words by themselves.
    table: HashMap<String, String>,
    /// Messages that the core makes, by their English.
    said: Said,
}

impl Texts {
    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let mut sections: HashMap<String, HashMap<String, String>> = toml::from_str(text)?;
        let said = Said::new(sections.remove("said").unwrap_or_default());
        let flat = |(section, texts): (String, HashMap<String, String>)| {
            // Words that are said in many places are their own keys.
            let key = move |key: String| if section == "word" { key } else { format!("{section}.{key}") };
            texts.into_iter().map(move |(k, text)| (key(k), text))
        };
        Ok(Self { table: sections.into_iter().flat_map(flat).collect(), said })
    }
}

/// The texts of one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    pub language: Language,
}

impl Words {
    /// The text of a key such as `quit.title`, or of a word in English such as `pause`; a text that is no key is given
    /// back as it is.
    pub fn get(self, key: &str) -> &str {
        let own = self.language.table().get(key);
        own.or_else(|| Language::English.table().get(key)).map_or(key, String::as_str)
    }

    /// [`Words::get`] with the marks `{name}` filled in.
    pub fn fill(self, key: &str, parts: &[(&str, &str)]) -> String {
        let text = self.get(key);
        parts.iter().fold(text.to_string(), |t, (name, value)| t.replace(&format!("{{{name}}}"), value))
    }

    /// [`Words::fill`] with texts that were made for it.
    pub fn filled(self, key: &str, parts: &[(&str, String)]) -> String {
        self.fill(key, &parts.iter().map(|(name, part)| (*name, part.as_str())).collect::<Vec<_>>())
    }

    /// [`Words::fill`] with the mark `{n}`.
    pub fn count(self, key: &str, n: impl ToString) -> String {
        self.fill(key, &[("n", &n.to_string())])
    }

    /// What an action does. English is said where the action is declared.
    pub fn action(self, action: Action) -> &'static str {
        let key = format!("action.{}", action.name());
        self.language.table().get(&key).map_or(action.help(), String::as_str)
    }

    /// What a setting means. English is said where its row is declared.
    pub fn help(self, field: &Field) -> &'static str {
        let key = format!("field.{}", field.key);
        self.language.table().get(&key).map_or(field.help, String::as_str)
    }

    /// The advice about the setting `key`, which is `text` in English.
    pub fn advice(self, key: &str, text: &'static str) -> &'static str {
        self.language.table().get(&format!("advice.{key}")).map_or(text, String::as_str)
    }

    /// A message that the core made: an error, a problem, a line of the log. What is not known stays as it is.
    pub fn said(self, text: &str) -> Cow<'_, str> {
        if self.language == Language::English || text.is_empty() {
            return text.into();
        }
        let texts = self.language.texts();
        match texts.table.get(text) {
            Some(word) => word.as_str().into(),
            None => texts.said.get(text).map_or(text.into(), Cow::from),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{advice, fields};
    use crate::tui::text::width;

    /// Marks such as `{key}` of a text, in order.
    fn marks(text: &str) -> Vec<&str> {
        let mut marks: Vec<_> = text.split('{').skip(1).filter_map(|t| t.split('}').next()).collect();
        marks.sort_unstable();
        marks
    }

    #[test]
    fn both_files_have_all_keys_and_the_same_marks() {
        let english = Texts::parse(Language::English.text()).unwrap().table;
        let mut chinese = Texts::parse(Language::Chinese.text()).unwrap().table;
        for action in Action::ALL {
            let key = format!("action.{}", action.name());
            assert!(chinese.remove(&key).is_some(), "zh.toml lacks {key} ({})", action.help());
        }
        for field in fields::all() {
            let key = format!("field.{}", field.key);
            assert!(chinese.remove(&key).is_some(), "zh.toml lacks {key} ({})", field.help);
            let advice = chinese.remove(&format!("advice.{}", field.key)).is_some();
            assert_eq!(advice, advice::advice(field.key).is_some(), "the advice of {}", field.key);
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
                    // These are wrapped.
                    "field" | "advice" => 240,
                    "typing" => 80,
                    _ => 76,
                };
                let bare =
                    marks(text).iter().fold(text.clone(), |t, mark| t.replace(&format!("{{{mark}}}"), ""));
                assert!((1..=most).contains(&width(&bare)), "{} {key}: {text}", language.name());
            }
        }
    }

    /// The text of all files below a folder of `src`, without their tests.
    fn sources(below: &str) -> Vec<(String, String)> {
        fn walk(path: &std::path::Path, all: &mut Vec<(String, String)>) {
            if path.is_dir() {
                let mut entries: Vec<_> =
                    std::fs::read_dir(path).unwrap().flatten().map(|e| e.path()).collect();
                entries.sort();
                entries.iter().for_each(|path| walk(path, all));
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let kept = code.lines().filter(|l| !l.trim_start().starts_with("//"));
                all.push((path.display().to_string(), kept.collect::<Vec<_>>().join("\n")));
            }
        }
        let mut all = Vec::new();
        walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(below), &mut all);
        assert!(!all.is_empty(), "{below} is not there");
        all
    }

    /// Every key that the code names is there.
    #[test]
    fn keys_in_the_code_exist() {
        let mut seen = 0;
        for (file, source) in sources("tui") {
            for call in ["words.get(\"", "words.fill(\"", "words.count(\""] {
                for (at, _) in source.match_indices(call) {
                    let key = source[at + call.len()..].split('"').next().unwrap();
                    // A key of both files, or a word that Chinese has another one for.
                    let language = if key.contains('.') { Language::English } else { Language::Chinese };
                    let there = language.table().contains_key(key);
                    assert!(there, "{file}: {}.toml lacks {key}", language.name());
                    seen += 1;
                }
            }
        }
        assert!(seen > 20, "{seen}");
    }

    /// The string literals of some code.
    fn literals(code: &str) -> Vec<String> {
        let (mut found, mut chars) = (Vec::new(), code.chars().peekable());
        while let Some(c) = chars.next() {
            match c {
                // A character such as '"' opens no string.
                '\'' => {
                    let next = chars.next();
                    if next == Some('\\') {
                        chars.next();
                    }
                    chars.next_if_eq(&'\'');
                }
                '"' => {
                    let mut literal = String::new();
                    while let Some(c) = chars.next().filter(|c| *c != '"') {
                        match (c, chars.peek().copied()) {
                            // A line that goes on begins with its first letter.
                            ('\\', Some('\n')) => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                            ('\\', Some(_)) => literal.extend(chars.next()),
                            _ => literal.push(c),
                        }
                    }
                    found.push(literal);
                }
                _ => {}
            }
        }
        found
    }

    /// Whether a literal is words for people: more than a key, a name of a file or a thing that is filled in.
    fn is_said(literal: &str) -> bool {
        let mut words = String::new();
        let mut depth = 0;
        for c in literal.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                c if depth == 0 => words.push(c),
                _ => {}
            }
        }
        let long = |w: &&str| w.chars().filter(char::is_ascii_alphabetic).count() > 1;
        words.trim().contains(' ') && words.split_whitespace().filter(long).count() > 0
    }

    /// What the core says of settings, rows, findings and runs has its Chinese. A new message fails here until it has.
    #[test]
    fn messages_of_the_core_have_their_chinese() {
        const FILES: [&str; 16] = [
            "config/validate.rs",
            "config/fields.rs",
            "config/live.rs",
            "config/schedule_args.rs",
            "config/llama_factory.rs",
            "data/check/rule.rs",
            "data/layout.rs",
            "data/query.rs",
            "runs/delete.rs",
            "runs/import.rs",
            "train/run",
            "train/report.rs",
            "tui/browse",
            "tui/settings_worker.rs",
            "tui/run_worker.rs",
            "tui/worker.rs",
        ];
        /// Parts of other texts, words of the search, reasons of `unreachable!`; ids and names.
        const NOT_SAID: [&str; 9] = [
            "TrainConfig is a struct of plain data",
            "invalid type",
            "evaluation and generation",
            "row 0123456789+-.e",
            "row {row}",
            "word \"two words\"",
            "caption:x question:x",
            "excluded:yes edited:no",
            "there is {}",
        ];
        let chinese = Words { language: Language::Chinese };
        let mut seen = 0;
        for (file, code) in FILES.iter().flat_map(|below| sources(below)) {
            let reasons: Vec<&str> = code.match_indices("expect(\"").map(|(at, _)| &code[at + 8..]).collect();
            for literal in literals(&code).into_iter().filter(|l| is_said(l)) {
                let reason = reasons.iter().any(|reason| reason.starts_with(&literal));
                if reason || NOT_SAID.contains(&literal.as_str()) {
                    continue;
                }
                let said = chinese.said(&literal);
                assert!(*said != *literal, "{file}: zh.toml lacks, under [said]: {literal:?}");
                seen += 1;
            }
        }
        assert!(seen > 150, "{seen}");
        let codes = literals(&sources("data/check/rule.rs")[0].1);
        for code in codes.iter().filter(|c| c.contains('_') && !c.contains(' ')) {
            let words = code.replace('_', " ");
            assert!(*chinese.said(&words) != *words, "zh.toml lacks, under [said]: {words:?}");
        }
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

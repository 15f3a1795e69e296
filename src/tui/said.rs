//! Messages that the core makes in English, in another language: found by their English, with marks where something
//! is filled in.

use std::collections::HashMap;

/// The messages of one language.
#[derive(Default)]
pub struct Said {
    /// Those without marks.
    plain: HashMap<String, String>,
    /// Those with marks, the most telling first.
    patterns: Vec<Pattern>,
}

/// A text with marks, as Rust's `format!` writes them: `{key} must be one of {} (given: {given})`.
#[derive(Debug, PartialEq)]
struct Marked {
    /// What stands before, between and behind the marks.
    literals: Vec<String>,
    marks: Vec<Mark>,
}

/// A place where something is filled in. One without a name is called by its number.
#[derive(Debug, PartialEq)]
struct Mark {
    name: String,
    /// `{name!}`: what is filled in is a message of its own.
    said: bool,
}

struct Pattern {
    english: Marked,
    other: Marked,
}

impl Said {
    /// The messages by their English.
    pub fn new(messages: HashMap<String, String>) -> Self {
        let mut all = Self::default();
        for (english, other) in messages {
            let marked = Marked::parse(&english);
            if marked.marks.is_empty() {
                all.plain.insert(english, other);
            } else {
                all.patterns.push(Pattern { english: marked, other: Marked::parse(&other) });
            }
        }
        let told = |p: &Pattern| p.english.literals.iter().map(String::len).sum::<usize>();
        all.patterns
            .sort_by(|a, b| told(b).cmp(&told(a)).then_with(|| a.english.literals.cmp(&b.english.literals)));
        all
    }

    /// The message in this language; `None` for one that is not known.
    pub fn get(&self, text: &str) -> Option<String> {
        if let Some(plain) = self.plain.get(text) {
            return Some(plain.clone());
        }
        self.patterns.iter().find_map(|pattern| {
            let found = pattern.english.read(text)?;
            Some(pattern.other.write(|mark| {
                let at = pattern.english.marks.iter().position(|m| m.name == mark.name);
                let value = at.map_or("", |at| found[at]);
                let said = mark.said.then(|| self.get(value)).flatten();
                said.unwrap_or_else(|| value.to_string())
            }))
        })
    }
}

impl Marked {
    fn parse(text: &str) -> Self {
        let (mut literals, mut marks) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((before, (inside, after))) =
            rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            let name = inside.split(':').next().unwrap_or_default();
            let (name, said) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
            let name = if name.is_empty() { marks.len().to_string() } else { name.to_string() };
            literals.push(before.to_string());
            marks.push(Mark { name, said });
            rest = after;
        }
        literals.push(rest.to_string());
        Self { literals, marks }
    }

    /// What a text has in the places of the marks, if it is this message.
    fn read<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let (first, others) = self.literals.split_first()?;
        let (last, between) = others.split_last()?;
        let mut rest = text.strip_prefix(first.as_str())?.strip_suffix(last.as_str())?;
        let mut found = Vec::with_capacity(self.marks.len());
        for literal in between {
            let (value, after) = rest.split_once(literal.as_str())?;
            found.push(value);
            rest = after;
        }
        found.push(rest);
        Some(found)
    }

    /// The text with its marks filled in.
    fn write(&self, value: impl Fn(&Mark) -> String) -> String {
        let mut text = String::new();
        for (literal, mark) in self.literals.iter().zip(&self.marks) {
            text.push_str(literal);
            text.push_str(&value(mark));
        }
        text + self.literals.last().map_or("", String::as_str)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(messages: &[(&str, &str)]) -> Said {
        Said::new(messages.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect())
    }

    #[test]
    fn a_message_is_found_by_what_stands_between_its_marks() {
        let said = said(&[
            ("{key} must be a {} (given: {given})", "{key} 须为{1!}（给定：{given}）"),
            ("{key} must be {} (given: {given})", "{key} 须是{1!}（给定：{given}）"),
            ("whole number, {min} to {max}", "整数，{min} 到 {max}"),
            ("no model folder is set", "没有设置模型文件夹"),
            ("saved step {step}: {}", "第 {step} 步已保存：{1}"),
        ]);
        let get = |text: &str| said.get(text).unwrap_or_default();
        assert_eq!(get("no model folder is set"), "没有设置模型文件夹");
        assert_eq!(get("saved step 200: a: b"), "第 200 步已保存：a: b");
        assert_eq!(
            get("lora_rank must be a whole number, 1 to 9 (given: x)"),
            "lora_rank 须为整数，1 到 9（给定：x）",
            "the more telling one, and its part in turn"
        );
        assert_eq!(get("bf16 must be true or false (given: 3)"), "bf16 须是true or false（给定：3）");
        assert_eq!(said.get("something else"), None);
        assert_eq!(said.get(""), None);
    }

    /// What is filled into the Chinese is in the English too.
    #[test]
    fn marks_of_the_embedded_messages_are_filled() {
        let text = include_str!("../../assets/text/zh.toml");
        let sections: HashMap<String, HashMap<String, String>> = toml::from_str(text).unwrap();
        for (english, chinese) in &sections["said"] {
            let known = Marked::parse(english).marks;
            for mark in Marked::parse(chinese).marks {
                assert!(known.iter().any(|m| m.name == mark.name), "{english}: {}", mark.name);
            }
        }
    }

    #[test]
    fn marks_are_those_of_rust() {
        let marked = Marked::parse("{} of {x:.2}, {name:?}");
        let names: Vec<_> = marked.marks.iter().map(|m| m.name.as_str()).collect();
        assert_eq!((names, marked.literals.join("|")), (vec!["0", "x", "name"], "| of |, |".to_string()));
        assert!(Marked::parse("a { b").marks.is_empty());
        // Braces that are written out are a mark that is always filled in alike.
        let said = said(&[("it needs {num: N}", "需要 {num: N}")]);
        assert_eq!(said.get("it needs {num: N}").unwrap(), "需要 {num: N}");
    }
}

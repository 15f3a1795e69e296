//! The one-line language that finds rows: `liver id:12 finding:dup tokens:>800 excluded:yes -"left lung"`.

use super::overlay::Applied;
use super::sample::{Role, Sample};
use crate::error::{Error, Result};

/// All terms must hold; the empty query holds for every row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    wants: Wants,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wants {
    /// Anywhere in id or turns, lower case.
    Text(String),
    Id(String),
    Caption(String),
    Question(String),
    /// Part of a finding's code; empty for any finding.
    Finding(String),
    Row(Span),
    Tokens(Span),
    Pictures(Span),
    /// Characters of the caption.
    Length(Span),
    Excluded(bool),
    Edited(bool),
    /// Whether the row can be used at all.
    Usable(bool),
}

/// Numbers from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    low: usize,
    high: usize,
}

/// What a query may ask about a row.
pub struct Facts<'a> {
    pub row: usize,
    /// `None`: the row cannot be used.
    pub sample: Option<&'a Sample>,
    pub applied: Applied,
    /// Codes of the findings about the row.
    pub codes: &'a [&'a str],
    /// Tokens before any cut; asked last, as it costs most.
    pub tokens: &'a dyn Fn(&Sample) -> Result<usize>,
}

/// The fields with what they take, for help.
pub const FIELDS: &[(&str, &str)] = &[
    ("word \"two words\"", "in the id or any turn"),
    ("id:12", "in the id"),
    ("caption:x question:x", "in that turn"),
    ("row:100-200", "rows counted from 0"),
    ("finding:dup", "part of a finding's code, or any"),
    ("tokens:>800", "before any cut; needs a model folder"),
    ("length:<50", "characters of the caption"),
    ("pictures:>1", "pictures of the row"),
    ("excluded:yes edited:no", "your changes"),
    ("usable:no", "rows that cannot be trained on"),
    ("-word", "a minus in front: not"),
];

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// A field that takes numbers or yes/no has something else; a field of this name does not exist.
    pub fn parse(text: &str) -> Result<Self> {
        let terms = words(text).into_iter().map(|(word, quoted)| Term::parse(&word, quoted));
        Ok(Self { terms: terms.collect::<Result<_>>()? })
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether tokens have to be counted.
    pub fn counts_tokens(&self) -> bool {
        self.terms.iter().any(|t| matches!(t.wants, Wants::Tokens(_)))
    }

    /// Whether a row may be one of those wanted, by what is known without building its sample: its number, the codes of
    /// its findings, whether the overlay changes it, and `texts`, all strings of the row in its file.
    pub fn may_match(
        &self,
        row: usize,
        codes: &[&str],
        changed: bool,
        texts: impl FnOnce() -> Option<String>,
    ) -> bool {
        let known = |term: &Term| match &term.wants {
            Wants::Row(span) => Some(span.has(row)),
            Wants::Finding(part) => Some(codes.iter().any(|code| code.contains(part.as_str()))),
            Wants::Excluded(wanted) | Wants::Edited(wanted) if !changed => Some(!wanted),
            _ => None,
        };
        if self.terms.iter().any(|term| known(term).is_some_and(|holds| holds == term.negated)) {
            return false;
        }
        let parts: Vec<&str> = self.terms.iter().filter_map(Term::in_file).collect();
        if changed || parts.is_empty() {
            return true;
        }
        texts().is_none_or(|texts| parts.iter().all(|part| contains(&texts, part)))
    }

    /// Whether a row is one of those wanted. Cheap terms are looked at first.
    ///
    /// # Errors
    /// Those of [`Facts::tokens`].
    pub fn matches(&self, facts: &Facts) -> Result<bool> {
        let tokens = |t: &&Term| matches!(t.wants, Wants::Tokens(_));
        for term in self.terms.iter().filter(|t| !tokens(t)).chain(self.terms.iter().filter(tokens)) {
            if term.wants.holds(facts)? == term.negated {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Term {
    fn parse(word: &str, quoted: bool) -> Result<Self> {
        let (negated, word) = match word.strip_prefix('-') {
            Some(rest) if !rest.is_empty() && !quoted => (true, rest),
            _ => (false, word),
        };
        let wants = match word.split_once(':') {
            // A colon inside a word of the text, such as 3:1 or a URL, is no field.
            Some((field, value))
                if !quoted && field.chars().all(|c| c.is_ascii_lowercase()) && !field.is_empty() =>
            {
                Wants::field(field, value)?
            }
            _ => Wants::Text(word.to_lowercase()),
        };
        Ok(Self { negated, wants })
    }
}

impl Term {
    /// A text that a row must have in its file to match. An id may be a number there, or be made of the row's.
    fn in_file(&self) -> Option<&str> {
        let made = |part: &str| part.chars().all(|c| "row 0123456789+-.e".contains(c));
        match &self.wants {
            _ if self.negated => None,
            Wants::Text(part) | Wants::Id(part) if made(part) => None,
            Wants::Text(part) | Wants::Id(part) | Wants::Caption(part) | Wants::Question(part) => Some(part),
            _ => None,
        }
    }
}

impl Wants {
    fn field(field: &str, value: &str) -> Result<Self> {
        let text = || value.to_lowercase();
        Ok(match field {
            "text" => Wants::Text(text()),
            "id" => Wants::Id(text()),
            "caption" | "answer" => Wants::Caption(text()),
            "question" | "prompt" => Wants::Question(text()),
            "finding" => Wants::Finding(if ["any", "yes"].contains(&value) { String::new() } else { text() }),
            "row" => Wants::Row(Span::parse(field, value)?),
            "tokens" => Wants::Tokens(Span::parse(field, value)?),
            "pictures" => Wants::Pictures(Span::parse(field, value)?),
            "length" => Wants::Length(Span::parse(field, value)?),
            "excluded" => Wants::Excluded(yes(field, value)?),
            "edited" => Wants::Edited(yes(field, value)?),
            "usable" => Wants::Usable(yes(field, value)?),
            _ => {
                let names = ["id", "caption", "question", "row", "finding", "tokens", "length", "pictures"];
                return Err(Error::usage(format!("there is no field `{field}:` to search in")).hint(
                    format!(
                        "fields are {}, excluded, edited, usable; put a text with a colon in quotes",
                        names.join(", ")
                    ),
                ));
            }
        })
    }

    fn holds(&self, facts: &Facts) -> Result<bool> {
        let sample = facts.sample;
        let said = |role: Role, part: &str| {
            sample.is_some_and(|s| s.messages.iter().any(|m| m.role == role && contains(&m.content, part)))
        };
        Ok(match self {
            Wants::Text(part) => sample.is_some_and(|s| {
                contains(&s.id, part) || s.messages.iter().any(|m| contains(&m.content, part))
            }),
            Wants::Id(part) => sample.is_some_and(|s| contains(&s.id, part)),
            Wants::Caption(part) => said(Role::Assistant, part),
            Wants::Question(part) => said(Role::User, part),
            Wants::Finding(part) => facts.codes.iter().any(|code| code.contains(part.as_str())),
            Wants::Row(span) => span.has(facts.row),
            Wants::Pictures(span) => sample.is_some_and(|s| span.has(s.images.len())),
            Wants::Length(span) => sample.is_some_and(|s| {
                let answers = s.messages.iter().filter(|m| m.role == Role::Assistant);
                span.has(answers.map(|m| m.content.chars().count()).sum())
            }),
            Wants::Excluded(wanted) => facts.applied.excluded == *wanted,
            Wants::Edited(wanted) => facts.applied.edited == *wanted,
            Wants::Usable(wanted) => sample.is_some() == *wanted,
            Wants::Tokens(span) => match sample {
                Some(sample) => span.has((facts.tokens)(sample)?),
                None => false,
            },
        })
    }
}

impl Span {
    /// Reads `12`, `>12`, `>=12`, `<12`, `<=12`, `12-20`.
    fn parse(field: &str, text: &str) -> Result<Self> {
        let number = |t: &str| {
            t.parse::<usize>().map_err(|_| {
                Error::usage(format!("`{field}:{text}` is no number or range"))
                    .hint(format!("write {field}:800, {field}:>800, {field}:<=800 or {field}:100-200"))
            })
        };
        let (low, high) = if let Some(t) = text.strip_prefix(">=") {
            (number(t)?, usize::MAX)
        } else if let Some(t) = text.strip_prefix('>') {
            (number(t)?.saturating_add(1), usize::MAX)
        } else if let Some(t) = text.strip_prefix("<=") {
            (0, number(t)?)
        } else if let Some(t) = text.strip_prefix('<') {
            match number(t)? {
                0 => (1, 0), // nothing is less
                n => (0, n - 1),
            }
        } else if let Some((low, high)) = text.split_once('-') {
            (number(low)?, number(high)?)
        } else {
            (number(text)?, number(text)?)
        };
        Ok(Self { low, high })
    }

    fn has(self, n: usize) -> bool {
        (self.low..=self.high).contains(&n)
    }
}

fn yes(field: &str, value: &str) -> Result<bool> {
    match value {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        _ => Err(Error::usage(format!("`{field}:{value}` is neither yes nor no"))
            .hint(format!("write {field}:yes or {field}:no"))),
    }
}

/// Whether `text` holds `part`, which is lower case, whatever the case of `text`.
fn contains(text: &str, part: &str) -> bool {
    if !text.is_ascii() || !part.is_ascii() {
        return text.to_lowercase().contains(part);
    }
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// Words with spaces between; quotes hold words together (`"two words"`, `caption:"two words"`). The flag says
/// whether a word opens with a quote.
fn words(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let (mut word, mut open, mut quoted) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => {
                quoted |= word.is_empty() && !open;
                open = !open;
            }
            c if c.is_whitespace() && !open => {
                if !word.is_empty() {
                    found.push((std::mem::take(&mut word), quoted));
                }
                quoted = false;
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        found.push((word, quoted));
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

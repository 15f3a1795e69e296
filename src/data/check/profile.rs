//! The numbers of a data set: rows, turns, pictures, words, writings, tokens.

use super::numbers::Numbers;
use super::row::{Facts, Seen};
use super::script::Script;
use crate::data::picture_look::Look;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

/// Picture sizes that are listed.
const LISTED: usize = 8;

/// A writing that this share of the answers has makes one below [`FEW`] a minority.
const MOST: f64 = 0.8;
const FEW: f64 = 0.05;

#[derive(Default)]
pub(super) struct Profile {
    readable: usize,
    /// Rows that can be trained on.
    pub usable: usize,
    turns: Numbers,
    pictures_per_row: Numbers,
    pictures: usize,
    formats: BTreeMap<&'static str, usize>,
    sizes: HashMap<(u32, u32), usize>,
    pixels: Numbers,
    bytes: u64,
    words: Numbers,
    chars: Numbers,
    scripts: BTreeMap<Script, Vec<u32>>,
    pub tokens: Tokens,
}

/// Tokens of the rows that were encoded.
#[derive(Default)]
pub(super) struct Tokens {
    pub all: Numbers,
    pub kept: Numbers,
    pub pictures: Numbers,
    /// Tokens of a row beside its pictures, at most.
    pub longest_text: usize,
    /// Pictures of a row, at most.
    pub most_pictures: usize,
    pub learned: u64,
    /// Rows above the cutoff.
    pub over: usize,
}

impl Profile {
    pub fn take(&mut self, seen: &Seen) {
        let Some(facts) = &seen.facts else { return };
        self.readable += 1;
        self.usable += usize::from(seen.is_usable());
        self.turns.push(facts.turns);
        self.pictures_per_row.push(facts.pictures.len());
        facts.pictures.iter().for_each(|p| self.picture(p));
        self.words.push(facts.writing.words);
        self.chars.push(facts.chars);
        let row = u32::try_from(seen.row).unwrap_or(u32::MAX);
        self.scripts.entry(facts.writing.script).or_default().push(row);
        self.tokens.take(facts);
    }

    fn picture(&mut self, look: &Look) {
        self.pictures += 1;
        *self.formats.entry(look.format.extensions_str().first().copied().unwrap_or("?")).or_default() += 1;
        *self.sizes.entry((look.width, look.height)).or_default() += 1;
        self.pixels.push(look.width as usize * look.height as usize);
        self.bytes += look.bytes;
    }

    /// Rows whose text can be used.
    pub fn readable(&self) -> usize {
        self.readable
    }

    /// Rows whose answer is in another writing than nearly all others, with that writing.
    pub fn minorities(&self) -> Vec<(&'static str, &[u32])> {
        let answers: usize = self.scripts.values().map(Vec::len).sum();
        let share = |rows: &Vec<u32>| rows.len() as f64 / answers.max(1) as f64;
        if !self.scripts.values().any(|rows| share(rows) >= MOST) {
            return Vec::new();
        }
        let few = self.scripts.iter().filter(|(script, rows)| **script != Script::None && share(rows) < FEW);
        few.map(|(script, rows)| (script.name(), &rows[..])).collect()
    }

    /// `{"usable", "turns", "pictures", "answers", "tokens"}`; `tokens` is null if they were not counted.
    pub fn json(&self) -> Value {
        json!({
            "readable": self.readable,
            "usable": self.usable,
            "turns": self.turns.json(),
            "pictures": {
                "count": self.pictures,
                "per_row": self.pictures_per_row.json(),
                "bytes": self.bytes,
                "formats": self.formats,
                "pixels": self.pixels.json(),
                "sizes": self.sizes(),
            },
            "answers": {
                "words": self.words.json(),
                "characters": self.chars.json(),
                "writing": self.writings(),
            },
            "tokens": self.tokens.json(),
        })
    }

    /// The most frequent sizes.
    fn sizes(&self) -> Value {
        let mut sizes: Vec<_> = self.sizes.iter().collect();
        sizes.sort_by_key(|((w, h), count)| (std::cmp::Reverse(**count), *w, *h));
        let one =
            |((w, h), count): &(&(u32, u32), &usize)| json!({ "width": w, "height": h, "count": count });
        sizes.iter().take(LISTED).map(one).collect()
    }

    fn writings(&self) -> Value {
        let mut scripts: Vec<_> = self.scripts.iter().map(|(s, rows)| (s.name(), rows.len())).collect();
        scripts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        scripts
            .into_iter()
            .map(|(name, count)| (name.to_string(), json!(count)))
            .collect::<Map<_, _>>()
            .into()
    }
}

impl Tokens {
    /// How many rows were encoded.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    fn take(&mut self, facts: &Facts) {
        let Some(tokens) = facts.tokens else { return };
        self.all.push(tokens.all);
        self.kept.push(tokens.kept);
        self.pictures.push(tokens.pictures);
        self.longest_text = self.longest_text.max(tokens.all - tokens.pictures);
        self.most_pictures = self.most_pictures.max(facts.pictures.len());
        self.learned += tokens.learned as u64;
        self.over += usize::from(tokens.kept < tokens.all);
    }

    fn json(&self) -> Value {
        if self.all.is_empty() {
            return Value::Null;
        }
        json!({ "per_row": self.all.json(), "of_pictures": self.pictures.json(), "learned": self.learned })
    }
}

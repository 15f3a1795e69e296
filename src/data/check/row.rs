//! One row looked at: what is wrong with it, and the facts that the whole set's numbers are made of.

use super::characters::{self, Odd};
use super::rule::Rule;
use super::script::Writing;
use super::words::Answer;
use crate::data::encode::Encoder;
use crate::data::overlay::Applied;
use crate::data::picture_cache::PictureCache;
use crate::data::picture_look::{Depth, Flaw, Look};
use crate::data::reader::Reader;
use crate::data::sample::{Role, Sample};
use crate::data::special;
use crate::error::Result;
use serde_json::Value;

/// Control tokens that stand for a picture: in a text they make the model look for one that is not there.
const VISION_TOKENS: [&str; 4] = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"];

/// Sides in pixels, and times of the other side, at which a picture is stretched (LLaMA-Factory, `mm_plugin.py`).
const MIN_SIDE: u32 = 28;
const MAX_ASPECT: u32 = 200;

/// Half a BLAKE3 hash.
pub(super) type Print = [u8; 16];

/// A row after a look.
pub(super) struct Seen {
    pub row: usize,
    pub id: Option<String>,
    pub notes: Vec<Note>,
    /// Of a row that can be used, as far as its text and its marks go.
    pub facts: Option<Facts>,
}

/// A rule that the row breaks, and in what way.
pub(super) struct Note {
    pub rule: Rule,
    pub detail: Option<String>,
}

pub(super) struct Facts {
    pub turns: usize,
    /// The sound ones.
    pub pictures: Vec<Look>,
    /// Whether all pictures are sound.
    pub is_sound: bool,
    pub tokens: Option<Tokens>,
    /// Characters of all answers.
    pub chars: usize,
    pub writing: Writing,
    pub prints: Prints,
    /// The words of the answers, where they are asked for.
    pub words: Option<Answer>,
}

/// Tokens of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    /// Before any cut, and after it.
    pub all: usize,
    pub kept: usize,
    pub pictures: usize,
    pub learned: usize,
}

/// By which equal rows are found.
pub(super) struct Prints {
    /// Of all texts and pictures.
    pub row: Print,
    /// Of the answers; `None` if they are empty.
    pub answer: Option<Print>,
    /// Of the row's own id.
    pub id: Option<Print>,
}

/// What rows are looked at with.
pub(super) struct Looker<'a> {
    pub reader: &'a Reader,
    pub cache: &'a PictureCache,
    pub depth: Depth,
    pub encoders: Option<&'a Encoders>,
    /// Cut the answers into words.
    pub with_words: bool,
}

/// The encoder with the configured `cutoff_len`, and one that never cuts.
pub(super) struct Encoders {
    pub cutting: Encoder,
    pub whole: Encoder,
    pub cutoff: usize,
}

impl Looker<'_> {
    pub fn look(&self, row: usize) -> Seen {
        let mut seen = Seen { row, id: None, notes: Vec::new(), facts: None };
        let (from, sample) = match self.reader.row(row) {
            Ok(read) => read,
            Err(error) => {
                seen.note(Rule::Unreadable, Some(error.message));
                return seen;
            }
        };
        let own_id = own_id(&from.value);
        match sample {
            Err((fault, detail)) => {
                seen.id = own_id;
                seen.note(Rule::Fault(fault), Some(detail).filter(|d| !d.is_empty()));
            }
            Ok(mut sample) => {
                seen.id = Some(sample.id.clone());
                if !seen.changes(self.reader.overlay.apply(&mut sample)) {
                    seen.texts(&sample);
                    seen.facts = Some(self.facts(&sample, own_id.as_deref(), &mut seen));
                }
            }
        }
        seen
    }

    fn facts(&self, sample: &Sample, own_id: Option<&str>, seen: &mut Seen) -> Facts {
        let looked: Vec<_> = sample.images.iter().map(|i| self.cache.look(i, self.depth)).collect();
        if let Some((flaw, error)) = looked.iter().find_map(|l| l.as_ref().err()) {
            seen.note(rule_of(*flaw), Some(error.message.clone()));
        }
        let pictures: Vec<Look> = looked.into_iter().flatten().collect();
        if let Some(odd) = pictures.iter().find(|p| is_odd(p)) {
            seen.note(Rule::OddShape, Some(format!("{} x {}", odd.width, odd.height)));
        }
        let is_sound = pictures.len() == sample.images.len();
        let answer = answers(sample).collect::<Vec<_>>().join("\n");
        Facts {
            turns: sample.messages.len(),
            tokens: self.encoders.filter(|_| is_sound).and_then(|e| e.count(sample, &pictures, seen)),
            chars: answer.chars().count(),
            writing: Writing::of(&answer),
            prints: Prints {
                row: row_print(sample, &pictures),
                answer: (!answer.trim().is_empty()).then(|| print(answer.trim())),
                id: own_id.map(print),
            },
            pictures,
            is_sound,
            words: self.with_words.then(|| Answer::of(&answer)),
        }
    }
}

impl Encoders {
    fn count(&self, sample: &Sample, pictures: &[Look], seen: &mut Seen) -> Option<Tokens> {
        let grids: Result<Vec<_>> = pictures.iter().map(|p| self.whole.grid(p.width, p.height)).collect();
        let encoded = grids.and_then(|grids| {
            let whole = self.whole.encode(sample, &grids)?;
            let is_cut = whole.input_ids.len() > self.cutoff;
            Ok((if is_cut { Some(self.cutting.encode(sample, &grids)?) } else { None }, whole))
        });
        let (cut, whole) = match encoded {
            Ok(both) => both,
            Err(error) => {
                seen.note(Rule::NotEncodable, Some(error.message));
                return None;
            }
        };
        let all = whole.input_ids.len();
        let kept = cut.as_ref().unwrap_or(&whole);
        if kept.picture_cut() {
            let (left, needed) = (kept.picture_tokens, kept.picture_tokens_needed);
            seen.note(Rule::PictureCut, Some(format!("{left} of {needed} picture tokens are left")));
        } else if kept.label_tokens() == 0 {
            seen.note(Rule::NothingToLearn, None);
        } else if cut.is_some() {
            seen.note(Rule::OverCutoff, Some(format!("{all} > {}", self.cutoff)));
        }
        Some(Tokens {
            all,
            kept: kept.input_ids.len(),
            pictures: whole.picture_tokens,
            learned: kept.label_tokens(),
        })
    }
}

impl Seen {
    fn note(&mut self, rule: Rule, detail: Option<String>) {
        self.notes.push(Note { rule, detail });
    }

    /// Notes what the user changed. `true`: the row is left out.
    fn changes(&mut self, applied: Applied) -> bool {
        if applied.stale {
            self.note(Rule::StaleChange, None);
        }
        if applied.excluded {
            self.note(Rule::Excluded, None);
        } else if applied.edited {
            self.note(Rule::Edited, None);
        }
        applied.excluded
    }

    /// Whether nothing keeps the row out of a training.
    pub fn is_usable(&self) -> bool {
        self.facts.is_some() && self.notes.iter().all(|n| n.rule.level() < crate::job::Level::Error)
    }

    fn texts(&mut self, sample: &Sample) {
        let texts = || sample.messages.iter().map(|m| m.content.as_str()).chain(sample.system.as_deref());
        if let Some(token) = VISION_TOKENS.iter().find(|t| texts().any(|text| text.contains(**t))) {
            self.note(Rule::VisionToken, Some((*token).to_string()));
        } else if let Some(token) = texts().find_map(special::control_token) {
            self.note(Rule::SpecialToken, Some(token.to_string()));
        }
        if answers(sample).chain(sample.system.as_deref()).any(|text| text.contains(special::IMAGE)) {
            self.note(Rule::MarkInAnswer, None);
        }
        if answers(sample).any(str::is_empty) {
            self.note(Rule::EmptyAnswer, None);
        } else if answers(sample).any(|a| a.trim().is_empty()) {
            self.note(Rule::BlankAnswer, None);
        } else if answers(sample).any(|a| a.len() != a.trim().len()) {
            self.note(Rule::OuterBlanks, None);
        }
        let is_bare = |text: &str| text.replace(special::IMAGE, "").trim().is_empty();
        if sample.messages.iter().any(|m| m.role == Role::User && is_bare(&m.content)) {
            self.note(Rule::EmptyQuestion, None);
        }
        self.characters(texts());
    }

    fn characters<'a>(&mut self, texts: impl Iterator<Item = &'a str> + Clone) {
        let odd: Vec<Odd> = texts.clone().map(Odd::in_text).collect();
        let code = |c: char| Some(format!("U+{:04X}", c as u32));
        if let Some(c) = odd.iter().find_map(|o| o.control) {
            self.note(Rule::ControlCharacter, code(c));
        }
        if let Some(c) = odd.iter().find_map(|o| o.bidi) {
            self.note(Rule::BidiCharacter, code(c));
        }
        if odd.iter().any(|o| o.replacement) {
            self.note(Rule::ReplacementCharacter, None);
        }
        if let Some(found) = texts.clone().find_map(characters::mojibake) {
            self.note(Rule::Mojibake, Some(found.to_string()));
        }
    }
}

/// What the model is to learn.
pub(super) fn answers(sample: &Sample) -> impl Iterator<Item = &str> {
    let learned = |role| matches!(role, Role::Assistant | Role::Function);
    sample.messages.iter().filter(move |m| learned(m.role)).map(|m| m.content.as_str())
}

fn rule_of(flaw: Flaw) -> Rule {
    match flaw {
        Flaw::Broken => Rule::BrokenPicture,
        Flaw::Truncated => Rule::TruncatedPicture,
        Flaw::Oversized => Rule::OversizedPicture,
    }
}

fn is_odd(picture: &Look) -> bool {
    let (long, short) = (picture.width.max(picture.height), picture.width.min(picture.height));
    short < MIN_SIDE || long > short.saturating_mul(MAX_ASPECT)
}

fn own_id(value: &Value) -> Option<String> {
    match value.get("id")? {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn print(text: &str) -> Print {
    half(&blake3::hash(text.as_bytes()))
}

/// Equal for rows with the same texts and the same pictures, byte for byte.
pub(super) fn row_print(sample: &Sample, pictures: &[Look]) -> Print {
    let mut hasher = blake3::Hasher::new();
    for text in sample.messages.iter().map(|m| &m.content).chain(&sample.system) {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    pictures.iter().for_each(|p| {
        hasher.update(&p.hash);
    });
    half(&hasher.finalize())
}

fn half(hash: &blake3::Hash) -> Print {
    *hash.as_bytes().first_chunk().expect("32 bytes hold 16")
}

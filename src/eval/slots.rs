//! How many facts of a drawn scan its caption gets right: exact match of each slot, beside the blind rate.

use crate::data::clean;
use crate::error::{At, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// The drawn facts in report order.
pub const SLOTS: [&str; 7] = ["modality", "side", "shape", "count", "size", "tone", "part"];
/// The lesions' facts, which a scan without lesions does not have.
const LESION_SLOTS: std::ops::Range<usize> = 4..7;

/// What was drawn, one line of a label file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotLabel {
    pub id: String,
    pub modality: String,
    pub side: String,
    pub shape: String,
    /// Lesions, 0..=3.
    pub count: u32,
    pub size: Option<String>,
    pub tone: Option<String>,
    pub part: Option<String>,
    /// The reference caption, a pure function of the slots and the language.
    pub caption: String,
}

/// Share of exactly right answers of one slot, 0..=1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotRow {
    pub slot: String,
    /// Labels that have this slot.
    pub n: usize,
    pub accuracy: f64,
    /// What the best constant answer reaches: a model that does not look at the picture.
    pub blind: f64,
}

/// One row per slot and, last, `all_slots`: the share of captions right in every slot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlotReport {
    pub rows: Vec<SlotRow>,
}

impl SlotReport {
    /// The row of all slots together.
    pub fn all(&self) -> Option<&SlotRow> {
        self.rows.last()
    }

    /// `{"modality": {"n", "blind", "accuracy"}, …, "all_slots": …}`, rates with 4 decimals.
    pub fn to_json(&self) -> Value {
        let round = |x: f64| (x * 1e4).round() / 1e4;
        let row = |r: &SlotRow| serde_json::json!({"n": r.n, "blind": round(r.blind), "accuracy": round(r.accuracy)});
        Value::Object(self.rows.iter().map(|r| (r.slot.clone(), row(r))).collect())
    }
}

/// Reads a label file, an object on each line.
///
/// # Errors
/// It cannot be read, or a line is no label.
pub fn read_labels(path: &Path) -> Result<Vec<SlotLabel>> {
    let bytes = std::fs::read(path).at("read", path)?;
    let label = |(i, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|e| {
            Error::input(format!("{}, line {}: {e}", path.display(), i + 1)).hint(
                "each line is an object with id, modality, side, shape, count, size, tone, part and caption",
            )
        })
    };
    let lines = clean::without_bom(&bytes).split(|b| *b == b'\n').enumerate();
    lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(label).collect()
}

/// Slot values in the order of [`SLOTS`]; `None` where the text does not say.
pub type Slots = [Option<String>; 7];

impl SlotLabel {
    /// The drawn facts in the order of [`SLOTS`].
    pub fn slots(&self) -> Slots {
        [
            Some(self.modality.clone()),
            Some(self.side.clone()),
            Some(self.shape.clone()),
            Some(self.count.to_string()),
            self.size.clone(),
            self.tone.clone(),
            self.part.clone(),
        ]
    }
}

/// Compares captions with what was drawn. `predictions` maps ids to texts; a missing one is wrong in every slot.
pub fn score(labels: &[SlotLabel], predictions: &HashMap<String, String>) -> SlotReport {
    let drawn: Vec<Slots> = labels.iter().map(SlotLabel::slots).collect();
    let said: Vec<Option<Slots>> = labels.iter().map(|l| predictions.get(&l.id).map(|t| parse(t))).collect();
    let row = |slot: &str, n: usize, right: usize, commonest: usize| SlotRow {
        slot: slot.into(),
        n,
        accuracy: right as f64 / n.max(1) as f64,
        blind: commonest as f64 / n.max(1) as f64,
    };
    let mut rows = Vec::with_capacity(SLOTS.len() + 1);
    for (s, name) in SLOTS.iter().enumerate() {
        let rated: Vec<usize> =
            (0..labels.len()).filter(|&i| !LESION_SLOTS.contains(&s) || labels[i].count > 0).collect();
        let right = rated.iter().filter(|&&i| said[i].as_ref().is_some_and(|t| t[s] == drawn[i][s])).count();
        rows.push(row(name, rated.len(), right, commonest(rated.iter().map(|&i| &drawn[i][s]))));
    }
    let right = said.iter().zip(&drawn).filter(|(said, drawn)| said.as_ref() == Some(drawn)).count();
    rows.push(row("all_slots", labels.len(), right, commonest(labels.iter().map(|l| &l.caption))));
    SlotReport { rows }
}

fn commonest<T: Eq + std::hash::Hash>(values: impl Iterator<Item = T>) -> usize {
    let mut counts: HashMap<T, usize> = HashMap::new();
    values.for_each(|v| *counts.entry(v).or_default() += 1);
    counts.into_values().max().unwrap_or(0)
}

/// Reads the slots out of a caption, Chinese if it has a Han character, else English in any case.
pub fn parse(caption: &str) -> Slots {
    let mut slots = if caption.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)) {
        parse_chinese(caption)
    } else {
        parse_english(caption)
    };
    // Without lesions there is nothing that has a size.
    if slots[3].as_deref() == Some("0") {
        slots[LESION_SLOTS].fill(None);
    }
    slots
}

fn parse_chinese(text: &str) -> Slots {
    let first = |pairs: &[(&str, &str)]| {
        pairs.iter().find(|(zh, _)| text.contains(zh)).map(|&(_, value)| value.to_string())
    };
    // 可见…个: the number of lesions seen.
    let counted = text.match_indices("可见").find_map(|(at, seen)| {
        let rest = &text[at + seen.len()..];
        let number = [("一个", "1"), ("两个", "2"), ("二个", "2"), ("三个", "3")];
        number.iter().find(|(zh, _)| rest.starts_with(zh)).map(|&(_, n)| n.to_string())
    });
    let count = if text.contains("未见病灶") { Some("0".into()) } else { counted };
    [
        first(&[("磁共振", "MR"), ("超声", "ultrasound"), ("CT", "CT")]),
        first(&[("左侧", "left"), ("右侧", "right")]),
        // The elongated ellipse (长椭圆形) contains the word for round (圆形).
        first(&[("长椭圆形", "elongated"), ("圆形", "round")]),
        count,
        first(&[("中等", "medium"), ("小", "small"), ("大", "large")]),
        first(&[("高信号", "bright"), ("低信号", "dark")]),
        first(&[("器官上部", "upper"), ("器官下部", "lower")]),
    ]
}

fn parse_english(text: &str) -> Slots {
    let text = text.to_lowercase();
    let find = |pattern: &str, choices: &[&str]| find_choice(&text, pattern, choices).map(|(_, word)| word);
    let modality = find(r"\b{}\b", &["ct", "mr", "ultrasound"]).map(|word| match word.as_str() {
        "ultrasound" => word,
        short => short.to_uppercase(),
    });
    const COUNTS: [&str; 4] = ["no", "one", "two", "three"];
    let count = [r"there is {}\b", r"there are {}\b"]
        .iter()
        .filter_map(|pattern| find_choice(&text, pattern, &COUNTS))
        .min()
        .and_then(|(_, word)| COUNTS.iter().position(|w| *w == word))
        .map(|n| n.to_string());
    let mut slots = [
        modality,
        find(r"\bon the {} side", &["left", "right"]),
        find(r"\b{} shape", &["round", "elongated"]),
        count,
        find(r"\b{}\b", &["small", "medium", "large"]),
        find(r"\b{} lesion", &["bright", "dark"]),
        find("in the {} part", &["upper", "lower"]),
    ];
    // Without a word on lesions, words such as "small" speak of something else.
    if slots[3].is_none() {
        slots[LESION_SLOTS].fill(None);
    }
    slots
}

/// Where `pattern` first fits with one of `choices` for its `{}`, and that choice. `\b` at an end of the
/// pattern wants a word border there.
fn find_choice(text: &str, pattern: &str, choices: &[&str]) -> Option<(usize, String)> {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (bare, border_before) = pattern.strip_prefix(r"\b").map_or((pattern, false), |p| (p, true));
    let (bare, border_after) = bare.strip_suffix(r"\b").map_or((bare, false), |p| (p, true));
    let fits = |choice: &&str| {
        let phrase = bare.replace("{}", choice);
        let (at, _) = text.match_indices(&phrase).find(|&(at, _)| {
            let before = border_before && is_word(text[..at].chars().next_back());
            let after = border_after && is_word(text[at + phrase.len()..].chars().next());
            !before && !after
        })?;
        Some((at, choice.to_string()))
    };
    choices.iter().filter_map(fits).min()
}

//! The captions of drawn scans, read fact by fact: exactly as the script that draws them counts.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The drawn facts in report order.
pub const SLOTS: [&str; 7] = ["modality", "side", "shape", "count", "size", "tone", "part"];
/// The lesions' facts, which a scan without lesions does not have.
const LESION_SLOTS: std::ops::Range<usize> = 4..7;

/// What was drawn, one line of a label file. A line with other fields is of other pictures.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// What the drawing says besides: it is in no caption.
    #[serde(default)]
    width: IgnoredAny,
    #[serde(default)]
    height: IgnoredAny,
    #[serde(default)]
    lesions: IgnoredAny,
    #[serde(default)]
    lang: IgnoredAny,
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

    /// Whether all values are such as are drawn, and lesions have theirs where there are any, and only there.
    pub fn is_drawn(&self) -> bool {
        const VALUES: [&[&str]; 7] = [
            &["CT", "MR", "ultrasound"],
            &["left", "right"],
            &["round", "elongated"],
            &["0", "1", "2", "3"],
            &["small", "medium", "large"],
            &["bright", "dark"],
            &["upper", "lower"],
        ];
        let slots = self.slots();
        let lesions = self.count > 0;
        slots.iter().zip(VALUES).enumerate().all(|(s, (value, known))| match value {
            Some(value) => known.contains(&value.as_str()) && (lesions || !LESION_SLOTS.contains(&s)),
            None => !lesions && LESION_SLOTS.contains(&s),
        })
    }
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

//! What the answers of a set are made of: frequent words, how they begin, which kinds of picture they name.

use super::script::{is_dense, of};
use jieba_rs::Jieba;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Words of an opening.
const OPENING: usize = 3;

/// Different entries of a counter; above, the rare ones are forgotten.
const MOST: usize = 200_000;

/// Entries that are listed.
const LISTED: usize = 20;

/// Words that every text has.
const STOP: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "for", "from", "has", "have",
    "in", "is", "it", "its", "may", "no", "not", "of", "on", "or", "that", "the", "there", "these", "this",
    "to", "was", "which", "with", "的", "是", "在", "和", "了", "为", "有", "与", "一", "个", "可", "见",
    "这", "张", "及", "或", "中", "于",
];

/// A kind of picture: its name, whole words, and pieces of text that name it (lower case).
type Modality = (&'static str, &'static [&'static str], &'static [&'static str]);

const MODALITIES: &[Modality] = &[
    ("CT", &["ct", "cect", "ncct", "hrct", "cta"], &["computed tomograph", "计算机断层", "电脑断层"]),
    (
        "MRI",
        &["mri", "mr", "fmri", "mra", "flair", "t1-weighted", "t2-weighted", "t1", "t2"],
        &["magnetic resonance", "磁共振", "核磁"],
    ),
    ("X-ray", &["x-ray", "x-rays", "xray", "cxr"], &["radiograph", "x线", "x光", "x 射线", "平片", "胸片"]),
    ("ultrasound", &["sonogram", "echo"], &["ultraso", "sonograph", "echocardio", "doppler", "超声", "b超"]),
    (
        "histology",
        &["h&e", "ihc"],
        &[
            "histolog",
            "histopatholog",
            "microscop",
            "biopsy",
            "stained",
            "hematoxylin",
            "病理",
            "组织学",
            "镜下",
            "染色",
        ],
    ),
    ("PET", &["pet", "pet-ct", "spect"], &["positron emission", "scintigra", "正电子"]),
    ("endoscopy", &[], &["endoscop", "colonoscop", "gastroscop", "bronchoscop", "内镜", "肠镜", "胃镜"]),
    ("fundus/OCT", &["oct"], &["fundus", "retinal", "optical coherence", "眼底", "视网膜"]),
    ("dermoscopy", &[], &["dermoscop", "dermatoscop", "skin lesion", "皮肤镜"]),
    ("mammography", &[], &["mammogra", "钼靶", "乳腺x"]),
    ("angiography", &["dsa"], &["angiogra", "血管造影"]),
];

/// Counts over the answers of a set.
#[derive(Default)]
pub(super) struct Words {
    answers: usize,
    words: Counter,
    openings: Counter,
    modalities: [usize; MODALITIES.len()],
    unnamed: usize,
}

/// The words of one answer, and the kinds of picture it names.
pub(super) struct Answer {
    words: Vec<String>,
    modalities: [bool; MODALITIES.len()],
}

impl Answer {
    pub fn of(text: &str) -> Self {
        let lower = text.to_lowercase();
        let words = cut(&lower);
        let names = |(_, whole, pieces): &Modality| {
            pieces.iter().any(|p| lower.contains(p))
                || whole.iter().any(|w| words.iter().any(|word| word == w || is_name_in(w, word)))
        };
        let mut modalities = [false; MODALITIES.len()];
        MODALITIES.iter().zip(&mut modalities).for_each(|(m, named)| *named = names(m));
        Self { words, modalities }
    }
}

/// Whether a word such as `ct-guided` or `pet-ct` holds the name.
fn is_name_in(name: &str, word: &str) -> bool {
    word.contains('-') && word.split('-').any(|part| part == name)
}

impl Words {
    pub fn take(&mut self, answer: Answer) {
        self.answers += 1;
        for (count, named) in self.modalities.iter_mut().zip(answer.modalities) {
            *count += usize::from(named);
        }
        self.unnamed += usize::from(!answer.modalities.contains(&true));
        if !answer.words.is_empty() {
            self.openings.add(join(&answer.words[..answer.words.len().min(OPENING)]));
        }
        let is_telling =
            |word: &String| !STOP.contains(&word.as_str()) && word.chars().any(char::is_alphabetic);
        answer.words.into_iter().filter(is_telling).for_each(|word| self.words.add(word));
    }

    /// `{"frequent", "openings", "modalities"}`: lists of `{"text", "count"}`; shares of the answers that name each.
    pub fn json(&self) -> Value {
        let share = |n: usize| (n as f64 * 1000.0 / self.answers.max(1) as f64).round() / 1000.0;
        let mut modalities: Vec<_> = MODALITIES
            .iter()
            .zip(self.modalities)
            .filter(|(_, n)| *n > 0)
            .map(|((name, ..), n)| (*name, n))
            .collect();
        modalities.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        modalities.push(("none named", self.unnamed));
        let modalities = modalities
            .into_iter()
            .map(|(name, n)| json!({ "text": name, "count": n, "share": share(n) }))
            .collect::<Vec<_>>();
        json!({ "frequent": self.words.top(), "openings": self.openings.top(), "modalities": modalities })
    }
}

/// How often each text came.
#[derive(Default)]
struct Counter(HashMap<String, u32>);

impl Counter {
    fn add(&mut self, text: String) {
        *self.0.entry(text).or_default() += 1;
        let mut rare = 1;
        while self.0.len() > MOST {
            self.0.retain(|_, n| *n > rare);
            rare *= 2;
        }
    }

    fn top(&self) -> Value {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(text, n)| (std::cmp::Reverse(**n), text.as_str()));
        all.iter().take(LISTED).map(|(text, n)| json!({ "text": text, "count": n })).collect()
    }
}

/// The words of a text in lower case: runs of letters and digits, and the words that jieba finds in Chinese.
fn cut(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(char::is_alphanumeric) {
        rest = &rest[start..];
        let dense = |c: char| is_dense(of(c));
        let is_chinese = rest.chars().next().is_some_and(dense);
        let inside = |c: char| match is_chinese {
            true => dense(c),
            false => (c.is_alphanumeric() && !dense(c)) || matches!(c, '-' | '\'' | '’' | '&'),
        };
        let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        match is_chinese {
            true => words.extend(jieba().cut(run, false).into_iter().map(|t| t.word.to_string())),
            false => words.push(run.trim_end_matches(['-', '\'', '’', '&']).to_string()),
        }
        rest = after;
    }
    words
}

/// Words with blanks between those that are written with blanks.
fn join(words: &[String]) -> String {
    let mut text = String::new();
    for word in words {
        let dense = |c: Option<char>| c.is_some_and(|c| is_dense(of(c)));
        let joined = dense(text.chars().last()) && dense(word.chars().next());
        if !text.is_empty() && !joined {
            text.push(' ');
        }
        text += word;
    }
    text
}

fn jieba() -> &'static Jieba {
    static JIEBA: OnceLock<Jieba> = OnceLock::new();
    JIEBA.get_or_init(Jieba::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<&'static str> {
        let answer = Answer::of(text);
        MODALITIES.iter().zip(answer.modalities).filter(|(_, n)| *n).map(|(m, _)| m.0).collect()
    }

    #[test]
    fn words_are_cut_in_mixed_text() {
        assert_eq!(cut("a t2-weighted mr - the patient's."), ["a", "t2-weighted", "mr", "the", "patient's"]);
        let words = cut("这是一张ct图像");
        assert!(words.contains(&"ct".to_string()) && words.contains(&"图像".to_string()), "{words:?}");
        assert_eq!(join(&cut("这是ct图像")), "这是 ct 图像");
    }

    #[test]
    fn kinds_of_picture_are_found_as_words_not_as_letters() {
        assert_eq!(named("An axial CT scan of the chest."), ["CT"]);
        assert_eq!(named("The fracture's structure is intact."), Vec::<&str>::new());
        assert_eq!(named("PET-CT fusion"), ["CT", "PET"]);
        assert_eq!(named("这是一张胸部X线平片"), ["X-ray"]);
        assert_eq!(named("A T2-weighted image"), ["MRI"]);
        assert_eq!(named("H&E stained section"), ["histology"]);
    }

    #[test]
    fn openings_and_words_are_counted() {
        let mut words = Words::default();
        for text in ["The image shows a CT.", "The image shows lungs", "Lungs are clear"] {
            words.take(Answer::of(text));
        }
        let json = words.json();
        assert_eq!(json["openings"][0], json!({ "text": "the image shows", "count": 2 }));
        assert_eq!(json["frequent"][0]["count"], 2);
        assert_eq!(json["modalities"][1], json!({ "text": "none named", "count": 2, "share": 0.667 }));
    }
}

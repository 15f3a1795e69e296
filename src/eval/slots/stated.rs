//! Which values of a vocabulary a text states: as whole words, in any case, the longest first; numbers also as words.

use std::collections::BTreeSet;
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// English numbers from zero on.
const ENGLISH: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
];
/// Chinese numbers from zero on, as they stand before a measure word.
const CHINESE: [&[&str]; 11] = [
    &["零"],
    &["一"],
    &["两", "二", "兩"],
    &["三"],
    &["四"],
    &["五"],
    &["六"],
    &["七"],
    &["八"],
    &["九"],
    &["十"],
];
/// Measure words of what is counted in a picture. Without one a Chinese number is too often a part of another word.
const MEASURES: [&str; 5] = ["个", "個", "处", "枚", "颗"];
/// What makes another number, or an ordinal, of a Chinese number behind it.
const BEFORE_CHINESE: &str = "零一二两兩三四五六七八九十百千第每几0123456789";

/// How a form of a value is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Words,
    /// Not within another number: 2 is not stated by 12, 2.5 and 2-3.
    Digits,
    /// Not within a compound: two is not stated by twenty-two.
    English,
    Chinese,
}

/// A way to state a value.
#[derive(Debug)]
struct Form {
    text: String,
    kind: Kind,
    /// Its place among the values.
    value: usize,
}

/// What a text says of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Nothing,
    One(String),
    Several,
}

/// The values a slot can have.
#[derive(Debug)]
pub struct Vocabulary {
    values: Vec<String>,
    /// The longest first.
    forms: Vec<Form>,
}

impl Vocabulary {
    /// Of values as [`normal`] gives them.
    pub fn of<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let values: Vec<String> = values.collect::<BTreeSet<_>>().into_iter().map(String::from).collect();
        let mut forms: Vec<Form> =
            values.iter().enumerate().flat_map(|(at, value)| forms_of(value, at)).collect();
        forms.sort_by_key(|form| (usize::MAX - form.text.chars().count(), form.kind, form.value));
        Self { values, forms }
    }

    /// What `text`, as [`normal`] gives it, states. What lies within a longer value that is stated is not stated:
    /// "no lesion" is not "lesion".
    pub fn said(&self, text: &str) -> Said {
        let mut taken: Vec<Range<usize>> = Vec::new();
        let mut stated = BTreeSet::new();
        for form in &self.forms {
            for range in occurrences(text, &form.text) {
                let free = taken.iter().all(|t| range.end <= t.start || t.end <= range.start);
                if free && stands(text, &range, form.kind) {
                    taken.push(range);
                    stated.insert(form.value);
                }
            }
        }
        match (stated.first(), stated.len()) {
            (None, _) => Said::Nothing,
            (Some(&one), 1) => Said::One(self.values[one].clone()),
            _ => Said::Several,
        }
    }
}

/// How a value can be stated: as it is, and a small number as a word.
fn forms_of(value: &str, at: usize) -> Vec<Form> {
    let form = |text: String, kind| Form { text, kind, value: at };
    let Some(number) = value.parse::<i64>().ok().filter(|n| n.to_string() == value) else {
        return vec![form(value.into(), Kind::Words)];
    };
    let place = usize::try_from(number).unwrap_or(usize::MAX);
    let mut forms = vec![form(value.into(), Kind::Digits)];
    forms.extend(ENGLISH.get(place).map(|word| form((*word).into(), Kind::English)));
    for numeral in CHINESE.get(place).copied().unwrap_or_default() {
        forms.extend(MEASURES.map(|measure| form(format!("{numeral}{measure}"), Kind::Chinese)));
    }
    forms
}

/// Where `what` stands in `text`, also where two of them overlap.
fn occurrences<'a>(text: &'a str, what: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let step = what.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + text.get(from..)?.find(what)?;
        from = at + step;
        Some(at..at + what.len())
    })
}

/// Whether what is at `range` stands for itself there and is no part of something longer.
fn stands(text: &str, range: &Range<usize>, kind: Kind) -> bool {
    let mut left = text[..range.start].chars().rev();
    let mut right = text[range.end..].chars();
    let (before, after) = ([left.next(), left.next()], [right.next(), right.next()]);
    if kind == Kind::Chinese {
        return before[0].is_none_or(|c| !BEFORE_CHINESE.contains(c));
    }
    let inside = &text[range.clone()];
    let grown = |own: Option<char>, next: Option<char>| own.is_some_and(joins) && next.is_some_and(joins);
    if grown(inside.chars().next(), before[0]) || grown(inside.chars().next_back(), after[0]) {
        return false;
    }
    let goes_on = |[next, far]: [Option<char>; 2]| match kind {
        Kind::Digits => {
            next.is_some_and(|c| ".,/-–~:×".contains(c)) && far.is_some_and(|c| c.is_ascii_digit())
        }
        Kind::English => next == Some('-') && far.is_some_and(joins),
        Kind::Words | Kind::Chinese => false,
    };
    !goes_on(before) && !goes_on(after)
}

/// Whether a character grows together with such a one beside it to one word.
fn joins(c: char) -> bool {
    !unspaced(c) && (c.is_alphanumeric() || c == '_' || is_combining_mark(c))
}

/// Whether a character is of a script that has no blanks between words, or none that could be relied on: Chinese and
/// Japanese, Korean with its endings, Thai, Lao, Tibetan, Burmese and Khmer.
fn unspaced(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0fff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// A text as it is compared: small letters, one form of each character (full-width digits are digits), one blank
/// between words and none between Chinese characters.
pub fn normal(text: &str) -> String {
    let invisible = |c: &char| matches!(c, '\u{ad}' | '\u{200b}' | '\u{feff}');
    let folded: String = text.nfkc().filter(|c| !invisible(c)).collect::<String>().to_lowercase();
    let mut out = String::with_capacity(folded.len());
    for word in folded.split_whitespace() {
        let between = (out.chars().next_back(), word.chars().next());
        if matches!(between, (Some(a), Some(b)) if !(unspaced(a) && unspaced(b))) {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` says where these are the values: several as "+", nothing as "".
    fn said(values: &[&str], text: &str) -> String {
        let values: Vec<String> = values.iter().map(|value| normal(value)).collect();
        match Vocabulary::of(values.iter().map(String::as_str)).said(&normal(text)) {
            Said::Nothing => String::new(),
            Said::One(value) => value,
            Said::Several => "+".into(),
        }
    }

    #[test]
    fn values_are_whole_words_in_any_case() {
        let modality = ["CT", "MR", "ultrasound"];
        for (text, value) in [
            ("An axial ct scan.", "ct"),
            ("CT-guided", "ct"),
            ("(MR)", "mr"),
            ("A factory, an octopus, ct2 and CT_x", ""),
            ("CT, then MR", "+"),
            ("ULTRASOUND", "ultrasound"),
            ("two ultrasounds", ""),
            ("", ""),
        ] {
            assert_eq!(said(&modality, text), value, "{text}");
        }
        assert_eq!(said(&["Ödem"], "kleines ÖDEM links"), "ödem");
        assert_eq!(said(&["dem"], "kleines ÖDEM links"), "", "letters of any script belong to the word");
        assert_eq!(said(&["cafe"], "cafe\u{301}"), "", "and so do accents");
        assert_eq!(said(&["upper  lobe"], "in the upper\nlobe"), "upper lobe");
    }

    #[test]
    fn the_longest_value_wins_where_it_stands() {
        let finding = ["lesion", "no lesion", "no lesion seen"];
        assert_eq!(said(&finding, "There is no lesion."), "no lesion");
        assert_eq!(said(&finding, "There is no lesion seen."), "no lesion seen");
        assert_eq!(said(&finding, "There is a lesion."), "lesion");
        assert_eq!(said(&finding, "No lesion on the left, a lesion on the right."), "+");
        assert_eq!(said(&finding, "no lesions"), "", "a plural is another word");
        // Overlapping ones: the longer, wherever it begins.
        assert_eq!(said(&["upper left", "left lower lobe"], "upper left lower lobe"), "left lower lobe");
    }

    #[test]
    fn chinese_has_no_blanks_and_needs_none() {
        assert_eq!(said(&["左侧", "右侧"], "器官位于图像左侧,呈圆形。"), "左侧");
        assert_eq!(said(&["圆形", "长椭圆形"], "器官呈长椭圆形。"), "长椭圆形");
        assert_eq!(said(&["病灶", "未见病灶"], "器官内未见病灶。"), "未见病灶");
        assert_eq!(said(&["CT", "MR"], "胸部CT示右肺结节"), "ct", "Latin words end where Chinese begins");
        assert_eq!(said(&["右肺"], "右 肺\n结节"), "右肺");
        assert_eq!(said(&["小", "大", "中等大小"], "一个中等大小的病灶"), "中等大小");
        assert_eq!(
            said(&["小", "大", "中等"], "一个中等大小的病灶"),
            "+",
            "a value is written as texts have it"
        );
        assert_eq!(said(&["ＣＴ"], "ct检查"), "ct", "full-width letters are letters");
    }

    #[test]
    fn numbers_are_digits_and_words_but_no_parts_of_other_numbers() {
        let count = ["0", "1", "2", "3", "10"];
        for (text, value) in [
            ("2 lesions", "2"),
            ("two lesions", "2"),
            ("Two.", "2"),
            ("共2个病灶", "2"),
            ("２个病灶", "2"),
            ("可见两个病灶", "2"),
            ("可见三处", "3"),
            ("十个", "10"),
            ("这是一张图像", ""),
            ("第二个", ""),
            ("二十个", ""),
            ("12 of 2.5 cm at 1/3", ""),
            ("2-3 lesions", ""),
            ("twenty-two, one-sided", ""),
            ("T2 and 3mm", ""),
            ("2, 3", "+"),
            ("It is 1.", "1"),
            ("zero", "0"),
        ] {
            assert_eq!(said(&count, text), value, "{text}");
        }
        assert_eq!(said(&["5", "-5"], "at -5 HU"), "-5");
        assert_eq!(said(&["007"], "seven"), "", "a name made of digits is no number");
    }
}

//! ROUGE-1, ROUGE-2 and ROUGE-L over jieba words, as the `rouge_chinese` package counts them.

use super::words;
use std::collections::HashSet;
use std::hash::Hash;

/// F values in 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    pub rouge_1: f64,
    pub rouge_2: f64,
    pub rouge_l: f64,
}

/// ROUGE of a prediction against its label; 0 when either has nothing but white space.
///
/// ROUGE-1 and -2 compare *sets* of n-grams; ROUGE-L is the longest common subsequence of all words.
pub fn rouge(predict: &str, label: &str) -> Rouge {
    let (predict, label) = (spaced(predict), spaced(label));
    let (predict, label) = (sentence_words(&predict), sentence_words(&label));
    if predict.iter().all(|w| w.is_empty()) || label.iter().all(|w| w.is_empty()) {
        return Rouge::default();
    }
    Rouge {
        rouge_1: set_f(predict.iter(), label.iter()),
        rouge_2: set_f(predict.windows(2), label.windows(2)),
        rouge_l: f_score(common_subsequence(&predict, &label), predict.len(), label.len()),
    }
}

/// The words with one space between: what LLaMA-Factory hands to `rouge_chinese`.
fn spaced(text: &str) -> String {
    words::cut(text).join(" ")
}

/// `Rouge.cut_sent` and the split into words: a white-space-only line yields one empty word, which counts.
fn sentence_words(text: &str) -> Vec<&str> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let breaks = sentence_breaks(&chars, text.len());
    let mut lines = Vec::new();
    let mut start = 0;
    // The package strips the end of the text after it has put in its line ends, so a break there is lost.
    let end = text.trim_end_matches(is_space).len();
    for at in breaks.into_iter().filter(|&at| at < end) {
        lines.extend(text[start..at].split('\n'));
        start = at;
    }
    lines.extend(text[start..end.max(start)].split('\n'));
    lines.into_iter().filter(|line| !line.is_empty()).flat_map(line_words).collect()
}

/// Byte offsets where `cut_sent` puts a line end: after `。！？?` and after six dots, unless a closing quote or
/// the end of the text follows.
///
/// Its rules for `……` and for quotes need two marks side by side; jieba's words have spaces between, so they
/// never apply.
fn sentence_breaks(chars: &[(usize, char)], len: usize) -> Vec<usize> {
    let may_follow = |i: usize| chars.get(i).is_some_and(|&(_, c)| !matches!(c, '”' | '’'));
    let offset = |i: usize| chars.get(i).map_or(len, |&(at, _)| at);
    let mut breaks = Vec::new();
    // Each match takes the character after the mark with it: the search goes on behind that one.
    let mut i = 0;
    while i < chars.len() {
        let mark = matches!(chars[i].1, '。' | '！' | '？' | '?') && may_follow(i + 1);
        if mark {
            breaks.push(offset(i + 1));
        }
        i += if mark { 2 } else { 1 };
    }
    let mut i = 0;
    while i < chars.len() {
        let dots = chars[i..].iter().take(6).filter(|&&(_, c)| c == '.').count() == 6 && may_follow(i + 6);
        if dots {
            breaks.push(offset(i + 6));
        }
        i += if dots { 7 } else { 1 };
    }
    breaks.sort_unstable();
    breaks
}

fn line_words(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split(is_space).filter(|w| !w.is_empty()).collect();
    if words.is_empty() { vec![""] } else { words }
}

/// White space as Python's `str.split` sees it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn set_f<T: Eq + Hash>(predict: impl Iterator<Item = T>, label: impl Iterator<Item = T>) -> f64 {
    let predict: HashSet<T> = predict.collect();
    let label: HashSet<T> = label.collect();
    f_score(predict.intersection(&label).count(), predict.len(), label.len())
}

/// 2PR / (P + R + 1e-8); an empty side gives 0.
fn f_score(overlap: usize, predict: usize, label: usize) -> f64 {
    let share = |of: usize| if of == 0 { 0.0 } else { overlap as f64 / of as f64 };
    let (p, r) = (share(predict), share(label));
    2.0 * (p * r / (p + r + 1e-8))
}

/// Length of the longest common subsequence, O(n·m) time, O(m) memory.
fn common_subsequence(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

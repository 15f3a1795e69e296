//! Two texts compared word by word: what they share, what one has and the other lacks.

use std::collections::HashMap;
use unicode_segmentation::UnicodeSegmentation;

/// Where a piece of text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum In {
    Both,
    /// In the first text only: missing in the second.
    First,
    /// In the second text only: too much there.
    Second,
}

/// Words of each text that are compared; what is beyond counts as different.
const MOST: usize = 2000;

/// The words of both texts in order, neighbours of one kind joined: the longest common subsequence is `Both`. A Chinese
/// character is a word, so is a blank.
pub fn words(first: &str, second: &str) -> Vec<(In, String)> {
    let (a, b): (Vec<&str>, Vec<&str>) =
        (first.split_word_bounds().collect(), second.split_word_bounds().collect());
    let (n, m) = (a.len().min(MOST), b.len().min(MOST));
    let common = common(&a[..n], &b[..m]);
    let at = |i: usize, j: usize| i * (m + 1) + j;
    let mut out = Pieces::default();
    let (mut i, mut j) = (0, 0);
    while i < n && j < m {
        if a[i] == b[j] {
            out.push(In::Both, a[i]);
            (i, j) = (i + 1, j + 1);
        } else if common[at(i + 1, j)] >= common[at(i, j + 1)] {
            out.push(In::First, a[i]);
            i += 1;
        } else {
            out.push(In::Second, b[j]);
            j += 1;
        }
    }
    a[i..].iter().for_each(|word| out.push(In::First, word));
    b[j..].iter().for_each(|word| out.push(In::Second, word));
    out.0
}

/// A table of `b.len() + 1` columns: how many words `a[i..]` and `b[j..]` share, in their order.
fn common(a: &[&str], b: &[&str]) -> Vec<u16> {
    // Numbers are compared instead of words: there are millions of comparisons.
    let mut known = HashMap::new();
    let mut number = |word| {
        let next = known.len() as u32;
        *known.entry(word).or_insert(next)
    };
    let a: Vec<u32> = a.iter().map(|word| number(*word)).collect();
    let b: Vec<u32> = b.iter().map(|word| number(*word)).collect();
    let columns = b.len() + 1;
    let mut table = vec![0u16; (a.len() + 1) * columns];
    for (i, word) in a.iter().enumerate().rev() {
        let (above, below) = table.split_at_mut((i + 1) * columns);
        let row = &mut above[i * columns..];
        for j in (0..b.len()).rev() {
            row[j] = if *word == b[j] { below[j + 1] + 1 } else { below[j].max(row[j + 1]) };
        }
    }
    table
}

#[derive(Default)]
struct Pieces(Vec<(In, String)>);

impl Pieces {
    fn push(&mut self, place: In, word: &str) {
        match self.0.last_mut().filter(|(last, _)| *last == place) {
            Some((_, text)) => text.push_str(word),
            None => self.0.push((place, word.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(first: &str, second: &str) -> String {
        let piece = |(place, text): &(In, String)| match place {
            In::Both => text.clone(),
            In::First => format!("-{text}-"),
            In::Second => format!("+{text}+"),
        };
        words(first, second).iter().map(piece).collect()
    }

    #[test]
    fn words_not_letters_are_compared() {
        assert_eq!(shown("a small lesion", "a large lesion"), "a -small-+large+ lesion");
        assert_eq!(shown("右肺结节", "左肺结节"), "-右-+左+肺结节");
        assert_eq!(shown("", "x"), "+x+");
        assert_eq!(shown("same", "same"), "same");
    }
}

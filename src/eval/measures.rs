//! All measures of predictions: LLaMA-Factory's four, and what they do not tell; by group, with intervals.

use super::slots::{Labels, SlotReport};
use super::{bleu, bootstrap, scores, words};
use crate::job::{Prediction, ScoreRow};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names in the order they are shown. The first four are LLaMA-Factory's.
pub const NAMES: [&str; 7] =
    ["bleu-4", "rouge-1", "rouge-2", "rouge-l", "word-bleu-4", "exact-match", "length-ratio"];

/// The measures of one prediction, in the order of [`NAMES`]: per cent, the last a ratio.
///
/// `word-bleu-4` is BLEU over words as jieba cuts them, spaces left out: LLaMA-Factory's is over characters.
/// `exact-match` passes over spaces at the ends. `length-ratio` is characters said to characters wanted.
pub fn measure(predict: &str, label: &str) -> Vec<f64> {
    let four = scores::score(predict, label).named().map(|(_, value)| value);
    let cut = |text| words::cut(text).into_iter().filter(|w| !w.trim().is_empty()).collect::<Vec<_>>();
    let word_bleu = bleu::bleu4_of(&cut(predict), &cut(label)) * 100.0;
    let (said, wanted) = (predict.trim(), label.trim());
    let exact = if said == wanted { 100.0 } else { 0.0 };
    let ratio = said.chars().count() as f64 / wanted.chars().count().max(1) as f64;
    four.into_iter().chain([word_bleu, exact, ratio]).collect()
}

/// [`measure`] with names.
pub fn named(predict: &str, label: &str) -> Vec<(String, f64)> {
    NAMES.iter().map(ToString::to_string).zip(measure(predict, label)).collect()
}

/// Measures every pair, on all cores.
pub fn measure_all<S: AsRef<str> + Sync>(pairs: &[(S, S)]) -> Vec<Vec<f64>> {
    pairs.par_iter().map(|(predict, label)| measure(predict.as_ref(), label.as_ref())).collect()
}

/// The measures of a prediction that was judged already.
pub fn values(prediction: &Prediction) -> Vec<f64> {
    NAMES.iter().map(|name| prediction.score(name).unwrap_or_default()).collect()
}

/// Everything an evaluation comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub samples: usize,
    pub measures: Vec<ScoreRow>,
    /// The same for each group of samples, where there is more than one.
    pub groups: Vec<Group>,
    /// The column of the data that groups are made by; else they are kinds of pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grouped_by: Option<String>,
    #[serde(default)]
    pub slots: Option<SlotReport>,
}

/// Samples of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub samples: usize,
    pub measures: Vec<ScoreRow>,
}

impl Summary {
    /// Of predictions that are judged.
    pub fn of(all: &[Prediction], labels: Option<&Labels>) -> Self {
        let rows: Vec<Vec<f64>> = all.iter().map(values).collect();
        let groups = all.iter().map(|p| p.group.as_deref());
        let said = all.iter().map(|p| (p.id.clone(), p.predict.clone())).collect();
        Self { slots: labels.and_then(|labels| labels.score_said(&said)), ..Self::of_rows(&rows, groups) }
    }

    /// Of measured rows and the group of each.
    pub fn of_rows<'a>(rows: &[Vec<f64>], groups: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut by: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
        for (row, group) in rows.iter().zip(groups) {
            by.entry(group.unwrap_or("other")).or_default().push(row.clone());
        }
        let of = |(name, rows): (&str, Vec<Vec<f64>>)| Group {
            name: name.into(),
            samples: rows.len(),
            measures: bootstrap::intervals(&NAMES, &rows, bootstrap::DRAWS),
        };
        Self {
            samples: rows.len(),
            measures: bootstrap::intervals(&NAMES, rows, bootstrap::DRAWS),
            groups: if by.len() > 1 { by.into_iter().map(of).collect() } else { Vec::new() },
            grouped_by: None,
            slots: None,
        }
    }

    /// A measure of all samples.
    pub fn measure(&self, name: &str) -> Option<&ScoreRow> {
        self.measures.iter().find(|row| row.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn what_the_four_do_not_tell() {
        let of = |predict: &str, label: &str| named(predict, label).into_iter().collect::<HashMap<_, _>>();
        let same = of(" a small round lesion ", "a small round lesion");
        assert_eq!((same["exact-match"], same["length-ratio"]), (100.0, 1.0));
        assert!((same["word-bleu-4"] - 100.0).abs() < 1e-9);
        let other = of("a round small lesion", "a small round lesion");
        assert_eq!(other["exact-match"], 0.0);
        assert!(other["word-bleu-4"] < other["bleu-4"], "{other:?}");
        assert_eq!(of("", "ab")["length-ratio"], 0.0);
    }

    #[test]
    fn groups_are_told_where_there_is_more_than_one() {
        let rows = vec![vec![1.0; 7], vec![3.0; 7], vec![5.0; 7]];
        let one = Summary::of_rows(&rows, [Some("CT"); 3].into_iter());
        assert!(one.groups.is_empty() && one.measures[0].mean == 3.0);
        let two = Summary::of_rows(&rows, [Some("CT"), Some("MR"), None].into_iter());
        let names: Vec<_> = two.groups.iter().map(|g| (g.name.as_str(), g.samples)).collect();
        assert_eq!(names, [("CT", 1), ("MR", 1), ("other", 1)]);
    }
}

//! Which rows of which data sets a run takes, and in what order, as LLaMA-Factory 0.9.5 (`data/loader.py`) does it with the
//! `datasets` library 4.0.0.

use super::entry::Entry;
use super::numpy::{Choices, RandomState};
use crate::config::MixStrategy;
use crate::error::{Error, Result};

/// The rows of one data set that are taken: of its `split`, `num_samples` drawn by `np.random`, then the first
/// `max_samples`. `draws` is one generator for all data sets of a run, in order.
///
/// # Errors
/// A `split` that is not understood; `num_samples` of nothing.
pub fn select(
    name: &str,
    entry: &Entry,
    rows: usize,
    max_samples: Option<usize>,
    draws: &mut RandomState,
) -> Result<Vec<usize>> {
    if entry.ranking {
        return Err(Error::input(format!("the data set {name} is for ranking (`ranking: true`)"))
            .hint("fine-tuning needs one answer for each question; name another data set"));
    }
    let (from, to) = part(&entry.split, rows).ok_or_else(|| {
        Error::input(format!("the data set {name} has the split `{}`", entry.split)).hint(
            "a local file has the split `train`, and parts of it such as `train[:100]` or `train[10%:]`",
        )
    })?;
    let mut taken: Vec<usize> = (from..to.max(from)).collect();
    if let Some(wanted) = entry.num_samples {
        let there = taken.len();
        if there == 0 && wanted > 0 {
            return Err(Error::input(format!("the data set {name} has no rows to draw num_samples from")));
        }
        let mut drawn = draws.permutation(there);
        drawn.truncate(wanted);
        // All rows once before any comes again.
        drawn.extend(draws.choice(there, wanted - drawn.len()));
        taken = drawn.into_iter().map(|place| taken[place]).collect();
    }
    taken.truncate(max_samples.unwrap_or(usize::MAX));
    Ok(taken)
}

/// Where a split of a file of `rows` rows begins and ends (`datasets`, `arrow_reader.py`, `_rel_to_abs_instr`).
fn part(split: &str, rows: usize) -> Option<(usize, usize)> {
    let Some(inside) = split.strip_prefix("train") else {
        return (split == "all").then_some((0, rows));
    };
    if inside.is_empty() {
        return Some((0, rows));
    }
    let (from, to) = inside.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    let percent = from.ends_with('%') || to.ends_with('%');
    let bound = |text: &str, missing: i64| -> Option<usize> {
        let rows = rows as i64;
        let number = match text.trim_end_matches('%').replace('_', "") {
            none if none.is_empty() => missing,
            number => {
                let number: i64 = number.parse().ok()?;
                // Python's `round`: halves to even.
                if percent { (number as f64 * rows as f64 / 100.0).round_ties_even() as i64 } else { number }
            }
        };
        let number = if number < 0 { (rows + number).max(0) } else { number };
        Some(number.min(rows) as usize)
    };
    Some((bound(from, 0)?, bound(to, rows as i64)?))
}

/// Places in the data sets laid one after another, in the order they are taken (`datasets`,
/// `_interleave_map_style_datasets`). Without `probs` the data sets take turns.
///
/// # Errors
/// An empty data set where data sets are interleaved.
pub fn mix(lengths: &[usize], how: MixStrategy, probs: Option<&[f64]>, seed: u64) -> Result<Vec<usize>> {
    let starts: Vec<usize> = lengths.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + n))).collect();
    if how == MixStrategy::Concat || lengths.len() < 2 {
        return Ok((0..lengths.iter().sum()).collect());
    }
    if let Some(empty) = lengths.iter().position(|n| *n == 0) {
        return Err(Error::input(format!("data set {} of {} has no rows to mix", empty + 1, lengths.len()))
            .hint("take it out, or set mix_strategy to concat"));
    }
    let over = how == MixStrategy::InterleaveOver;
    let Some(probs) = probs else {
        let each = if over { lengths.iter().max() } else { lengths.iter().min() };
        let turn = |i: usize| starts.iter().zip(lengths).map(move |(start, n)| start + i % n);
        return Ok((0..each.copied().unwrap_or(0)).flat_map(turn).collect());
    };
    let mut choices = Choices::new(probs, seed);
    let mut next = vec![0; lengths.len()];
    let mut exhausted = vec![false; lengths.len()];
    let mut order = Vec::new();
    while !(if over { exhausted.iter().all(|e| *e) } else { exhausted.iter().any(|e| *e) }) {
        let from = choices.draw();
        order.push(starts[from] + next[from]);
        next[from] += 1;
        if next[from] == lengths[from] {
            (exhausted[from], next[from]) = (true, 0);
        }
    }
    Ok(order)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::entry::Entry;
    use serde_json::json;

    #[test]
    fn splits_are_cut_as_datasets_cuts_them() {
        // load_dataset("json", split=...) of 7 rows.
        let cases = [
            ("train", Some((0, 7))),
            ("all", Some((0, 7))),
            ("train[:3]", Some((0, 3))),
            ("train[-2:]", Some((5, 7))),
            ("train[50%:]", Some((4, 7))),
            ("train[:50%]", Some((0, 4))),
            ("train[:-30%]", Some((0, 5))),
            ("train[2:99]", Some((2, 7))),
            ("test", None),
            ("train[3]", None),
            ("train[a:]", None),
        ];
        for (split, expected) in cases {
            assert_eq!(part(split, 7), expected, "{split}");
        }
    }

    fn drawn(entry: &serde_json::Value, rows: usize, draws: &mut RandomState) -> Vec<usize> {
        let entry = Entry::parse("set", entry).unwrap();
        select("set", &entry, rows, Some(6), draws).unwrap()
    }

    /// A LLaMA-Factory run of data sets with 10 and 5 rows, seed 42, max_samples 6.
    #[test]
    fn num_samples_draws_llama_factorys_rows() {
        let mut draws = RandomState::new(42);
        let a = drawn(&json!({"file_name": "a.json", "num_samples": 4}), 10, &mut draws);
        let b = drawn(&json!({"file_name": "b.json", "num_samples": 12}), 5, &mut draws);
        assert_eq!((a, b), (vec![8, 1, 5, 0], vec![1, 0, 3, 4, 2, 4]));
        let all = drawn(&json!({"file_name": "c.json"}), 9, &mut draws);
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn ranking_data_and_unknown_splits_are_refused() {
        for entry in [json!({"file_name": "a", "ranking": true}), json!({"file_name": "a", "split": "test"})]
        {
            let entry = Entry::parse("set", &entry).unwrap();
            assert!(select("set", &entry, 3, None, &mut RandomState::new(0)).is_err());
        }
    }
}

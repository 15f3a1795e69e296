//! Many whole numbers as a few: percentiles, and the bars of a histogram.

use serde_json::{Value, json};

/// Bars of a histogram at most.
const BARS: u64 = 12;

#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Vec<u32>);

impl Numbers {
    pub fn push(&mut self, n: usize) {
        self.0.push(u32::try_from(n).unwrap_or(u32::MAX));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn total(&self) -> u64 {
        self.0.iter().map(|n| u64::from(*n)).sum()
    }

    pub fn sorted(&self) -> Sorted {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        Sorted(sorted)
    }

    /// `{"min", "p50", "p90", "p99", "max", "mean", "total", "bars"}`; null if there is no number.
    pub fn json(&self) -> Value {
        if self.is_empty() {
            return Value::Null;
        }
        let sorted = self.sorted();
        let at = |share| sorted.percentile(share);
        let mean = self.total() as f64 / self.0.len() as f64;
        json!({
            "min": at(0.0), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0),
            "mean": (mean * 10.0).round() / 10.0, "total": self.total(), "bars": sorted.bars(),
        })
    }
}

/// Ascending numbers.
pub(super) struct Sorted(Vec<u32>);

impl Sorted {
    /// The smallest number that at least this share of all is not above (nearest rank); 0 if there is none.
    pub fn percentile(&self, share: f64) -> u32 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or(0)
    }

    /// The mean of the longest of `size` numbers drawn at random, each rounded up to a multiple of 8.
    pub fn mean_longest(&self, size: usize) -> f64 {
        let n = self.0.len() as f64;
        // The chance that the longest is the i-th smallest, drawn with replacement.
        let chance = |i: usize| ((i + 1) as f64 / n).powi(size as i32) - (i as f64 / n).powi(size as i32);
        self.0.iter().enumerate().map(|(i, x)| chance(i) * f64::from(x.next_multiple_of(8))).sum()
    }

    /// `[{"from", "to", "count"}, ..]`, both ends included: steps of 1, 2 or 5 times a power of ten, or doublings
    /// where the numbers are far apart.
    fn bars(&self) -> Value {
        let (Some(min), Some(max)) = (self.0.first(), self.0.last()) else { return json!([]) };
        let (min, max) = (u64::from(*min), u64::from(*max));
        let doubling = max >= 32 * u64::from(self.percentile(0.1)).max(1);
        let mut bars = Vec::new();
        let step = step(max - min);
        let mut from = if doubling { 0 } else { min / step * step };
        while from <= max {
            let next = if doubling { (from * 2).max(1) } else { from + step };
            let below = |limit: u64| self.0.partition_point(|n| u64::from(*n) < limit);
            bars.push(json!({ "from": from, "to": next - 1, "count": below(next) - below(from) }));
            from = next;
        }
        let is_empty = |bar: &Value| bar["count"] == 0;
        let first = bars.iter().take_while(|b| is_empty(b)).count();
        Value::Array(bars.split_off(first))
    }
}

/// The smallest step of 1, 2 or 5 times a power of ten that covers `range` in [`BARS`] steps.
fn step(range: u64) -> u64 {
    let mut power = 1;
    loop {
        for digit in [1, 2, 5] {
            if digit * power * (BARS - 1) >= range {
                return digit * power;
            }
        }
        power *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(all: &[u32]) -> Numbers {
        Numbers(all.to_vec())
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let all = numbers(&(1..=200).rev().collect::<Vec<_>>()).json();
        let of = |key: &str| all[key].as_f64();
        assert_eq!((of("min"), of("p50"), of("p90")), (Some(1.0), Some(100.0), Some(180.0)));
        assert_eq!((of("p99"), of("max"), of("mean")), (Some(198.0), Some(200.0), Some(100.5)));
        assert_eq!(numbers(&[]).json(), Value::Null);
        assert_eq!(numbers(&[7]).sorted().percentile(0.99), 7);
    }

    #[test]
    fn bars_hold_every_number_once() {
        for all in [vec![5; 3], (0..1000).collect(), vec![1, 2, 3, 70_000], vec![100, 101, 187], vec![0]] {
            let bars = numbers(&all).sorted().bars();
            let bars = bars.as_array().expect("a list");
            let count: u64 = bars.iter().filter_map(|b| b["count"].as_u64()).sum();
            assert_eq!(count, all.len() as u64, "{bars:?}");
            assert!(bars.len() <= 20 && bars[0]["count"] != 0, "{bars:?}");
        }
    }

    #[test]
    fn the_longest_of_a_batch_is_what_drawing_all_batches_gives() {
        let lengths = [8, 16, 40];
        let sorted = numbers(&lengths).sorted();
        let pairs = lengths.iter().flat_map(|a| lengths.iter().map(move |b| *a.max(b)));
        let mean = f64::from(pairs.sum::<u32>()) / 9.0;
        assert!((sorted.mean_longest(2) - mean).abs() < 1e-9);
        assert!((sorted.mean_longest(1) - 64.0 / 3.0).abs() < 1e-9);
    }
}

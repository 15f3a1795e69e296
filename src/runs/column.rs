//! A column of numbers that knows the extremes of any part of it without looking at each: a million points on a screen.

use std::ops::Range;

/// Items of one level that a block of the next stands for.
const FAN: usize = 16;

/// The least and the largest of some numbers. Those that are not finite do not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    /// Above `high` where there is no number.
    pub low: f64,
    pub high: f64,
    /// The least number above zero: the low end on a logarithmic axis.
    pub positive: f64,
}

impl Extremes {
    pub const NONE: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY, positive: f64::INFINITY };

    fn of(value: f64) -> Self {
        if !value.is_finite() {
            return Self::NONE;
        }
        Self { low: value, high: value, positive: if value > 0.0 { value } else { f64::INFINITY } }
    }

    /// Those of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            positive: self.positive.min(other.positive),
        }
    }

    /// Low and high; on a logarithmic axis those of what is above zero.
    pub fn span(&self, log: bool) -> Option<(f64, f64)> {
        let low = if log { self.positive } else { self.low };
        (low <= self.high).then_some((low, self.high))
    }
}

/// Numbers in the order they came, and a pyramid of the extremes of blocks of them.
#[derive(Clone, Debug, Default)]
pub struct Column {
    values: Vec<f64>,
    /// `levels[k][i]`: of the values from `i * FAN^(k+1)` on.
    levels: Vec<Vec<Extremes>>,
}

impl Column {
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn last(&self) -> Option<f64> {
        self.values.last().copied()
    }

    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        let at = self.values.len();
        self.values.push(value);
        let own = Extremes::of(value);
        let mut block = at / FAN;
        for level in &mut self.levels {
            match level.get_mut(block) {
                Some(extremes) => *extremes = extremes.and(own),
                None => level.push(own),
            }
            block /= FAN;
        }
        self.raise();
    }

    /// A new top while the highest level has more than one block's worth.
    fn raise(&mut self) {
        loop {
            let below = self.levels.last().map_or(self.values.len(), Vec::len);
            if below <= FAN {
                return;
            }
            let depth = self.levels.len();
            let blocks = (0..below.div_ceil(FAN)).map(|block| self.block(depth, block)).collect();
            self.levels.push(blocks);
        }
    }

    /// The extremes of block `block` of the level above `depth`.
    fn block(&self, depth: usize, block: usize) -> Extremes {
        let below = if depth == 0 { self.values.len() } else { self.levels[depth - 1].len() };
        let items = block * FAN..((block + 1) * FAN).min(below);
        items.fold(Extremes::NONE, |all, i| all.and(self.item(depth, i)))
    }

    fn item(&self, depth: usize, i: usize) -> Extremes {
        if depth == 0 { Extremes::of(self.values[i]) } else { self.levels[depth - 1][i] }
    }

    /// Keeps the first `n` values.
    pub fn truncate(&mut self, n: usize) {
        self.values.truncate(n);
        let mut below = self.values.len();
        for depth in 0..self.levels.len() {
            let blocks = below.div_ceil(FAN);
            self.levels[depth].truncate(blocks);
            if let Some(last) = blocks.checked_sub(1) {
                self.levels[depth][last] = self.block(depth, last);
            }
            below = blocks;
        }
    }

    /// The extremes of a part: a few dozen looks for any length.
    pub fn extremes(&self, part: Range<usize>) -> Extremes {
        let (mut a, mut b) = (part.start.min(self.len()), part.end.min(self.len()));
        let mut all = Extremes::NONE;
        let mut depth = 0;
        while a < b {
            if depth == self.levels.len() || b - a <= FAN {
                return (a..b).fold(all, |all, i| all.and(self.item(depth, i)));
            }
            while a % FAN != 0 {
                all = all.and(self.item(depth, a));
                a += 1;
            }
            while b % FAN != 0 && a < b {
                b -= 1;
                all = all.and(self.item(depth, b));
            }
            (a, b, depth) = (a / FAN, b / FAN, depth + 1);
        }
        all
    }
}

impl FromIterator<f64> for Column {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut column = Self::default();
        values.into_iter().for_each(|v| column.push(v));
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(values: &[f64]) -> Extremes {
        values.iter().fold(Extremes::NONE, |all, v| all.and(Extremes::of(*v)))
    }

    /// Numbers without a pattern, some of them not finite, some not above zero.
    fn values(n: usize) -> Vec<f64> {
        let odd = |i: usize| (i.wrapping_mul(2_654_435_761) % 1009) as f64 - 200.0;
        (0..n).map(|i| if i % 97 == 5 { f64::NAN } else { odd(i) }).collect()
    }

    #[test]
    fn the_extremes_of_every_part_are_those_of_its_values() {
        for n in [0, 1, 15, 16, 17, 255, 256, 257, 700] {
            let values = values(n);
            let column: Column = values.iter().copied().collect();
            for a in (0..=n).step_by(7) {
                for b in (a..=n).step_by(5) {
                    assert_eq!(column.extremes(a..b), plain(&values[a..b]), "{a}..{b} of {n}");
                }
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_forgotten() {
        let values = values(5000);
        let mut column: Column = values.iter().copied().collect();
        for n in [4999, 4096, 300, 256, 17, 1, 0] {
            column.truncate(n);
            assert_eq!(column.extremes(0..usize::MAX), plain(&values[..n]), "{n}");
            let mut grown = column.clone();
            grown.push(1e6);
            assert_eq!(grown.extremes(0..n + 1).high, 1e6);
        }
    }

    #[test]
    fn a_logarithmic_axis_starts_above_zero() {
        let column: Column = [-3.0, 0.0, 0.25, 7.0, f64::NAN].into_iter().collect();
        assert_eq!(column.extremes(0..5).span(true), Some((0.25, 7.0)));
        assert_eq!(column.extremes(0..5).span(false), Some((-3.0, 7.0)));
        assert_eq!(column.extremes(0..2).span(true), None);
        assert_eq!(column.extremes(4..5).span(false), None);
    }
}

//! Which rows are taken: all, the first ones, or some drawn by a seed, decided row group by row group.

use crate::job::ConvertJob;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Decides for one row after another, in order, so it needs no memory.
pub(super) struct Pick {
    /// Rows that are still to come, and those of them that will be taken.
    left: usize,
    wanted: usize,
    /// `None`: the first ones are taken.
    random: Option<ChaCha8Rng>,
}

impl Pick {
    /// What the job wants of `rows` rows.
    pub fn new(job: &ConvertJob, rows: usize) -> Self {
        let wanted = job.sample.or(job.limit).unwrap_or(rows).min(rows);
        Self { left: rows, wanted, random: job.sample.map(|_| ChaCha8Rng::seed_from_u64(job.seed)) }
    }

    /// How many rows are taken in all.
    pub fn total(&self) -> usize {
        self.wanted
    }

    /// No further row is taken.
    pub fn is_done(&self) -> bool {
        self.wanted == 0
    }

    /// For each of the next `rows` rows: whether it is taken.
    pub fn next(&mut self, rows: usize) -> Vec<bool> {
        (0..rows).map(|_| self.next_row()).collect()
    }

    /// Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
    fn next_row(&mut self) -> bool {
        let takes = match &mut self.random {
            None => self.wanted > 0,
            Some(random) => {
                let drawn = (u128::from(random.next_u64()) * self.left as u128) >> 64;
                drawn < self.wanted as u128
            }
        };
        self.left = self.left.saturating_sub(1);
        self.wanted -= usize::from(takes);
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rows: usize, limit: Option<usize>, sample: Option<usize>, seed: u64) -> Vec<bool> {
        let job = ConvertJob { limit, sample, seed, ..ConvertJob::new(Vec::new(), "out".into()) };
        let mut pick = Pick::new(&job, rows);
        [pick.next(rows / 3), pick.next(rows - rows / 3)].concat()
    }

    #[test]
    fn the_numbers_are_exact_and_the_seed_decides() {
        let count = |taken: Vec<bool>| taken.iter().filter(|t| **t).count();
        for (rows, n) in [(10, 0), (10, 3), (10, 10), (10, 99), (1000, 1)] {
            assert_eq!(count(taken(rows, Some(n), None, 1)), n.min(rows));
            for seed in 0..20 {
                assert_eq!(count(taken(rows, None, Some(n), seed)), n.min(rows), "{n} of {rows}");
            }
        }
        assert_eq!(taken(6, Some(2), None, 1), [true, true, false, false, false, false]);
        assert_eq!(taken(500, None, Some(50), 1), taken(500, None, Some(50), 1));
        assert_ne!(taken(500, None, Some(50), 1), taken(500, None, Some(50), 2));
    }

    #[test]
    fn every_row_has_the_same_chance() {
        let mut hits = [0; 20];
        for seed in 0..2000 {
            for (hit, taken) in hits.iter_mut().zip(taken(20, None, Some(5), seed)) {
                *hit += u32::from(taken);
            }
        }
        assert!(hits.iter().all(|h| (420..580).contains(h)), "500 expected: {hits:?}");
    }
}

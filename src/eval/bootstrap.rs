//! How sure a mean is: percentile intervals over resampled samples (Efron and Tibshirani 1993, chapter 13).

use crate::job::ScoreRow;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Draws of all samples, enough for two digits of an interval.
pub const DRAWS: usize = 1000;
/// Draws while an evaluation goes on.
pub const FEW_DRAWS: usize = 200;

/// Mean and 95 % interval of each of several measures, all from the same draws; `values[i]` are sample i's. Always
/// the same for the same values.
pub fn intervals(names: &[&str], values: &[Vec<f64>], draws: usize) -> Vec<ScoreRow> {
    let (n, width) = (values.len(), names.len());
    let mean = |m: usize| values.iter().map(|v| v[m]).sum::<f64>() / n.max(1) as f64;
    let drawn: Vec<Vec<f64>> = (0..if n > 1 { draws } else { 0 })
        .into_par_iter()
        .map(|draw| {
            let mut rng = ChaCha8Rng::seed_from_u64(42);
            rng.set_stream(draw as u64);
            let mut sums = vec![0.0; width];
            for _ in 0..n {
                let one = &values[rng.random_range(0..n)];
                sums.iter_mut().zip(one).for_each(|(sum, x)| *sum += x);
            }
            sums.iter_mut().for_each(|sum| *sum /= n as f64);
            sums
        })
        .collect();
    let row = |m: usize| {
        let mut means: Vec<f64> = drawn.iter().map(|d| d[m]).collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means.get((share * means.len() as f64) as usize).copied();
        let (low, high) = (at(0.025).unwrap_or(mean(m)), at(0.975).unwrap_or(mean(m)));
        ScoreRow { name: names[m].into(), mean: mean(m), low, high }
    };
    (0..width).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_coin_is_as_wide_as_theory_says() {
        // 400 throws, half of them heads: ±1.96 · √(0.25 / 400) = ±0.049
        let values: Vec<Vec<f64>> = (0..400).map(|i| vec![f64::from(i % 2), 7.0]).collect();
        let rows = intervals(&["coin", "same"], &values, DRAWS);
        assert_eq!(rows[0].mean, 0.5);
        assert!((rows[0].low - 0.451).abs() < 0.006 && (rows[0].high - 0.549).abs() < 0.006, "{rows:?}");
        assert_eq!((rows[1].low, rows[1].high), (7.0, 7.0));
        assert_eq!(rows, intervals(&["coin", "same"], &values, DRAWS));
    }

    #[test]
    fn one_sample_or_none_has_no_spread() {
        let one = intervals(&["a"], &[vec![3.0]], DRAWS);
        assert_eq!((one[0].mean, one[0].low, one[0].high), (3.0, 3.0, 3.0));
        assert_eq!(intervals(&["a"], &[], DRAWS)[0].mean, 0.0);
    }
}

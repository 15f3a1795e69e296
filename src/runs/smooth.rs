//! Smoothing of a loss curve, as LLaMA-Factory's plots have it.

use super::column::Column;

/// Exponential moving average with weight `1.8 (sigmoid(0.05 n) - 0.5)` over `n` values
/// (LLaMA-Factory, `extras/ploting.py`). Empty for empty.
pub fn smooth(values: &[f64]) -> Vec<f64> {
    let mut column = Column::default();
    extend(&mut column, values);
    column.values().to_vec()
}

/// Brings `smoothed` up to date with `values`, of which it has smoothed the first ones. The weight depends on their
/// number; from about 740 on it no longer changes in its last bit, and only what is new is computed.
///
/// A value that is not finite leaves the average as it is.
pub fn extend(smoothed: &mut Column, values: &[f64]) {
    let weight = weight(values.len());
    if smoothed.len() > values.len() || weight != self::weight(smoothed.len()) {
        smoothed.truncate(0);
    }
    let mut last = smoothed.last().filter(|v| v.is_finite());
    for value in &values[smoothed.len()..] {
        // The first value is the average before it, as in LLaMA-Factory.
        last = match (last, value.is_finite()) {
            (before, true) => Some(before.unwrap_or(*value) * weight + (1.0 - weight) * value),
            (before, false) => before,
        };
        smoothed.push(last.unwrap_or(*value));
    }
}

fn weight(n: usize) -> f64 {
    1.8 * (1.0 / (1.0 + (-0.05 * n as f64).exp()) - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_by_one_gives_what_all_at_once_gives() {
        let values: Vec<f64> =
            (0..1200).map(|i| 3.0 / (1.0 + f64::from(i)) + 0.1 * f64::from(i % 7)).collect();
        let mut grown = Column::default();
        for n in 1..=values.len() {
            extend(&mut grown, &values[..n]);
            if n % 150 == 0 {
                assert!(grown.values() == smooth(&values[..n]), "{n} values");
            }
        }
        extend(&mut grown, &values[..1000]);
        assert!(grown.values() == smooth(&values[..1000]), "a run that went back to a checkpoint");
    }

    #[test]
    fn a_lost_value_does_not_spoil_the_rest() {
        let last = smooth(&[f64::NAN, 2.0, f64::NAN])[2];
        assert!((last - 2.0).abs() < 1e-12, "{last}");
    }
}

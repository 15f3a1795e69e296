//! Smoothing of a loss curve, as LLaMA-Factory's plots have it.

/// Exponential moving average with weight `1.8 (sigmoid(0.05 n) - 0.5)` over `n` values
/// (LLaMA-Factory, `extras/ploting.py`). Empty for empty.
pub fn smooth(values: &[f64]) -> Vec<f64> {
    let Some(first) = values.first() else { return Vec::new() };
    let weight = 1.8 * (1.0 / (1.0 + (-0.05 * values.len() as f64).exp()) - 0.5);
    let mut last = *first;
    values
        .iter()
        .map(|value| {
            last = last * weight + (1.0 - weight) * value;
            last
        })
        .collect()
}

//! Numbers that follow from the settings and the data sets that were opened.

use crate::config::TrainConfig;
use crate::config::steps::{held_out, steps};
use crate::tui::state::State;
use crate::tui::text;

/// Training samples as LLaMA-Factory counts them: `max_samples` of each set, `val_size` off the whole. `None` as
/// long as a set has not been opened.
pub fn samples(config: &TrainConfig, state: &State) -> Option<usize> {
    let counts: Option<Vec<_>> = config.dataset.iter().map(|name| state.data.count(name)).collect();
    let counts = counts.filter(|c| !c.is_empty())?;
    let all: usize = counts.iter().map(|n| config.max_samples.map_or(*n, |most| most.min(*n))).sum();
    Some(all.saturating_sub(held_out(config.val_size, all)))
}

/// Effective batch, steps per epoch, steps, warmup.
pub fn line(config: &TrainConfig, state: &State) -> String {
    let Some(samples) = samples(config, state) else {
        let batch = steps(config, 1, 1).effective_batch.to_string();
        return state.words.fill("params.steps_unknown", &[("batch", &batch)]);
    };
    let s = steps(config, samples, 1);
    let parts = [
        ("samples", samples),
        ("batch", s.effective_batch),
        ("epoch", s.updates_per_epoch),
        ("total", s.total),
        ("warmup", s.warmup),
    ];
    let parts = parts.map(|(name, n)| (name, n.to_string()));
    state.words.filled("params.steps", &parts)
}

/// Trainable parameters, memory and time, where a model is known; and whether the memory is there.
pub fn estimate(state: &State) -> Option<(String, bool)> {
    let e = state.settings.estimate.as_ref()?;
    let fits = e.peak <= e.available || e.available == 0;
    let time = e.seconds.map_or(String::new(), |s| format!(" · {}", text::duration(s)));
    let trains = text::count(e.trainable);
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 30));
    let (peak, free) = (gib(e.peak), gib(e.available));
    let parts = [("peak", peak.as_str()), ("free", &free), ("trains", &trains)];
    let words = state.words;
    let said = if fits { words.fill("params.fits", &parts) } else { words.fill("params.too_large", &parts) };
    Some((said + &time, fits))
}

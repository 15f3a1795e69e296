//! The learning rate as a function of the updates done (transformers 5.6, `optimization.py`).

use crate::config::steps::warmup;
use crate::config::{LrScheduler, TrainConfig};
use std::f64::consts::PI;

/// transformers' default `lr_end` of `polynomial`.
const POLYNOMIAL_END: f64 = 1e-7;

/// The rate of the update that follows `done` updates, of `total`. The first one under a warmup runs at 0.
/// `reduce_lr_on_plateau` does not depend on the step: it is the learning rate here (see [`super::plateau`]).
pub fn lr(config: &TrainConfig, total: usize, done: usize) -> f64 {
    config.learning_rate * factor(config, total, done)
}

fn factor(config: &TrainConfig, total: usize, done: usize) -> f64 {
    use LrScheduler as S;
    let at = At::new(config, total, done);
    match config.lr_scheduler_type {
        S::Constant | S::ReduceLrOnPlateau => 1.0,
        S::WarmupStableDecay => at.warmup_stable_decay(),
        S::CosineWarmupWithMinLr => at.cosine_warmup_with_min_lr(),
        _ if at.step < at.warm => at.step / at.warm.max(1.0),
        S::ConstantWithWarmup => 1.0,
        S::Linear => ((at.total - at.step) / at.rest).max(0.0),
        S::Cosine => at.cosine(at.progress, 0.0),
        S::CosineWithRestarts if at.progress >= 1.0 => 0.0,
        S::CosineWithRestarts => {
            let cycles = at.number("num_cycles", 1.0);
            (0.5 * (1.0 + (PI * (cycles * at.progress).fract()).cos())).max(0.0)
        }
        S::CosineWithMinLr => at.cosine(at.progress, at.floor()),
        S::Polynomial => at.polynomial(),
        S::InverseSqrt => {
            // without a warmup transformers takes a timescale of 10,000
            let scale = at.number("timescale", if at.warm > 0.0 { at.warm } else { 10_000.0 });
            1.0 / ((at.step + scale - at.warm) / scale).sqrt()
        }
    }
}

/// A place in a schedule.
struct At<'a> {
    config: &'a TrainConfig,
    step: f64,
    total: f64,
    /// Updates of the warmup, and those after it (at least 1).
    warm: f64,
    rest: f64,
    /// Share of those after the warmup that are done.
    progress: f64,
}

impl<'a> At<'a> {
    fn new(config: &'a TrainConfig, total: usize, done: usize) -> Self {
        let (step, total, warm) = (done as f64, total as f64, warmup(config, total) as f64);
        let rest = (total - warm).max(1.0);
        Self { config, step, total, warm, rest, progress: (step - warm) / rest }
    }

    fn number(&self, name: &str, default: f64) -> f64 {
        self.config.lr_scheduler_kwargs.number(name).unwrap_or(default)
    }

    /// The floor as a share of the learning rate.
    fn floor(&self) -> f64 {
        let args = &self.config.lr_scheduler_kwargs;
        match self.config.min_lr.or(args.number("min_lr")) {
            Some(floor) => floor / self.config.learning_rate,
            None => self.number("min_lr_rate", 0.0),
        }
    }

    fn cosine(&self, progress: f64, floor: f64) -> f64 {
        let cycles = self.number("num_cycles", 0.5);
        let fall = 0.5 * (1.0 + (PI * cycles * 2.0 * progress).cos());
        (fall * (1.0 - floor) + floor).max(0.0)
    }

    /// The warmup begins above 0, and the fall one step early.
    fn cosine_warmup_with_min_lr(&self) -> f64 {
        if self.step < self.warm {
            return match self.config.lr_scheduler_kwargs.number("warmup_lr_rate") {
                None => (self.step + 1.0) / self.warm.max(1.0),
                Some(start) => start + (1.0 - start) * self.step / (self.warm - 1.0).max(1.0),
            };
        }
        self.cosine((self.step - self.warm + 1.0) / self.rest, self.floor())
    }

    fn polynomial(&self) -> f64 {
        let (rate, end) = (self.config.learning_rate, self.number("lr_end", POLYNOMIAL_END));
        if self.step > self.total {
            return end / rate;
        }
        ((rate - end) * (1.0 - self.progress).powf(self.number("power", 1.0)) + end) / rate
    }

    fn warmup_stable_decay(&self) -> f64 {
        let word = |name| self.config.lr_scheduler_kwargs.word(name);
        let floor = self.number("min_lr_ratio", 0.0);
        let floored = |x: f64| (x * (1.0 - floor) + floor).max(0.0);
        if self.step < self.warm {
            let p = self.step / self.warm.max(1.0);
            return floored(match word("warmup_type") {
                Some("cosine") => 0.5 * (1.0 - (PI * p).cos()),
                Some("1-sqrt") => 1.0 - (1.0 - p).sqrt(),
                _ => p,
            });
        }
        let decay = self.number("num_decay_steps", 0.0);
        let stable = self.number("num_stable_steps", self.total - self.warm - decay);
        let into = self.step - self.warm - stable;
        if into < 0.0 {
            return 1.0;
        }
        if into >= decay {
            return floor;
        }
        let p = into / decay.max(1.0);
        floored(match word("decay_type") {
            Some("linear") => 1.0 - p,
            Some("1-sqrt") => 1.0 - p.sqrt(),
            _ => 0.5 * (1.0 + (PI * self.number("num_cycles", 0.5) * 2.0 * p).cos()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(kind: LrScheduler) -> Vec<f64> {
        let config = TrainConfig {
            learning_rate: 2.0,
            lr_scheduler_type: kind,
            warmup_steps: 2.0,
            min_lr: Some(0.2),
            ..TrainConfig::default()
        };
        (0..10).map(|s| lr(&config, 10, s)).collect()
    }

    #[test]
    fn every_schedule_warms_up_and_falls_as_transformers_does() {
        use LrScheduler as S;
        assert_eq!(rates(S::Constant), [2.0; 10]);
        for kind in [
            S::Linear,
            S::Cosine,
            S::CosineWithRestarts,
            S::Polynomial,
            S::ConstantWithWarmup,
            S::InverseSqrt,
        ] {
            assert_eq!(rates(kind)[..3], [0.0, 1.0, 2.0], "{kind:?}");
        }
        assert_eq!(rates(S::Linear)[6], 1.0);
        assert!((rates(S::Cosine)[6] - 1.0).abs() < 1e-12);
        assert!((rates(S::CosineWithMinLr)[6] - 1.1).abs() < 1e-12);
        assert!((rates(S::Polynomial)[6] - (1.0 + 0.5e-7)).abs() < 1e-9);
        assert!((rates(S::InverseSqrt)[8] - 2.0 / (8.0f64 / 2.0).sqrt()).abs() < 1e-12);
    }
}

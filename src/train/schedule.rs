//! The learning rate as a function of the updates done (transformers 5.6, `optimization.py`).

use crate::config::steps::warmup;
use crate::config::{LrScheduler, TrainConfig};
use std::f64::consts::PI;

/// The end of `polynomial`: transformers' default `lr_end`.
const POLYNOMIAL_END: f64 = 1e-7;

/// The rate of the update that follows `done` updates, of `total`. The first one under a warmup runs at 0.
pub fn lr(config: &TrainConfig, total: usize, done: usize) -> f64 {
    config.learning_rate * factor(config, total, done)
}

fn factor(config: &TrainConfig, total: usize, done: usize) -> f64 {
    use LrScheduler as S;
    let w = warmup(config, total);
    let (step, warm) = (done as f64, w as f64);
    if config.lr_scheduler_type == S::Constant {
        return 1.0;
    }
    if done < w {
        return step / warm.max(1.0);
    }
    let rest = (total as f64 - warm).max(1.0);
    let progress = (step - warm) / rest;
    match config.lr_scheduler_type {
        S::Constant | S::ConstantWithWarmup => 1.0,
        S::Linear => ((total as f64 - step) / rest).max(0.0),
        S::Cosine => (0.5 * (1.0 + (PI * progress).cos())).max(0.0),
        S::CosineWithRestarts if progress >= 1.0 => 0.0,
        S::CosineWithRestarts => (0.5 * (1.0 + (PI * progress.fract()).cos())).max(0.0),
        S::CosineWithMinLr => {
            let floor = config.min_lr.unwrap_or(0.0) / config.learning_rate;
            (0.5 * (1.0 + (PI * progress).cos()) * (1.0 - floor) + floor).max(0.0)
        }
        S::Polynomial if done > total => POLYNOMIAL_END / config.learning_rate,
        S::Polynomial => {
            let end = POLYNOMIAL_END;
            let left = 1.0 - progress;
            ((config.learning_rate - end) * left + end) / config.learning_rate
        }
        S::InverseSqrt => {
            // without a warmup transformers takes a timescale of 10,000
            let scale = if w > 0 { warm } else { 10_000.0 };
            1.0 / ((step + scale - warm) / scale).sqrt()
        }
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

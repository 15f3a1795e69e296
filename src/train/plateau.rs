//! `reduce_lr_on_plateau`: torch's `ReduceLROnPlateau`, stepped with each evaluation as transformers does.

use crate::config::TrainConfig;
use serde::{Deserialize, Serialize};

/// What it has seen so far. Kept in checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    best: Option<f64>,
    /// Evaluations in a row that were not better.
    bad: usize,
    /// Evaluations to come that do not count as bad.
    cooling: usize,
    /// The learning rate, once it was lowered.
    lowered: Option<f64>,
}

impl Plateau {
    /// The learning rate after the evaluations so far.
    pub fn lr(&self, config: &TrainConfig) -> f64 {
        self.lowered.unwrap_or(config.learning_rate)
    }

    /// The learning rate was set to `lr` by hand.
    pub fn set(&mut self, lr: f64) {
        self.lowered = Some(lr);
    }

    /// Takes the metric of an evaluation; smaller is better (torch's default `mode`, also for other metrics).
    pub fn step(&mut self, config: &TrainConfig, metric: f64) {
        let args = &config.lr_scheduler_kwargs;
        let of = |name, default| args.number(name).unwrap_or(default);
        let threshold = of("threshold", 1e-4);
        let better = self.best.is_none_or(|best| match args.word("threshold_mode") {
            Some("abs") => metric < best - threshold,
            _ => metric < best * (1.0 - threshold),
        });
        if better {
            self.best = Some(metric);
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad = 0;
        }
        if self.bad > of("patience", 10.0) as usize {
            let (old, floor) = (self.lr(config), config.min_lr.unwrap_or(of("min_lr", 0.0)));
            let new = (old * of("factor", 0.1)).max(floor);
            if old - new > of("eps", 1e-8) {
                self.lowered = Some(new);
            }
            self.cooling = of("cooldown", 0.0) as usize;
            self.bad = 0;
        }
    }
}

//! What an evaluation says while it goes on: scores so far with intervals, and how long it will take.

use super::bootstrap::{self, FEW_DRAWS};
use super::measures::{self, NAMES};
use crate::job::{Emit, Event, Prediction};
use std::time::{Duration, Instant};

/// Time between two tellings.
const EVERY: Duration = Duration::from_secs(1);

/// The scores of the predictions so far.
pub struct Running {
    rows: Vec<Vec<f64>>,
    /// Predictions that were there before.
    first: usize,
    total: usize,
    began: Instant,
    told: Instant,
}

impl Running {
    /// `known` were predicted before, of `total`.
    pub fn new<'a>(known: impl Iterator<Item = &'a Prediction>, total: usize) -> Self {
        let rows: Vec<Vec<f64>> = known.map(measures::values).collect();
        Self { first: rows.len(), rows, total, began: Instant::now(), told: Instant::now() }
    }

    /// Takes a prediction in, and tells the scores now and then.
    pub fn push(&mut self, prediction: &Prediction, emit: Emit) {
        self.rows.push(measures::values(prediction));
        let due = self.told.elapsed() >= EVERY || self.rows.len() == self.total;
        if !due {
            return;
        }
        self.told = Instant::now();
        emit(Event::Scores {
            done: self.rows.len(),
            total: self.total,
            remaining: self.remaining(),
            rows: bootstrap::intervals(&NAMES, &self.rows, FEW_DRAWS),
        });
    }

    /// Seconds left at the speed so far.
    fn remaining(&self) -> f64 {
        let done = (self.rows.len() - self.first).max(1) as f64;
        self.began.elapsed().as_secs_f64() / done * self.total.saturating_sub(self.rows.len()) as f64
    }
}

//! What an evaluation says while it goes on: scores so far with intervals, and how long it will take.

use super::bootstrap::{self, FEW_DRAWS};
use super::measures::{self, NAMES};
use super::slots::{Judged, Labels};
use crate::job::{Emit, Event, Prediction};
use std::time::{Duration, Instant};

/// Time between two tellings.
const EVERY: Duration = Duration::from_secs(1);

/// The scores of the predictions so far.
pub struct Running<'a> {
    rows: Vec<Vec<f64>>,
    /// The facts of pictures, and what was said of them.
    labels: Option<&'a Labels>,
    judged: Vec<Judged>,
    /// Predictions that were there before.
    first: usize,
    total: usize,
    began: Instant,
    told: Instant,
}

impl<'a> Running<'a> {
    /// `known` were predicted before, of `total`.
    pub fn new<'p>(
        known: impl Iterator<Item = &'p Prediction>,
        total: usize,
        labels: Option<&'a Labels>,
    ) -> Self {
        let (rows, judged, now) = (Vec::new(), Vec::new(), Instant::now());
        let mut running = Self { rows, labels, judged, first: 0, total, began: now, told: now };
        known.for_each(|prediction| running.take(prediction));
        running.first = running.rows.len();
        running
    }

    fn take(&mut self, prediction: &Prediction) {
        self.rows.push(measures::values(prediction));
        let judge = |labels: &Labels| labels.judge(&prediction.id, &prediction.predict);
        self.judged.extend(self.labels.and_then(judge));
    }

    /// Takes a prediction in, and tells the scores now and then.
    pub fn push(&mut self, prediction: &Prediction, emit: Emit) {
        self.take(prediction);
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
            slots: self.labels.map(|labels| labels.tally(&self.judged)).unwrap_or_default(),
        });
    }

    /// Seconds left at the speed so far.
    fn remaining(&self) -> f64 {
        let done = (self.rows.len() - self.first).max(1) as f64;
        self.began.elapsed().as_secs_f64() / done * self.total.saturating_sub(self.rows.len()) as f64
    }
}

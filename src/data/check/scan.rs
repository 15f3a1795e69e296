//! Goes over the rows of a set in parallel and hands them on in order; memory does not grow with the rows.

use super::row::{Looker, Seen};
use crate::job::{Emit, Event, Phase};
use rayon::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Rows looked at between two hand-overs.
const CHUNK: usize = 512;

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Counts rows and tells of them now and then.
pub(super) struct Meter<'a> {
    emit: Emit<'a>,
    total: usize,
    done: AtomicUsize,
    told: Mutex<Instant>,
}

impl<'a> Meter<'a> {
    pub fn new(total: usize, emit: Emit<'a>) -> Self {
        emit(Event::Progress { phase: Phase::Checking, done: 0, total });
        Self { emit, total, done: AtomicUsize::new(0), told: Mutex::new(Instant::now()) }
    }

    fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        // Another thread that tells just now tells for this one too.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() >= PROGRESS_EVERY {
            *told = Instant::now();
            (self.emit)(Event::Progress { phase: Phase::Checking, done, total: self.total });
        }
    }

    pub fn finish(&self) {
        let done = self.done.load(Ordering::Relaxed);
        (self.emit)(Event::Progress { phase: Phase::Checking, done, total: self.total });
    }
}

/// Looks at all rows; `take` gets them in order. `false`: `stop` was set, and rows are missing.
pub(super) fn scan(looker: &Looker, meter: &Meter, stop: &AtomicBool, take: &mut dyn FnMut(Seen)) -> bool {
    let rows = looker.reader.len();
    for start in (0..rows).step_by(CHUNK) {
        let look = |row| {
            let stopped = stop.load(Ordering::Relaxed);
            (!stopped).then(|| {
                let seen = looker.look(row);
                meter.one_more();
                seen
            })
        };
        let chunk: Vec<Option<Seen>> = (start..rows.min(start + CHUNK)).into_par_iter().map(look).collect();
        for seen in chunk {
            let Some(seen) = seen else { return false };
            take(seen);
        }
    }
    true
}

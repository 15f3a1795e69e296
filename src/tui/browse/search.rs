//! The search thread: looks at one row after another, tells what it finds as it goes, stops for a newer search.

use super::trained::Trainer;
use super::{Ask, Open, Told, opened};
use crate::config::TrainConfig;
use crate::data::query::{Facts, Query};
use crate::error::Result;
use crate::tui::Msg;
use crate::tui::effects::Loaded;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// Time between two messages of a search.
const EVERY: Duration = Duration::from_millis(60);

/// Counted tokens by row, of one data set with one configuration.
#[derive(Default)]
struct Counts {
    of: Option<(u64, Box<TrainConfig>)>,
    counts: HashMap<usize, usize>,
}

pub(super) fn work(inbox: &Receiver<Ask>, open: &Open, out: &Sender<Msg>) {
    let trainer = RefCell::new(Trainer::default());
    let mut counts = Counts::default();
    let mut next = inbox.recv().ok();
    while let Some(ask) = next.take() {
        // Only the newest counts.
        let ask = inbox.try_iter().last().unwrap_or(ask);
        if let Ask::Search { set, search, query: Some(query), config } = ask {
            if counts.of.as_ref().is_none_or(|of| of.0 != set || of.1 != config) {
                counts = Counts { of: Some((set, config.clone())), counts: HashMap::new() };
            }
            let one = One { set, search, query: &query, config: &config, out, trainer: &trainer };
            next = one.run(open, inbox, &mut counts.counts);
        }
        if next.is_none() {
            next = inbox.recv().ok();
        }
    }
}

/// One search.
struct One<'a> {
    set: u64,
    search: u64,
    query: &'a Query,
    config: &'a TrainConfig,
    out: &'a Sender<Msg>,
    trainer: &'a RefCell<Trainer>,
}

impl One<'_> {
    /// Searches to the end, or until a newer request comes, which is given back.
    fn run(&self, open: &Open, inbox: &Receiver<Ask>, counts: &mut HashMap<usize, usize>) -> Option<Ask> {
        let set = opened(open, self.set)?;
        let (mut found, mut last) = (Vec::new(), Instant::now());
        let counts = RefCell::new(counts);
        for row in 0..set.len() {
            let shown = set.row(row);
            let count = |sample: &crate::data::Sample| {
                if let Some(n) = counts.borrow().get(&row) {
                    return Ok(*n);
                }
                let n = self.trainer.borrow_mut().count(sample, self.config)?;
                counts.borrow_mut().insert(row, n);
                Ok(n)
            };
            let facts = Facts {
                row,
                sample: shown.sample.as_ref().ok(),
                applied: shown.applied,
                codes: &set.codes(row),
                tokens: &count,
            };
            match self.query.matches(&facts) {
                Ok(true) => found.push(row as u32),
                Ok(false) => {}
                Err(error) => {
                    self.tell(found, row, Some(Err(error)));
                    return None;
                }
            }
            if row % 32 == 0 {
                if let Ok(newer) = inbox.try_recv() {
                    return Some(newer);
                }
                if last.elapsed() >= EVERY {
                    self.tell(std::mem::take(&mut found), row + 1, None);
                    last = Instant::now();
                }
            }
        }
        self.tell(found, set.len(), Some(Ok(())));
        None
    }

    fn tell(&self, rows: Vec<u32>, looked: usize, end: Option<Result<()>>) {
        let told = Told::Found { search: self.search, rows, looked, end };
        let _ = self.out.send(Msg::Loaded(Loaded::Browse(told)));
    }
}

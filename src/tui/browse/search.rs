//! The search thread: looks at one row after another, tells what it finds as it goes, stops for a newer search.

use super::set::Set;
use super::trained::Trainer;
use super::{Ask, Open, Told, opened};
use crate::config::TrainConfig;
use crate::data::Sample;
use crate::data::query::{Facts, Query};
use crate::error::Result;
use crate::tui::Msg;
use crate::tui::effects::Loaded;
use rayon::prelude::*;
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

/// Rows looked at between two looks for a newer request, and when tokens are counted.
const CHUNK: usize = 1024;
const COUNTED: usize = 32;

impl One<'_> {
    /// Searches to the end, or until a newer request comes, which is given back.
    fn run(&self, open: &Open, inbox: &Receiver<Ask>, counts: &mut HashMap<usize, usize>) -> Option<Ask> {
        let set = opened(open, self.set)?;
        let (mut found, mut last) = (Vec::new(), Instant::now());
        let mut chunk = CHUNK;
        if self.query.counts_tokens() {
            chunk = COUNTED;
            if let Err(error) = self.trainer.borrow_mut().prepare(self.config) {
                self.tell(found, 0, Some(Err(error)));
                return None;
            }
        }
        for start in (0..set.len()).step_by(chunk) {
            let rows = start..set.len().min(start + chunk);
            let looked = rows.end;
            let may: Vec<usize> =
                rows.into_par_iter().filter(|row| set.may_match(*row, self.query)).collect();
            let rows = self.those_that_match(&set, may, counts);
            found.extend(rows.into_iter().map(|row| row as u32));
            if let Ok(newer) = inbox.try_recv() {
                return Some(newer);
            }
            if last.elapsed() >= EVERY {
                self.tell(std::mem::take(&mut found), looked, None);
                last = Instant::now();
            }
        }
        self.tell(found, set.len(), Some(Ok(())));
        None
    }

    /// The rows that match: one after another where tokens are counted, as that is slow and can be cached. A row whose
    /// tokens cannot be counted does not match.
    fn those_that_match(
        &self,
        set: &Set,
        rows: Vec<usize>,
        counts: &mut HashMap<usize, usize>,
    ) -> Vec<usize> {
        let matches = |row: usize, tokens: &dyn Fn(&Sample) -> Result<usize>| {
            let shown = set.row(row);
            self.query.matches(&Facts {
                row,
                sample: shown.sample.as_ref().ok(),
                applied: shown.applied,
                codes: &set.codes(row),
                tokens,
            })
        };
        if !self.query.counts_tokens() {
            let wanted = |row: &usize| matches(*row, &|_| Ok(0)).unwrap_or(false);
            return rows.into_par_iter().filter(wanted).collect();
        }
        let counts = RefCell::new(counts);
        let mut found = Vec::new();
        for row in rows {
            let count = |sample: &Sample| {
                if let Some(n) = counts.borrow().get(&row) {
                    return Ok(*n);
                }
                let n = self.trainer.borrow_mut().count(sample, self.config)?;
                counts.borrow_mut().insert(row, n);
                Ok(n)
            };
            if matches(row, &count).unwrap_or(false) {
                found.push(row);
            }
        }
        found
    }

    fn tell(&self, rows: Vec<u32>, looked: usize, end: Option<Result<()>>) {
        let told = Told::Found { search: self.search, rows, looked, end };
        let _ = self.out.send(Msg::Loaded(Loaded::Browse(told)));
    }
}

//! The search in the open data set: its line of text, what was found so far.

use super::data::Data;
use crate::config::TrainConfig;
use crate::data::query::Query;
use crate::error::{Error, Result};
use crate::tui::browse::Ask;
use crate::tui::effects::Effect;

/// A search, running or done. Rows come while it runs.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub text: String,
    number: u64,
    active: bool,
    found: Vec<u32>,
    pub looked: usize,
    pub running: bool,
    /// What is wrong with the text or stopped the search.
    pub error: Option<Error>,
    /// All rows are shown, not only those found.
    pub all_rows: bool,
    /// The row that was selected, while the search has not come so far.
    pub anchor: Option<usize>,
}

impl Search {
    /// The same text, to be searched for in another data set; late answers about this one have another number.
    pub(super) fn for_another_set(self) -> Self {
        Self { text: self.text, number: self.number + 1, all_rows: self.all_rows, ..Self::default() }
    }

    /// Rows found, if there is a search.
    pub fn found(&self) -> Option<&[u32]> {
        self.active.then_some(self.found.as_slice())
    }

    /// Rows found, if only they are shown.
    pub fn only(&self) -> Option<&[u32]> {
        self.found().filter(|_| !self.all_rows)
    }

    /// The row found next after `row`, or before it, around the ends.
    pub fn next(&self, row: usize, back: bool) -> Option<usize> {
        let found = self.found()?;
        let row = row as u32;
        let next = match back {
            true => found[..found.partition_point(|r| *r < row)].last().or(found.last()),
            false => found[found.partition_point(|r| *r <= row)..].first().or(found.first()),
        };
        next.map(|r| *r as usize)
    }
}

impl Data {
    /// Searches for `text`; an empty one shows all rows again.
    pub fn set_search(&mut self, text: &str, config: &TrainConfig) -> Vec<Effect> {
        self.search.text = text.to_string();
        let query = match Query::parse(text) {
            Ok(query) => query,
            // While the text is being written it is often unfinished: what was found before stays.
            Err(error) => {
                self.search.error = Some(error);
                return Vec::new();
            }
        };
        let row = self.search.anchor.or(self.row());
        self.search = Search {
            text: std::mem::take(&mut self.search.text),
            number: self.search.number + 1,
            active: !query.is_empty(),
            running: !query.is_empty(),
            all_rows: self.search.all_rows && !query.is_empty(),
            ..Search::default()
        };
        if let Some(row) = row {
            self.keep_row(row, query.is_empty());
        }
        let query = Some(query).filter(|q| !q.is_empty());
        let (set, search, config) = (self.set, self.search.number, Box::new(config.clone()));
        vec![Effect::Browse(Ask::Search { set, search, query, config })]
    }

    /// Takes in rows of a search.
    pub fn take_found(&mut self, number: u64, rows: Vec<u32>, looked: usize, end: Option<Result<()>>) {
        let search = &mut self.search;
        if number != search.number || !search.active {
            return;
        }
        search.found.extend(rows);
        search.looked = looked;
        search.running = end.is_none();
        if let Some(Err(error)) = end {
            search.error = Some(error);
        }
        if let Some(row) = search.anchor {
            let sure = !search.running;
            self.keep_row(row, sure);
        }
    }

    /// Shows all rows, or only those found.
    pub fn toggle_all_rows(&mut self) {
        let row = self.row();
        if self.search.active {
            self.search.all_rows = !self.search.all_rows;
            row.into_iter().for_each(|row| self.keep_row(row, true));
        }
    }
}

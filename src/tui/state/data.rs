//! The open data set: how many rows it has, the few that are held, which are shown, the selected one.

use super::look::Look;
use super::search::Search;
use crate::config::TrainConfig;
use crate::data::clean;
use crate::data::overlay::Change;
use crate::data::{ImageRef, Role, Sample};
use crate::error::Result;
use crate::job::Finding;
use crate::tui::browse::trained::Trained;
use crate::tui::browse::{Ask, Opened, Row};
use crate::tui::effects::Effect;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

/// The registered data sets of a folder and the open one.
#[derive(Default)]
pub struct Data {
    pub dir: PathBuf,
    pub names: Vec<String>,
    pub open: usize,
    /// The number of the open set: answers about another one are passed over.
    pub set: u64,
    /// Rows of the open set, unusable ones included.
    pub rows: usize,
    pub findings: Vec<Finding>,
    codes: Vec<String>,
    /// (row, index of its code), in order.
    flags: Vec<(u32, u16)>,
    /// How many rows have changes.
    pub changed: usize,
    /// Changes taken back, to be made again.
    pub undone: Vec<Change>,
    /// Number of samples of each set that was opened, by its name.
    counts: Vec<(String, usize)>,
    pub loading: bool,
    /// Bytes done and in all while rows are looked for.
    pub progress: Option<(u64, u64)>,
    pub error: Option<String>,
    pub search: Search,
    /// Place among the rows shown.
    pub selected: usize,
    /// Places on screen.
    pub view: Range<usize>,
    pub look: Look,
    pub trained: Option<AsTrained>,
    held: HashMap<usize, Row>,
    /// Rows that were asked for and did not come yet.
    asked: Vec<usize>,
}

/// A sample as trained: for which row and settings, and what came of it.
pub struct AsTrained {
    pub row: usize,
    pub config: TrainConfig,
    /// `None`: on its way.
    pub found: Option<Result<Box<Trained>>>,
}

/// Screens of rows held on each side of the one in view.
const AHEAD: usize = 2;
/// Rows held at least, and how many more than those wanted before some are let go.
const HELD: usize = 256;

impl Data {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, ..Self::default() }
    }

    /// The name of the open set.
    pub fn name(&self) -> Option<&str> {
        self.names.get(self.open).map(String::as_str)
    }

    /// Forgets the open set; the next one gets a new number. The search stays, to be run there.
    pub fn begin(&mut self) {
        let search = std::mem::take(&mut self.search);
        *self = Self {
            dir: std::mem::take(&mut self.dir),
            names: std::mem::take(&mut self.names),
            open: self.open,
            set: self.set + 1,
            counts: std::mem::take(&mut self.counts),
            look: Look { zoom: 100, picture: 0, centre: Look::default().centre, ..self.look.clone() },
            search: search.for_another_set(),
            loading: true,
            ..Self::default()
        };
    }

    /// Takes in what is known of a set that was opened.
    pub fn opened(&mut self, opened: Opened) {
        self.counts.retain(|c| c.0 != opened.name);
        self.counts.push((opened.name, opened.rows));
        (self.rows, self.findings, self.changed) = (opened.rows, opened.findings, opened.changed);
        (self.codes, self.flags) = (opened.codes, opened.flags);
        (self.loading, self.progress, self.error) = (false, None, None);
    }

    /// Samples of a set that was opened before.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.counts.iter().find(|c| c.0 == name).map(|c| c.1)
    }

    /// How many rows are shown: all, or those that were found.
    pub fn shown(&self) -> usize {
        self.search.only().map_or(self.rows, <[u32]>::len)
    }

    /// The row at a place of the list.
    pub fn row_at(&self, place: usize) -> Option<usize> {
        match self.search.only() {
            Some(found) => found.get(place).map(|row| *row as usize),
            None => Some(place).filter(|row| *row < self.rows),
        }
    }

    /// The place of a row in the list, or where it would be.
    pub fn place_of(&self, row: usize) -> usize {
        match self.search.only() {
            Some(found) => found.partition_point(|r| (*r as usize) < row),
            None => row,
        }
    }

    /// What is held of a row.
    pub fn held(&self, row: usize) -> Option<&Row> {
        self.held.get(&row)
    }

    /// How many rows are held.
    pub fn held_rows(&self) -> usize {
        self.held.len()
    }

    /// The selected row's number.
    pub fn row(&self) -> Option<usize> {
        self.row_at(self.selected)
    }

    /// The selected row, once it is there.
    pub fn current(&self) -> Option<&Row> {
        self.held(self.row()?)
    }

    /// The selected sample.
    pub fn sample(&self) -> Option<&Sample> {
        self.current()?.sample.as_ref().ok()
    }

    /// The first picture of the selected sample.
    pub fn picture(&self) -> Option<&ImageRef> {
        self.sample()?.images.first()
    }

    /// Moves the selection to a place of the list, as near as there is one.
    pub fn select(&mut self, place: isize) {
        self.search.anchor = None;
        self.move_to(place.clamp(0, self.shown().saturating_sub(1) as isize) as usize);
    }

    fn move_to(&mut self, place: usize) {
        if place != self.selected {
            self.selected = place;
            self.look.next_sample();
        }
    }

    /// Moves the selection by `rows`.
    pub fn step(&mut self, rows: isize) {
        self.select((self.selected as isize).saturating_add(rows));
    }

    /// Selects a row, or the first shown one after it.
    pub fn select_row(&mut self, row: usize) {
        self.select(self.place_of(row) as isize);
    }

    /// Puts the selection back on its row after the rows shown have changed.
    pub fn keep_row(&mut self, row: usize, sure: bool) {
        let place = self.place_of(row);
        let there = place < self.shown();
        // What is found grows at its end: until the row's place is reached the first ones are looked at.
        self.selected = match (there, sure) {
            (true, _) => place,
            (false, true) => self.shown().saturating_sub(1),
            (false, false) => 0,
        };
        self.search.anchor = (!there && !sure).then_some(row);
    }

    /// Codes of the findings about a row.
    pub fn codes(&self, row: usize) -> impl Iterator<Item = &str> {
        let first = self.flags.partition_point(|f| (f.0 as usize) < row);
        let here = self.flags[first..].iter().take_while(move |f| f.0 as usize == row);
        here.filter_map(|f| self.codes.get(usize::from(f.1)).map(String::as_str))
    }

    /// The next row with a finding, among those shown; `back`: the one before.
    pub fn next_finding(&self, back: bool) -> Option<usize> {
        let row = self.row()?;
        let shown = |flag: &&(u32, u16)| match self.search.only() {
            Some(found) => found.binary_search(&flag.0).is_ok(),
            None => (flag.0 as usize) < self.rows,
        };
        let split = self.flags.partition_point(|f| (f.0 as usize) < row);
        let found = match back {
            true => self.flags[..split].iter().rev().find(shown),
            false => self.flags[split..].iter().filter(|f| f.0 as usize != row).find(shown),
        };
        found.map(|f| f.0 as usize)
    }

    /// Takes in rows that were asked for.
    pub fn take_rows(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.asked.retain(|asked| *asked != row.row);
            self.held.insert(row.row, row);
        }
        let wanted = self.wanted();
        if self.held.len() > wanted.len().max(HELD) * 2 {
            self.held.retain(|row, _| wanted.contains(row));
        }
    }

    /// Forgets a row that has changed, so that it is read again.
    pub fn forget(&mut self, row: usize) {
        self.held.remove(&row);
        if self.trained.as_ref().is_some_and(|t| t.row == row) {
            self.trained = None;
        }
    }

    /// Rows in view and around it, the most urgent first.
    fn wanted(&self) -> Vec<usize> {
        let height = self.view.len().max(1);
        let ahead = self.view.end..self.view.end + AHEAD * height;
        let behind = (self.view.start.saturating_sub(AHEAD * height)..self.view.start).rev();
        let near = self.selected.saturating_sub(1)..self.selected + 2;
        let places =
            std::iter::once(self.selected).chain(near).chain(self.view.clone()).chain(ahead).chain(behind);
        places.filter_map(|place| self.row_at(place)).collect()
    }

    /// What to ask for now: rows that are missing, unless they are on their way.
    pub fn missing(&mut self) -> Option<Effect> {
        let mut rows: Vec<usize> = Vec::new();
        for row in self.wanted() {
            if !self.held.contains_key(&row) && !rows.contains(&row) {
                rows.push(row);
            }
        }
        // A new request replaces the one before, so what is on its way is asked for again with the rest.
        if rows.iter().all(|row| self.asked.contains(row)) {
            return None;
        }
        self.asked.clone_from(&rows);
        Some(Effect::Browse(Ask::Rows { set: self.set, rows }))
    }
}

/// The question of a sample without its picture marks, made harmless.
pub fn question(sample: &Sample) -> String {
    said_by(sample, Role::User).replace("<image>", "")
}

/// The caption: what the assistant says, made harmless.
pub fn caption(sample: &Sample) -> String {
    said_by(sample, Role::Assistant)
}

fn said_by(sample: &Sample, role: Role) -> String {
    // More than this is never on a screen.
    const LONGEST: usize = 20_000;
    let mut text = String::new();
    for message in sample.messages.iter().filter(|m| m.role == role) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.extend(message.content.chars().take(LONGEST));
    }
    clean::for_terminal_lines(&text)
}

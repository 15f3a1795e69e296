//! What comes more than once: rows, pictures, answers and ids, within a set and in the validation set.

use super::ledger::Ledger;
use super::row::{Print, Seen};
use super::rule::Rule;
use std::collections::HashMap;

/// The first row of everything met so far.
#[derive(Default)]
pub(super) struct Repeats {
    rows: HashMap<Print, u32>,
    pictures: HashMap<Print, u32>,
    answers: HashMap<Print, u32>,
    ids: HashMap<Print, u32>,
}

impl Repeats {
    /// Takes a row in, and notes what it repeats.
    pub fn take(&mut self, seen: &Seen, ledger: &mut Ledger) {
        let Some(facts) = &seen.facts else { return };
        let row = u32::try_from(seen.row).unwrap_or(u32::MAX);
        let mut note = |rule, first: u32| {
            ledger.add(rule, (seen.row, seen.id.as_deref()), Some(&format!("as row {first}")));
        };
        if let Some(first) = facts.prints.id.and_then(|id| met(&mut self.ids, id, row)) {
            note(Rule::DuplicateId, first);
        }
        if !facts.is_sound {
            return;
        }
        let pictures: Vec<u32> =
            facts.pictures.iter().filter_map(|p| met(&mut self.pictures, p.hash, row)).collect();
        let answer = facts.prints.answer.and_then(|a| met(&mut self.answers, a, row));
        match (met(&mut self.rows, facts.prints.row, row), pictures.first(), answer) {
            (Some(first), _, _) => note(Rule::DuplicateRow, first),
            (None, Some(first), _) => note(Rule::RepeatedPicture, *first),
            (None, None, Some(first)) => note(Rule::DuplicateCaption, first),
            (None, None, None) => {}
        }
    }
}

/// The earlier row with this print; the row itself is the first if there is none.
fn met(all: &mut HashMap<Print, u32>, print: Print, row: u32) -> Option<u32> {
    let first = *all.entry(print).or_insert(row);
    (first != row).then_some(first)
}

/// What a validation set holds.
#[derive(Default)]
pub(super) struct Others {
    rows: HashMap<Print, u32>,
    pictures: HashMap<Print, u32>,
    ids: HashMap<Print, u32>,
}

impl Others {
    pub fn take(&mut self, seen: &Seen) {
        let Some(facts) = &seen.facts else { return };
        let row = u32::try_from(seen.row).unwrap_or(u32::MAX);
        facts.pictures.iter().for_each(|p| {
            self.pictures.entry(p.hash).or_insert(row);
        });
        if facts.is_sound {
            self.rows.entry(facts.prints.row).or_insert(row);
        }
        if let Some(id) = facts.prints.id {
            self.ids.entry(id).or_insert(row);
        }
    }

    /// Notes what a row of the training set shares with the validation set.
    pub fn compare(&self, seen: &Seen, ledger: &mut Ledger) {
        let Some(facts) = &seen.facts else { return };
        let picture = facts.pictures.iter().find_map(|p| self.pictures.get(&p.hash));
        let same = || self.rows.get(&facts.prints.row).filter(|_| facts.is_sound);
        let id = || facts.prints.id.and_then(|id| self.ids.get(&id));
        let found = match (picture, same(), id()) {
            (Some(row), _, _) => Some((Rule::LeakedPicture, row)),
            (None, Some(row), _) => Some((Rule::LeakedRow, row)),
            (None, None, Some(row)) => Some((Rule::LeakedId, row)),
            (None, None, None) => None,
        };
        if let Some((rule, row)) = found {
            ledger.add(rule, (seen.row, seen.id.as_deref()), Some(&format!("as row {row} there")));
        }
    }
}

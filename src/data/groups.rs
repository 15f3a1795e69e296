//! The same thing in many rows as one finding: how often, which rows, a few examples.

use super::clean;
use crate::job::{Finding, Level};

/// Rows listed in a finding, and rows told in its message.
const LISTED: usize = 20;
const TOLD: usize = 3;

/// One row: its file (empty if there is only one), its number there, its id.
pub(super) struct Place<'a> {
    pub file: &'a str,
    pub row: usize,
    pub id: Option<&'a str>,
}

/// How often something happened, and where first.
#[derive(Default)]
pub(super) struct Group {
    pub count: usize,
    rows: Vec<usize>,
    pub examples: Vec<String>,
}

impl Group {
    /// It happened in `count` rows from this one on; `detail` says what in this case.
    pub fn add(&mut self, place: &Place, count: usize, detail: Option<&str>) {
        self.count += count;
        let room = LISTED.saturating_sub(self.rows.len());
        self.rows.extend((place.row..place.row + count).take(room));
        if self.examples.len() < TOLD {
            self.examples.push(example(place, count, detail));
        }
    }

    /// As a finding: `what`, then the examples in brackets.
    pub fn finding(&self, level: Level, code: &str, what: &str, fix: &str) -> Finding {
        let more = if self.count > self.examples.len() { "; …" } else { "" };
        let message = format!("{what} ({}{more})", self.examples.join("; "));
        Finding {
            level,
            code: code.into(),
            message,
            count: self.count,
            rows: self.rows.clone(),
            fix: fix.into(),
        }
    }
}

/// "a.parquet row 3 id x: why". Ids and details are cleaned and shortened: they may hold anything.
fn example(place: &Place, count: usize, detail: Option<&str>) -> String {
    let file =
        if place.file.is_empty() { String::new() } else { format!("{} ", clean::for_terminal(place.file)) };
    let last = if count > 1 { format!("..{}", place.row + count - 1) } else { String::new() };
    let id = place.id.map(|id| format!(" id {}", shorten(id, 60))).unwrap_or_default();
    let why = detail.map(|d| format!(": {}", shorten(d, 200))).unwrap_or_default();
    format!("{file}row {}{last}{id}{why}", place.row)
}

fn shorten(text: &str, most: usize) -> String {
    let text = clean::for_terminal(text);
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// "1 row", "7 rows".
pub(super) fn count_rows(n: usize) -> String {
    if n == 1 { "1 row".into() } else { format!("{n} rows") }
}

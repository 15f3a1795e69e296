//! What happened to the rows of a conversion: counts by reason, and examples.

use super::super::groups::{Group, Place, count_rows};
use super::row_notes::{Notice, Reason};
use crate::job::{Emit, Event, Finding, Level};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Tally {
    pub rows: usize,
    pub kept: usize,
    skipped: BTreeMap<Reason, Group>,
    notices: BTreeMap<Notice, Group>,
}

impl Tally {
    pub fn skipped(&self) -> usize {
        self.skipped.values().map(|g| g.count).sum()
    }

    /// A row was left out, or `count` rows from this one on.
    pub fn skip(&mut self, place: &Place, count: usize, reason: Reason, detail: &str) {
        self.rows += count;
        self.skipped.entry(reason).or_default().add(place, count, Some(detail));
    }

    /// A row was kept.
    pub fn keep(&mut self, place: &Place, notices: &[Notice]) {
        self.rows += 1;
        self.kept += 1;
        for notice in notices {
            self.notices.entry(*notice).or_default().add(place, 1, None);
        }
    }

    /// Sends the findings, the graver first; `fix` says what to do about skipped rows.
    pub fn emit(&self, fix: &str, emit: Emit) {
        let all = count_rows(self.rows);
        let skipped = self.skipped.iter().map(|(reason, group)| {
            // Rows that nobody could look at weigh more than rows that were looked at and left out.
            let level = if *reason == Reason::UnreadableRows { Level::Error } else { Level::Warning };
            let what = format!("{} of {all} skipped: {}", group.count, reason.text());
            group.finding(level, reason.code(), &what, fix)
        });
        let notices = self.notices.iter().map(|(notice, group)| {
            let what = format!("{} of {all}: {}", group.count, notice.text());
            group.finding(Level::Info, notice.code(), &what, "")
        });
        let mut findings: Vec<Finding> = skipped.chain(notices).collect();
        findings.sort_by_key(|f| std::cmp::Reverse(f.level));
        findings.into_iter().for_each(|f| emit(Event::Finding(f)));
    }

    /// `{"total": n, "<reason>": n, ..}`.
    pub fn skipped_json(&self) -> Value {
        let mut counts = Map::from_iter([("total".to_string(), json!(self.skipped()))]);
        counts.extend(self.skipped.iter().map(|(r, g)| (r.code().to_string(), json!(g.count))));
        Value::Object(counts)
    }

    /// `{"<notice>": n, ..}`.
    pub fn notices_json(&self) -> Value {
        self.notices.iter().map(|(n, g)| (n.code().to_string(), json!(g.count))).collect::<Map<_, _>>().into()
    }

    /// How often something was noticed.
    pub fn noticed(&self, notice: Notice) -> usize {
        self.notices.get(&notice).map_or(0, |group| group.count)
    }

    /// The reasons in one line, each with its first row.
    pub fn reasons(&self) -> String {
        let one = |(reason, group): (&Reason, &Group)| {
            let first = group.examples.first().map(|e| format!(" ({e})")).unwrap_or_default();
            format!("{} × {}{first}", group.count, reason.text())
        };
        self.skipped.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

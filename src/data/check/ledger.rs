//! What was found, by rule: how often, in which rows, a few examples.

use super::rule::Rule;
use super::saved::RowFindings;
use crate::data::groups::{Group, Place, count_rows};
use crate::job::{Finding, Level};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Ledger(BTreeMap<Rule, Noted>);

#[derive(Default)]
struct Noted {
    group: Group,
    /// All of them, 4 bytes each.
    rows: Vec<u32>,
}

impl Ledger {
    pub fn add(&mut self, rule: Rule, (row, id): (usize, Option<&str>), detail: Option<&str>) {
        let noted = self.0.entry(rule).or_default();
        noted.group.add(&Place { file: "", row, id }, 1, detail);
        noted.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
    }

    /// The findings with all their rows, the graver first. `rows`: of the whole set.
    pub fn findings(&self, rows: usize) -> Vec<(Finding, RowFindings)> {
        let one = |(rule, noted): (&Rule, &Noted)| {
            let (level, code, what, fix) = rule.describe();
            let left_out = if matches!(rule, Rule::Fault(_)) { " left out" } else { "" };
            let what = format!("{} of {}{left_out}: {what}", noted.group.count, count_rows(rows));
            let finding = noted.group.finding(level, code, &what, fix);
            let all = RowFindings::new(&finding, noted.rows.iter().map(|r| *r as usize).collect());
            (finding, all)
        };
        let mut findings: Vec<_> = self.0.iter().map(one).collect();
        findings.sort_by_key(|(f, _)| std::cmp::Reverse(f.level));
        findings
    }

    /// The rules of at least this level, with their rows.
    pub fn rows_of(&self, level: Level) -> impl Iterator<Item = (Rule, &[u32])> {
        self.0.iter().filter(move |(rule, _)| rule.level() >= level).map(|(rule, n)| (*rule, &n.rows[..]))
    }
}

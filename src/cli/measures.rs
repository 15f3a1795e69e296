//! Measures of predictions as `eval` and `score` print them.

use super::columns;
use super::output::Out;
use crate::eval::measures::Summary;
use crate::job::{ScoreRow, SlotRow};

/// All samples, then each kind of picture, then the slots.
pub fn print(summary: &Summary, out: &Out) {
    let rows = summary.measures.iter().map(|r| cells(&r.name, r)).collect();
    table(&["measure", "mean", "95 % interval"], rows, out);
    for group in &summary.groups {
        out.line("");
        let rows = group.measures.iter().map(|r| cells(&r.name, r)).collect();
        let heading = format!("{} ({})", group.name, group.samples);
        table(&[&heading, "mean", "95 % interval"], rows, out);
    }
    if let Some(slots) = &summary.slots {
        out.line("");
        let percent = |x: f64| format!("{:.1} %", x * 100.0);
        let maybe = |x: Option<f64>| x.map(percent).unwrap_or_default();
        let row = |r: &SlotRow| {
            let (nothing, other) = (maybe(r.not_stated), maybe(r.other_stated));
            let name = r.slot.replace('_', " ");
            vec![name, percent(r.accuracy), percent(r.blind), nothing, other, r.n.to_string()]
        };
        let heading = ["told right", "share", "blind", "not stated", "something else", "samples"];
        table(&heading, slots.rows.iter().map(row).collect(), out);
    }
}

fn cells(name: &str, row: &ScoreRow) -> Vec<String> {
    vec![name.into(), format!("{:.4}", row.mean), format!("{:.2} to {:.2}", row.low, row.high)]
}

fn table(heading: &[&str], rows: Vec<Vec<String>>, out: &Out) {
    let widths = columns::widths(heading, &rows);
    out.line(columns::row(heading, &widths));
    for row in &rows {
        out.line(columns::row(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
    }
}

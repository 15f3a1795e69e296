//! Facts told right, of base and tuned model: a table beside the scores, or a line below them.

use super::{INTERVAL, NAME, NUMBER};
use crate::data::clean;
use crate::job::SlotRow;
use crate::tui::panes::Canvas;
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::widgets::table::{Align, cell};
use ratatui::layout::Rect;
use ratatui::text::Line;

/// Columns of the scores, and of the smallest table of facts.
const SCORES: usize = NAME + 2 * (NUMBER + INTERVAL);
const FACTS: usize = NAME + 3 * NUMBER;
/// Blanks between the two.
const GAP: usize = 3;
/// Most rows of the table, and on a low screen.
const MOST: usize = 9;
const MOST_LOW: usize = 4;

/// Draws them beside the scores, which take `used` rows, or in the row after these; gives the rows that both take.
pub(super) fn draw(canvas: &mut Canvas, area: Rect, used: usize) -> usize {
    let state = canvas.state;
    let slots = in_order(state);
    if slots.is_empty() {
        return used;
    }
    let width = usize::from(area.width);
    if width < SCORES + GAP + FACTS {
        canvas.line(area, used, Line::raw(text::truncate(&line(state, &slots), width).into_owned()));
        return used + 1;
    }
    let left = (SCORES + GAP) as u16;
    let beside = Rect { x: area.x + left, width: area.width - left, ..area };
    table(canvas, beside, &slots)
}

/// The slots of either model, all together first.
fn in_order(state: &State) -> Vec<&SlotRow> {
    let e = &state.evaluation;
    let rows = if e.tuned.slots.is_empty() { &e.base.slots } else { &e.tuned.slots };
    let all = rows.last().into_iter();
    all.chain(rows.iter().take(rows.len().saturating_sub(1))).filter(|row| row.n > 0).collect()
}

/// The rows of base and tuned model of a slot.
fn both<'a>(state: &'a State, slot: &str) -> [Option<&'a SlotRow>; 2] {
    let e = &state.evaluation;
    [&e.base, &e.tuned].map(|side| side.slots.iter().find(|row| row.slot == slot && row.n > 0))
}

/// How a slot is called; the first one is all of them.
fn name(state: &State, place: usize, slot: &SlotRow) -> String {
    match place {
        0 => state.words.get("eval.all_facts").to_string(),
        _ => clean::for_terminal(&slot.slot.replace('_', " ")),
    }
}

fn percent(x: f64) -> String {
    format!("{:.1} %", x * 100.0)
}

/// `facts: all 54.2 % · side 66.7 %`, of the tuned model where there are both.
fn line(state: &State, slots: &[&SlotRow]) -> String {
    let one = |(place, slot): (usize, &&SlotRow)| {
        format!("{} {}", name(state, place, slot), percent(slot.accuracy))
    };
    let all = slots.iter().enumerate().map(one).collect::<Vec<_>>().join(" · ");
    format!("{}: {all}", state.words.get("eval.facts"))
}

/// The table; gives its rows.
fn table(canvas: &mut Canvas, area: Rect, slots: &[&SlotRow]) -> usize {
    let state = canvas.state;
    let words = state.words;
    // Where there is room, how often nothing is stated, and longer names.
    let room = usize::from(area.width) - FACTS;
    let columns = if room < NUMBER { 3 } else { 4 };
    let wide = NAME + (room - (columns - 3) * NUMBER).min(NAME);
    let mut heading = cell(words.get("eval.facts"), wide, Align::Left);
    for title in ["eval.base", "eval.tuned", "eval.blind", "eval.silent"].into_iter().take(columns) {
        heading += &cell(words.get(title), NUMBER, Align::Right);
    }
    canvas.line(area, 0, Line::styled(heading, state.theme.dim));
    let most = if area.height < 24 { MOST_LOW } else { MOST };
    for (place, slot) in slots.iter().take(most - 1).enumerate() {
        let [base, tuned] = both(state, &slot.slot);
        let accuracy = |row: Option<&SlotRow>| row.map(|row| percent(row.accuracy)).unwrap_or_default();
        let silent = slot.not_stated.map(percent).unwrap_or_default();
        let title = name(state, place, slot);
        let mut line = cell(&text::truncate(&title, wide - 1), wide, Align::Left);
        let numbers = [accuracy(base), accuracy(tuned), percent(slot.blind), silent];
        for number in numbers.into_iter().take(columns) {
            line += &cell(&number, NUMBER, Align::Right);
        }
        canvas.line(area, place + 1, Line::raw(line));
    }
    slots.len().min(most - 1) + 1
}

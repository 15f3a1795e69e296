//! Which panes are on screen and where: all four where there is room, else a row or a column of them, else one.

use super::state::PaneId;
use ratatui::layout::{Constraint, Layout, Rect};

/// A pane is narrower or lower than this only where there is nothing else.
const LEAST: (u16, u16) = (60, 16);
/// Two halves have a border each.
const TWO_COLUMNS: u16 = 2 * LEAST.0;
const TWO_ROWS: u16 = 2 * LEAST.1;

/// Shares of a split, in percent.
pub const SHARES: std::ops::RangeInclusive<u16> = 20..=80;

/// A line between panes that the mouse can move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    Columns,
    Rows,
}

/// Panes with their places, and the lines between.
pub struct Arranged {
    pub panes: Vec<(PaneId, Rect)>,
    pub splits: Vec<(Rect, Split)>,
}

/// The grid: the left column above and below, then the right one.
const GRID: [[PaneId; 2]; 2] = [[PaneId::Data, PaneId::Parameters], [PaneId::Training, PaneId::Chat]];

/// Arranges the panes in `area`; `split` is the share of the left column and of the upper row, in percent.
pub fn arrange(area: Rect, focus: PaneId, zoomed: bool, split: (u16, u16)) -> Arranged {
    let place = GRID.iter().enumerate().find_map(|(x, column)| {
        let y = column.iter().position(|p| *p == focus)?;
        Some((x, y))
    });
    let Some((x, y)) = place.filter(|_| !zoomed) else {
        return Arranged { panes: vec![(focus, area)], splits: Vec::new() };
    };
    let columns = if area.width >= TWO_COLUMNS { vec![0, 1] } else { vec![x] };
    let rows = if area.height >= TWO_ROWS { vec![0, 1] } else { vec![y] };
    let mut arranged = Arranged { panes: Vec::new(), splits: Vec::new() };
    let across = parts(area, columns.len(), split.0, Split::Columns);
    for (column, part) in columns.iter().zip(&across) {
        let down = parts(*part, rows.len(), split.1, Split::Rows);
        for (row, place) in rows.iter().zip(&down) {
            arranged.panes.push((GRID[*column][*row], *place));
        }
        if let [upper, _] = down[..] {
            // The border above; in the one below is a title.
            let line = Rect { y: upper.bottom().saturating_sub(1), height: 1, ..upper };
            arranged.splits.push((line, Split::Rows));
        }
    }
    if let [left, right] = across[..] {
        let line = Rect { x: left.right().saturating_sub(1), width: 1 + right.width.min(1), ..left };
        arranged.splits.push((line, Split::Columns));
    }
    arranged
}

fn parts(area: Rect, n: usize, share: u16, split: Split) -> Vec<Rect> {
    if n < 2 {
        return vec![area];
    }
    let halves = [Constraint::Percentage(share), Constraint::Fill(1)];
    let parts: [Rect; 2] = match split {
        Split::Columns => Layout::horizontal(halves).areas(area),
        Split::Rows => Layout::vertical(halves).areas(area),
    };
    parts.to_vec()
}

/// The share of a split that is dragged to a place of the screen.
pub fn dragged(area: Rect, split: Split, (x, y): (u16, u16)) -> u16 {
    let (at, from, whole) = match split {
        Split::Columns => (x, area.x, area.width),
        Split::Rows => (y, area.y, area.height),
    };
    let share = 100 * u32::from(at.saturating_sub(from) + 1) / u32::from(whole.max(1));
    (share as u16).clamp(*SHARES.start(), *SHARES.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(width: u16, height: u16, focus: PaneId, zoomed: bool) -> Vec<PaneId> {
        let arranged = arrange(Rect::new(0, 1, width, height), focus, zoomed, (50, 50));
        let area: u32 = arranged.panes.iter().map(|p| p.1.area()).sum();
        assert_eq!(area, u32::from(width) * u32::from(height), "no gap, no overlap");
        arranged.panes.iter().map(|p| p.0).collect()
    }

    #[test]
    fn as_many_panes_as_there_is_room_for() {
        use PaneId::*;
        assert_eq!(names(80, 21, Chat, false), [Chat]);
        assert_eq!(names(120, 37, Chat, false), [Data, Parameters, Training, Chat]);
        assert_eq!(names(200, 57, Chat, true), [Chat]);
        assert_eq!(names(160, 24, Chat, false), [Parameters, Chat], "a row");
        assert_eq!(names(90, 50, Chat, false), [Training, Chat], "a column");
        assert_eq!(names(1, 1, Data, false), [Data]);
    }

    #[test]
    fn a_split_follows_the_mouse_within_bounds() {
        let area = Rect::new(0, 1, 200, 50);
        assert_eq!(dragged(area, Split::Columns, (59, 9)), 30);
        assert_eq!(dragged(area, Split::Rows, (9, 35)), 70);
        assert_eq!(dragged(area, Split::Columns, (199, 9)), 80);
        assert_eq!(dragged(Rect::new(0, 0, 0, 0), Split::Rows, (0, 0)), 80);
    }

    #[test]
    fn the_line_between_is_where_the_panes_meet() {
        let arranged = arrange(Rect::new(0, 1, 200, 50), PaneId::Data, false, (40, 50));
        let columns = arranged.splits.iter().find(|s| s.1 == Split::Columns).map(|s| s.0);
        assert_eq!(columns, Some(Rect::new(79, 1, 2, 50)));
        assert_eq!(arranged.splits.len(), 3);
    }
}

//! The selected sample's picture on the whole screen.

use super::detail;
use crate::data::{clean, picture};
use crate::tui::panes::Canvas;
use crate::tui::text;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// Draws the picture and a line about it.
pub(super) fn draw(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let (theme, data) = (&state.theme, &state.data);
    let Some(row) = data.current() else {
        return canvas.line(area, 0, Line::styled(state.words.get("data.loading"), theme.dim));
    };
    let Ok(sample) = &row.sample else { return detail::draw(canvas, area) };
    let foot = area.height.min(1);
    let room = Rect { height: area.height - foot, ..area };
    detail::draw_picture(canvas, room, sample);
    let words = state.words;
    let mut said = format!(" {}", words.count("data.row", sample.row));
    if sample.images.len() > 1 {
        let (n, all) = ((data.look.picture + 1).to_string(), sample.images.len().to_string());
        said.push_str(&format!(" · {}", words.fill("data.picture", &[("n", &n), ("all", &all)])));
    }
    if row.applied.excluded {
        said.push_str(&format!(" · {}", words.get("excluded")));
    }
    let seen = data.look.describe(words, state.auto_window());
    let columns = usize::from(area.width);
    let seen = if seen.is_empty() { seen } else { format!(" · {seen}") };
    let mut line = Line::from(vec![Span::styled(said, theme.strong), Span::styled(seen, theme.accent)]);
    line.push_span(Span::raw(format!(" · {}", clean::for_terminal(&sample.id))));
    let name = sample.images.get(data.look.picture).map(picture::name).unwrap_or_default();
    let left = columns.saturating_sub(line.width() + 3);
    if left > 30 {
        line.push_span(Span::styled(
            format!(" · {}", text::tail(&clean::for_terminal(&name), left)),
            theme.dim,
        ));
    }
    canvas.line(Rect { y: room.bottom(), height: foot, ..area }, 0, line);
}

//! The selected sample: its picture and its text, as stored or as the model is trained on it.

use crate::data::Sample;
use crate::data::clean;
use crate::tui::action::Action;
use crate::tui::browse::Row;
use crate::tui::browse::trained::{Fate, Trained};
use crate::tui::panes::{Canvas, Hit};
use crate::tui::pictures::{PictureKey, View};
use crate::tui::state::State;
use crate::tui::state::data::{caption, question};
use crate::tui::text;
use ratatui::layout::{Rect, Size};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// Draws the selected row.
pub(super) fn draw(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let Some(row) = state.data.current() else { return };
    let sample = match &row.sample {
        Ok(sample) => sample,
        Err(error) => {
            let clean = |text: &str| clean::for_terminal(&state.words.said(text));
            let y = canvas.wrapped(area, 0, &clean(&error.message), state.theme.bad);
            let hint = clean(error.hint.as_deref().unwrap_or_default());
            canvas.wrapped(area, y + 1, &hint, state.theme.dim);
            return;
        }
    };
    let columns = usize::from(area.width);
    // Of a long text only what is seen is wrapped, and enough to know whether there is more.
    let seen = state.data.look.scroll.saturating_add(usize::from(area.height) + 2).min(MOST_LINES);
    let words = match state.data.look.trained {
        true => trained_lines(state, columns, seen),
        false => stored_lines(state, sample, columns, seen),
    };
    let mut lines = heading(state, row, sample, columns);
    let fixed = lines.len();
    lines.extend(words);
    // The text gets what it needs, up to half, as trained up to two thirds; the picture the rest.
    let most = if state.data.look.trained { area.height * 2 / 3 } else { area.height / 2 };
    let text_rows = (lines.len() as u16).min(most).max(area.height.min(3));
    let picture = Rect { height: area.height.saturating_sub(text_rows + 1), ..area };
    draw_picture(canvas, picture, sample);
    let words = Rect { y: area.bottom().saturating_sub(text_rows).max(area.y), height: text_rows, ..area };
    draw_words(canvas, words, lines, fixed);
}

/// The sample's picture that is looked at; those a step away are loaded ahead.
pub(super) fn draw_picture(canvas: &mut Canvas, area: Rect, sample: &Sample) {
    let state = canvas.state;
    let look = &state.data.look;
    let Some(image) = sample.images.get(look.picture).or(sample.images.first()) else {
        return canvas.line(area, 0, Line::styled(state.words.get("data.no_picture"), state.theme.dim));
    };
    if area.height < 3 {
        return;
    }
    let trained = look.trained.then(|| found(state)).flatten().map(|t| t.resizing.clone());
    let view = View { level: look.level, zoom: look.zoom, centre: look.centre, trained };
    canvas.hits.push((area, Hit::Act(Action::FullPicture)));
    canvas.picture_as(area, image, view.clone());
    let size = Size::new(area.width, area.height);
    let view = View { zoom: 100, centre: (500, 500), ..view };
    for place in [state.data.selected + 1, state.data.selected.wrapping_sub(1)] {
        let near = state.data.row_at(place).and_then(|row| state.data.held(row)?.sample.as_ref().ok());
        let image = near.and_then(|sample| sample.images.first());
        canvas.ahead.extend(image.map(|image| PictureKey { image: image.clone(), size, view: view.clone() }));
    }
}

/// Draws lines; from the `fixed` first ones on they can be scrolled.
fn draw_words(canvas: &mut Canvas, area: Rect, mut lines: Vec<Line>, fixed: usize) {
    let state = canvas.state;
    let room = usize::from(area.height).saturating_sub(fixed);
    let most = lines.len().saturating_sub(fixed + room);
    let scroll = state.data.look.scroll.min(most);
    lines.drain(fixed.min(lines.len())..(fixed + scroll).min(lines.len()));
    let more = lines.len() > usize::from(area.height);
    for (y, line) in lines.into_iter().take(area.height.into()).enumerate() {
        canvas.line(area, y, line);
    }
    if more && area.height > 0 {
        let key = state.keys.hint(Action::ScrollDown);
        let hint = state.words.fill("data.more", &[("key", &key)]);
        let width = (text::width(&hint) as u16).min(area.width);
        let at = Rect { x: area.right() - width, y: area.bottom() - 1, width, height: 1 };
        canvas.hits.push((at, Hit::Act(Action::ScrollDown)));
        canvas.line(at, 0, Line::styled(hint, state.theme.key));
    }
}

/// Row, id, pictures, changes, findings.
fn heading<'a>(state: &State, row: &Row, sample: &Sample, columns: usize) -> Vec<Line<'a>> {
    let theme = &state.theme;
    let look = &state.data.look;
    let mut words = state.words.fill("data.row", &[("n", &sample.row.to_string())]);
    if sample.images.len() > 1 {
        let (n, all) = ((look.picture + 1).to_string(), sample.images.len().to_string());
        words.push_str(&format!(" · {}", state.words.fill("data.picture", &[("n", &n), ("all", &all)])));
    }
    let seen = look.describe(state.words, state.auto_window());
    if !seen.is_empty() {
        words.push_str(&format!(" · {seen}"));
    }
    words.push_str(&format!(" · {}", clean::for_terminal(&sample.id)));
    let mut lines = vec![Line::styled(text::truncate(&words, columns).into_owned(), theme.dim)];
    let mut notes: Vec<String> = Vec::new();
    if row.applied.excluded {
        notes.push(state.words.get("data.excluded").into());
    }
    if row.applied.edited {
        notes.push(state.words.get("data.edited").into());
    }
    if row.applied.stale {
        notes.push(state.words.get("data.stale").into());
    }
    let named = |code: &str| clean::for_terminal(&state.words.said(&code.replace('_', " ")));
    notes.extend(state.data.codes(row.row).map(named));
    if !notes.is_empty() {
        lines.push(Line::styled(text::truncate(&notes.join(" · "), columns).into_owned(), theme.warn));
    }
    lines
}

/// Longest text shown, in lines; it can be scrolled through.
const MOST_LINES: usize = 2000;

fn stored_lines<'a>(state: &State, sample: &Sample, columns: usize, most: usize) -> Vec<Line<'a>> {
    let theme = &state.theme;
    let question = text::truncate(question(sample).trim(), columns.saturating_sub(2)).replace('\n', " ");
    let mut lines =
        vec![Line::from(vec![Span::styled("? ", theme.key), Span::styled(question, theme.accent)])];
    lines.extend(text::wrap(&caption(sample), columns, most).into_iter().map(Line::raw));
    lines
}

/// The selected sample as trained, once it is known.
fn found(state: &State) -> Option<&Trained> {
    let trained = state.data.trained.as_ref().filter(|t| Some(t.row) == state.data.row())?;
    trained.found.as_ref()?.as_ref().ok().map(|t| &**t)
}

fn trained_lines<'a>(state: &State, columns: usize, most: usize) -> Vec<Line<'a>> {
    let (theme, words) = (&state.theme, state.words);
    let known = state.data.trained.as_ref().filter(|t| Some(t.row) == state.data.row());
    let trained = match known.and_then(|t| t.found.as_ref()) {
        None => return vec![Line::styled(state.words.get("data.counting"), theme.dim)],
        Some(Err(error)) => {
            let hint = error.hint.as_ref().map(|h| format!("\n{}", words.said(h))).unwrap_or_default();
            let said = clean::for_terminal_lines(&format!("{}{hint}", words.said(&error.message)));
            return text::wrap(&said, columns, 8).into_iter().map(|l| Line::styled(l, theme.warn)).collect();
        }
        Some(Ok(trained)) => trained,
    };
    let (mut lines, side) = (Vec::new(), trained.resizing.token_side());
    for (width, height, tokens) in &trained.pictures {
        let parts = [
            ("width", width.to_string()),
            ("height", height.to_string()),
            ("across", (width / side).to_string()),
            ("down", (height / side).to_string()),
            ("n", tokens.to_string()),
        ];
        let line = words.filled("data.pixels", &parts);
        lines.push(Line::styled(text::truncate(&line, columns).into_owned(), theme.dim));
    }
    let parts = [
        ("n", trained.tokens.to_string()),
        ("targets", trained.targets.to_string()),
        ("pictures", trained.picture_tokens.to_string()),
        ("cutoff", trained.cutoff_len.to_string()),
        ("template", trained.template.to_string()),
    ];
    lines.extend(text::wrap(&words.filled("data.tokens", &parts), columns, 3).into_iter().map(Line::raw));
    if trained.cut > 0 {
        let what = if trained.picture_cut { "data.cut_picture" } else { "data.cut" };
        let said = words.count(what, trained.cut);
        lines.extend(text::wrap(&said, columns, 2).into_iter().map(|l| Line::styled(l, theme.bad)));
    }
    let style = |fate| match fate {
        Fate::Prompt => theme.accent,
        Fate::Target => theme.good,
        Fate::Cut => theme.bad.add_modifier(Modifier::CROSSED_OUT),
    };
    let pieces: Vec<(Style, &str)> =
        trained.pieces.iter().map(|(fate, piece)| (style(*fate), piece.as_str())).collect();
    lines.extend(wrap_pieces(&pieces, columns, most));
    lines
}

/// Wraps a text of several styles at any grapheme: tokens have no regard for words.
fn wrap_pieces<'a>(pieces: &[(Style, &str)], columns: usize, most: usize) -> Vec<Line<'a>> {
    use unicode_segmentation::UnicodeSegmentation;
    let (mut lines, mut spans, mut used) = (Vec::new(), Vec::new(), 0);
    for (style, piece) in pieces {
        let mut part = String::new();
        for g in piece.graphemes(true) {
            let width = text::width(g);
            if g == "\n" || used + width > columns {
                spans.push(Span::styled(std::mem::take(&mut part), *style));
                lines.push(Line::from(std::mem::take(&mut spans)));
                used = 0;
                if lines.len() > most {
                    return lines;
                }
            }
            if g != "\n" {
                part.push_str(g);
                used += width;
            }
        }
        spans.push(Span::styled(part, *style));
    }
    lines.push(Line::from(spans));
    lines
}

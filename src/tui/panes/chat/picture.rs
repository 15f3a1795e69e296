//! The picture of the talk: beside it, and on the whole screen with window and level, which the model sees too.

use super::lines::say_window;
use crate::data::clean;
use crate::data::{ImageRef, picture};
use crate::tui::action::Action;
use crate::tui::panes::Canvas;
use crate::tui::pictures::View;
use crate::tui::state::State;
use crate::tui::state::data::caption;
use crate::tui::text;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// Keys worth knowing on the whole screen.
pub fn hints() -> Vec<(Action, &'static str)> {
    vec![
        (Action::FullPicture, "back"),
        (Action::Brighter, "brighter"),
        (Action::Darker, "darker"),
        (Action::MoreContrast, "contrast"),
        (Action::AutoLevel, "auto"),
        (Action::ResetLevel, "reset"),
        (Action::ZoomIn, "in"),
        (Action::ZoomOut, "out"),
        (Action::NextPicture, "next picture"),
    ]
}

/// How the picture is looked at; whether it was such an action.
pub fn act(action: Action, state: &mut State) -> bool {
    let pictures = state.talk_pictures();
    let shown = pictures.get(state.talk.look.picture).or(pictures.last());
    let auto = shown.and_then(|image| state.pictures.window_of(image));
    let look = &mut state.talk.look;
    look.act(action, pictures.len(), auto) || look.pan_by(action)
}

/// The picture alone, and a line about it.
pub fn draw_full(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let (theme, look) = (&state.theme, &state.talk.look);
    let pictures = state.talk_pictures();
    let at = look.picture.min(pictures.len().saturating_sub(1));
    let Some(image) = pictures.get(at) else {
        return no_picture(canvas, area);
    };
    let foot = area.height.min(1);
    let room = Rect { height: area.height - foot, ..area };
    let view = View { level: look.level, zoom: look.zoom, centre: look.centre, trained: None };
    canvas.picture_as(room, image, view);
    let words = state.words;
    let mut parts = vec![match state.talk_brightness() {
        Some(seen) => say_window(seen, words),
        None => words.get("chat.as_stored").into(),
    }];
    if look.zoom != 100 {
        parts.push(words.fill("chat.zoom", &[("n", &look.zoom.to_string())]));
    }
    if pictures.len() > 1 {
        let (n, all) = ((at + 1).to_string(), pictures.len().to_string());
        parts.push(words.fill("data.picture", &[("n", &n), ("all", &all)]));
    }
    let mut line = Line::from(Span::styled(format!(" {}", parts.join(" · ")), theme.accent));
    let left = usize::from(area.width).saturating_sub(line.width() + 3);
    let name = clean::for_terminal(&picture::name(image));
    line.push_span(Span::styled(format!(" · {}", text::tail(&name, left)), theme.dim));
    canvas.line(Rect { y: room.bottom(), height: foot, ..area }, 0, line);
}

fn no_picture(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let key = state.keys.hint(Action::FocusData);
    canvas.wrapped(area, 0, &state.words.fill("chat.no_picture", &[("key", &key)]), state.theme.dim);
}

/// The pictures with the sample's name, and its caption when wanted.
pub fn draw_side(canvas: &mut Canvas, area: Rect, show_caption: bool) {
    let state = canvas.state;
    let theme = &state.theme;
    let window = state.talk_brightness().map(|seen| format!(" · {}", say_window(seen, state.words)));
    let window = window.unwrap_or_default();
    if let Some(path) = state.talk.dropped.last() {
        let picture = Rect { height: area.height.saturating_sub(1), ..area };
        canvas.picture_as(picture, &ImageRef::Path(path.clone()), state.talk_view());
        let words = Rect { y: picture.bottom(), height: area.height - picture.height, ..area };
        let name = clean::for_terminal(&path.display().to_string());
        let said = |name: &str| {
            let parts = [("n", state.talk.dropped.len().to_string()), ("name", name.to_string())];
            format!("{}{window}", state.words.filled("chat.dropped", &parts))
        };
        // The end of a path says most.
        let left = usize::from(words.width).saturating_sub(text::width(&said("")));
        let line = said(&text::tail(&name, left));
        return canvas.line(words, 0, Line::styled(text::truncate(&line, words.width.into()), theme.dim));
    }
    let Some(sample) = state.data.sample() else { return no_picture(canvas, area) };
    let rows = if show_caption { (area.height / 2).max(2) } else { 1 };
    let picture = Rect { height: area.height.saturating_sub(rows), ..area };
    // Several pictures stand side by side.
    let many = (sample.images.len() as u16).min(picture.width / 12).max(1);
    for (i, image) in sample.images.iter().take(usize::from(many)).enumerate() {
        let width = picture.width / many;
        canvas.picture_as(
            Rect { x: picture.x + i as u16 * width, width, ..picture },
            image,
            state.talk_view(),
        );
    }
    let words = Rect { y: picture.bottom(), height: area.height - picture.height, ..area };
    let id = clean::for_terminal(&sample.id);
    let row = state.words.fill("data.row", &[("n", &sample.row.to_string())]);
    let name = format!("{row} · {id}{window}");
    canvas.line(words, 0, Line::styled(text::truncate(&name, words.width.into()), theme.dim));
    if show_caption {
        let caption = state.words.fill("chat.caption", &[("caption", &caption(sample))]);
        canvas.wrapped(words, 1, &caption, theme.good);
    }
}

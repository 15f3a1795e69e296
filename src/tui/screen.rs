//! The whole screen: tabs, panes, the line of hints, the status line.

use super::action::Action;
use super::panes::{Canvas, Hit, Pane, row};
use super::state::run::Status;
use super::state::{PaneId, State};
use super::text;
use crate::job::Level;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Padding};

/// From this size on all panes are shown at once.
const ALL_PANES: (u16, u16) = (120, 36);

/// Draws everything but popups.
pub fn draw(canvas: &mut Canvas, panes: &mut [Box<dyn Pane>]) {
    let area = canvas.frame.area();
    let state = canvas.state;
    if area.height < 6 || area.width < 20 {
        return draw_pane(canvas, panes, state.focus, area);
    }
    let [tabs, body, hints, status] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    if panes[state.focus as usize].full_screen() {
        let pane = &mut panes[state.focus as usize];
        let whole = Rect { height: area.height - 1, ..area };
        canvas.hits.push((whole, Hit::Pane(state.focus)));
        pane.draw(canvas, whole);
        return draw_hints(canvas, panes[state.focus as usize].as_ref(), status);
    }
    draw_tabs(canvas, panes, tabs);
    if state.zoomed || state.focus.whole() || area.width < ALL_PANES.0 || area.height < ALL_PANES.1 {
        draw_pane(canvas, panes, state.focus, body);
    } else {
        let halves = |first: u16| [Constraint::Percentage(first), Constraint::Fill(1)];
        let [left, right] = Layout::horizontal(halves(state.split.0)).areas(body);
        let rows = halves(state.split.1);
        let [data, parameters] = Layout::vertical(rows).areas(left);
        let [training, chat] = Layout::vertical(rows).areas(right);
        for (id, part) in PaneId::ALL.into_iter().zip([data, parameters, training, chat]) {
            draw_pane(canvas, panes, id, part);
        }
    }
    draw_hints(canvas, panes[state.focus as usize].as_ref(), hints);
    draw_status(canvas, status);
}

fn draw_pane(canvas: &mut Canvas, panes: &mut [Box<dyn Pane>], id: PaneId, area: Rect) {
    let state = canvas.state;
    let theme = &state.theme;
    let pane = &mut panes[id as usize];
    canvas.hits.push((area, Hit::Pane(id)));
    if area.height < 5 || area.width < 12 {
        return pane.draw(canvas, area);
    }
    let focused = state.focus == id;
    let name = format!(" {} {} ", id as usize + 1, pane.name());
    let room = usize::from(area.width).saturating_sub(text::width(&name) + 4);
    let title = pane.title(state);
    let mut spans = vec![Span::styled(name, if focused { theme.focus } else { theme.strong })];
    if !title.is_empty() {
        spans.push(Span::styled(format!("{} ", text::truncate(&title, room)), theme.dim));
    }
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(if focused { theme.focus } else { theme.border })
        .title(Line::from(spans))
        .padding(Padding::horizontal(1));
    let inner = block.inner(area);
    canvas.frame.render_widget(block, area);
    pane.draw(canvas, inner);
}

fn draw_tabs(canvas: &mut Canvas, panes: &[Box<dyn Pane>], area: Rect) {
    let state = canvas.state;
    let theme = &state.theme;
    let mut spans = Vec::new();
    let mut x = area.x;
    for id in PaneId::ALL {
        let name = panes[id as usize].name();
        let tab = format!(" {} {name} ", id as usize + 1);
        let width = text::width(&tab) as u16;
        canvas.hits.push((Rect { x, width, ..area }, Hit::Act(focus_action(id))));
        spans.push(Span::styled(tab, if state.focus == id { theme.select } else { theme.dim }));
        x += width;
    }
    canvas.line(area, 0, Line::from(spans));
    let room = usize::from(area.right().saturating_sub(x + 2));
    let name = state.workspace.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("Lorascope · {}", crate::data::clean::for_terminal(&name));
    if text::width(&name) <= room {
        let right = Rect { x, width: area.right() - x, ..area };
        canvas.line(right, 0, Line::styled(name, theme.dim).right_aligned());
    }
}

fn focus_action(id: PaneId) -> Action {
    match id {
        PaneId::Data => Action::FocusData,
        PaneId::Parameters => Action::FocusParameters,
        PaneId::Training => Action::FocusTraining,
        PaneId::Chat => Action::FocusChat,
        PaneId::Runs => Action::FocusRuns,
        PaneId::Evaluation => Action::FocusEvaluation,
    }
}

/// The notice if there is one, else the keys worth knowing now; each can be clicked.
fn draw_hints(canvas: &mut Canvas, pane: &dyn Pane, area: Rect) {
    let state = canvas.state;
    let theme = &state.theme;
    if let Some(notice) = &state.notice {
        let style = match notice.level {
            Level::Error => theme.bad,
            Level::Warning => theme.warn,
            Level::Info | Level::Debug => theme.good,
        };
        let words = text::truncate(&notice.text, usize::from(area.width).saturating_sub(2)).into_owned();
        return canvas.line(area, 0, Line::styled(format!(" {words}"), style));
    }
    let mut hints = if pane.typing(state) { Vec::new() } else { pane.hints(state) };
    if hints.is_empty() {
        let hint = text::truncate(pane.typing_hint(), area.width.into());
        return canvas.line(area, 0, Line::styled(hint, theme.dim));
    }
    // Help and quit are always seen; the rest as far as there is room.
    let last = [(Action::Help, "help"), (Action::Quit, "quit")];
    hints.extend([(Action::Zoom, "zoom"), (Action::Palette, "actions")]);
    let reserved = 16.min(area.width);
    draw_keys(canvas, pane, &hints, Rect { width: area.width - reserved, ..area });
    draw_keys(canvas, pane, &last, Rect { x: area.right() - reserved, width: reserved, ..area });
}

fn draw_keys(canvas: &mut Canvas, pane: &dyn Pane, hints: &[(Action, &str)], area: Rect) {
    let state = canvas.state;
    let theme = &state.theme;
    let mut x = area.x + 1;
    for (action, what) in hints {
        let key = state.keys.hint_in(pane.context(), *action);
        let width = (text::width(&key) + 1 + text::width(what)) as u16;
        if x + width > area.right() {
            break;
        }
        let at = Rect { x, width, ..area };
        canvas.hits.push((at, Hit::Act(*action)));
        let spans = vec![Span::styled(key, theme.key), Span::styled(format!(" {what}"), theme.dim)];
        canvas.line(row(at, 0), 0, Line::from(spans));
        x += width + 2;
    }
}

/// What runs on the left, the next step for newcomers behind it, the machine on the right. Where there is no room
/// for all, the next step goes before the machine.
fn draw_status(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let theme = &state.theme;
    let columns = usize::from(area.width);
    let (words, style) = running(state);
    let (step, machine) = (next_step(state), machine(state));
    let mut line = Line::from(Span::styled(format!(" {}", text::truncate(&words, columns)), style));
    if line.width() + 2 + text::width(&step) <= columns {
        line.push_span(Span::styled(format!("  {step}"), theme.accent));
    }
    let left = line.width();
    canvas.line(area, 0, line);
    let width = text::width(&machine) + 1;
    if left + 2 + width <= columns {
        let right = Rect { x: area.right() - width as u16, width: width as u16, ..area };
        canvas.line(right, 0, Line::styled(machine, theme.dim));
    }
}

fn running(state: &State) -> (String, Style) {
    let theme = &state.theme;
    if let Some(busy) = &state.busy {
        let progress = if busy.total > 0 { format!(" {}/{}", busy.done, busy.total) } else { " …".into() };
        return (format!("{}{progress}", busy.what), theme.accent);
    }
    let Some(run) = &state.run else { return ("idle".into(), theme.dim) };
    let style = match run.status {
        Status::Failed(_) => theme.bad,
        Status::Paused | Status::Stopping | Status::Stopped => theme.warn,
        Status::Done => theme.good,
        Status::Starting | Status::Running => theme.accent,
    };
    let mut words = run.word().to_string();
    match run.phase {
        Some((_, done, total)) if total > 0 => words.push_str(&format!(" {done}/{total}")),
        _ if run.total_steps > 0 => {
            let percent = 100 * run.step() / run.total_steps;
            words.push_str(&format!(" {}/{} · {percent} %", run.step(), run.total_steps));
        }
        _ => {}
    }
    if let Some(seconds) = run.remaining() {
        words.push_str(&format!(" · ETA {}", text::duration(seconds)));
    }
    (words, style)
}

/// Device and memory.
fn machine(state: &State) -> String {
    let Some(run) = &state.run else { return String::new() };
    let memory = run.last.as_ref().map(|r| text::bytes(r.memory));
    let known = [Some(run.device.clone()).filter(|d| !d.is_empty()), memory];
    known.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// What someone new would want to press next.
fn next_step(state: &State) -> String {
    let key = |action| state.keys.hint(action);
    if state.busy.is_some() {
        return String::new();
    }
    match &state.run {
        None if state.data.names.is_empty() => format!("Start here: {} gets the demo", key(Action::Demo)),
        None if state.config.model_name_or_path.as_os_str().is_empty() => {
            format!("Next: {} set the base model", key(Action::FocusParameters))
        }
        None => format!("Next: {} starts training", key(Action::Train)),
        Some(run) if run.alive() && state.talk.exchanges.is_empty() && run.step() > 0 => {
            format!("Next: {} ask the model while it trains", key(Action::FocusChat))
        }
        Some(run) if !run.alive() && run.error().is_none() && state.talk.exchanges.is_empty() => {
            format!("Next: {} ask the tuned model", key(Action::FocusChat))
        }
        Some(_) => String::new(),
    }
}

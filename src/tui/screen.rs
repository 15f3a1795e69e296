//! The whole screen: tabs, panes, the line of hints, the status line.

use super::action::Action;
use super::layout;
use super::panes::{Canvas, Hit, Pane, row};
use super::state::evaluation::Judged;
use super::state::run::Status;
use super::state::{PaneId, State};
use super::text;
use crate::job::Level;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Padding};

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
    canvas.body = body;
    let arranged = layout::arrange(body, state.focus, state.zoomed, state.split);
    for (id, part) in arranged.panes {
        draw_pane(canvas, panes, id, part);
    }
    canvas.hits.extend(arranged.splits.into_iter().map(|(line, split)| (line, Hit::Split(split))));
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
    canvas.hits.push((row(area, 0), Hit::Title(id)));
    let name = format!(" {} {} ", id as usize + 1, state.words.get(pane.name()));
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
        let tab = format!(" {} {} ", id as usize + 1, state.words.get(panes[id as usize].name()));
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
        let hint = text::truncate(state.words.get(pane.typing_hint()), area.width.into());
        return canvas.line(area, 0, Line::styled(hint, theme.dim));
    }
    // Help and quit are always seen; the rest as far as there is room.
    let last = [(Action::Help, "hint.help"), (Action::Quit, "hint.quit")];
    if state.run.as_ref().is_some_and(|r| r.alive() && !r.controls.yours) {
        hints.insert(0, (Action::TakeControls, "hint.take_controls"));
    }
    hints.extend([(Action::Zoom, "hint.zoom"), (Action::Palette, "hint.actions")]);
    let reserved = 16.min(area.width);
    draw_keys(canvas, pane, &hints, Rect { width: area.width - reserved, ..area });
    draw_keys(canvas, pane, &last, Rect { x: area.right() - reserved, width: reserved, ..area });
}

fn draw_keys(canvas: &mut Canvas, pane: &dyn Pane, hints: &[(Action, &'static str)], area: Rect) {
    let state = canvas.state;
    let theme = &state.theme;
    let mut x = area.x + 1;
    for (action, what) in hints {
        let what = state.words.get(what);
        let key = state.keys.hint_in(pane.context(), *action);
        if key.is_empty() {
            continue; // a user has taken its keys away
        }
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
    let (theme, words) = (&state.theme, state.words);
    if let Some(busy) = &state.busy {
        let progress = if busy.total > 0 { format!(" {}/{}", busy.done, busy.total) } else { " …".into() };
        return (format!("{}{progress}", words.get(busy.what)), theme.accent);
    }
    let training = state.run.as_ref().is_some_and(|run| run.alive());
    if let Some((name, side)) = state.evaluation.current_side().filter(|_| !training) {
        return (evaluating(state, name, side), theme.accent);
    }
    let Some(run) = &state.run else { return (words.get("status.idle").into(), theme.dim) };
    let style = match run.status {
        Status::Failed(_) => theme.bad,
        Status::Paused | Status::Stopping | Status::Stopped => theme.warn,
        Status::Done => theme.good,
        Status::Starting | Status::Running => theme.accent,
    };
    let mut line = words.get(run.word()).to_string();
    match run.phase {
        Some((_, done, total)) if total > 0 => line.push_str(&format!(" {done}/{total}")),
        _ if run.total_steps > 0 => {
            let percent = 100 * run.step() / run.total_steps;
            line.push_str(&format!(" {}/{} · {percent} %", run.step(), run.total_steps));
        }
        _ => {}
    }
    if let Some(seconds) = run.remaining() {
        line.push_str(&format!(" · {} {}", words.get("status.eta"), text::duration(seconds)));
    }
    if run.alive() && !run.controls.yours {
        line.push_str(&format!(" · {}", words.get("status.watching")));
    } else if run.alive() && run.controls.watching > 1 {
        let others = (run.controls.watching - 1).to_string();
        line.push_str(&format!(" · {}", words.fill("status.watched", &[("n", &others)])));
    }
    (line, style)
}

/// How far an evaluation is.
fn evaluating(state: &State, name: &'static str, side: &Judged) -> String {
    let words = state.words;
    let mut line = format!("{} {}", words.get("evaluating"), words.get(name));
    match side.total {
        0 => line.push_str(" …"),
        total => line.push_str(&format!(" {}/{total}", side.samples.len())),
    }
    if side.remaining > 0.0 {
        line.push_str(&format!(" · {} {}", words.get("status.eta"), text::duration(side.remaining)));
    }
    line
}

/// Device and memory, and what a slow line has to carry.
fn machine(state: &State) -> String {
    let run = state.run.as_ref();
    let device = run.map(|r| state.words.said(&r.device).into_owned()).filter(|d| !d.is_empty());
    let memory = run.and_then(|r| r.last.as_ref()).map(|r| text::bytes(r.memory));
    let line = state.line.slow.then(|| format!("{}/s", text::bytes(state.line.rate as u64)));
    [device, memory, line].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// What someone new would want to press next.
fn next_step(state: &State) -> String {
    let say = |what, action| state.words.fill(what, &[("key", &state.keys.hint(action))]);
    if state.busy.is_some() || state.evaluation.current_side().is_some() {
        return String::new();
    }
    match &state.run {
        None if state.data.names.is_empty() => say("next.demo", Action::Demo),
        None if state.config.model_name_or_path.as_os_str().is_empty() => {
            say("next.model", Action::FocusParameters)
        }
        None => say("next.train", Action::Train),
        Some(run) if run.alive() && !run.controls.yours => String::new(),
        Some(run) if run.alive() && state.talk.exchanges.is_empty() && run.step() > 0 => {
            say("next.ask_training", Action::FocusChat)
        }
        Some(run) if !run.alive() && run.error().is_none() && state.talk.exchanges.is_empty() => {
            say("next.ask", Action::FocusChat)
        }
        Some(_) => String::new(),
    }
}

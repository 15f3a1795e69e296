//! Boxes over the panes: text, questions with choices, a line to fill in, the palette of actions.

use super::input::{Input, Typed};
use super::pick::Pick;
use super::table::Scroll;
use crate::job::Command;
use crate::tui::action::{Action, Context, Keymap};
use crate::tui::effects::Load;
use crate::tui::state::State;
use crate::tui::state::talk::answerer::{Answerer, Choice};
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::words::{Language, Words};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph};

/// What the user decided.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nothing yet.
    Open,
    Close,
    Act(Action),
    /// Say this to the training job.
    Tell(Command),
    /// Say this to the training job and quit when it has ended.
    TellAndQuit(Command),
    QuitNow,
    /// Do this on the worker's thread.
    Load(Load),
    /// Convert these files (paths or globs with spaces or commas between).
    Convert(String),
    /// Somebody is chosen to answer.
    Who(Choice, Answerer),
}

/// Where a box and its rows are.
#[derive(Default)]
pub struct PopupHits {
    pub(super) area: Rect,
    pub(super) rows: Vec<(Rect, usize)>,
}

/// A box over the panes.
pub enum Popup {
    Text { title: String, lines: Vec<String>, scroll: usize },
    Ask { title: String, lines: Vec<String>, choices: Vec<(char, String, Answer)> },
    Files(Input),
    Pick(Pick),
    Palette { input: Input, selected: usize, scroll: Scroll, found: Vec<Action> },
}

impl Popup {
    pub fn text(title: &str, lines: Vec<String>) -> Self {
        Popup::Text { title: title.into(), lines, scroll: 0 }
    }

    pub fn palette() -> Self {
        Popup::Palette {
            input: Input::default(),
            selected: 0,
            scroll: Scroll::default(),
            found: Action::ALL.to_vec(),
        }
    }

    /// Keys of a pane, of lists and of everywhere.
    pub fn help(state: &State, pane: Context, title: &str, notes: &[String]) -> Self {
        let words = state.words;
        let sections = [
            (pane, title),
            (Context::Lists, words.get("help.lists")),
            (Context::Everywhere, words.get("help.everywhere")),
        ];
        let mut lines = Vec::new();
        for (context, name) in sections {
            lines.push(name.to_uppercase());
            let bound = state.keys.bound(pane, context).into_iter().filter(|b| !b.1.is_empty());
            lines.extend(bound.map(|(a, k)| format!("  {} {}", text::pad(&k, 14), words.action(a))));
            lines.push(String::new());
        }
        lines.extend_from_slice(notes);
        Popup::text(&format!("{} · {title}", words.get("help.title")), lines)
    }

    /// Asks what becomes of a run that this screen commands.
    pub fn quit_while_training(words: Words, run_dir: &str) -> Self {
        let tell = |save| Answer::TellAndQuit(Command::Stop { save });
        let back = words.fill("quit.back", &[("run", run_dir)]);
        Popup::Ask {
            title: words.get("quit.title").into(),
            lines: vec![words.get("quit.goes_on").into(), back],
            choices: vec![
                ('d', words.get("quit.detach").into(), Answer::QuitNow),
                ('s', words.get("quit.save").into(), tell(true)),
                ('x', words.get("quit.stop").into(), tell(false)),
            ],
        }
    }

    /// Asks before a conversion is broken off.
    pub fn quit_while_busy(words: Words, what: &'static str) -> Self {
        Popup::Ask {
            title: words.fill("quit.busy", &[("what", words.get(what))]),
            lines: vec![words.get("quit.busy_again").into()],
            choices: vec![('x', words.get("quit.now").into(), Answer::QuitNow)],
        }
    }

    /// Asks before steps are lost.
    pub fn stop_now(words: Words, lost: usize) -> Self {
        Popup::Ask {
            title: words.get("stop.title").into(),
            lines: vec![words.fill("stop.lost", &[("n", &lost.to_string())])],
            choices: vec![
                ('x', words.get("stop.now").into(), Answer::Tell(Command::Stop { save: false })),
                ('s', words.get("stop.save").into(), Answer::Tell(Command::Stop { save: true })),
            ],
        }
    }

    /// Takes what the mouse did: a click on a row chooses it, one beside the box closes it, the wheel moves.
    pub fn mouse(&mut self, kind: MouseEventKind, at: Position, hits: &PopupHits) -> Answer {
        let press = |code| KeyEvent::new(code, KeyModifiers::NONE);
        match kind {
            MouseEventKind::ScrollDown => self.wheel(press(KeyCode::Down)),
            MouseEventKind::ScrollUp => self.wheel(press(KeyCode::Up)),
            MouseEventKind::Down(MouseButton::Left) if !hits.area.contains(at) => Answer::Close,
            MouseEventKind::Down(MouseButton::Left) => {
                let row = hits.rows.iter().find(|hit| hit.0.contains(at)).map(|hit| hit.1);
                row.map_or(Answer::Open, |row| self.choose(row))
            }
            _ => Answer::Open,
        }
    }

    fn wheel(&mut self, key: KeyEvent) -> Answer {
        match self {
            Popup::Text { .. } | Popup::Palette { .. } | Popup::Pick(_) => self.key(key),
            Popup::Ask { .. } | Popup::Files(_) => Answer::Open,
        }
    }

    fn choose(&mut self, row: usize) -> Answer {
        match self {
            Popup::Text { .. } | Popup::Files(_) => Answer::Open,
            Popup::Pick(pick) => pick.choose(row),
            // The row behind the last choice leaves all as it is.
            Popup::Ask { choices, .. } => choices.get(row).map_or(Answer::Close, |c| c.2.clone()),
            Popup::Palette { found, .. } => found.get(row).map_or(Answer::Open, |a| Answer::Act(*a)),
        }
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Answer {
        match self {
            Popup::Text { lines, scroll, .. } => match key.code {
                KeyCode::Down | KeyCode::Char('j') => {
                    *scroll = (*scroll + 1).min(lines.len().saturating_sub(1));
                    Answer::Open
                }
                KeyCode::Up | KeyCode::Char('k') => {
                    *scroll = scroll.saturating_sub(1);
                    Answer::Open
                }
                KeyCode::PageDown | KeyCode::Char(' ') => {
                    *scroll = (*scroll + 10).min(lines.len().saturating_sub(1));
                    Answer::Open
                }
                KeyCode::PageUp => {
                    *scroll = scroll.saturating_sub(10);
                    Answer::Open
                }
                _ => Answer::Close,
            },
            Popup::Ask { choices, .. } => match key.code {
                KeyCode::Esc | KeyCode::Char('q' | 'n') => Answer::Close,
                KeyCode::Char(c) => choices
                    .iter()
                    .find(|choice| choice.0 == c)
                    .map_or(Answer::Open, |choice| choice.2.clone()),
                _ => Answer::Open,
            },
            Popup::Files(input) => match input.key(key) {
                Typed::Submit if input.text().trim().is_empty() => Answer::Close,
                Typed::Submit => Answer::Convert(input.take()),
                Typed::Cancel => Answer::Close,
                Typed::Changed | Typed::Other => Answer::Open,
            },
            Popup::Pick(pick) => pick.key(key),
            Popup::Palette { input, selected, found, .. } => match (key.code, input.key(key)) {
                (KeyCode::Up, _) => {
                    *selected = selected.saturating_sub(1);
                    Answer::Open
                }
                (KeyCode::Down, _) => {
                    *selected = (*selected + 1).min(found.len().saturating_sub(1));
                    Answer::Open
                }
                (_, Typed::Submit) => found.get(*selected).map_or(Answer::Close, |a| Answer::Act(*a)),
                (_, Typed::Cancel) => Answer::Close,
                (_, Typed::Changed) => {
                    (*selected, *found) = (0, search(input.text()));
                    Answer::Open
                }
                (_, Typed::Other) => Answer::Open,
            },
        }
    }

    /// Pastes into the box's input, if it has one.
    pub fn paste(&mut self, pasted: &str) {
        match self {
            Popup::Files(input) | Popup::Palette { input, .. } => input.paste(pasted),
            Popup::Pick(pick) => pick.paste(pasted),
            Popup::Text { .. } | Popup::Ask { .. } => {}
        }
    }

    /// Draws the box in the middle of the screen.
    pub fn draw(&mut self, frame: &mut Frame, theme: &Theme, keys: &Keymap, words: Words) -> PopupHits {
        match self {
            Popup::Text { title, lines, scroll } => {
                let long = lines.len() + 2 > usize::from(frame.area().height);
                let foot = words.get(if long { "popup.scroll" } else { "popup.any_key" });
                let (area, inner) = open_box(frame, theme, title, foot, lines_size(lines, 24));
                *scroll = (*scroll).min(lines.len().saturating_sub(usize::from(inner.height)));
                let shown =
                    lines[*scroll..].iter().map(|l| Line::raw(text::truncate(l, usize::from(inner.width))));
                frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), inner);
                PopupHits { area, rows: Vec::new() }
            }
            Popup::Ask { title, lines, choices } => draw_ask(frame, theme, words, (title, lines, choices)),
            Popup::Files(input) => {
                let foot = words.get("files.foot");
                let (area, inner) = open_box(frame, theme, words.get("files.title"), foot, (64, 3));
                let note = Line::styled(words.get("files.note"), theme.dim);
                frame.render_widget(note, row(inner, 0));
                draw_input(frame, input, row(inner, 1), theme);
                PopupHits { area, rows: Vec::new() }
            }
            Popup::Pick(pick) => pick.draw(frame, theme, words),
            Popup::Palette { input, selected, scroll, found } => {
                let foot = words.get("palette.foot");
                let (area, inner) = open_box(frame, theme, words.get("palette.title"), foot, (64, 16));
                draw_input(frame, input, row(inner, 0), theme);
                let height = usize::from(inner.height).saturating_sub(1);
                let mut rows = Vec::new();
                for (y, i) in scroll.follow(*selected, height, found.len()).enumerate() {
                    let style = super::table::row_style(theme, i == *selected, true);
                    let columns = usize::from(inner.width).saturating_sub(12);
                    let name = text::pad(words.action(found[i]), columns);
                    let key = Span::styled(text::pad_left(&keys.hint(found[i]), 12), theme.key.patch(style));
                    let at = row(inner, y as u16 + 1);
                    frame.render_widget(Line::from(vec![Span::styled(name, style), key]), at);
                    rows.push((at, i));
                }
                PopupHits { area, rows }
            }
        }
    }
}

type Question<'a> = (&'a str, &'a [String], &'a [(char, String, Answer)]);

fn draw_ask(frame: &mut Frame, theme: &Theme, words: Words, (title, lines, choices): Question) -> PopupHits {
    let mut shown: Vec<Line> = lines.iter().map(|l| Line::raw(l.clone())).collect();
    shown.push(Line::raw(""));
    let choice = |key: &str, what: &str| {
        Line::from(vec![Span::styled(format!("{key:>4}  "), theme.key), Span::raw(what.to_string())])
    };
    let first = shown.len();
    shown.extend(choices.iter().map(|c| choice(&c.0.to_string(), &c.1)));
    shown.push(choice("Esc", words.get("popup.leave")));
    let widest = shown.iter().map(Line::width).max().unwrap_or(0);
    let (area, inner) = open_box(frame, theme, title, "", (widest, shown.len()));
    frame.render_widget(Paragraph::new(shown), inner);
    let rows = (0..=choices.len()).map(|i| (row(inner, (first + i) as u16), i)).collect();
    PopupHits { area, rows }
}

/// Actions whose name, in any language, has all words of `wanted`, in the order of the help.
fn search(wanted: &str) -> Vec<Action> {
    let wanted = wanted.to_lowercase();
    let matches = |a: &&Action| {
        let texts = Language::ALL.map(|language| Words { language }.action(**a).to_lowercase());
        let hay = format!("{} {}", texts.join(" "), a.name());
        wanted.split_whitespace().all(|w| hay.contains(w))
    };
    Action::ALL.iter().filter(matches).copied().collect()
}

pub(super) fn draw_input(frame: &mut Frame, input: &Input, area: Rect, theme: &Theme) {
    let mark = Rect { width: area.width.min(2), ..area };
    frame.render_widget(Span::styled("> ", theme.key), mark);
    let rest = Rect { x: area.x + mark.width, width: area.width - mark.width, ..area };
    if let Some(at) = input.draw(rest, frame.buffer_mut(), theme.strong) {
        frame.set_cursor_position(at);
    }
}

fn lines_size(lines: &[String], least: usize) -> (usize, usize) {
    (lines.iter().map(|l| text::width(l)).max().unwrap_or(0).max(least), lines.len())
}

/// The row `y` of an area, empty when there is none.
pub(super) fn row(area: Rect, y: u16) -> Rect {
    if y >= area.height {
        return Rect { height: 0, ..area };
    }
    Rect { y: area.y + y, height: 1, ..area }
}

/// Clears and frames a box for `(columns, rows)` of content; gives it and its inside.
pub(super) fn open_box(
    frame: &mut Frame,
    theme: &Theme,
    title: &str,
    foot: &str,
    (columns, rows): (usize, usize),
) -> (Rect, Rect) {
    let screen = frame.area();
    let columns = columns.max(text::width(title) + 2).max(text::width(foot));
    let width = (columns + 4).min(usize::from(screen.width)) as u16;
    let height = (rows + 2).min(usize::from(screen.height)) as u16;
    let x = screen.x + (screen.width - width) / 2;
    let area = Rect { x, y: screen.y + (screen.height - height) / 2, width, height };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.focus)
        .title(format!(" {title} "))
        .title_bottom(Line::styled(foot.to_string(), theme.dim).right_aligned())
        .padding(Padding::horizontal(1));
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    (area, inner)
}

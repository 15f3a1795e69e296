//! Boxes over the panes: text, questions with choices, a line to fill in, the palette of actions.

use super::input::{Input, Typed};
use super::table::Scroll;
use crate::job::Command;
use crate::tui::action::{Action, Context, Keymap};
use crate::tui::effects::Load;
use crate::tui::text;
use crate::tui::theme::Theme;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::Rect;
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
}

/// A box over the panes.
pub enum Popup {
    Text { title: String, lines: Vec<String>, scroll: usize },
    Ask { title: String, lines: Vec<String>, choices: Vec<(char, String, Answer)> },
    Files(Input),
    Palette { input: Input, selected: usize, scroll: Scroll },
}

impl Popup {
    pub fn text(title: &str, lines: Vec<String>) -> Self {
        Popup::Text { title: title.into(), lines, scroll: 0 }
    }

    pub fn palette() -> Self {
        Popup::Palette { input: Input::default(), selected: 0, scroll: Scroll::default() }
    }

    /// Keys of a pane, of lists and of everywhere.
    pub fn help(keys: &Keymap, pane: Context, title: &str, notes: &[String]) -> Self {
        let mut lines = Vec::new();
        for (context, name) in [(pane, title), (Context::Lists, "Lists"), (Context::Everywhere, "Everywhere")]
        {
            lines.push(name.to_uppercase());
            let bound = keys.bound(context);
            lines.extend(bound.iter().map(|(a, k)| format!("  {} {}", text::pad(k, 14), a.help())));
            lines.push(String::new());
        }
        lines.extend_from_slice(notes);
        Popup::text(&format!("Help · {title}"), lines)
    }

    /// Asks before work is lost by quitting.
    pub fn quit_while_training() -> Self {
        let tell = |save| Answer::TellAndQuit(Command::Stop { save });
        Popup::Ask {
            title: "A training job is running".into(),
            lines: vec!["It ends when Lorascope ends.".into()],
            choices: vec![
                ('s', "save a checkpoint, stop, quit".into(), tell(true)),
                ('x', "stop and quit; steps since the last checkpoint are lost".into(), tell(false)),
            ],
        }
    }

    /// Asks before a conversion is broken off.
    pub fn quit_while_busy(what: &str) -> Self {
        Popup::Ask {
            title: format!("Still {what}"),
            lines: vec!["Quitting breaks it off; it can be started again.".into()],
            choices: vec![('x', "quit now".into(), Answer::QuitNow)],
        }
    }

    /// Asks before steps are lost.
    pub fn stop_now(lost: usize) -> Self {
        Popup::Ask {
            title: "Stop without saving?".into(),
            lines: vec![format!("{lost} steps since the last checkpoint are lost.")],
            choices: vec![
                ('x', "stop now".into(), Answer::Tell(Command::Stop { save: false })),
                ('s', "save first, then stop".into(), Answer::Tell(Command::Stop { save: true })),
            ],
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
            Popup::Palette { input, selected, .. } => match (key.code, input.key(key)) {
                (KeyCode::Up, _) => {
                    *selected = selected.saturating_sub(1);
                    Answer::Open
                }
                (KeyCode::Down, _) => {
                    *selected = (*selected + 1).min(found(input.text()).len().saturating_sub(1));
                    Answer::Open
                }
                (_, Typed::Submit) => {
                    found(input.text()).get(*selected).map_or(Answer::Close, |a| Answer::Act(*a))
                }
                (_, Typed::Cancel) => Answer::Close,
                (_, Typed::Changed) => {
                    *selected = 0;
                    Answer::Open
                }
                (_, Typed::Other) => Answer::Open,
            },
        }
    }

    /// Pastes into the box's input, if it has one.
    pub fn paste(&mut self, pasted: &str) {
        if let Popup::Files(input) | Popup::Palette { input, .. } = self {
            input.paste(pasted);
        }
    }

    /// Draws the box in the middle of the screen.
    pub fn draw(&mut self, frame: &mut Frame, theme: &Theme, keys: &Keymap) {
        match self {
            Popup::Text { title, lines, scroll } => {
                let foot = if lines.len() + 2 > usize::from(frame.area().height) {
                    " ↑↓ scroll · any other key closes "
                } else {
                    " any key closes "
                };
                let inner = open_box(frame, theme, title, foot, lines_size(lines, 24));
                *scroll = (*scroll).min(lines.len().saturating_sub(usize::from(inner.height)));
                let shown =
                    lines[*scroll..].iter().map(|l| Line::raw(text::truncate(l, usize::from(inner.width))));
                frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), inner);
            }
            Popup::Ask { title, lines, choices } => draw_ask(frame, theme, title, lines, choices),
            Popup::Files(input) => {
                let foot = " Enter converts and registers · Esc closes ";
                let inner = open_box(frame, theme, "Convert parquet files", foot, (64, 3));
                let note = Line::styled("Files, folders or globs, with spaces between:", theme.dim);
                frame.render_widget(note, row(inner, 0));
                draw_input(frame, input, row(inner, 1), theme);
            }
            Popup::Palette { input, selected, scroll } => {
                let actions = found(input.text());
                let inner = open_box(frame, theme, "Actions", " Enter does it · Esc closes ", (64, 16));
                draw_input(frame, input, row(inner, 0), theme);
                let height = usize::from(inner.height).saturating_sub(1);
                for (y, i) in scroll.follow(*selected, height, actions.len()).enumerate() {
                    let style = super::table::row_style(theme, i == *selected, true);
                    let columns = usize::from(inner.width).saturating_sub(12);
                    let name = text::pad(actions[i].help(), columns);
                    let key =
                        Span::styled(text::pad_left(&keys.hint(actions[i]), 12), theme.key.patch(style));
                    let line = Line::from(vec![Span::styled(name, style), key]);
                    frame.render_widget(line, row(inner, y as u16 + 1));
                }
            }
        }
    }
}

fn draw_ask(
    frame: &mut Frame,
    theme: &Theme,
    title: &str,
    lines: &[String],
    choices: &[(char, String, Answer)],
) {
    let mut shown: Vec<Line> = lines.iter().map(|l| Line::raw(l.clone())).collect();
    shown.push(Line::raw(""));
    let choice = |key: &str, what: &str| {
        Line::from(vec![Span::styled(format!("{key:>4}  "), theme.key), Span::raw(what.to_string())])
    };
    shown.extend(choices.iter().map(|c| choice(&c.0.to_string(), &c.1)));
    shown.push(choice("Esc", "leave it as it is"));
    let widest = shown.iter().map(Line::width).max().unwrap_or(0);
    let inner = open_box(frame, theme, title, "", (widest, shown.len()));
    frame.render_widget(Paragraph::new(shown), inner);
}

/// Actions whose help or name has all words of `wanted`, in the order of the help.
fn found(wanted: &str) -> Vec<Action> {
    let wanted = wanted.to_lowercase();
    let matches = |a: &&Action| {
        let hay = format!("{} {}", a.help().to_lowercase(), a.name());
        wanted.split_whitespace().all(|w| hay.contains(w))
    };
    Action::ALL.iter().filter(matches).copied().collect()
}

fn draw_input(frame: &mut Frame, input: &Input, area: Rect, theme: &Theme) {
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
fn row(area: Rect, y: u16) -> Rect {
    if y >= area.height {
        return Rect { height: 0, ..area };
    }
    Rect { y: area.y + y, height: 1, ..area }
}

/// Clears and frames a box for `(columns, rows)` of content, and gives the inside.
fn open_box(
    frame: &mut Frame,
    theme: &Theme,
    title: &str,
    foot: &str,
    (columns, rows): (usize, usize),
) -> Rect {
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
    inner
}

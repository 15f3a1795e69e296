//! Asks the terminal how it can show pictures, without losing a key that is pressed meanwhile.
//!
//! `Picker::from_query_stdio` is not used: when the terminal does not answer, it leaves a thread behind that takes
//! the next keys away.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_image::FontSize;
use ratatui_image::picker::cap_parser::{Parser, QueryStdioOptions, Response};
use ratatui_image::picker::{Picker, ProtocolType};
use std::fs::File;
use std::io::{Read, Write, stdout};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How pictures are shown.
pub struct Detected {
    /// `None`: not at all.
    pub picker: Option<Picker>,
    /// Why, for people.
    pub reason: String,
    /// Keys pressed while the terminal was asked.
    pub keys: Vec<KeyEvent>,
}

/// How long an answer may take over a slow line.
const PATIENCE: Duration = Duration::from_millis(1500);
/// "Are you well?": every terminal answers, and so ends a read that nothing else would end.
const STATUS: &str = "\x1b[5n";

/// Finds out how pictures can be shown. `wish` is `LORASCOPE_PICTURES`; with `off` or `halfblocks` the terminal is
/// not asked. Call in raw mode, before keys are read.
pub fn detect(wish: Option<&str>, colours: bool) -> Detected {
    let by_wish = "set by LORASCOPE_PICTURES".to_string();
    let wish = wish.map(str::to_lowercase);
    let protocol = match wish.as_deref() {
        Some("off" | "none") => return Detected { picker: None, reason: by_wish, keys: Vec::new() },
        Some("halfblocks") => {
            return Detected { picker: Some(Picker::halfblocks()), reason: by_wish, keys: Vec::new() };
        }
        Some("kitty") => Some(ProtocolType::Kitty),
        Some("sixel") => Some(ProtocolType::Sixel),
        Some("iterm2") => Some(ProtocolType::Iterm2),
        _ => None,
    };
    let tmux = Picker::halfblocks().tmux_detected();
    let answer = ask(tmux);
    let mut picker = picker(answer.as_ref());
    let keys = answer.as_ref().map(|a| a.keys.clone()).unwrap_or_default();
    if let Some(protocol) = protocol {
        picker.set_protocol_type(protocol);
        return Detected { picker: Some(picker), reason: by_wish, keys };
    }
    let inside = if tmux { " (through tmux)" } else { "" };
    let (picker, reason) = match picker.protocol_type() {
        ProtocolType::Halfblocks if !colours => (None, "half blocks need colour, and NO_COLOR is set".into()),
        ProtocolType::Halfblocks if answer.is_some_and(|a| !a.responses.is_empty()) => {
            (Some(picker), format!("the terminal offers no graphics{inside}; LORASCOPE_PICTURES overrides"))
        }
        ProtocolType::Halfblocks => {
            (Some(picker), format!("the terminal did not say{inside}; LORASCOPE_PICTURES overrides"))
        }
        _ => (Some(picker), format!("the terminal offers it{inside}")),
    };
    Detected { picker, reason, keys }
}

#[derive(Default)]
struct Answer {
    responses: Vec<Response>,
    keys: Vec<KeyEvent>,
}

/// The picker for what the terminal said; half blocks without an answer or a size of its cells.
fn picker(answer: Option<&Answer>) -> Picker {
    let said = answer.map(|a| a.responses.as_slice()).unwrap_or_default();
    let cell = said.iter().find_map(|r| match r {
        Response::CellSize(Some((width, height))) if *width > 0 && *height > 0 => Some((*width, *height)),
        _ => None,
    });
    let Some(cell) = cell.or_else(cell_by_window) else { return Picker::halfblocks() };
    // The library marks this as second to its own query, whose trouble is told at the top.
    #[allow(deprecated)]
    let mut picker = Picker::from_fontsize(FontSize::from(cell));
    // What the terminal says itself is worth more than the environment, which may be of another terminal.
    if said.contains(&Response::Kitty) && !mangles_kitty() {
        picker.set_protocol_type(ProtocolType::Kitty);
    } else if said.contains(&Response::Sixel) && picker.protocol_type() == ProtocolType::Halfblocks {
        picker.set_protocol_type(ProtocolType::Sixel);
    }
    picker
}

/// Terminals that claim kitty graphics but lack its placeholders.
fn mangles_kitty() -> bool {
    ["WEZTERM_EXECUTABLE", "KONSOLE_VERSION"]
        .iter()
        .any(|v| std::env::var_os(v).is_some_and(|v| !v.is_empty()))
}

/// The size of a cell from that of the window, where the system knows it.
fn cell_by_window() -> Option<(u16, u16)> {
    let window = crossterm::terminal::window_size().ok()?;
    let cell = (window.width.checked_div(window.columns)?, window.height.checked_div(window.rows)?);
    (cell.0 > 0 && cell.1 > 0).then_some(cell)
}

fn ask(tmux: bool) -> Option<Answer> {
    let tty = File::open("/dev/tty").ok()?;
    let say = |text: &str| stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()).ok();
    say(&Parser::query(tmux, QueryStdioOptions::default()))?;
    let answer = read_answer(tty);
    answer.recv_timeout(PATIENCE).ok().or_else(|| {
        // Perhaps only the terminal behind a multiplexer is silent: the near one ends the read.
        say(STATUS)?;
        answer.recv_timeout(PATIENCE).ok()
    })
}

/// Reads until the terminal says it is well.
fn read_answer(mut tty: File) -> Receiver<Answer> {
    let (out, answer) = channel();
    let read = move || {
        let (mut parser, mut typed) = (Parser::new(), Typed::Text);
        let mut all = Answer::default();
        let mut bytes = [0; 64];
        while let Ok(n @ 1..) = tty.read(&mut bytes) {
            let mut well = false;
            for c in bytes[..n].iter().map(|b| char::from(*b)) {
                all.keys.extend(typed.key(c));
                for response in parser.push(c) {
                    well |= response == Response::Status;
                    all.responses.extend(Some(response).filter(|r| *r != Response::Status));
                }
            }
            if well {
                break;
            }
        }
        let _ = out.send(all);
    };
    // Without the thread there is no answer, and so half blocks.
    let _ = std::thread::Builder::new().name("terminal query".into()).spawn(read);
    answer
}

/// Tells keys from answers, which all are escape sequences.
#[derive(Clone, Copy)]
enum Typed {
    Text,
    Escape,
    /// `ESC [ … letter`
    Control,
    /// `ESC _ … ESC \`
    Application,
}

impl Typed {
    /// Takes a character; gives the key if it was one.
    fn key(&mut self, c: char) -> Option<KeyEvent> {
        *self = match (*self, c) {
            (Typed::Text | Typed::Application, '\x1b') => Typed::Escape,
            (Typed::Escape, '[') => Typed::Control,
            (Typed::Escape, '_' | ']' | 'P') => Typed::Application,
            (Typed::Escape, _) | (Typed::Control, '@'..='~') => Typed::Text,
            (Typed::Text, ' '..='~') => return Some(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)),
            (Typed::Text, '\r') => return Some(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)),
            (Typed::Text, '\t') => return Some(KeyEvent::new(KeyCode::Tab, KeyModifiers::NONE)),
            (state, _) => state,
        };
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_between_answers_are_kept() {
        let mut typed = Typed::Text;
        let stream = "d\x1b_Gi=31;OK\x1b\\t\x1b[?62;4c\x1b[6;20;10t\r\x1b[0n4";
        let keys: Vec<_> = stream.chars().filter_map(|c| typed.key(c)).map(|k| k.code).collect();
        let want = [KeyCode::Char('d'), KeyCode::Char('t'), KeyCode::Enter, KeyCode::Char('4')];
        assert_eq!(keys, want);
    }

    #[test]
    fn an_answer_decides_the_protocol() {
        let answer = |responses| Answer { responses, keys: Vec::new() };
        let cell = Response::CellSize(Some((9, 18)));
        let kitty = picker(Some(&answer(vec![Response::Kitty, Response::Sixel, cell.clone()])));
        assert_eq!((kitty.protocol_type(), kitty.font_size().width), (ProtocolType::Kitty, 9));
        let sixel = picker(Some(&answer(vec![Response::Sixel, cell])));
        assert_eq!(sixel.protocol_type(), ProtocolType::Sixel);
    }
}

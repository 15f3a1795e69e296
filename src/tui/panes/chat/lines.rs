//! The talk as lines: questions, who answered and how, answers; two of them side by side.

use super::sure;
use crate::job::Brightness;
use crate::tui::action::{Action, Context};
use crate::tui::state::State;
use crate::tui::state::talk::{Answering, Exchange};
use crate::tui::text;
use crate::tui::widgets::wrapped;
use crate::tui::words::Words;
use ratatui::style::Style;
use ratatui::text::Line;

/// Columns from which two answers stand side by side.
const SIDE_BY_SIDE: usize = 44;
/// More than this of one answer is never looked at in a terminal.
const MOST: usize = 2000;

/// The last exchanges, as many as take up more than `wanted` lines: a long talk is not wrapped for every frame.
pub fn last(state: &State, columns: usize, wanted: usize) -> Vec<Line<'static>> {
    let mut blocks: Vec<Vec<Line>> = Vec::new();
    let mut all = state.talk.exchanges.iter().rev();
    let mut known = 0;
    while let Some(exchange) = all.next().filter(|_| known <= wanted) {
        let left = if exchange.beside { all.next() } else { None };
        let block = match left {
            Some(left) if columns >= SIDE_BY_SIDE => beside(left, exchange, columns, state),
            Some(left) => {
                let gone = exchange.replaced();
                let mut both = exchange_lines(left, gone, columns, state);
                both.extend(exchange_lines(exchange, gone, columns, state));
                both
            }
            None => exchange_lines(exchange, exchange.replaced(), columns, state),
        };
        known += block.len();
        blocks.push(block);
    }
    let mut lines: Vec<Line> = blocks.into_iter().rev().flatten().collect();
    lines.pop(); // the empty line behind the last answer
    lines
}

/// One question and two answers to it.
fn beside(left: &Exchange, right: &Exchange, columns: usize, state: &State) -> Vec<Line<'static>> {
    let half = (columns - 2) / 2;
    // Of a comparison that counts one side does, which is no reason to read the other with less care.
    let gone = right.replaced();
    let mut all = styled(&left.question, (columns, 200), question_style(gone, state));
    let answers = [left, right].map(|side| answer_lines(side, gone, half, state));
    let [left, right] = answers;
    all.extend(wrapped::beside(left, right, half));
    all
}

fn styled(content: &str, (columns, most): (usize, usize), style: Style) -> Vec<Line<'static>> {
    text::wrap(content, columns, most).into_iter().map(|line| Line::styled(line, style)).collect()
}

/// What is `gone` counts no longer: it is pale.
fn question_style(gone: bool, state: &State) -> Style {
    if gone { state.theme.dim } else { state.theme.accent }
}

/// A question, who answers, the answer, and an empty line.
fn exchange_lines(exchange: &Exchange, gone: bool, columns: usize, state: &State) -> Vec<Line<'static>> {
    let mut all = styled(&exchange.question, (columns, MOST), question_style(gone, state));
    all.extend(answer_lines(exchange, gone, columns, state));
    all
}

/// Who answers and how, the answer, and an empty line.
fn answer_lines(exchange: &Exchange, gone: bool, columns: usize, state: &State) -> Vec<Line<'static>> {
    let (theme, words) = (&state.theme, state.words);
    let (status, style) = match &exchange.status {
        Answering::Waiting => (words.get("chat.waiting"), theme.dim),
        Answering::Streaming => (" · …", theme.dim),
        Answering::Done => ("", theme.dim),
        Answering::Stopped => (words.get("chat.stopped"), theme.warn),
        Answering::Failed(_) => (words.get("chat.failed"), theme.bad),
    };
    let time = exchange.first_token.map(|s| words.fill("chat.first_word", &[("s", &format!("{s:.2}"))]));
    let corrected = if exchange.corrected { words.get("chat.corrected") } else { "" };
    let replaced = if gone { words.get("chat.replaced") } else { "" };
    let by = format!("{}{status}{replaced}{corrected}{}", exchange.by.say(words), time.unwrap_or_default());
    let mut all = vec![Line::styled(text::truncate(&by, columns).into_owned(), style)];
    if let Some(how) = how(exchange, words) {
        all.extend(styled(&how, (columns, 3), question_style(gone, state)));
    }
    let answer = exchange.answer.trim_end();
    if state.talk.show_odds && !exchange.odds.is_empty() && !gone {
        all.extend(sure::lines(answer, &exchange.odds, columns, theme).into_iter().take(MOST));
    } else {
        all.extend(styled(answer, (columns, MOST), if gone { theme.dim } else { Style::new() }));
    }
    if let Some(n) = exchange.cut {
        let key = state.keys.hint_in(Context::Chat, Action::TalkSettings);
        let said = words.fill("chat.cut", &[("n", &n.to_string()), ("key", &key)]);
        all.extend(styled(&said, (columns, 4), theme.warn));
    }
    if let Some(unsure) = sure::least(&exchange.odds, words) {
        all.extend(styled(&unsure, (columns, 4), theme.dim));
    }
    if let Answering::Failed(why) = &exchange.status {
        all.extend(styled(why, (columns, 20), theme.bad));
    }
    all.push(Line::raw(""));
    all
}

/// What was not as usual: the window over the pictures, the system text, how words were chosen.
fn how(exchange: &Exchange, words: Words) -> Option<String> {
    let mut parts: Vec<String> = exchange.seen.iter().map(|seen| say_window(*seen, words)).collect();
    if exchange.manner.system.is_some() {
        parts.push(words.get("chat.with_system").into());
    }
    if let Some(rule) = &exchange.manner.sampling {
        parts.push(match rule.temperature > 0.0 {
            true => format!("temperature {} · seed {}", rule.temperature, rule.seed),
            false => words.get("chat.own_settings").into(),
        });
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// The window that pictures are seen through.
pub fn say_window(seen: Brightness, words: Words) -> String {
    // Thousandths as per cent, with the tenth where there is one.
    let percent = |n: i32| format!("{}", f64::from(n) / 10.0);
    match seen {
        Brightness::Auto => words.get("chat.seen_auto").into(),
        Brightness::Set { centre, width } => {
            words.fill("chat.seen", &[("level", &percent(centre)), ("window", &percent(width))])
        }
    }
}

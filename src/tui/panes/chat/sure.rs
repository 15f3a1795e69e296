//! How sure the model is of its words: shown in the answer itself, and the least sure ones with what else they were.

use crate::data::clean;
use crate::job::Odds;
use crate::tui::theme::Theme;
use crate::tui::widgets::wrapped::Wrapped;
use crate::tui::words::Words;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

/// From here on a word is plain, and below here it is marked.
pub const SURE: f32 = 0.9;
pub const DOUBTFUL: f32 = 0.5;

/// The answer in pieces, each with its probability where it is known.
///
/// A token may be half a character, whose text says nothing: such tokens stand for what lies before the next token that
/// is found, with the least of their probabilities.
fn pieces(answer: &str, odds: &[Odds]) -> Vec<(String, Option<f32>)> {
    let mut pieces = Vec::new();
    let mut rest = answer;
    let mut halves: Option<f32> = None;
    for one in odds {
        let token = clean::for_terminal_lines(&one.token);
        if token.is_empty() || token.contains(char::REPLACEMENT_CHARACTER) {
            halves = Some(halves.map_or(one.logprob, |p| p.min(one.logprob)));
            continue;
        }
        let place = if halves.is_some() { rest.find(&token) } else { Some(0) };
        let Some(at) = place.filter(|at| rest[*at..].starts_with(&token)) else { break };
        if at > 0 {
            pieces.push((rest[..at].to_string(), halves.map(f32::exp)));
        }
        halves = None;
        rest = &rest[at + token.len()..];
        pieces.push((token, Some(one.logprob.exp())));
    }
    if !rest.is_empty() {
        pieces.push((rest.to_string(), halves.map(f32::exp)));
    }
    pieces
}

/// The answer, its words styled by how sure they are.
pub fn lines(answer: &str, odds: &[Odds], columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let style = |p: Option<f32>| match p {
        Some(p) if p < DOUBTFUL => theme.warn.add_modifier(Modifier::UNDERLINED | Modifier::BOLD),
        Some(p) if p < SURE => Style::new().add_modifier(Modifier::UNDERLINED),
        _ => Style::new(),
    };
    let mut out = Wrapped::new(columns);
    pieces(answer, odds).iter().for_each(|(piece, p)| out.push(piece, style(*p)));
    out.into_lines()
}

/// The words that the model was least sure of.
pub fn least(odds: &[Odds], words: Words) -> Option<String> {
    const SHOWN: usize = 4;
    const SURE: f32 = 0.7;
    let mut odds: Vec<&Odds> = odds.iter().filter(|o| o.logprob.exp() < SURE).collect();
    odds.sort_by(|a, b| a.logprob.total_cmp(&b.logprob));
    let percent = |logprob: f32| format!("{:.0}", logprob.exp() * 100.0);
    let one = |o: &&Odds| {
        let other = o.top.iter().find(|(token, _)| *token != o.token);
        let other = other.map(|(token, p)| {
            words.fill("chat.or", &[("p", &percent(*p)), ("token", &format!("{:?}", token.trim()))])
        });
        format!("{:?} {} %{}", o.token.trim(), percent(o.logprob), other.unwrap_or_default())
    };
    let all: Vec<String> = odds.iter().take(SHOWN).map(one).collect();
    (!all.is_empty()).then(|| words.fill("chat.unsure", &[("all", &clean::for_terminal(&all.join(", ")))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(tokens: &[(&str, f32)]) -> Vec<Odds> {
        let one =
            |(token, p): &(&str, f32)| Odds { token: (*token).into(), logprob: p.ln(), top: Vec::new() };
        tokens.iter().map(one).collect()
    }

    fn shown(answer: &str, tokens: &[(&str, f32)]) -> Vec<(String, Option<i32>)> {
        let percent = |p: f32| (p * 100.0).round() as i32;
        pieces(answer, &odds(tokens)).into_iter().map(|(t, p)| (t, p.map(percent))).collect()
    }

    #[test]
    fn tokens_are_found_in_the_answer_also_where_they_are_half_characters() {
        let of = |t: &str, p| (t.to_string(), Some(p));
        assert_eq!(
            shown("a left lung", &[("a", 0.9), (" left", 0.4), (" lung", 0.8)]),
            [of("a", 90), of(" left", 40), of(" lung", 80)]
        );
        let halves = [("右", 0.9), ("\u{fffd}", 0.6), ("\u{fffd}", 0.5), ("结节", 0.7)];
        assert_eq!(shown("右鎓结节", &halves), [of("右", 90), of("鎓", 50), of("结节", 70)]);
        assert_eq!(shown("右鎓", &halves[..3]), [of("右", 90), of("鎓", 50)], "while it is written");
        // The text comes later than its odds, or was cut at a stop text.
        assert_eq!(shown("a", &[("a", 0.9), (" left", 0.4)]), [of("a", 90)]);
        assert_eq!(shown("other", &[("a", 0.9)]), [("other".to_string(), None)]);
    }

    #[test]
    fn doubtful_words_are_seen_without_colours() {
        let tokens = odds(&[("left", 0.3), (" lung", 0.7), (" clear", 0.99)]);
        let lines = lines("left lung clear", &tokens, 40, &Theme::mono());
        let style = |word: &str| lines[0].spans.iter().find(|s| s.content == word).map(|s| s.style);
        let has = |word: &str, m: Modifier| style(word).is_some_and(|s| s.add_modifier.contains(m));
        assert!(has("left", Modifier::BOLD) && has("lung", Modifier::UNDERLINED), "{lines:?}");
        assert!(!has("lung", Modifier::BOLD) && !has("clear", Modifier::UNDERLINED), "{lines:?}");
    }
}

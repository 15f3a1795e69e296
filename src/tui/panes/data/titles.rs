//! What the data pane says about itself: title, hints, findings.

use crate::data::clean;
use crate::job::{Finding, Level};
use crate::tui::action::Action;
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::words::Words;

/// The open set, how many rows, changes and findings.
pub(super) fn title(state: &State) -> String {
    let data = &state.data;
    let Some(name) = data.name() else { return String::new() };
    let mut title = clean::for_terminal(name);
    if data.names.len() > 1 {
        title.push_str(&format!(" ({}/{})", data.open + 1, data.names.len()));
    }
    let words = state.words;
    let mut add = |text: String| title.push_str(&format!(" · {text}"));
    let n = |n: usize| n.to_string();
    if !data.loading {
        add(match data.search.found() {
            None => words.fill("data.samples", &[("n", &n(data.rows))]),
            Some(found) => words.fill("data.found", &[("found", &n(found.len())), ("n", &n(data.rows))]),
        });
    }
    if data.search.running && data.rows > 0 {
        add(words.fill("data.search_share", &[("n", &n(100 * data.search.looked / data.rows))]));
    }
    if data.changed > 0 {
        add(words.fill("data.changed", &[("n", &n(data.changed))]));
    }
    match data.findings.len() {
        0 => {}
        1 => add(words.get("data.finding").into()),
        all => add(words.fill("data.findings", &[("n", &n(all))])),
    }
    title
}

pub(super) fn hints(state: &State) -> Vec<(Action, &'static str)> {
    if state.data.names.is_empty() {
        return vec![(Action::Demo, "demo data"), (Action::Convert, "convert parquet")];
    }
    let mut hints = vec![(Action::Filter, "search")];
    if state.data.search.found().is_some() {
        hints.push((Action::NextMatch, "next"));
    }
    hints.extend([
        (Action::AskAbout, "ask"),
        (Action::FullPicture, "picture"),
        (Action::AsTrained, if state.data.look.trained { "as stored" } else { "as trained" }),
        (Action::EditCaption, "edit"),
        (Action::Exclude, "exclude"),
    ]);
    if state.data.names.len() > 1 {
        hints.push((Action::NextDataset, "next set"));
    }
    if !state.data.findings.is_empty() {
        hints.push((Action::Findings, "findings"));
    }
    hints
}

pub(super) fn picture_hints(state: &State) -> Vec<(Action, &'static str)> {
    let mut hints = vec![
        (Action::ZoomIn, "in"),
        (Action::ZoomOut, "out"),
        (Action::Brighter, "brighter"),
        (Action::Darker, "darker"),
        (Action::MoreContrast, "contrast"),
        (Action::AutoLevel, "auto"),
        (Action::ResetLevel, "reset"),
    ];
    if state.data.sample().is_some_and(|s| s.images.len() > 1) {
        hints.insert(0, (Action::OwnPicture, "next picture"));
    }
    hints.insert(0, (Action::Back, "back"));
    hints
}

/// The findings of the data set as lines.
pub(super) fn findings(state: &State) -> Vec<String> {
    let data = &state.data;
    if data.findings.is_empty() {
        let name = clean::for_terminal(data.name().unwrap_or("NAME"));
        let dir = clean::for_terminal(&data.dir.display().to_string());
        let command = format!("lorascope check {name} --data {dir}");
        return vec![
            state.words.get("data.no_findings").into(),
            state.words.fill("data.check_it", &[("command", &command)]),
            state.words.get("data.shown_here").into(),
        ];
    }
    data.findings.iter().flat_map(|finding| lines(state.words, finding)).collect()
}

fn lines(words: Words, finding: &Finding) -> Vec<String> {
    let level = words.get(match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info | Level::Debug => "note",
    });
    let rows: Vec<_> = finding.rows.iter().take(8).map(usize::to_string).collect();
    let rows = match rows.is_empty() {
        true => String::new(),
        false => words.fill("data.rows", &[("rows", &rows.join(", "))]),
    };
    // As wide as fits the smallest usual terminal in a box.
    const COLUMNS: usize = 72;
    let message = clean::for_terminal(&message(words, &finding.message));
    let fix = clean::for_terminal(&words.said(&finding.fix));
    let mut lines = text::wrap(&format!("{level}: {message}, {}×{rows}", finding.count), COLUMNS, 6);
    let fix = text::wrap(&fix, COLUMNS - 4, 4);
    lines.extend(fix.into_iter().filter(|l| !l.is_empty()).map(|l| format!("    {l}")));
    lines
}

/// What is found, and its examples in brackets: "scans.parquet row 3 id x: why; row 9".
fn message(words: Words, message: &str) -> String {
    let Some((what, examples)) = message.strip_suffix(')').and_then(|m| m.split_once(" (")) else {
        return words.said(message).into_owned();
    };
    let example = |example: &str| match example.split_once("row ") {
        Some((file, place)) => format!("{file}{} {place}", words.get("row")),
        None => example.to_string(),
    };
    let examples: Vec<String> = examples.split("; ").map(example).collect();
    format!("{} ({})", words.said(what), examples.join("; "))
}

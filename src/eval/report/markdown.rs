//! The report as Markdown.

use super::{Report, SORTED_BY, Shown};
use crate::data::clean;
use std::fmt::Write;

/// All of it.
pub(super) fn write(report: &Report) -> String {
    let mut out = format!("# {}\n\n", line(&report.title));
    let about = [("Model", &report.model), ("Adapter", &report.adapter)];
    for (name, value) in about.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "- {name}: {}", code(value));
    }
    let _ = writeln!(out, "- Samples: {}", report.tuned.samples);
    if let Some(base) = &report.base {
        let _ = writeln!(out, "- Compared with the base model on {} samples", base.common);
    }
    out += "\nNot a medical device: for research, no diagnosis.\n";
    for (title, (heading, rows)) in report.tables() {
        let _ = write!(out, "\n## {}\n\n{}", line(&title), table(&heading, &rows));
    }
    for (title, samples) in report.shown() {
        let _ = writeln!(out, "\n## {title}\n");
        samples.iter().for_each(|s| out += &sample(s));
    }
    out
}

fn table(heading: &[String], rows: &[Vec<String>]) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|c| line(c)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", " --- |".repeat(heading.len()));
    std::iter::once(row(heading)).chain([rule]).chain(rows.iter().map(|r| row(r))).collect()
}

fn sample(shown: &Shown) -> String {
    let p = &shown.prediction;
    let score = p.score(SORTED_BY).unwrap_or_default();
    let mut out = format!("### {} ({SORTED_BY} {score:.2})\n\n", line(&p.id));
    let mut item = |name: &str, text: &str| {
        let _ = writeln!(out, "- {name}: {}", line(text));
    };
    p.images.iter().for_each(|image| item("Picture", image));
    item("Question", &p.question);
    item("Reference", &p.label);
    if let Some(base) = &shown.base {
        item("Base", base);
    }
    item("Tuned", &p.predict);
    out + "\n"
}

/// Text from data on one line, as it is: what Markdown or HTML would take for its own is escaped.
fn line(text: &str) -> String {
    let text = clean::for_terminal(text.trim());
    let mut out = String::with_capacity(text.len());
    let (mut chars, mut before) = (text.chars().peekable(), ' ');
    while let Some(c) = chars.next() {
        // Within a name such as scan_01 it means nothing.
        let in_name = before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' => out.extend(['\\', c]),
            '_' if !in_name => out.extend(['\\', c]),
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// A path as code, between more backticks than it has itself.
fn code(text: &str) -> String {
    let text = clean::for_terminal(text.trim());
    let most = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let marks = "`".repeat(most + 1);
    let gap = if most > 0 { " " } else { "" };
    format!("{marks}{gap}{text}{gap}{marks}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_data_stays_text() {
        let said = r"<b>*left*</b> [x](y) & `k` ~~no~~ a|b _u_ scan_01 C:\*";
        let written = r"&lt;b>\*left\*&lt;/b> \[x\](y) &amp; \`k\` \~\~no\~\~ a\|b \_u\_ scan_01 C:\\\*";
        assert_eq!(line(said), written);
        assert_eq!(line("# no heading\n- no item"), "# no heading - no item", "one line behind a name");
        assert_eq!([code("runs/a_b"), code("a`b")], ["`runs/a_b`", "`` a`b ``"]);
    }
}

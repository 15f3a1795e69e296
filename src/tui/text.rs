//! Text measured in terminal columns: cutting, padding, wrapping; numbers as people read them.

use ratatui::buffer::Buffer;
use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The longest grapheme that is drawn as it is, in bytes.
const LONGEST: usize = 32;

/// Cuts towers of combining marks in a finished frame, whatever text they came from. What holds an escape sequence is a picture.
pub fn cut_towers(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if symbol.len() > LONGEST && !symbol.contains('\x1b') {
            let cut = short(symbol).to_string();
            cell.set_symbol(&cut);
        }
    }
}

/// A grapheme without the tail of a tower of combining marks, which would cost a terminal dearly.
fn short(grapheme: &str) -> &str {
    if grapheme.len() <= LONGEST {
        return grapheme;
    }
    &grapheme[..grapheme.floor_char_boundary(LONGEST)]
}

/// Cuts to `max` columns, the last of them `…` if something was cut.
pub fn truncate(text: &str, max: usize) -> Cow<'_, str> {
    // Each character takes at most 2 columns: a long text is cut before it is measured.
    if text.len() <= max && text.is_ascii() {
        return text.into();
    }
    let (mut out, mut used) = (String::new(), 0);
    let mut fits = 0; // length of `out` that leaves room for the ellipsis
    for g in text.graphemes(true).map(short) {
        if used + g.width() > max {
            out.truncate(fits);
            if max > 0 {
                out.push('…');
            }
            return out.into();
        }
        out.push_str(g);
        used += g.width();
        if used < max {
            fits = out.len();
        }
    }
    out.into()
}

/// Cuts to the last `max` columns, the first of them `…` if something was cut: the telling end of a path.
pub fn tail(text: &str, max: usize) -> Cow<'_, str> {
    if max == 0 || text.width() <= max {
        return truncate(text, max);
    }
    let mut start = text.len();
    let mut used = 1;
    for (at, g) in text.grapheme_indices(true).rev() {
        used += short(g).width();
        if used > max {
            break;
        }
        start = at;
    }
    truncate(&format!("…{}", &text[start..]), max).into_owned().into()
}

/// Cuts or fills to exactly `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    let cut = truncate(text, columns);
    let fill = columns.saturating_sub(cut.width());
    format!("{cut}{:fill$}", "")
}

/// Like [`pad`], aligned to the right.
pub fn pad_left(text: &str, columns: usize) -> String {
    let cut = truncate(text, columns);
    let fill = columns.saturating_sub(cut.width());
    format!("{:fill$}{cut}", "")
}

/// Wraps to at most `max_lines` lines of `columns`: at spaces, between wide characters, and within words that
/// are too long. The last line ends with `…` when there was more.
pub fn wrap(text: &str, columns: usize, max_lines: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if columns == 0 {
        return lines;
    }
    for paragraph in text.split('\n') {
        let mut rest = paragraph.trim_end();
        loop {
            if lines.len() == max_lines {
                end_with_ellipsis(lines.last_mut(), columns);
                return lines;
            }
            let (line, next) = first_line(rest, columns);
            lines.push(line);
            if next.is_empty() {
                break;
            }
            rest = next;
        }
    }
    lines
}

fn end_with_ellipsis(line: Option<&mut String>, columns: usize) {
    if let Some(line) = line {
        *line = truncate(&format!("{line} …"), columns).into_owned();
        if !line.ends_with('…') {
            line.push('…');
        }
    }
}

/// The first line of a text, and what follows it.
fn first_line(text: &str, columns: usize) -> (String, &str) {
    let (mut line, mut used) = (String::new(), 0);
    let mut break_at = (0, 0); // (bytes of the text, bytes of the line)
    let mut before = ("", 0);
    for (at, full) in text.grapheme_indices(true) {
        let g = short(full);
        let wide = grapheme_width(g);
        if between(before, (g, wide)) {
            break_at = (at, line.len());
        }
        if used + wide > columns {
            if at == 0 {
                return (line, &text[full.len()..]); // wider than the whole column: left out
            }
            let (next, keep) = if g == " " || break_at.1 == 0 { (at, line.len()) } else { break_at };
            line.truncate(keep);
            return (line.trim_end().to_string(), text[next..].trim_start());
        }
        line.push_str(g);
        used += wide;
        before = (g, wide);
    }
    (line, "")
}

/// Columns a grapheme takes; most are one letter, which needs no table.
fn grapheme_width(g: &str) -> usize {
    match g.as_bytes() {
        [b' '..=b'~'] => 1,
        _ => g.width(),
    }
}

/// Whether a line may end between two graphemes.
pub fn may_break(before: &str, after: &str) -> bool {
    between((before, grapheme_width(before)), (after, grapheme_width(after)))
}

/// Whether a line may end between two graphemes, each with its width.
fn between((before, left): (&str, usize), (after, right): (&str, usize)) -> bool {
    let here = matches!(before, " " | "-") || left == 2 || right == 2;
    here && !closes(after) && !opens(before)
}

/// Punctuation that must not start a line.
fn closes(g: &str) -> bool {
    !g.is_empty() && "，。、；：？！）】》」』”’％".contains(g)
}

/// Punctuation that must not end a line.
fn opens(g: &str) -> bool {
    !g.is_empty() && "（【《「『“‘".contains(g)
}

/// A number in few characters: 0.5312, 1.2e-5, 12.4k.
pub fn number(v: f64) -> String {
    let a = v.abs();
    match a {
        _ if !v.is_finite() => format!("{v}"),
        0.0 => "0".into(),
        _ if a >= 1e6 => format!("{v:.1e}"),
        _ if a >= 1e4 => format!("{:.1}k", v / 1e3),
        _ if a >= 100.0 => format!("{v:.0}"),
        _ if a >= 10.0 => format!("{v:.1}"),
        _ if a >= 1.0 => format!("{v:.2}"),
        _ if a >= 0.01 => format!("{v:.3}"),
        _ => format!("{v:.1e}"),
    }
}

/// A count: 999, 12.3 k, 4.5 M, 1.2 G.
pub fn count(n: u64) -> String {
    scaled(n as f64, 1000.0, &["", " k", " M", " G", " T"])
}

/// Bytes: 512 B, 1.5 GiB.
pub fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(mut v: f64, base: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while v >= base && unit + 1 < units.len() {
        v /= base;
        unit += 1;
    }
    if unit == 0 { format!("{v:.0}{}", units[0]) } else { format!("{v:.1}{}", units[unit]) }
}

/// Seconds as `12 s`, `3:05`, `1:02:03`, `2 d 3 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "-".into();
    }
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{}:{:02}", s / 60, s % 60),
        3600..86400 => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
        _ => format!("{} d {} h", s / 86400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_columns_not_characters() {
        assert_eq!(truncate("肺部结节", 8), "肺部结节");
        assert_eq!(truncate("肺部结节", 7), "肺部结…");
        assert_eq!(truncate("肺部结节", 6), "肺部…");
        assert_eq!(truncate("abc", 0), "");
        assert_eq!(truncate("肺", 1), "…");
        assert_eq!(tail("/home/肺/data", 8), "…肺/data");
        assert_eq!(tail("/home/肺/data", 7), "…/data");
        assert_eq!(tail("abc", 0), "");
        assert_eq!(pad("肺", 4), "肺  ");
        assert_eq!(pad_left("肺", 3), " 肺");
        for n in 0..20 {
            assert!(width(&truncate("a肺b部cd结节e\u{301}fg", n)) <= n);
        }
    }

    #[test]
    fn wrapping_keeps_words_and_chinese_punctuation() {
        assert_eq!(wrap("a small nodule in the lung", 10, 9), ["a small", "nodule in", "the lung"]);
        assert_eq!(wrap("左肺上叶见结节，边界清。", 8, 9), ["左肺上叶", "见结节，", "边界清。"]);
        assert_eq!(wrap("见结节，边界", 6, 9), ["见结", "节，边", "界"]);
        assert_eq!(wrap("abcdefgh", 3, 9), ["abc", "def", "gh"]);
        assert_eq!(wrap("one two three four", 5, 2), ["one", "two …"]);
        assert_eq!(wrap("a\n\nb", 5, 9), ["a", "", "b"]);
        assert_eq!(wrap("肺", 1, 9), [""]);
    }

    #[test]
    fn towers_of_combining_marks_are_cut() {
        let tower = format!("e{}", "\u{301}".repeat(10_000));
        assert!(truncate(&tower, 10).len() <= 32);
        assert!(wrap(&tower, 10, 5)[0].len() <= 32);
        let mut buffer = Buffer::with_lines(["ab"]);
        buffer.content[0].set_symbol(&tower);
        let picture = format!("\x1b_G{}", "A".repeat(100));
        buffer.content[1].set_symbol(&picture);
        cut_towers(&mut buffer);
        assert!(buffer.content[0].symbol().len() <= 32 && buffer.content[1].symbol() == picture);
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [0.0, 0.53124, 5e-5, 2.3456, 42.0, 12345.0, f64::NAN].map(number).into();
        assert_eq!(shown, ["0", "0.531", "5.0e-5", "2.35", "42.0", "12.3k", "NaN"]);
        assert_eq!([count(999), count(12_340), count(2_400_000)], ["999", "12.3 k", "2.4 M"]);
        assert_eq!([bytes(512), bytes(3 << 29)], ["512 B", "1.5 GiB"]);
        assert_eq!([12.0, 185.0, 3723.0, 183_600.0].map(duration), ["12 s", "3:05", "1:02:03", "2 d 3 h"]);
    }
}

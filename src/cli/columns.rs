//! Tables in plain text: columns measured in terminal cells, long cells wrapped.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Two blanks between columns.
const GAP: &str = "  ";

/// One row as text lines: each cell wrapped into its width, blanks at line ends removed.
pub fn row(cells: &[&str], widths: &[usize]) -> String {
    let wrapped: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    let line = |i: usize| {
        let cells = wrapped.iter().zip(widths).map(|(lines, width)| {
            let text = lines.get(i).map_or("", String::as_str);
            format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_string()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

/// The widths that hold every cell of `rows`, at least that of the heading.
pub fn widths(heading: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let widest = |(i, title): (usize, &&str)| {
        rows.iter().filter_map(|r| r.get(i)).map(|c| c.width()).fold(title.width(), usize::max)
    };
    heading.iter().enumerate().map(widest).collect()
}

/// Breaks text into lines of at most `width` cells (at least 1): after blanks, else after `_`, `/`, `,` or `-`,
/// else between letters. An empty text is one empty line.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        put(&mut lines, word, width, &[" "]);
    }
    lines.iter().map(|line| line.trim_end().to_string()).collect()
}

/// Adds a piece to the last line or a new one; a piece that fits no line is cut finer.
fn put(lines: &mut Vec<String>, piece: &str, width: usize, cut: &[&str]) {
    let used = lines.last().map_or(0, |line| line.width());
    let own = piece.trim_end().width();
    if used + own <= width {
        if let Some(line) = lines.last_mut() {
            line.push_str(piece);
        }
    } else if own <= width {
        lines.push(piece.to_string());
    } else if cut == [" "] {
        for part in piece.split_inclusive(['_', '/', ',', '-']) {
            put(lines, part, width, &["_"]);
        }
    } else {
        for letter in piece.graphemes(true) {
            // A letter wider than the column stands alone rather than looping.
            if lines.last().is_some_and(|line| !line.is_empty() && line.width() + letter.width() > width) {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push_str(letter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_blanks_then_signs_then_letters() {
        assert_eq!(wrap("a small table", 8), ["a small", "table"]);
        assert_eq!(wrap("qwen3_vl_nothink", 9), ["qwen3_vl_", "nothink"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("x", 0), ["x"]);
    }

    #[test]
    fn chinese_letters_are_two_cells() {
        assert_eq!(wrap("图片中的诊断", 5), ["图片", "中的", "诊断"]);
        assert_eq!(row(&["肺", "b"], &[4, 1]), "肺    b");
        assert_eq!(row(&["one two", "x"], &[3, 1]), "one  x\ntwo");
        assert_eq!(widths(&["a", "bb"], &[vec!["肺肺".into(), "c".into()]]), [4, 2]);
    }
}

//! Text from data made harmless: for a terminal no control, escape or bidi characters; for parsers no byte order mark.

/// One line: control and bidi characters are dropped, tabs and line ends become a space.
pub fn for_terminal(text: &str) -> String {
    text.chars().filter_map(|c| if matches!(c, '\n' | '\r' | '\t') { Some(' ') } else { keep(c) }).collect()
}

/// Several lines: like [`for_terminal`], line ends stay.
pub fn for_terminal_lines(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' => Some('\n'),
            '\t' => Some(' '),
            c => keep(c),
        })
        .collect()
}

/// Without the mark that some editors put before UTF-8.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// `None` for a character that could move the cursor, change colours or reorder text.
fn keep(c: char) -> Option<char> {
    let bidi =
        matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let invisible = matches!(c, '\u{FEFF}' | '\u{2028}' | '\u{2029}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}');
    (!c.is_control() && !bidi && !invisible).then_some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_bidi_are_gone_and_chinese_stays() {
        assert_eq!(for_terminal("a\x1b[31m肺\u{202E}b\r\n\tc\u{9b}d\0"), "a[31m肺b   cd");
        assert_eq!(for_terminal_lines("a\nb\u{7f}"), "a\nb");
    }
}

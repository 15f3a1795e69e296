//! The screen in ASCII, for terminals and fonts that have no more: lines, dots and marks are replaced in the finished frame.

use ratatui::buffer::Buffer;
use unicode_width::UnicodeWidthStr;

/// Whether an environment asks for it: `LORASCOPE_ASCII`, a locale that is not UTF-8, the Linux console.
pub fn wanted(env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).filter(|v| !v.is_empty());
    match set("LORASCOPE_ASCII").as_deref() {
        Some("0" | "no" | "false") => return false,
        Some(_) => return true,
        None => {}
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    let utf8 = |l: &String| {
        let l = l.to_ascii_lowercase();
        l.contains("utf-8") || l.contains("utf8")
    };
    // Without any locale nothing is known; terminals of today read UTF-8.
    locale.is_some_and(|l| !utf8(&l) && l != "C" && l != "POSIX") || set("TERM").as_deref() == Some("linux")
}

/// Replaces what is no ASCII. `words` too: characters for which there is no replacement become `?`.
pub fn replace(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        // Escape sequences of pictures are no text.
        if symbol.is_ascii() || symbol.contains('\x1b') {
            continue;
        }
        let plain = plain(symbol.chars().next().unwrap_or(' '));
        match symbol.width() {
            2 => cell.set_symbol("??"),
            _ => cell.set_char(plain),
        };
    }
}

fn plain(c: char) -> char {
    match c {
        '─' | '━' | '╌' | '–' | '—' => '-',
        '│' | '┃' | '▏' | '▎' => '|',
        '╭' | '╮' | '╰' | '╯' | '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' => {
            '+'
        }
        '…' => '~',
        '·' | '•' => '-',
        '×' => 'x',
        '↑' => '^',
        '↓' => 'v',
        '←' | '‹' => '<',
        '→' | '›' => '>',
        '±' => '+',
        '\u{a0}' => ' ',
        '“' | '”' | '„' => '"',
        '‘' | '’' => '\'',
        '█' | '▇' | '▆' | '▅' => '#',
        '▄' | '▃' | '▂' | '▁' | '▌' => '=',
        '\u{2800}'..='\u{28ff}' => dots(c as u32 - 0x2800),
        _ => '?',
    }
}

/// A braille cell by where its dots lie and how many there are.
fn dots(bits: u32) -> char {
    const UPPER: u32 = 0x01 | 0x08 | 0x02 | 0x10;
    match (bits & UPPER, bits & !UPPER, bits.count_ones()) {
        (0, 0, _) => ' ',
        (_, _, 6..) => '#',
        (_, _, 4..) => '*',
        (_, 0, _) => '\'',
        (0, _, _) => '.',
        _ => ':',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_becomes_ascii_in_its_place() {
        let mut buffer = Buffer::with_lines(["╭ 肺 ⠉⠤⣿⡇ … é ╮", "a · b × → 4 ━━"]);
        replace(&mut buffer);
        let text: String = buffer.content.iter().map(|c| c.symbol()).collect();
        assert!(text.is_ascii(), "{text}");
        assert!(text.starts_with("+ ??") && text.contains("'") && text.contains("a - b x > 4 --"), "{text}");
    }

    #[test]
    fn the_environment_decides() {
        let with =
            |name: &'static str, value: &'static str| wanted(move |k| (k == name).then(|| value.into()));
        assert!(with("LANG", "de_DE.ISO-8859-1") && with("TERM", "linux") && with("LORASCOPE_ASCII", "1"));
        assert!(!with("LANG", "zh_CN.UTF-8") && !with("LANG", "C") && !with("TERM", "xterm"));
    }
}

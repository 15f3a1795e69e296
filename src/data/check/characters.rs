//! Characters that do not belong into a text: control, direction marks, what a wrong decoding leaves.

/// The first odd character of each kind in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Odd {
    pub control: Option<char>,
    pub bidi: Option<char>,
    pub replacement: bool,
}

impl Odd {
    pub fn in_text(text: &str) -> Self {
        let mut odd = Self::default();
        // Nearly all texts are clean, and bytes are faster to look at than characters.
        if text.bytes().all(|b| (b' '..0x7F).contains(&b) || matches!(b, b'\n' | b'\t' | b'\r')) {
            return odd;
        }
        for c in text.chars() {
            if is_control(c) {
                odd.control.get_or_insert(c);
            } else if is_bidi(c) {
                odd.bidi.get_or_insert(c);
            }
            odd.replacement |= c == '\u{FFFD}';
        }
        odd
    }
}

/// A control character other than line end and tab, or one without width.
pub(super) fn is_control(c: char) -> bool {
    let invisible = matches!(c, '\u{200B}' | '\u{2060}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}');
    (c.is_control() && !matches!(c, '\n' | '\t' | '\r')) || invisible
}

/// Marks, embeddings and overrides of direction (Unicode Standard Annex 9).
pub(super) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The first piece of UTF-8 that was read as Latin-1 or Windows-1252, such as `Ã©` for é or `è‚º` for 肺.
pub(super) fn mojibake(text: &str) -> Option<&str> {
    if text.is_ascii() {
        return None;
    }
    let starts = text.char_indices().filter(|(_, c)| ('\u{C2}'..='\u{F4}').contains(c));
    for (at, lead) in starts {
        let more = match lead as u32 {
            0xC2 | 0xC3 | 0xD0 | 0xD1 => 1,
            0xE2..=0xEF => 2,
            0xF0..=0xF4 => 3,
            // Possible, but more often a letter in front of a quotation mark.
            _ => continue,
        };
        let rest = &text[at + lead.len_utf8()..];
        let tail: usize = rest.chars().take(more).filter(|c| is_continuation(*c)).map(char::len_utf8).sum();
        if rest.chars().take(more).filter(|c| is_continuation(*c)).count() == more {
            return Some(&text[at..at + lead.len_utf8() + tail]);
        }
    }
    None
}

/// A character that a byte 0x80..0xBF becomes in Latin-1 or Windows-1252.
fn is_continuation(c: char) -> bool {
    const WINDOWS: &str = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ";
    ('\u{80}'..='\u{BF}').contains(&c) || WINDOWS.contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters_are_told_apart() {
        let clean = "A CT of the lung:\n肺部 CT\t3 µm — naïve 🩻, 👨‍⚕️";
        assert_eq!(Odd::in_text(clean), Odd::default());
        let odd = Odd::in_text("a\u{7}b\u{202E}c\u{FFFD}\u{200B}");
        assert_eq!(odd, Odd { control: Some('\u{7}'), bidi: Some('\u{202E}'), replacement: true });
    }

    #[test]
    fn wrongly_decoded_text_is_found_and_accents_are_not() {
        assert_eq!(mojibake("an Å“dÃ¨me"), Some("Ã¨"));
        assert_eq!(mojibake("the â€™quoteâ€™"), Some("â€™"));
        assert_eq!(mojibake("è‚ºéƒ¨"), Some("è‚º"));
        for text in ["naïve œdème", "« É »", "Ärzte über", "肺部结节", "3 µm ± 2 °C", "ÑANDÚ", "Â l'est"]
        {
            assert_eq!(mojibake(text), None, "{text}");
        }
    }
}

//! Words of mixed Chinese and English text, cut as Python's `jieba.cut` 0.42 does (with its HMM).

use jieba_rs::Jieba;
use std::sync::OnceLock;

/// The words of `text` in order; every space, line end and other separator is a word of its own.
///
/// jieba-rs differs from Python's jieba in two things, put right here: it keeps `T2-weighted`, `lung.It` and
/// `3.2cm` whole where Python cuts them, and it joins Han characters that Python's pattern does not know.
pub fn cut(text: &str) -> Vec<&str> {
    let mut words = Vec::with_capacity(text.len() / 2);
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|&(_, c)| unknown_han(c)) {
        cut_known(&rest[..at], &mut words);
        let (alone, after) = rest[at..].split_at(c.len_utf8());
        words.push(alone);
        rest = after;
    }
    cut_known(rest, &mut words);
    words
}

/// The dictionary of 349,045 words is unpacked and indexed once, when first needed.
fn jieba() -> &'static Jieba {
    static JIEBA: OnceLock<Jieba> = OnceLock::new();
    JIEBA.get_or_init(Jieba::new)
}

/// Begins to make the dictionary ready, on a thread of its own: while a model is loaded there is time for it.
pub fn prepare() {
    std::thread::spawn(|| {
        jieba();
    });
}

/// Han characters of jieba-rs's pattern that are not in Python's `[\u4E00-\u9FD5]`.
fn unknown_han(c: char) -> bool {
    matches!(c,
        '\u{3400}'..='\u{4DBF}' | '\u{9FD6}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{2EBEF}' | '\u{2F800}'..='\u{2FA1F}')
}

fn cut_known<'a>(text: &'a str, words: &mut Vec<&'a str>) {
    if text.is_empty() {
        return;
    }
    for token in jieba().cut(text, true) {
        // No word of the dictionary holds a connector, so such a token was joined by jieba-rs's own rule.
        let joined = token.word.bytes().any(|b| matches!(b, b'.' | b'_' | b'-'))
            && token.word.bytes().any(|b| b.is_ascii_alphanumeric());
        if joined { cut_alphanumeric(token.word, words) } else { words.push(token.word) }
    }
}

/// Python's `re_skip.split` of finalseg: `([a-zA-Z0-9]+(?:\.\d+)?%?)`, matches and gaps both being words.
fn cut_alphanumeric<'a>(token: &'a str, words: &mut Vec<&'a str>) {
    let bytes = token.as_bytes();
    let run = |from: usize, is: fn(&u8) -> bool| from + bytes[from..].iter().take_while(|b| is(b)).count();
    let mut at = 0;
    while at < bytes.len() {
        let mut end = run(at, u8::is_ascii_alphanumeric);
        if end == at {
            end = run(at, |b| !b.is_ascii_alphanumeric());
        } else {
            if bytes.get(end) == Some(&b'.') {
                let decimals = run(end + 1, u8::is_ascii_digit);
                end = if decimals > end + 1 { decimals } else { end };
            }
            end += usize::from(bytes.get(end) == Some(&b'%'));
        }
        words.push(&token[at..end]);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cuts_as_python_jieba() {
        let joined = |text| cut(text).join("|");
        assert_eq!(joined("It measures 3.2 cm."), "It| |measures| |3.2| |cm|.");
        assert_eq!(joined("T2-weighted,3.2cm v1.2a%"), "T2|-|weighted|,|3.2|cm| |v1.2|a%");
        assert_eq!(joined("右肺上叶见结节\r\n3.5%。"), "右肺|上叶见|结节|\r\n|3.5%|。");
        assert_eq!(joined("......a.b-"), "......|a|.|b|-");
        assert_eq!(joined(""), "");
    }
}

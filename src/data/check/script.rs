//! Which writing a text is in, and how many words it has.

/// A writing, named after its best-known language where that is all one can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Script {
    Latin,
    Chinese,
    Japanese,
    Korean,
    Cyrillic,
    Greek,
    Arabic,
    Hebrew,
    Devanagari,
    Thai,
    Other,
    /// No letter at all.
    None,
}

const ALL: [Script; 12] = [
    Script::Latin,
    Script::Chinese,
    Script::Japanese,
    Script::Korean,
    Script::Cyrillic,
    Script::Greek,
    Script::Arabic,
    Script::Hebrew,
    Script::Devanagari,
    Script::Thai,
    Script::Other,
    Script::None,
];

impl Script {
    pub fn name(self) -> &'static str {
        match self {
            Script::Latin => "latin",
            Script::Chinese => "chinese",
            Script::Japanese => "japanese",
            Script::Korean => "korean",
            Script::Cyrillic => "cyrillic",
            Script::Greek => "greek",
            Script::Arabic => "arabic",
            Script::Hebrew => "hebrew",
            Script::Devanagari => "devanagari",
            Script::Thai => "thai",
            Script::Other => "other",
            Script::None => "none",
        }
    }
}

/// The script of a letter; [`Script::None`] for what is no letter.
pub(super) fn of(c: char) -> Script {
    match c {
        'a'..='z' | 'A'..='Z' => Script::Latin,
        c if !c.is_alphabetic() => Script::None,
        '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' | 'ª' | 'º' => Script::Latin,
        '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' | 'µ' => Script::Greek,
        '\u{400}'..='\u{52F}' => Script::Cyrillic,
        '\u{590}'..='\u{5FF}' => Script::Hebrew,
        '\u{600}'..='\u{77F}' | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFE}' => Script::Arabic,
        '\u{900}'..='\u{97F}' => Script::Devanagari,
        '\u{E00}'..='\u{E7F}' => Script::Thai,
        '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{FF66}'..='\u{FF9F}' => Script::Japanese,
        '\u{1100}'..='\u{11FF}' | '\u{3130}'..='\u{318F}' | '\u{AC00}'..='\u{D7AF}' => Script::Korean,
        '\u{3005}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}' => Script::Chinese,
        _ => Script::Other,
    }
}

/// Whether the script is written without blanks between words.
pub(super) fn is_dense(script: Script) -> bool {
    matches!(script, Script::Chinese | Script::Japanese | Script::Thai)
}

/// A text's writing and length in words. A character of a writing without blanks counts as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writing {
    pub script: Script,
    pub words: usize,
}

impl Writing {
    pub fn of(text: &str) -> Self {
        let mut counts = [0usize; ALL.len()];
        let (mut words, mut inside) = (0, false);
        for c in text.chars() {
            let script = of(c);
            if is_dense(script) {
                counts[script as usize] += 1;
                (words, inside) = (words + 1, false);
            } else if c.is_alphanumeric() {
                if !inside {
                    words += 1;
                    counts[script as usize] += usize::from(script != Script::None);
                }
                inside = true;
            } else {
                // `T2-weighted` and `patient's` are one word.
                inside &= matches!(c, '-' | '\'' | '’' | '_');
            }
        }
        let (kana, han) = (counts[Script::Japanese as usize], counts[Script::Chinese as usize]);
        if kana * 10 >= han && kana > 0 {
            counts[Script::Japanese as usize] += std::mem::take(&mut counts[Script::Chinese as usize]);
        }
        let most = counts.iter().copied().max().unwrap_or(0);
        let script = match counts.iter().position(|n| *n == most) {
            Some(at) if most > 0 => ALL[at],
            _ => Script::None,
        };
        Self { script, words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writing_is_that_of_most_words() {
        let writing = |text| {
            let w = Writing::of(text);
            (w.script, w.words)
        };
        assert_eq!(writing("A T2-weighted MR of the patient's brain, 3 cm."), (Script::Latin, 9));
        assert_eq!(writing("这是一张CT轴位图像。"), (Script::Chinese, 9));
        assert_eq!(writing("これは肺のCT画像です"), (Script::Japanese, 10));
        assert_eq!(writing("Снимок КТ"), (Script::Cyrillic, 2));
        assert_eq!(writing("12.5 %"), (Script::None, 2));
        assert_eq!(writing(""), (Script::None, 0));
    }
}

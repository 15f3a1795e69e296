//! Safe, unique file names from ids that may be anything.

use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// Longest stem in bytes: leaves room for a number and the extension under the 143 bytes of the tightest
/// common file system (eCryptfs).
const MAX_BYTES: usize = 120;

/// Hands out file stems, each once: also by case and Unicode normal form, as case-insensitive and normalising
/// file systems see them.
#[derive(Default)]
pub struct FileNames {
    /// Folded stem (hashed, 16 bytes) → the number to try next.
    used: HashMap<[u8; 16], u32>,
}

/// A stem, and whether it had to differ from the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStem {
    pub stem: String,
    /// The id holds something that a file name must not.
    pub cleaned: bool,
    /// The name was taken: a number was added.
    pub numbered: bool,
}

impl FileNames {
    /// Marks a stem as taken.
    pub fn reserve(&mut self, stem: &str) {
        self.used.entry(key(stem)).or_insert(2);
    }

    /// The stem for a row's id.
    pub fn stem_for(&mut self, id: &str) -> FileStem {
        let clean = clean(id);
        let cleaned = clean != id;
        let base = key(&clean);
        let Some(&first) = self.used.get(&base) else {
            self.used.insert(base, 2);
            return FileStem { stem: clean, cleaned, numbered: false };
        };
        let mut number = first;
        loop {
            let stem = format!("{clean}-{number}");
            number += 1;
            let candidate = key(&stem);
            if !self.used.contains_key(&candidate) {
                self.used.insert(candidate, 2);
                self.used.insert(base, number);
                return FileStem { stem, cleaned, numbered: true };
            }
        }
    }
}

/// What two names share when some file system takes them for one: case and normal form folded away.
fn key(stem: &str) -> [u8; 16] {
    // Upper case first: it spells out letters that lower case alone keeps apart (ß, SS).
    let folded: String = stem.nfkd().collect::<String>().to_uppercase().to_lowercase().nfkc().collect();
    let hash = blake3::hash(folded.as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// The id as a name valid on every common file system, in NFC.
fn clean(id: &str) -> String {
    let name: String = id.nfc().map(|c| if forbidden(c) { '_' } else { c }).collect();
    let name = cut(name.trim().trim_start_matches('.').trim_start(), MAX_BYTES);
    let name = name.trim_end_matches(['.', ' ']);
    if name.is_empty() {
        return "row".into();
    }
    // A leading dash reads as an option of a command.
    if reserved(name) || name.starts_with('-') { format!("_{name}") } else { name.into() }
}

/// Separators, what Windows forbids, and characters that cannot be seen or move others.
fn forbidden(c: char) -> bool {
    matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
        || crate::data::clean::for_terminal(c.encode_utf8(&mut [0; 4])).is_empty()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FE00}'..='\u{FE0F}')
}

/// The device names of Windows, with or without an extension.
fn reserved(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        base.strip_prefix(prefix).is_some_and(|n| {
            let mut chars = n.chars();
            matches!((chars.next(), chars.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        })
    };
    matches!(base.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
}

/// The longest prefix of at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems(ids: &[&str]) -> Vec<String> {
        let mut names = FileNames::default();
        ids.iter().map(|id| names.stem_for(id).stem).collect()
    }

    #[test]
    fn hostile_ids_become_plain_names() {
        let got = stems(&[
            "../../etc/passwd",
            "a/b\\c",
            "nul\0",
            "con",
            "COM1.txt",
            "...",
            "",
            "-rf",
            "x. .",
            "肺\n",
        ]);
        assert_eq!(
            got,
            ["_.._etc_passwd", "a_b_c", "nul_", "_con", "_COM1.txt", "row", "row-2", "_-rf", "x", "肺_"]
        );
        let long = "é".repeat(300);
        assert_eq!(stems(&[&long])[0].len(), MAX_BYTES);
    }

    #[test]
    fn the_same_name_in_other_case_or_normal_form_gets_a_number() {
        assert_eq!(stems(&["same", "same", "Same", "same-2"]), ["same", "same-2", "Same-3", "same-2-2"]);
        assert_eq!(
            stems(&["caf\u{e9}", "cafe\u{301}", "straße", "STRASSE"]),
            ["café", "café-2", "straße", "STRASSE-2"]
        );
    }

    #[test]
    fn a_clean_id_is_kept_as_it_is() {
        let mut names = FileNames::default();
        let id = "d8e38c5e-2115-538f-924f-e477d4cb04f3";
        assert_eq!(names.stem_for(id), FileStem { stem: id.into(), cleaned: false, numbered: false });
        names.reserve("taken");
        assert_eq!(names.stem_for("Taken").stem, "Taken-2");
    }
}

//! Safe, unique file names from ids that may be anything.

use super::disk_map::{DiskMap, fingerprint};
use crate::error::Result;
use std::path::Path;
use unicode_normalization::UnicodeNormalization;

/// Longest stem in bytes: leaves room for a number and the extension under the 143 bytes of the tightest
/// common file system (eCryptfs).
const MAX_BYTES: usize = 120;

/// Hands out file stems, each once: also by case and Unicode normal form, as case-insensitive and normalising
/// file systems see them.
pub(super) struct FileNames {
    /// Folded stem → the number to try next. On disk: no memory for a row.
    used: DiskMap,
}

/// A stem, and whether it had to differ from the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStem {
    pub stem: String,
    /// The id holds something that a file name must not.
    pub cleaned: bool,
    /// The name was taken: a number was added.
    pub numbered: bool,
    /// It was taken by a picture that is not of this conversion.
    pub taken: bool,
}

/// Marks the name of a picture that is not of this conversion.
const FOREIGN: u32 = 1 << 31;

impl FileNames {
    /// No name is taken yet; the table is kept in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        Ok(Self { used: DiskMap::new(dir)? })
    }

    /// Marks the name of another data set's picture as taken.
    pub fn reserve(&mut self, stem: &str) -> Result<()> {
        self.used.get_or_insert(key(stem), FOREIGN).map(|_| ())
    }

    /// Does again what [`FileNames::stem_for`] did in an earlier process: `id` got `stem`, perhaps because its own name was
    /// `taken`.
    pub fn replay(&mut self, id: &str, stem: &str, taken: bool) -> Result<()> {
        if taken {
            self.used.set(key(&clean(id)), FOREIGN)?;
        }
        self.used.get_or_insert(key(stem), 0).map(|_| ())
    }

    /// The stem for a row's id. `foreign` says whether a file of a stem is there that must not be replaced.
    pub fn stem_for(&mut self, id: &str, mut foreign: impl FnMut(&str) -> Result<bool>) -> Result<FileStem> {
        let clean = clean(id);
        let cleaned = clean != id;
        let base = key(&clean);
        let mut known = self.used.get_or_insert(base, 0)?;
        if known.is_none() && foreign(&clean)? {
            known = Some(FOREIGN);
        }
        let Some(known) = known else {
            return Ok(FileStem { stem: clean, cleaned, numbered: false, taken: false });
        };
        let mut number = (known & !FOREIGN).max(2);
        loop {
            let stem = format!("{clean}-{number}");
            number += 1;
            if self.used.get_or_insert(key(&stem), 0)?.is_none() && !foreign(&stem)? {
                self.used.set(base, number | (known & FOREIGN))?;
                return Ok(FileStem { stem, cleaned, numbered: true, taken: known & FOREIGN != 0 });
            }
        }
    }
}

/// What two names share when some file system takes them for one: case and normal form folded away.
fn key(stem: &str) -> u64 {
    // Upper case first: it spells out letters that lower case alone keeps apart (ß, SS).
    let folded: String = stem.nfkd().collect::<String>().to_uppercase().to_lowercase().nfkc().collect();
    fingerprint(folded.as_bytes())
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stems(ids: &[&str]) -> Vec<String> {
        let temp = tempfile::tempdir().unwrap();
        let mut names = FileNames::new(temp.path()).unwrap();
        ids.iter().map(|id| names.stem_for(id, |_| Ok(false)).unwrap().stem).collect()
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
    fn a_clean_id_is_kept_as_it_is_unless_its_file_is_anothers() {
        let temp = tempfile::tempdir().unwrap();
        let mut names = FileNames::new(temp.path()).unwrap();
        let id = "d8e38c5e-2115-538f-924f-e477d4cb04f3";
        let free = |_: &str| Ok(false);
        assert_eq!(
            names.stem_for(id, free).unwrap(),
            FileStem { stem: id.into(), cleaned: false, numbered: false, taken: false }
        );
        names.reserve("taken").unwrap();
        let taken = names.stem_for("Taken", free).unwrap();
        assert!(taken.stem == "Taken-2" && taken.taken);
        let foreign = |stem: &str| Ok(["x", "x-2"].contains(&stem));
        assert_eq!(names.stem_for("x", foreign).unwrap().stem, "x-3");
        assert_eq!(names.stem_for("x", foreign).unwrap().stem, "x-4");
    }

    #[test]
    fn a_replayed_history_gives_the_same_names() {
        let ids = ["a", "a", "A", "a-2", "b", "taken", "taken", "a", "x", "x"];
        let temp = tempfile::tempdir().unwrap();
        let start = || {
            let mut names = FileNames::new(temp.path()).unwrap();
            names.reserve("taken").unwrap();
            names
        };
        let foreign = |stem: &str| Ok(stem == "x");
        let mut names = start();
        let whole: Vec<FileStem> = ids.iter().map(|id| names.stem_for(id, foreign).unwrap()).collect();
        for cut in 0..ids.len() {
            let mut names = start();
            for (id, stem) in ids.iter().zip(&whole).take(cut) {
                names.replay(id, &stem.stem, stem.taken).unwrap();
            }
            let rest: Vec<FileStem> =
                ids[cut..].iter().map(|id| names.stem_for(id, foreign).unwrap()).collect();
            assert_eq!(rest, whole[cut..], "cut at {cut}");
        }
    }
}

//! Paths as terminals paste them when files are dropped: quoted, escaped, or as `file://` addresses.

use crate::error::Error;
use std::path::{Path, PathBuf};

/// What a text names that is nothing but paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub files: Vec<PathBuf>,
    /// Those of which there is no file.
    pub lost: Vec<PathBuf>,
}

/// The files that `text` names and nothing else, and which of them are not there; `None` if a word of it is neither a file
/// nor a whole path.
pub fn files(text: &str) -> Option<Named> {
    let whole = PathBuf::from(text.trim());
    if whole.is_file() {
        return Some(Named { files: vec![whole], lost: Vec::new() });
    }
    let words = words(text);
    let (files, lost): (Vec<PathBuf>, Vec<PathBuf>) =
        words.iter().map(|word| path(word)).partition(|path| path.is_file());
    let paths = !words.is_empty() && lost.iter().all(|path| is_whole(path));
    paths.then_some(Named { files, lost })
}

/// What is said of a picture that is not there.
pub fn not_found(path: &Path) -> Error {
    Error::input(format!("picture not found: {}", path.display())).hint("check the path for a typing error")
}

/// Whether a path begins at the root and has a folder: `/help` has none.
fn is_whole(path: &Path) -> bool {
    path.is_absolute() && path.components().count() > 2
}

/// Whether a text could name files: to be asked before the disk is.
pub fn could_be(text: &str) -> bool {
    let text = text.trim();
    let begins = text.starts_with(['/', '~', '.', '\'', '"']) || text.starts_with("file://");
    let extension = text.trim_end_matches(['\'', '"']).rsplit_once('.').map_or("", |(_, end)| end);
    let ends = (1..=5).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_alphanumeric());
    begins || ends || text.contains('/') && !text.contains(char::is_whitespace)
}

/// A word as a path: `~/` and `file://` are understood.
pub fn path(word: &str) -> PathBuf {
    if let Some(rest) = word.strip_prefix("~/")
        && let Some(home) = std::env::var_os("HOME")
    {
        return Path::new(&home).join(rest);
    }
    match word.strip_prefix("file://") {
        // A host's name may stand before the path.
        Some(rest) => PathBuf::from(unescape(rest.find('/').map_or(rest, |at| &rest[at..]))),
        None => PathBuf::from(word),
    }
}

/// Words as a shell takes them apart: blanks between, quotes and backslashes around blanks.
pub fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => all.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    all
}

/// Bytes written as `%20`.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match hex.filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell() {
        assert_eq!(words(r#"a\ b 'c d' "e \" f" g"#), ["a b", "c d", "e \" f", "g"]);
        assert_eq!(words("  "), [""; 0]);
    }

    #[test]
    fn only_files_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("肺 1.png");
        std::fs::write(&file, "x").unwrap();
        let path = file.to_str().unwrap();
        let escaped = path.replace(' ', "\\ ");
        let address = format!("file://{}", path.replace(' ', "%20").replace('肺', "%E8%82%BA"));
        for text in [format!("'{path}'"), escaped.clone(), address, path.to_string(), format!("{path}\n")] {
            assert_eq!(
                files(&text).unwrap(),
                Named { files: vec![file.clone()], lost: Vec::new() },
                "{text}"
            );
            assert!(could_be(&text), "{text}");
        }
        assert_eq!(files(&format!("{escaped} '{path}'")).unwrap().files.len(), 2);
        assert!(files("What is shown?").is_none() && files("").is_none() && files("/help").is_none());
        assert!(files(&format!("{escaped} shows what?")).is_none());
        assert!(!could_be("What is shown?") && !could_be("Left or right/both.") && could_be("a b.png"));
    }

    #[test]
    fn a_file_that_is_gone_is_named_and_the_others_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let [there, gone] = ["a.png", "b c.png"].map(|name| dir.path().join(name));
        std::fs::write(&there, "x").unwrap();
        let both = format!("'{}' '{}'", there.display(), gone.display());
        assert_eq!(files(&both), Some(Named { files: vec![there], lost: vec![gone.clone()] }));
        let alone = files(&format!("'{}'", gone.display()));
        assert_eq!(alone, Some(Named { files: Vec::new(), lost: vec![gone] }));
    }
}

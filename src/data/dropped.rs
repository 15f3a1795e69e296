//! Paths as terminals paste them when files are dropped: quoted, escaped, or as `file://` addresses.

use std::path::{Path, PathBuf};

/// The files that `text` names and nothing else; `None` if a word of it is no file.
pub fn files(text: &str) -> Option<Vec<PathBuf>> {
    let whole = PathBuf::from(text.trim());
    if whole.is_file() {
        return Some(vec![whole]);
    }
    let paths: Vec<PathBuf> = words(text).iter().map(|word| path(word)).collect();
    (!paths.is_empty() && paths.iter().all(|p| p.is_file())).then_some(paths)
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
            assert_eq!(files(&text), Some(vec![file.clone()]), "{text}");
        }
        assert_eq!(files(&format!("{escaped} '{path}'")).unwrap().len(), 2);
        assert!(files("What is shown?").is_none() && files("").is_none());
    }
}

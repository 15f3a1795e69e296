//! What was typed in earlier talks.

use crate::files;
use std::path::PathBuf;

/// Lines that are kept.
const MOST: usize = 1000;

/// The lines, the newest last; none where they cannot be read.
pub fn read() -> Vec<String> {
    let text = path().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Adds a line at once: a talk may be killed, and another one may go on beside it. A home that cannot be written only
/// costs the history.
pub fn add(line: &str) {
    let mut lines = read();
    if lines.last().is_some_and(|last| last == line) {
        return;
    }
    lines.push(line.into());
    let kept = &lines[lines.len().saturating_sub(MOST)..];
    let text: String = kept.iter().map(|line| format!("{}\n", serde_json::json!(line))).collect();
    if let Some(path) = path() {
        let _ = files::write(&path, text.as_bytes());
    }
}

/// Where the XDG base directory specification puts such files.
fn path() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(state.or_else(home)?.join("lorascope/chat_history.jsonl"))
}

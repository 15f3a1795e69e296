//! Copies text to the clipboard of the terminal by OSC 52, which also works over SSH; inside tmux by its passthrough.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;

/// Longer texts are cut: terminals pass over more than about 100 000 bytes in base 64.
const LONGEST: usize = 74_000;

/// Sends the text; `tmux` says whether one is in between. Gives how many characters were sent.
pub fn copy(out: &mut impl Write, text: &str, tmux: bool) -> std::io::Result<usize> {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    let plain = format!("\x1b]52;c;{}\x07", STANDARD.encode(text));
    // tmux takes the plain form itself with `set-clipboard on`, and lets the wrapped one through with
    // `allow-passthrough on`; which of them is set cannot be seen from here.
    out.write_all(plain.as_bytes())?;
    if tmux {
        let wrapped = format!("\x1bPtmux;{}\x1b\\", plain.replace('\x1b', "\x1b\x1b"));
        out.write_all(wrapped.as_bytes())?;
    }
    out.flush()?;
    Ok(text.chars().count())
}

/// Whether this process runs inside tmux.
pub fn in_tmux() -> bool {
    std::env::var_os("TMUX").is_some_and(|v| !v.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_osc_52_and_wrapped_for_tmux() {
        let mut sent = Vec::new();
        assert_eq!(copy(&mut sent, "肺 a", false).unwrap(), 3);
        assert_eq!(String::from_utf8(sent).unwrap(), "\x1b]52;c;6IK6IGE=\x07");
        let mut sent = Vec::new();
        copy(&mut sent, "x", true).unwrap();
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.ends_with("\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\"), "{sent:?}");
        let mut sent = Vec::new();
        assert_eq!(copy(&mut sent, &"肺".repeat(50_000), false).unwrap(), LONGEST / 3);
    }
}

//! Text of tokens that come one by one: never half a character.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use tokenizers::Tokenizer;

/// Turns token ids into text as they come. A character that is spread over several tokens is given out whole.
pub struct TextStream {
    tokenizer: Arc<Tokenizer>,
    skip_special: bool,
    /// The start of a character whose other bytes have not come yet.
    pending: Vec<u8>,
}

impl TextStream {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, skip_special: bool) -> Self {
        Self { tokenizer, skip_special, pending: Vec::new() }
    }

    /// Takes a token and returns the text that is whole by now.
    pub fn push(&mut self, id: u32) -> String {
        let Some(token) = self.tokenizer.id_to_token(id) else { return String::new() };
        if self.skip_special && self.tokenizer.get_added_vocabulary().is_special_token(&token) {
            return String::new();
        }
        self.pending.extend(bytes(&token));
        self.take_whole()
    }

    /// Returns what is left; an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }

    /// Moves whole characters out of `pending`; bytes that can never become one turn into U+FFFD.
    fn take_whole(&mut self) -> String {
        let mut text = String::new();
        let mut kept = 0;
        for chunk in self.pending.utf8_chunks() {
            text += chunk.valid();
            kept += chunk.valid().len();
            let invalid = chunk.invalid();
            let unfinished = kept + invalid.len() == self.pending.len()
                && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
            if invalid.is_empty() || unfinished {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            kept += invalid.len();
        }
        self.pending.drain(..kept);
        text
    }
}

/// The bytes a byte-level token stands for; the text itself where it is not written in that alphabet.
fn bytes(token: &str) -> Vec<u8> {
    token
        .chars()
        .map(|c| ALPHABET.get(&c).copied())
        .collect::<Option<_>>()
        .unwrap_or_else(|| token.as_bytes().to_vec())
}

/// GPT-2's alphabet: printable Latin-1 characters stand for their own byte, the other bytes in order for the
/// characters from U+0100 (`bytes_to_unicode` in OpenAI's `encoder.py`).
static ALPHABET: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let own = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let shifted = (0..=u8::MAX).filter(|b| !own(b)).zip('\u{100}'..).map(|(b, c)| (c, b));
    (0..=u8::MAX).filter(own).map(|b| (char::from(b), b)).chain(shifted).collect()
});

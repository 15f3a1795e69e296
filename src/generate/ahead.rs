//! What is known to follow an answer is read while nobody waits: the next question has so much less to read before its first token.

use super::batch::{Batch, With};
use crate::data::encode::Encoder;
use crate::data::sample::{Message, Role};

/// The tokens between an answer and the next question, whatever both are; none where the template has no such.
pub(super) fn between_turns(encoder: &Encoder) -> Vec<u32> {
    let turn = |role, content: &str| Message { role, content: content.into() };
    let ids = |last: Option<&str>| {
        let mut turns = vec![turn(Role::User, "a")];
        if let Some(last) = last {
            turns.extend([turn(Role::Assistant, "b"), turn(Role::User, last)]);
        }
        encoder.prompt(None, &turns, &[]).unwrap_or_default()
    };
    let (first, one, other) = (ids(None), ids(Some("c")), ids(Some("d")));
    let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    // The answer is one token.
    let between = one.starts_with(&first).then(|| one.get(first.len() + 1..same)).flatten();
    between.unwrap_or_default().to_vec()
}

impl Batch {
    /// Reads the tokens `follow`, but for the last, behind each answer that has come to its end since this was called last.
    /// Nothing is said of them; a prompt that goes on in another way forgets them.
    pub fn read_ahead(&mut self, with: With, follow: &[u32]) {
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            let end = (slot.ids.len() + follow.len()).saturating_sub(1);
            if !std::mem::take(&mut slot.ended) || follow.is_empty() || end > self.capacity {
                continue;
            }
            slot.ids.extend_from_slice(follow);
            let tuned = slot.tuned;
            let piece = (at, self.cached(at)..end);
            self.forward(with, tuned, &[piece]);
        }
    }
}

//! Guesses of what follows in an answer: what followed the same few tokens the last time, in a prompt or in any answer so far.
//!
//! A pass of the model over a token and guesses of the next ones tells which of them were right, and takes hardly longer than
//! one token where reading the weights is what takes the time. A wrong guess costs its part of the pass and changes nothing.
//! Prompt lookup (transformers' `prompt_lookup_num_tokens`) looks in the prompt and the answer alone; answers about
//! pictures of one kind resemble each other more than their questions, so that they learn from one another here.

use std::collections::HashMap;

/// As many tokens are compared.
const CONTEXT: usize = 3;
/// More than so many are not kept: some tens of MiB.
const MOST: usize = 1 << 20;

/// What followed.
#[derive(Default)]
pub struct Guesses {
    next: HashMap<[u32; CONTEXT], u32>,
}

impl Guesses {
    /// Takes in what follows what in `ids`, from the token `from` on.
    pub fn learn(&mut self, ids: &[u32], from: usize) {
        let seen = &ids[from.saturating_sub(CONTEXT).min(ids.len())..];
        if self.next.len() + seen.len() > MOST {
            self.next.clear();
        }
        self.next.extend(seen.windows(CONTEXT + 1).filter_map(|w| {
            let (next, context) = w.split_last()?;
            Some((context.try_into().ok()?, *next))
        }));
    }

    /// Up to `most` tokens that may follow `ids`.
    pub fn after(&self, ids: &[u32], most: usize) -> Vec<u32> {
        let mut guesses = Vec::new();
        let Some(mut context) = ids.last_chunk::<CONTEXT>().copied() else { return guesses };
        while guesses.len() < most
            && let Some(next) = self.next.get(&context)
        {
            guesses.push(*next);
            context.rotate_left(1);
            context[CONTEXT - 1] = *next;
        }
        guesses
    }
}

/// How many tokens of a sequence are guessed at a time: as long as they are right, more.
pub struct Trust {
    most: usize,
    now: usize,
}

impl Trust {
    pub fn new(most: usize) -> Self {
        Self { most, now: most }
    }

    pub fn tokens(&self) -> usize {
        self.now
    }

    /// Of some guesses the first `right` were right.
    pub fn learn(&mut self, guessed: usize, right: usize) {
        if guessed > 0 {
            self.now = if right == guessed { 2 * self.now } else { right }.clamp(1, self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_the_last_time_is_guessed() {
        let mut guesses = Guesses::default();
        guesses.learn(&[1, 2, 3, 4, 5], 0);
        assert_eq!(guesses.after(&[9, 1, 2, 3], 8), [4, 5]);
        assert_eq!(guesses.after(&[9, 1, 2, 3], 1), [4]);
        assert!(guesses.after(&[2, 3], 8).is_empty() && guesses.after(&[3, 2, 1], 8).is_empty());
        // An answer that grows by one token, and says something else
        guesses.learn(&[7, 1, 2, 3, 6], 4);
        assert_eq!(guesses.after(&[1, 2, 3], 8), [6]);
        assert!(guesses.after(&[7, 1, 2], 8).is_empty(), "only what is new was learned");
        // What repeats itself is guessed on and on
        guesses.learn(&[1, 2, 1, 2, 1], 0);
        assert_eq!(guesses.after(&[2, 1, 2], 5), [1, 2, 1, 2, 1]);
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let mut guesses = Guesses::default();
        let ids: Vec<u32> = (0..MOST as u32 / 2).collect();
        (0..3).for_each(|_| guesses.learn(&ids, 0));
        assert_eq!(guesses.after(&[5, 6, 7], 1), [8]);
        assert!(guesses.next.len() <= MOST);
    }

    #[test]
    fn trust_follows_what_was_right() {
        let mut trust = Trust::new(7);
        let mut after = |guessed, right| {
            trust.learn(guessed, right);
            trust.tokens()
        };
        assert_eq!(
            [after(7, 7), after(7, 3), after(3, 3), after(6, 0), after(0, 0), after(1, 1)],
            [7, 3, 6, 1, 1, 2]
        );
        assert_eq!(Trust::new(0).tokens(), 0);
    }
}

//! Sequences that grow together: each has a slot of one cache, long prompts are read in parts, and tokens that may follow are
//! tried along with the one that is certain.

use super::guesses::{Guesses, Trust};
use super::pieces::Input;
use super::sampling::{LogProbs, Sampler};
use super::scores::{Head, Scores};
use crate::error::Result;
use crate::job::{Finish, Sampling};
use crate::model::kv_cache::KvCache;
use crate::model::lora::{Adapter, Pass};
use crate::model::ops::{awake, is_cpu};
use crate::model::qwen3_vl::{Qwen3Vl, visual};
use crate::model::vision::VisionOutput;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Tokens of prompts in one forward pass: bounds the memory of a long prompt and the wait of running answers.
const CHUNK: usize = 2048;

/// A picture of a prompt: equal identities are equal pictures.
pub type Identity = [u8; 32];

/// A sequence to be written.
pub struct Request {
    /// Whose tokens they are, for the caller.
    pub tag: u64,
    pub ids: Vec<u32>,
    pub grids: Vec<[usize; 3]>,
    /// As many as `grids`; empty where nothing is to be reused.
    pub pictures: Vec<Identity>,
    /// With the adapter.
    pub tuned: bool,
    pub sampling: Sampling,
    /// The number of its random stream.
    pub stream: usize,
    /// Say how likely each token was, with so many likely ones.
    pub odds: Option<usize>,
}

/// What becomes of a sequence.
pub enum Said {
    Token { id: u32, odds: Option<TokenOdds> },
    End(Finish),
}

/// The logarithm of a token's probability, and the likeliest tokens with theirs.
pub struct TokenOdds {
    pub logprob: f32,
    pub top: Vec<(u32, f32)>,
}

/// Where the time of a batch went.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Timing {
    /// Seconds and tokens of prompts that were read.
    pub reading: f64,
    pub read: usize,
    /// Seconds, passes through the model and tokens of answers that were written.
    pub writing: f64,
    pub rounds: usize,
    pub written: usize,
    /// Tokens that were guessed, and how many of these were right.
    pub guessed: usize,
    pub right: usize,
}

/// Gives the features of a prompt's picture, by its number there.
pub type Look<'a> = &'a mut dyn FnMut(usize) -> Result<Arc<VisionOutput>>;
/// Told what becomes of the sequence with a tag; `false` ends it.
pub type OnSaid<'a> = &'a mut dyn FnMut(u64, Said) -> bool;
/// Who computes: the adapter is for the sequences that want it.
pub type With<'a> = (&'a Qwen3Vl, Option<&'a Adapter>);

pub(super) struct Running {
    pub(super) tag: u64,
    pub(super) prompt_len: usize,
    pub(super) positions: [Vec<i64>; 3],
    /// Pictures that are still to be read: the tokens they take, and their features.
    pub(super) features: Vec<(Range<usize>, Arc<VisionOutput>)>,
    pub(super) sampler: Sampler,
    pub(super) limit: usize,
    pub(super) trust: Trust,
    pub(super) odds: Option<usize>,
}

/// A place in the cache. After its sequence has ended it keeps what it holds until another one takes it.
#[derive(Default)]
pub(super) struct Slot {
    /// Prompt and answer so far; as many as the cache says have keys and values.
    pub(super) ids: Vec<u32>,
    /// First token and identity of each picture.
    pub(super) pictures: Vec<(usize, Identity)>,
    pub(super) tuned: bool,
    /// When it was last taken.
    pub(super) used: u64,
    /// What is added to the number of a token behind the prompt to get its position.
    pub(super) delta: i64,
    /// Its answer has come to its end, and nothing is known of what follows.
    pub(super) ended: bool,
    pub(super) running: Option<Running>,
}

/// Tokens of a sequence that go through the model next.
pub(super) type Piece = (usize, Range<usize>);

/// The running sequences and their cache.
pub struct Batch {
    pub(super) slots: Vec<Slot>,
    pub(super) cache: Option<KvCache>,
    pub(super) capacity: usize,
    pub(super) reuse: bool,
    chunk: usize,
    pub(super) clock: u64,
    /// Of the base model and with the adapter.
    pub(super) guesses: [Guesses; 2],
    head: Head,
    timing: Timing,
}

impl Batch {
    /// Room for `slots` sequences at a time. With `reuse` beginnings that prompts share are computed once.
    pub fn new(slots: usize, reuse: bool) -> Self {
        let slots = (0..slots.max(1)).map(|_| Slot::default()).collect();
        Self {
            slots,
            cache: None,
            capacity: 0,
            reuse,
            chunk: CHUNK,
            clock: 0,
            guesses: Default::default(),
            head: Head::default(),
            timing: Timing::default(),
        }
    }

    /// Reads prompts in parts of at most so many tokens.
    pub fn in_parts(self, tokens: usize) -> Self {
        Self { chunk: tokens.max(1), ..self }
    }

    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    pub fn running(&self) -> usize {
        self.slots.iter().filter(|s| s.running.is_some()).count()
    }

    /// Whether a sequence with the adapter is being written.
    pub fn tuned_running(&self) -> bool {
        self.slots.iter().any(|s| s.tuned && s.running.is_some())
    }

    pub fn room(&self) -> usize {
        self.slots.len() - self.running()
    }

    /// Forgets what was computed with an adapter that is no longer there.
    pub fn forget_tuned(&mut self) {
        for (i, slot) in self.slots.iter_mut().enumerate().filter(|(_, s)| s.tuned && s.running.is_none()) {
            slot.ids.clear();
            slot.pictures.clear();
            slot.ended = false;
            self.cache.iter_mut().for_each(|cache| cache.clear(i));
        }
    }

    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Ends a sequence where it is.
    pub fn cancel(&mut self, tag: u64) {
        let mine = |s: &&mut Slot| s.running.as_ref().is_some_and(|r| r.tag == tag);
        self.slots.iter_mut().filter(mine).for_each(|s| s.running = None);
    }

    /// At least one token further for every answer that runs, and a part of the prompts that wait to be read.
    pub fn step(&mut self, with: With, stop_ids: &[u32], on: OnSaid) {
        let mut all = Vec::new();
        for tuned in [false, true] {
            let (answers, prompts) = (self.next_tokens(tuned), self.next_prompts(tuned));
            let began = Instant::now();
            all.extend(self.forward(with, tuned, &answers));
            let between = Instant::now();
            all.extend(self.forward(with, tuned, &prompts));
            let timing = &mut self.timing;
            timing.writing += (between - began).as_secs_f64();
            timing.reading += between.elapsed().as_secs_f64();
            timing.rounds += usize::from(!answers.is_empty());
            timing.read += prompts.iter().map(|(_, range)| range.len()).sum::<usize>();
        }
        all.sort_by_key(|(slot, _)| *slot);
        for (slot, scores) in all {
            self.choose(slot, scores, stop_ids, on);
        }
    }

    /// How many tokens of a slot are in the cache.
    pub(super) fn cached(&self, slot: usize) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.lengths[slot])
    }

    /// The last token of each answer, with guesses behind it, which [`Batch::choose`] takes off again.
    fn next_tokens(&mut self, tuned: bool) -> Vec<Piece> {
        let guesses = &self.guesses[usize::from(tuned)];
        let going = |(i, slot): (usize, &mut Slot)| {
            let running = slot.running.as_ref().filter(|_| slot.tuned == tuned)?;
            let (len, first) = (slot.ids.len(), running.prompt_len);
            let left = (first + running.limit).checked_sub(len + 1).filter(|_| len > first)?;
            slot.ids.extend(guesses.after(&slot.ids, running.trust.tokens().min(left)));
            Some((i, len - 1..slot.ids.len()))
        };
        self.slots.iter_mut().enumerate().filter_map(going).collect()
    }

    /// Whole prompts up to a chunk of tokens together, or a part of one that is longer; the oldest first.
    fn next_prompts(&self, tuned: bool) -> Vec<Piece> {
        let waiting = |(i, slot): (usize, &Slot)| {
            let running = slot.running.as_ref().filter(|_| slot.tuned == tuned)?;
            let at = self.cached(i);
            (at < running.prompt_len).then_some((slot.used, i, at..running.prompt_len))
        };
        let mut all: Vec<_> = self.slots.iter().enumerate().filter_map(waiting).collect();
        all.sort_by_key(|(used, ..)| *used);
        let (mut pieces, mut total) = (Vec::new(), 0);
        for (_, i, range) in all {
            if total > 0 && total + range.len() > self.chunk {
                break;
            }
            let range = range.start..range.end.min(range.start + self.chunk);
            total += range.len();
            pieces.push((i, range));
        }
        pieces
    }

    /// What is said of the token after each one of a piece from the last of a prompt on, by slot.
    pub(super) fn forward(
        &mut self,
        (model, adapter): With,
        tuned: bool,
        pieces: &[Piece],
    ) -> Vec<(usize, Vec<Scores>)> {
        if pieces.is_empty() {
            return Vec::new();
        }
        let mut input = Input::default();
        for (slot, range) in pieces {
            input.push(&self.slots[*slot], range.clone());
        }
        let visual = visual(input.rows, &input.features.iter().collect::<Vec<_>>());
        let rope = model.rope(&input.places);
        let (slots, rows): (Vec<usize>, Vec<usize>) = self.asked(pieces).into_iter().unzip();
        let cache = self.cache.as_mut().expect("made when a sequence was added");
        let new: Vec<_> = pieces.iter().map(|(slot, range)| (*slot, range.len())).collect();
        let place = cache.extend(&new).wanting(rows);
        let pass = Pass::inference(adapter.filter(|_| tuned));
        let x = model.text.embed(&input.ids, &visual);
        if is_cpu(&x) {
            awake::stay();
        }
        let x = model.text.forward_cached(x, (&visual, &rope), cache, &place, &pass);
        if slots.is_empty() {
            return Vec::new();
        }
        let enough = |slot: &usize| {
            let running = self.slots[*slot].running.as_ref();
            running.filter(|r| r.odds.is_none()).and_then(|r| r.sampler.enough())
        };
        let enough: Vec<Option<usize>> = slots.iter().map(enough).collect();
        let mut scores = self.head.scores(model, x, &enough).into_iter();
        slots.chunk_by(|a, b| a == b).map(|one| (one[0], scores.by_ref().take(one.len()).collect())).collect()
    }

    /// The tokens of some pieces after which the next one is asked for: the slot, and the row in the pass.
    fn asked(&self, pieces: &[Piece]) -> Vec<(usize, usize)> {
        let (mut asked, mut first) = (Vec::new(), 0);
        for (slot, range) in pieces {
            let from = self.slots[*slot].running.as_ref().map_or(range.end, |r| r.prompt_len - 1);
            let rows = from.max(range.start)..range.end;
            asked.extend(rows.map(|i| (*slot, first + i - range.start)));
            first += range.len();
        }
        asked
    }

    /// Chooses the next token of a sequence, and the ones after it as long as they were guessed right.
    fn choose(&mut self, slot: usize, scores: Vec<Scores>, stop_ids: &[u32], on: OnSaid) {
        let Slot { ids, running: Some(r), .. } = &mut self.slots[slot] else { return };
        r.features.clear();
        let guesses = ids.split_off(ids.len() + 1 - scores.len());
        let (known, answer) = (ids.len(), ids.len() > r.prompt_len);
        let (mut chosen, mut right) = (0, 0);
        for scores in scores {
            let next = self.choose_one(slot, scores, stop_ids, on);
            chosen += 1;
            if next.is_none() || next != guesses.get(right).copied() {
                break;
            }
            right += 1;
            if self.slots[slot].running.is_none() {
                break;
            }
        }
        // What was guessed wrong has keys and values, too.
        self.cache.iter_mut().for_each(|cache| cache.truncate(slot, known + right));
        if answer {
            self.timing.written += chosen;
            self.timing.guessed += guesses.len();
            self.timing.right += right;
        }
        if let Some(r) = &mut self.slots[slot].running {
            r.trust.learn(guesses.len(), right);
        }
    }

    /// Chooses the next token of a sequence, `None` at its end; a finished one leaves its slot.
    fn choose_one(&mut self, slot: usize, scores: Scores, stop_ids: &[u32], on: OnSaid) -> Option<u32> {
        let Slot { ids, running, ended, tuned, .. } = &mut self.slots[slot];
        let r = running.as_mut()?;
        let (token, sure) = match scores {
            Scores::Largest(best) => (r.sampler.next_of(&best), None),
            Scores::All(mut logits) => {
                let sure = r.odds.map(|k| (k, LogProbs::new(&logits)));
                (r.sampler.next(&mut logits, ids), sure)
            }
        };
        if stop_ids.contains(&token) {
            on(r.tag, Said::End(Finish::Stop));
            (*running, *ended) = (None, true);
            return None;
        }
        ids.push(token);
        self.guesses[usize::from(*tuned)].learn(ids, ids.len() - 1);
        let odds = sure.map(|(k, p)| TokenOdds { logprob: p.of(token), top: p.top(k) });
        let goes_on = on(r.tag, Said::Token { id: token, odds });
        let full = ids.len() - r.prompt_len >= r.limit;
        if goes_on && full {
            on(r.tag, Said::End(Finish::Length));
        }
        if !goes_on || full {
            // What the caller ends may be more than the answer that it keeps.
            (*running, *ended) = (None, goes_on);
        }
        Some(token)
    }
}

//! Sequences that grow together: each has a slot of one cache, long prompts are read in parts, and what an earlier
//! prompt had in common with a new one is not computed again.

use super::pieces::{Input, picture_runs};
use super::sampling::{LogProbs, Sampler};
use super::scores::{Head, Scores};
use crate::error::{Error, Result};
use crate::job::{Finish, Sampling};
use crate::model::kv_cache::{self, KvCache};
use crate::model::lora::{Adapter, Pass};
use crate::model::qwen3_vl::{Qwen3Vl, visual};
use crate::model::vision::VisionOutput;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Tokens of prompts in one forward pass: bounds the memory of a long prompt and the wait of running answers.
const CHUNK: usize = 2048;
/// A common beginning is worth its place from so many tokens on; the header of every talk is shorter.
const WORTH: usize = 32;

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
}

/// Gives the features of a prompt's picture, by its number there.
pub type Look<'a> = &'a mut dyn FnMut(usize) -> Result<Arc<VisionOutput>>;
/// Told what becomes of the sequence with a tag; `false` ends it.
pub type OnSaid<'a> = &'a mut dyn FnMut(u64, Said) -> bool;
/// Who computes: the adapter is for the sequences that want it.
pub type With<'a> = (&'a Qwen3Vl, Option<&'a Adapter>);

pub(super) struct Running {
    tag: u64,
    prompt_len: usize,
    pub(super) positions: [Vec<i64>; 3],
    /// Pictures that are still to be read: the tokens they take, and their features.
    pub(super) features: Vec<(Range<usize>, Arc<VisionOutput>)>,
    sampler: Sampler,
    limit: usize,
    odds: Option<usize>,
}

/// A place in the cache. After its sequence has ended it keeps what it holds until another one takes it.
#[derive(Default)]
pub(super) struct Slot {
    /// Prompt and answer so far; as many as the cache says have keys and values.
    pub(super) ids: Vec<u32>,
    /// First token and identity of each picture.
    pictures: Vec<(usize, Identity)>,
    pub(super) tuned: bool,
    /// When it was last taken.
    used: u64,
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
    cache: Option<KvCache>,
    pub(super) capacity: usize,
    reuse: bool,
    chunk: usize,
    clock: u64,
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

    /// Takes a sequence in; returns how many of its tokens need no computation.
    ///
    /// # Errors
    /// There is no room, the prompt does not fit its pictures, or one of them cannot be read.
    pub fn add(&mut self, model: &Qwen3Vl, request: Request, look: Look) -> Result<usize> {
        let longest = request.ids.len() + request.sampling.max_new_tokens;
        if request.ids.is_empty() || self.room() == 0 {
            return Err(Error::internal("no room for a sequence, or nothing to write it from"));
        }
        let positions = model.positions(&request.ids, &request.grids)?;
        let runs = picture_runs(&request.ids, model.config.image_token_id);
        let (from, shared) = self.shared(&request, &runs);
        let mut features = Vec::new();
        for (i, run) in runs.iter().enumerate().filter(|(_, run)| run.end > shared) {
            features.push((run.clone(), look(i)?));
        }
        self.make_room(model, longest);
        let at = self.take_slot(from, shared);
        self.clock += 1;
        let starts = runs.iter().map(|run| run.start);
        self.slots[at] = Slot {
            pictures: starts.zip(request.pictures).collect(),
            tuned: request.tuned,
            used: self.clock,
            delta: positions.delta,
            ended: false,
            running: Some(Running {
                tag: request.tag,
                prompt_len: request.ids.len(),
                positions: positions.ids,
                features,
                limit: request.sampling.max_new_tokens.max(1),
                sampler: Sampler::new(request.sampling, request.stream),
                odds: request.odds,
            }),
            ids: request.ids,
        };
        Ok(shared)
    }

    /// The slot that begins like the request, and for how many tokens. One token is always left to be computed.
    fn shared(&self, request: &Request, runs: &[Range<usize>]) -> (Option<usize>, usize) {
        let Some(cache) = self.cache.as_ref().filter(|_| self.reuse) else { return (None, 0) };
        let alike = |(i, slot): (usize, &Slot)| {
            let pairs = slot.ids.iter().zip(&request.ids).take(cache.lengths[i]);
            let same = pairs.take_while(|(a, b)| a == b).count();
            let other = |(n, run): (usize, &Range<usize>)| {
                let there = slot.pictures.get(n).map(|(start, identity)| (*start, identity));
                (there != request.pictures.get(n).map(|p| (run.start, p))).then_some(run.start)
            };
            let same = runs.iter().enumerate().find_map(other).map_or(same, |start| same.min(start));
            (same.min(request.ids.len() - 1), slot.running.is_none(), i)
        };
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.tuned == request.tuned);
        match slots.map(alike).max() {
            Some((same, _, i)) if same >= WORTH => (Some(i), same),
            _ => (None, 0),
        }
    }

    /// A slot whose first `shared` tokens are those of `from`.
    fn take_slot(&mut self, from: Option<usize>, shared: usize) -> usize {
        let cache = self.cache.as_mut().expect("made by make_room");
        if let Some(i) = from.filter(|&i| self.slots[i].running.is_none()) {
            cache.truncate(i, shared);
            return i;
        }
        let idle = self.slots.iter().enumerate().filter(|(_, s)| s.running.is_none());
        let (at, _) = idle.min_by_key(|(_, s)| s.used).expect("there is room");
        cache.clear(at);
        if let Some(from) = from {
            cache.copy(from, at, shared);
        }
        at
    }

    /// A cache with slots of at least `longest` tokens; a larger one takes over what the old one holds.
    fn make_room(&mut self, model: &Qwen3Vl, longest: usize) {
        if self.cache.is_some() && longest <= self.capacity {
            return;
        }
        let (c, slots, capacity) = (&model.config.text, self.slots.len(), kv_cache::capacity(longest));
        let shape = (c.num_key_value_heads, c.head_dim);
        let mut larger =
            KvCache::new(c.num_hidden_layers, slots, capacity, shape, model.dtype, &model.device);
        if let Some(old) = self.cache.take() {
            larger.take_over(&old);
        }
        self.cache = Some(larger);
        self.capacity = capacity;
    }

    /// One token further for every answer that runs, and a part of the prompts that wait to be read.
    pub fn step(&mut self, with: With, stop_ids: &[u32], on: OnSaid) {
        let mut rows = Vec::new();
        for tuned in [false, true] {
            let (answers, prompts) = (self.next_tokens(tuned), self.next_prompts(tuned));
            let began = Instant::now();
            rows.extend(self.forward(with, tuned, &answers));
            let between = Instant::now();
            rows.extend(self.forward(with, tuned, &prompts));
            let timing = &mut self.timing;
            timing.writing += (between - began).as_secs_f64();
            timing.reading += between.elapsed().as_secs_f64();
            timing.rounds += usize::from(!answers.is_empty());
            timing.written += answers.len();
            timing.read += prompts.iter().map(|(_, range)| range.len()).sum::<usize>();
        }
        rows.sort_by_key(|r| r.0);
        for (slot, scores) in rows {
            self.choose(slot, scores, stop_ids, on);
        }
    }

    /// How many tokens of a slot are in the cache.
    pub(super) fn cached(&self, slot: usize) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.lengths[slot])
    }

    fn next_tokens(&self, tuned: bool) -> Vec<Piece> {
        let going = |(i, slot): (usize, &Slot)| {
            let running = slot.running.as_ref().filter(|_| slot.tuned == tuned)?;
            (slot.ids.len() > running.prompt_len).then(|| (i, slot.ids.len() - 1..slot.ids.len()))
        };
        self.slots.iter().enumerate().filter_map(going).collect()
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

    /// What is said of the next token of each piece that reaches the end of its sequence.
    pub(super) fn forward(
        &mut self,
        (model, adapter): With,
        tuned: bool,
        pieces: &[Piece],
    ) -> Vec<(usize, Scores)> {
        if pieces.is_empty() {
            return Vec::new();
        }
        let mut input = Input::default();
        for (slot, range) in pieces {
            input.push(&self.slots[*slot], range.clone());
        }
        let visual = visual(input.rows, &input.features.iter().collect::<Vec<_>>());
        let rope = model.rope(&input.places);
        let cache = self.cache.as_mut().expect("made when a sequence was added");
        let (mut slots, mut last, mut end) = (Vec::new(), Vec::new(), 0);
        for (slot, range) in pieces {
            end += range.len();
            if range.end == self.slots[*slot].ids.len() {
                slots.push(*slot);
                last.push(end - 1);
            }
        }
        let new: Vec<_> = pieces.iter().map(|(slot, range)| (*slot, range.len())).collect();
        let place = cache.extend(&new).wanting(last);
        let pass = Pass::inference(adapter.filter(|_| tuned));
        let x = model.text.embed(&input.ids, &visual);
        let x = model.text.forward_cached(x, (&visual, &rope), cache, &place, &pass);
        if slots.is_empty() {
            return Vec::new();
        }
        let enough = |slot: &usize| {
            let running = self.slots[*slot].running.as_ref();
            running.filter(|r| r.odds.is_none()).and_then(|r| r.sampler.enough())
        };
        let enough: Vec<Option<usize>> = slots.iter().map(enough).collect();
        slots.into_iter().zip(self.head.scores(model, x, &enough)).collect()
    }

    /// Chooses the next token of a sequence; a finished one leaves its slot.
    fn choose(&mut self, slot: usize, scores: Scores, stop_ids: &[u32], on: OnSaid) {
        let Slot { ids, running, ended, .. } = &mut self.slots[slot];
        let Some(r) = running.as_mut() else { return };
        r.features.clear();
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
            return;
        }
        ids.push(token);
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
    }
}

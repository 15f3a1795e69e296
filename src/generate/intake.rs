//! How a sequence gets its place in a batch: a slot of the cache, and what an earlier prompt had in common with it.

use super::batch::{Batch, Look, Request, Running, Slot};
use super::guesses::Trust;
use super::pieces::picture_runs;
use super::sampling::Sampler;
use crate::error::{Error, Result};
use crate::model::kv_cache::{self, KvCache};
use crate::model::qwen3_vl::Qwen3Vl;
use std::ops::Range;

/// A common beginning is worth its place from so many tokens on; the header of every talk is shorter.
const WORTH: usize = 32;

impl Batch {
    /// Takes a sequence in; returns how many of its tokens need no computation.
    ///
    /// # Errors
    /// There is no room, the prompt does not fit its pictures, or one of them cannot be read.
    pub fn add(&mut self, model: &Qwen3Vl, request: Request, look: Look) -> Result<usize> {
        let longest = request.ids.len() + request.sampling.max_new_tokens;
        if request.ids.is_empty() || self.room() == 0 {
            return Err(Error::internal("no room for a sequence, or nothing to write it from"));
        }
        if request.sampling.guesses > 0 {
            self.guesses[usize::from(request.tuned)].learn(&request.ids, 0);
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
                trust: Trust::new(request.sampling.guesses),
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
        // A talk goes on, and each time all of it would be copied.
        let longest = if self.reuse { longest.max(self.capacity * 3 / 2) } else { longest };
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
}

//! Text from prompts: prefill, then one token for every running sequence at a time; a finished one's slot is
//! taken by the next prompt at once (continuous batching), so nothing is padded to the longest answer.

use super::sampling::Sampler;
use crate::error::Result;
use crate::job::Sampling;
use crate::model::kv_cache::KvCache;
use crate::model::lora::{Adapter, Pass};
use crate::model::ops::rows;
use crate::model::qwen3_vl::{Qwen3Vl, Sequence};
use crate::model::text::Visual;
use crate::model::vision::VisionOutput;
use burn::tensor::{DType, Tensor};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A tokenised prompt with the features of its pictures.
pub struct Prompt {
    pub ids: Vec<u32>,
    pub grids: Vec<[usize; 3]>,
    pub features: Vec<Arc<VisionOutput>>,
}

/// How answers are made.
pub struct Rules<'a> {
    pub adapter: Option<&'a Adapter>,
    pub sampling: Sampling,
    /// Any of these ends an answer; it is not part of it.
    pub stop_ids: &'a [u32],
    /// Sequences that run at the same time.
    pub slots: usize,
}

/// Told every new token as (prompt, token), and `None` at the end of an answer; may break off everything.
pub type OnToken<'a> = &'a mut dyn FnMut(usize, Option<u32>) -> ControlFlow<()>;

/// One running answer.
struct Running {
    prompt: usize,
    /// Prompt and answer so far.
    ids: Vec<u32>,
    prompt_len: usize,
    delta: i64,
    sampler: Sampler,
}

/// Answers every prompt; returns the new tokens of each, in the order of the prompts. Prompts are built when
/// their turn comes, so that pictures of waiting prompts take no memory.
pub fn generate(
    model: &Qwen3Vl,
    count: usize,
    prompt: &mut dyn FnMut(usize) -> Result<Prompt>,
    rules: &Rules,
    on_token: OnToken,
) -> Result<Vec<Vec<u32>>> {
    let mut answers = vec![Vec::new(); count];
    let mut batch = Batch::default();
    let mut next = 0;
    while next < count || !batch.is_empty() {
        let room = rules.slots.max(1) - batch.running();
        let fresh: Vec<(usize, Prompt)> =
            (next..count.min(next + room)).map(|i| Ok((i, prompt(i)?))).collect::<Result<_>>()?;
        next += fresh.len();
        let mut rows = batch.step(model, rules, fresh)?;
        if batch.choose(&mut rows, rules, &mut answers, on_token).is_break() {
            break;
        }
    }
    Ok(answers)
}

/// The running sequences and their cache; slot i of the cache belongs to `slots[i]`.
#[derive(Default)]
struct Batch {
    slots: Vec<Option<Running>>,
    cache: Option<KvCache>,
    capacity: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.running() == 0
    }

    fn running(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// One forward pass: fresh prompts are read, running sequences go on by one token. Returns each sequence's
    /// slot and logits.
    fn step(
        &mut self,
        model: &Qwen3Vl,
        rules: &Rules,
        fresh: Vec<(usize, Prompt)>,
    ) -> Result<Vec<(usize, Vec<f32>)>> {
        let going: Vec<usize> = (0..self.slots.len()).filter(|&i| self.slots[i].is_some()).collect();
        let mut rows = if fresh.is_empty() { Vec::new() } else { self.prefill(model, rules, fresh)? };
        if !going.is_empty() {
            rows.extend(self.advance(model, rules, &going));
        }
        rows.sort_by_key(|r| r.0);
        Ok(rows)
    }

    fn prefill(
        &mut self,
        model: &Qwen3Vl,
        rules: &Rules,
        fresh: Vec<(usize, Prompt)>,
    ) -> Result<Vec<(usize, Vec<f32>)>> {
        let longest =
            fresh.iter().map(|(_, p)| p.ids.len()).max().unwrap_or(0) + rules.sampling.max_new_tokens;
        self.make_room(model, rules, longest);
        let sequences: Vec<Sequence> = fresh
            .iter()
            .map(|(_, p)| Sequence { ids: &p.ids, grids: &p.grids, features: &p.features })
            .collect();
        let pack = model.pack(&sequences)?;
        let mut slots = Vec::new();
        for ((index, p), &delta) in fresh.iter().zip(&pack.deltas) {
            let slot = self.slots.iter().position(Option::is_none).expect("as many as there is room for");
            self.slots[slot] = Some(Running {
                prompt: *index,
                ids: p.ids.clone(),
                prompt_len: p.ids.len(),
                delta,
                sampler: Sampler::new(rules.sampling, *index),
            });
            slots.push((slot, p.ids.len()));
        }
        let cache = self.cache.as_mut().expect("made by make_room");
        slots.iter().for_each(|&(slot, _)| cache.clear(slot));
        let place = cache.extend(&slots);
        let x = model.text.embed(&pack.ids, &pack.visual);
        let pass = Pass::inference(rules.adapter);
        let x = model.text.forward_cached(x, (&pack.visual, &pack.rope), cache, &place, &pass);
        let last: Vec<usize> = pack.segments.iter().map(|s| s.q.end - 1).collect();
        let logits = host_logits(model, rows::gather(&x, &last));
        Ok(slots.into_iter().map(|(slot, _)| slot).zip(logits).collect())
    }

    /// A cache with `rules.slots` slots of at least `longest` tokens; a larger one takes over what is running.
    fn make_room(&mut self, model: &Qwen3Vl, rules: &Rules, longest: usize) {
        let slots = rules.slots.max(1);
        if self.cache.is_some() && longest <= self.capacity {
            return;
        }
        let c = &model.config.text;
        let shape = (c.num_key_value_heads, c.head_dim);
        let mut larger = KvCache::new(c.num_hidden_layers, slots, longest, shape, model.dtype, &model.device);
        if let Some(old) = self.cache.take() {
            larger.take_over(&old);
        }
        self.slots.resize_with(slots, || None);
        self.cache = Some(larger);
        self.capacity = longest;
    }

    /// One token further for the sequences in `going`.
    fn advance(&mut self, model: &Qwen3Vl, rules: &Rules, going: &[usize]) -> Vec<(usize, Vec<f32>)> {
        let running: Vec<&Running> = going.iter().filter_map(|&s| self.slots[s].as_ref()).collect();
        let ids: Vec<u32> = running.iter().filter_map(|r| r.ids.last().copied()).collect();
        let at: Vec<i64> = running.iter().map(|r| r.ids.len() as i64 - 1 + r.delta).collect();
        let rope = model.rope(&[at.clone(), at.clone(), at]);
        let cache = self.cache.as_mut().expect("made by the prefill");
        let place = cache.extend(&going.iter().map(|&s| (s, 1)).collect::<Vec<_>>());
        let none = Visual::default();
        let x = model.text.embed(&ids, &none);
        let pass = Pass::inference(rules.adapter);
        let x = model.text.forward_cached(x, (&none, &rope), cache, &place, &pass);
        going.iter().copied().zip(host_logits(model, x)).collect()
    }

    /// Chooses the next token of every row; a finished sequence leaves its slot.
    fn choose(
        &mut self,
        rows: &mut [(usize, Vec<f32>)],
        rules: &Rules,
        answers: &mut [Vec<u32>],
        on_token: OnToken,
    ) -> ControlFlow<()> {
        for (slot, logits) in rows {
            let Some(r) = self.slots[*slot].as_mut() else { continue };
            let token = r.sampler.next(logits, &r.ids);
            let ended = rules.stop_ids.contains(&token);
            if !ended {
                r.ids.push(token);
                answers[r.prompt].push(token);
                on_token(r.prompt, Some(token))?;
            }
            if ended || r.ids.len() - r.prompt_len >= rules.sampling.max_new_tokens {
                on_token(r.prompt, None)?;
                self.slots[*slot] = None;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Logits of hidden states [N, hidden], on the host, one vector a row.
fn host_logits(model: &Qwen3Vl, x: Tensor<2>) -> Vec<Vec<f32>> {
    let logits = model.text.logits(&model.text.final_norm(x));
    let vocab = logits.dims()[1];
    let all = logits.cast(DType::F32).into_data().try_to_vec::<f32>().expect("cast to f32");
    all.chunks_exact(vocab).map(<[f32]>::to_vec).collect()
}

//! Many prompts to answers: a finished one's slot is taken by the next at once (continuous batching), so nothing is
//! padded to the longest answer.

use super::batch::{Batch, Request, Said, Timing};
use crate::error::Result;
use crate::job::Sampling;
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::model::vision::VisionOutput;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A tokenised prompt with the features of its pictures.
pub struct Prompt {
    pub ids: Vec<u32>,
    pub grids: Vec<[usize; 3]>,
    pub features: Vec<Arc<VisionOutput>>,
    /// The number of its random stream: the same number draws the same, whatever else is asked.
    pub stream: usize,
}

/// How answers are made.
pub struct Rules<'a> {
    pub adapter: Option<&'a Adapter>,
    /// Its stop texts are the caller's to look for.
    pub sampling: Sampling,
    /// Any of these ends an answer; it is not part of it.
    pub stop_ids: &'a [u32],
    /// Sequences that run at the same time, at most.
    pub slots: usize,
}

/// What follows a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    GoOn,
    /// This answer is finished: the end is told next.
    End,
}

/// What became of an answer, with its tokens so far.
pub enum Grown<'a> {
    /// By one token.
    Longer(&'a [u32]),
    Ended(&'a [u32]),
}

/// Told of every new token and of the end of each answer, with the prompt's number; may break off everything.
pub type OnToken<'a> = &'a mut dyn FnMut(usize, Grown) -> ControlFlow<(), Next>;

/// The new tokens of each prompt, in their order, and where the time went.
pub struct Answers {
    pub tokens: Vec<Vec<u32>>,
    pub timing: Timing,
}

/// Answers every prompt. Prompts are built when their turn comes, so that pictures of waiting prompts take no memory.
///
/// An answer does not depend on which others run beside it, but for the order of sums: no beginnings are shared.
pub fn generate(
    model: &Qwen3Vl,
    count: usize,
    prompt: &mut dyn FnMut(usize) -> Result<Prompt>,
    rules: &Rules,
    on_token: OnToken,
) -> Result<Answers> {
    let mut answers: Vec<Vec<u32>> = vec![Vec::new(); count];
    // No more slots than are ever taken: each has its room in the cache.
    let mut batch = Batch::new(rules.slots.min(count), false);
    let (mut next, mut broken) = (0, false);
    while !broken && (next < count || batch.running() > 0) {
        while next < count && batch.room() > 0 {
            add(&mut batch, model, prompt(next)?, (next, rules))?;
            next += 1;
        }
        batch.step((model, rules.adapter), rules.stop_ids, &mut |tag, said| {
            let i = tag as usize;
            let flow = match said {
                _ if broken => return false,
                Said::Token { id, .. } => {
                    answers[i].push(id);
                    on_token(i, Grown::Longer(&answers[i]))
                }
                Said::End(_) => on_token(i, Grown::Ended(&answers[i])),
            };
            let flow = match flow {
                ControlFlow::Continue(Next::End) => {
                    on_token(i, Grown::Ended(&answers[i])).map_continue(|_| Next::End)
                }
                flow => flow,
            };
            broken = flow.is_break();
            flow == ControlFlow::Continue(Next::GoOn)
        });
    }
    Ok(Answers { tokens: answers, timing: batch.timing() })
}

fn add(batch: &mut Batch, model: &Qwen3Vl, prompt: Prompt, (i, rules): (usize, &Rules)) -> Result<()> {
    let Prompt { ids, grids, features, stream } = prompt;
    let request = Request {
        tag: i as u64,
        ids,
        grids,
        pictures: Vec::new(),
        tuned: rules.adapter.is_some(),
        sampling: rules.sampling.clone(),
        stream,
        odds: None,
    };
    batch.add(model, request, &mut |picture| Ok(features[picture].clone())).map(drop)
}

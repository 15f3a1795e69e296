//! Answers to a few samples while a model trains, and how good they are: LLaMA-Factory's four scores.

use super::items::{self, Item, Known};
use super::predict::{self, Setup, text_of};
use super::samples::Samples;
use super::scores::{self, Scores};
use crate::config::TrainConfig;
use crate::data::encode::Encoder;
use crate::data::sample::Sample;
use crate::error::Result;
use crate::generate::{Grown, Next, Prompt, generate};
use crate::model::vision::VisionOutput;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A sample that is asked, and its place in its set: the number of its random stream.
pub struct Asked {
    pub place: usize,
    pub item: Item,
}

/// A sample with the features of its pictures.
pub type Ready<'a> = (&'a Asked, Vec<Arc<VisionOutput>>);

/// The samples of a set that are asked: as many as `eval_generate_samples` says, spread evenly, always the same.
///
/// # Errors
/// A prompt cannot be built.
pub fn choose(
    config: &TrainConfig,
    encoder: &Encoder,
    read: &[Sample],
    samples: &Samples,
) -> Result<Vec<Asked>> {
    let places = spread(config.eval_generate_samples, samples.all.len());
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let known = Known { only: Some(&places), ..Known::default() };
    let items = items::of(encoder, read, samples, &known)?;
    Ok(items.into_iter().map(|(place, item)| Asked { place, item }).collect())
}

/// `n` places of `all`, evenly spread.
fn spread(n: usize, all: usize) -> Vec<usize> {
    let n = n.min(all);
    (0..n).map(|i| i * all / n).collect()
}

/// Answers the samples, several at a time, and scores each; `None` as soon as `stop` says so.
///
/// Draws come from `seed` and the sample's place alone: nothing of the training's is touched.
///
/// # Errors
/// An answer cannot be computed.
pub fn answer(setup: &Setup, asked: &[Ready], stop: &mut dyn FnMut() -> bool) -> Result<Option<Vec<Scores>>> {
    let rules = setup.rules();
    let texts = &rules.sampling.stop;
    let mut prompt = |i: usize| {
        let (Asked { place, item }, features) = &asked[i];
        let (ids, grids) = (item.prompt_ids.clone(), item.grids.clone());
        Ok(Prompt { ids, grids, features: features.clone(), stream: *place })
    };
    let mut stopped = false;
    let mut on_token = |_: usize, grown: Grown| {
        if stop() {
            stopped = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(match grown {
            Grown::Longer(answer) => predict::next(setup.encoder, answer, texts),
            Grown::Ended(_) => Next::GoOn,
        })
    };
    let answers = generate(setup.model, asked.len(), &mut prompt, &rules, &mut on_token)?.tokens;
    if stopped {
        return Ok(None);
    }
    let pairs: Vec<(String, String)> = answers
        .iter()
        .zip(asked)
        .map(|(answer, (asked, _))| (text_of(setup.encoder, answer, texts), asked.item.label.clone()))
        .collect();
    Ok(Some(scores::score_all(&pairs)))
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn places_are_spread_and_always_the_same() {
        assert_eq!(spread(4, 10), [0, 2, 5, 7]);
        assert_eq!(spread(9, 3), [0, 1, 2]);
        assert!(spread(0, 5).is_empty() && spread(3, 0).is_empty());
    }
}

//! The samples of a run: loaded, limited, encoded, and put together into packs.

use super::features::Features;
use super::loss::Targets;
use crate::config::{MixStrategy, TrainConfig};
use crate::data::batch::{self, EncodedSample, Pass};
use crate::data::encode::Encoder;
use crate::data::numpy::RandomState;
use crate::data::reader::Reader;
use crate::data::sample::Sample;
use crate::data::{dataset, selection};
use crate::error::{Error, Result};
use crate::job::{Emit, Event, Phase};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::{Pack, Qwen3Vl, Sequence};
use crate::model::vision::VisionOutput;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Encoded samples of one side (training or evaluation) and the features of their pictures.
pub struct Samples {
    pub all: Vec<EncodedSample>,
    features: Features,
}

impl Samples {
    /// The pack and targets of the samples at `places`. Where the vision tower has an adapter the pack brings the
    /// pictures themselves, to be looked at in every pass.
    pub fn pack(&mut self, model: &Qwen3Vl, encoder: &Encoder, places: &[usize]) -> Result<(Pack, Targets)> {
        let chosen: Vec<_> = places.iter().map(|&p| (p, &self.all[p])).collect();
        let trained = model.vision_adapted();
        let features = match trained {
            true => vec![Vec::new(); chosen.len()],
            false => self.features.of((model, None), encoder, &chosen)?,
        };
        let sequences: Vec<Sequence> = chosen
            .iter()
            .zip(&features)
            .map(|((_, s), f)| Sequence { ids: &s.encoded.input_ids, grids: &s.encoded.grids, features: f })
            .collect();
        let mut pack = model.pack(&sequences)?;
        if trained {
            pack.pictures = self.features.pictures(encoder, &chosen)?;
        }
        let labels: Vec<i32> = chosen.iter().flat_map(|(_, s)| s.encoded.labels.iter().copied()).collect();
        let targets = Targets::new(&pack, &labels);
        Ok((pack, targets))
    }

    /// Features of the pictures of the sample at `place`, as the model with this adapter sees them now.
    ///
    /// # Errors
    /// A picture cannot be read.
    pub fn seen(
        &mut self,
        (model, adapter): (&Qwen3Vl, &Adapter),
        encoder: &Encoder,
        place: usize,
    ) -> Result<Vec<Arc<VisionOutput>>> {
        let chosen = [(place, &self.all[place])];
        if !model.vision_adapted() {
            return Ok(self.features.of((model, None), encoder, &chosen)?.pop().unwrap_or_default());
        }
        // A tower with an adapter is another one after every update.
        let pictures = self.features.pictures(encoder, &chosen)?;
        Ok(pictures.iter().map(|picture| Arc::new(model.see(picture, Some(adapter)))).collect())
    }

    /// Begins to read the pictures of the samples at `places`, the next ones, on other threads.
    pub fn read_ahead(&mut self, model: &Qwen3Vl, encoder: &Encoder, places: &[usize]) {
        let next: Vec<_> = places.iter().map(|&p| (p, &self.all[p])).collect();
        self.features.read_ahead(model, encoder, &next);
    }

    /// Tokens of a micro-batch padded to its longest sample and that to a multiple of 8, as LLaMA-Factory pads.
    /// Only its statistics need them: nothing is padded here.
    pub fn padded_tokens(&self, places: &[usize]) -> u64 {
        let longest = places.iter().map(|&p| self.all[p].encoded.input_ids.len()).max().unwrap_or(0);
        (places.len() * longest.next_multiple_of(8)) as u64
    }

    /// Time spent waiting for pictures since the last call, in seconds.
    pub fn take_data_wait(&mut self) -> f64 {
        std::mem::take(&mut self.features.data_wait).as_secs_f64()
    }

    /// Bytes of the picture features that are kept.
    pub fn feature_bytes(&self) -> u64 {
        self.features.bytes() as u64
    }

    /// "id (row N)" of the samples at `places`, for messages.
    pub fn names(&self, places: &[usize]) -> String {
        let names: Vec<_> =
            places.iter().map(|&p| format!("{} (row {})", self.all[p].id, self.all[p].row)).collect();
        names.join(", ")
    }
}

/// The rows of one or several data sets in the order they are taken; `None` for one that cannot be used.
pub type Rows = Vec<Option<Sample>>;

/// The data sets `names` mixed as the configuration says. What is not taken is not read.
pub fn read(
    config: &TrainConfig,
    names: &[String],
    draws: &mut RandomState,
    emit: Emit,
    stop: &AtomicBool,
) -> Result<Rows> {
    let sets = read_each(config, names, draws, emit, stop)?;
    let lengths: Vec<usize> = sets.iter().map(|(_, rows)| rows.len()).collect();
    let probs = config.probabilities().map_err(|e| Error::usage(format!("interleave_probs: {e}")))?;
    let order = selection::mix(&lengths, config.mix_strategy, probs.as_deref(), config.seed)?;
    let mut all: Rows = sets.into_iter().flat_map(|(_, rows)| rows).collect();
    if config.mix_strategy == MixStrategy::Concat {
        return Ok(all);
    }
    // A sample is moved to the last place that wants it.
    let mut uses = vec![0; all.len()];
    order.iter().for_each(|&at| uses[at] += 1);
    let take = |at: usize| {
        uses[at] -= 1;
        if uses[at] == 0 { all[at].take() } else { all[at].clone() }
    };
    Ok(order.into_iter().map(take).collect())
}

/// Each of the data sets `names` with the rows that are taken of it. A name given twice counts once.
pub fn read_each(
    config: &TrainConfig,
    names: &[String],
    draws: &mut RandomState,
    emit: Emit,
    stop: &AtomicBool,
) -> Result<Vec<(String, Rows)>> {
    let mut sets: Vec<(String, Rows)> = Vec::new();
    for name in names {
        if sets.iter().any(|(known, _)| known == name) {
            continue;
        }
        let progress = |done: u64, total: u64| {
            emit(Event::Progress { phase: Phase::Loading, done: done as usize, total: total as usize });
        };
        let media = config.media_dir.as_deref();
        let reader = Reader::open_with(&config.dataset_dir, name, media, &progress, stop)?;
        let rows = selection::select(name, &reader.entry, reader.len(), config.max_samples, draws)?;
        let (samples, findings) = dataset::read(&reader, rows.into_iter())?;
        findings.into_iter().for_each(|f| emit(Event::Finding(f)));
        sets.push((name.clone(), samples));
    }
    Ok(sets)
}

/// Encodes samples; what cannot be used is left out and reported as findings.
pub fn encode(
    config: &TrainConfig,
    encoder: &Encoder,
    samples: &[Sample],
    emit: Emit,
    stop: &AtomicBool,
) -> Result<Samples> {
    let pass = Pass { workers: config.preprocessing_num_workers, cache: Some(&config.dataset_dir) };
    let (all, findings) = batch::encode_all(encoder, samples, pass, emit, stop)?;
    findings.into_iter().for_each(|f| emit(Event::Finding(f)));
    Ok(Samples { all, features: Features::new(config) })
}

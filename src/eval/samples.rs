//! The samples of a run: loaded, limited, encoded, and put together into packs.

use super::features::Features;
use super::loss::Targets;
use crate::config::TrainConfig;
use crate::data::batch::{self, EncodedSample};
use crate::data::dataset;
use crate::data::encode::Encoder;
use crate::data::sample::Sample;
use crate::error::Result;
use crate::job::{Emit, Event};
use crate::model::qwen3_vl::{Pack, Qwen3Vl, Sequence};
use std::path::Path;
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

    /// "id (row N)" of the samples at `places`, for messages.
    pub fn names(&self, places: &[usize]) -> String {
        let names: Vec<_> =
            places.iter().map(|&p| format!("{} (row {})", self.all[p].id, self.all[p].row)).collect();
        names.join(", ")
    }
}

/// Samples of the data sets `names`, each limited to `max_samples`, in order.
pub fn read(config: &TrainConfig, names: &[String], emit: Emit) -> Result<Vec<Sample>> {
    let dir: &Path = &config.dataset_dir;
    let mut all = Vec::new();
    for name in names {
        let mut data = dataset::load(dir, name, config.media_dir.as_deref())?;
        data.findings.drain(..).for_each(|f| emit(Event::Finding(f)));
        data.samples.truncate(config.max_samples.unwrap_or(usize::MAX));
        all.append(&mut data.samples);
    }
    Ok(all)
}

/// Encodes samples; what cannot be used is left out and reported as findings.
pub fn encode(
    config: &TrainConfig,
    encoder: &Encoder,
    samples: &[Sample],
    emit: Emit,
    stop: &AtomicBool,
) -> Result<Samples> {
    let workers = config.preprocessing_num_workers;
    let (all, findings) = batch::encode_all(encoder, samples, workers, emit, stop)?;
    findings.into_iter().for_each(|f| emit(Event::Finding(f)));
    Ok(Samples { all, features: Features::new() })
}

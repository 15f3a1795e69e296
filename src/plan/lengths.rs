//! How long samples are: read from the registered data set, or an assumption that is stated.

use crate::config::TrainConfig;
use crate::config::steps::held_out;
use crate::data::dataset;
use crate::data::encode::{Encoded, Encoder};
use crate::data::sample::Sample;
use crate::error::Result;
use std::path::Path;

/// Samples that are encoded at most; of a larger set evenly spaced ones.
const LOOKED_AT: usize = 2000;

/// Where nothing is known: tokens of question and frame, tokens of the answer.
const ASSUMED: [usize; 2] = [64, 192];

/// Bytes of Qwen3's `tokenizer.json`.
const QWEN_TOKENIZER: u64 = 11_422_650;

/// Pixels of a patch, and patches of a token.
const PATCH: u64 = 16 * 16;
const MERGED: usize = 4;

/// One sample as far as memory and time depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Length {
    pub tokens: usize,
    /// Tokens that carry loss.
    pub labels: usize,
    /// Patches of all its pictures, and of the largest.
    pub patches: usize,
    pub largest: usize,
}

/// The lengths of a training set.
#[derive(Clone, Debug)]
pub struct Lengths {
    /// Samples of the whole set.
    pub rows: usize,
    /// Those that were looked at, in file order.
    pub samples: Vec<Length>,
    /// The largest micro-batch, where the order of samples is known.
    pub worst: Option<Batch>,
    /// Bytes of `tokenizer.json`.
    pub tokenizer: u64,
    /// Where they are from, for people.
    pub source: String,
}

impl Lengths {
    /// Lengths of the training data of `config`: encoded where data and a tokenizer are there, else assumed.
    pub fn find(config: &TrainConfig, model_dir: Option<&Path>) -> Self {
        let missing = match model_dir.filter(|dir| dir.join("tokenizer.json").exists()) {
            Some(_) if config.dataset.is_empty() => "no data set is set".into(),
            Some(dir) => match Self::read(config, dir) {
                Ok(lengths) => return lengths,
                Err(e) => e.message,
            },
            None => "there is no tokenizer".into(),
        };
        Self::assumed(config, &missing)
    }

    /// Encodes the data sets of `config`, or a part of them that stands for all.
    ///
    /// Errors: no such data set, no tokenizer, or no sample that can be used.
    pub fn read(config: &TrainConfig, model_dir: &Path) -> Result<Self> {
        let encoder = Encoder::load(model_dir, config)?;
        let mut all: Vec<Sample> = Vec::new();
        for name in &config.dataset {
            let mut set = dataset::load(&config.dataset_dir, name, config.media_dir.as_deref())?.samples;
            set.truncate(config.max_samples.unwrap_or(usize::MAX));
            all.append(&mut set);
        }
        let rows = all.len() - held_out(config.val_size, all.len()).min(all.len());
        let every = all.len().div_ceil(LOOKED_AT).max(1);
        let samples: Vec<Length> = all
            .iter()
            .step_by(every)
            .filter_map(|s| length(&encoder, s).ok())
            .filter(|l| l.tokens > 0)
            .collect();
        if samples.is_empty() {
            return Err(crate::error::Error::input("no sample of the data set can be used")
                .hint("run `check` on the data set"));
        }
        let source = match every {
            1 => format!("lengths: all {} samples of {}", all.len(), config.dataset.join(", ")),
            n => format!("lengths: every {n}th of {} samples of {}", all.len(), config.dataset.join(", ")),
        };
        let tokenizer = std::fs::metadata(model_dir.join("tokenizer.json")).map_or(0, |m| m.len());
        Ok(Self { rows, samples, worst: None, tokenizer, source })
    }

    /// One kind of sample: a picture as large as the settings let it be, and a short text.
    pub fn assumed(config: &TrainConfig, why: &str) -> Self {
        let patches = (config.image_max_pixels / PATCH) as usize;
        let [question, answer] = ASSUMED;
        let tokens = (patches / MERGED + question + answer).min(config.cutoff_len);
        let one = Length { tokens, labels: answer.min(tokens), patches, largest: patches };
        let source = format!(
            "lengths: assumed, as {why}: {tokens} tokens, {} of them a picture, {answer} with loss; 1,000 samples",
            patches / MERGED
        );
        Self { rows: 1000, samples: vec![one], worst: None, tokenizer: QWEN_TOKENIZER, source }
    }

    /// The lengths with the limits of `config`, which may be narrower than those they were read with.
    pub fn sized(&self, config: &TrainConfig) -> Sized {
        let most = (config.image_max_pixels / PATCH) as usize;
        let fit = |s: &Length| {
            let patches = s.patches.min(most * s.patches.div_ceil(s.largest.max(1)));
            let tokens = (s.tokens - (s.patches - patches) / MERGED).min(config.cutoff_len);
            Length { tokens, labels: s.labels.min(tokens), patches, largest: s.largest.min(most) }
        };
        let samples = self.samples.iter().map(fit).collect();
        Sized { rows: self.rows, tokenizer: self.tokenizer, samples, worst: self.worst.clone() }
    }
}

fn length(encoder: &Encoder, sample: &Sample) -> Result<Length> {
    let grids = encoder.grids(sample)?;
    Ok(Length::of(&encoder.encode(sample, &grids)?))
}

impl Length {
    /// Of an encoded sample.
    pub fn of(encoded: &Encoded) -> Self {
        let patches = || encoded.grids.iter().map(|g| g.iter().product::<usize>());
        Self {
            tokens: encoded.input_ids.len(),
            labels: encoded.label_tokens(),
            patches: patches().sum(),
            largest: patches().max().unwrap_or(0),
        }
    }
}

/// Lengths within the limits of a configuration.
pub struct Sized {
    pub rows: usize,
    pub tokenizer: u64,
    pub samples: Vec<Length>,
    worst: Option<Batch>,
}

/// A micro-batch of samples in a row.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub tokens: usize,
    pub labels: usize,
    pub patches: usize,
    /// Of one sample, and of one picture.
    pub longest: usize,
    pub largest: usize,
    pub pictures: usize,
}

impl Sized {
    /// The mean of a number over the samples.
    pub fn mean(&self, of: impl Fn(&Length) -> f64) -> f64 {
        self.samples.iter().map(of).sum::<f64>() / self.samples.len().max(1) as f64
    }

    /// The micro-batch of `config` with the most tokens: the known one, in file order the real one, else the longest
    /// samples together. Packs are taken as full, of samples of the mean length.
    pub fn worst(&self, config: &TrainConfig) -> Batch {
        if let Some(worst) = &self.worst {
            return worst.clone();
        }
        let size = config.per_device_train_batch_size;
        if config.packs() {
            let each = (config.longest() as f64 / self.mean(|s| s.tokens as f64).max(1.0)) as usize;
            return self.longest(size * each.max(1));
        }
        if !config.disable_shuffling || self.samples.len() < self.rows {
            return self.longest(size);
        }
        let batches = self.samples.chunks(size).map(|part| batch(part, size.min(self.rows)));
        batches.max_by_key(|b| b.tokens).unwrap_or_default()
    }

    /// Samples, or packs of them.
    pub fn items(&self, config: &TrainConfig) -> usize {
        let each = if config.packs() {
            config.longest() as f64 / self.mean(|s| s.tokens as f64).max(1.0)
        } else {
            1.0
        };
        (self.rows as f64 / each.max(1.0)).ceil() as usize
    }

    /// The `size` longest samples together.
    fn longest(&self, size: usize) -> Batch {
        let mut samples = self.samples.clone();
        samples.sort_by_key(|s| std::cmp::Reverse(s.tokens));
        samples.truncate(size);
        batch(&samples, size.min(self.rows))
    }
}

/// `part` as a batch of `size`: what is missing is as its first sample.
fn batch(part: &[Length], size: usize) -> Batch {
    let all: Vec<Length> =
        if part.len() < size { part.iter().copied().cycle().take(size).collect() } else { part.to_vec() };
    Batch::of(&all)
}

impl Batch {
    /// These samples together.
    pub fn of(all: &[Length]) -> Self {
        Self {
            tokens: all.iter().map(|s| s.tokens).sum(),
            labels: all.iter().map(|s| s.labels).sum(),
            patches: all.iter().map(|s| s.patches).sum(),
            longest: all.iter().map(|s| s.tokens).max().unwrap_or(0),
            largest: all.iter().map(|s| s.largest).max().unwrap_or(0),
            pictures: all.iter().filter(|s| s.patches > 0).count(),
        }
    }
}

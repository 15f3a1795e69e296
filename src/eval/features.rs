//! Features of a vision tower that does not change: computed once per picture, kept in memory up to a limit and on
//! disk where that is asked for, used again in later epochs and runs.

use super::feature_cache::FeatureCache;
use crate::config::TrainConfig;
use crate::data::ahead::{Ahead, Wanted};
use crate::data::batch::EncodedSample;
use crate::data::encode::Encoder;
use crate::data::patches::{Patches, Resized};
use crate::data::sample::ImageRef;
use crate::error::{Error, Result};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::model::vision::VisionOutput;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of features that are kept.
const LIMIT: usize = 2 << 30;

/// Bytes of resized pictures that wait for their turn.
const WAITING: usize = 64 << 20;

/// Features by row of the data set. What does not fit is computed again when it is needed.
pub struct Features {
    kept: HashMap<usize, Vec<Arc<VisionOutput>>>,
    bytes: usize,
    /// Settings that ask for a cache on disk, until it is opened.
    asked: Option<Box<TrainConfig>>,
    disk: Option<Arc<FeatureCache>>,
    /// Pictures of samples that come next.
    ahead: Option<Ahead<Picture>>,
    workers: usize,
    /// Time spent on waiting for pictures to be read, decoded and resized.
    pub data_wait: Duration,
}

impl Features {
    pub fn new(config: &TrainConfig) -> Self {
        let asked = config.vision_cache_dir.as_ref().map(|_| Box::new(config.clone()));
        Self {
            kept: HashMap::new(),
            bytes: 0,
            asked,
            disk: None,
            ahead: None,
            workers: config.preprocessing_num_workers,
            data_wait: Duration::ZERO,
        }
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins to read the pictures of `next` on other threads, the first ones first, if their features are not there.
    pub fn read_ahead(&mut self, model: &Qwen3Vl, encoder: &Encoder, next: &[(usize, &EncodedSample)]) {
        let patch = 3 * encoder.processor().patch_size.pow(2);
        let patches =
            |s: &EncodedSample| s.encoded.grids.iter().map(|g| g.iter().product::<usize>()).sum::<usize>();
        let missing: Vec<Wanted> = next
            .iter()
            .filter(|(place, _)| !self.kept.contains_key(place))
            .map(|(place, s)| Wanted { place: *place, images: &s.images, bytes: patch * patches(s) })
            .collect();
        if missing.is_empty() && self.ahead.is_none() {
            return;
        }
        // On the CPU the others compute meanwhile.
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = if model.on_cpu() { 1 } else { self.workers.min(cores) };
        let disk = &self.disk;
        let ahead = self.ahead.get_or_insert_with(|| {
            let (disk, encoder) = (disk.clone(), encoder.clone());
            Ahead::new(
                Arc::new(move |image| Picture::read(image, &encoder, disk.as_deref())),
                threads,
                WAITING,
            )
        });
        ahead.want(&missing);
    }

    /// Features of every picture of `samples`, each with its place in the data set. All calls must be with the same
    /// adapter.
    pub fn of(
        &mut self,
        (model, adapter): (&Qwen3Vl, Option<&Adapter>),
        encoder: &Encoder,
        samples: &[(usize, &EncodedSample)],
    ) -> Result<Vec<Vec<Arc<VisionOutput>>>> {
        let missing: Vec<_> =
            samples.iter().filter(|(place, _)| !self.kept.contains_key(place)).copied().collect();
        // A tower with an adapter is another one after every update.
        if let Some(config) = self.asked.take_if(|_| adapter.is_none() || !model.vision_adapted()) {
            self.disk = FeatureCache::open(&config, model, encoder)?.map(Arc::new);
        }
        let pictures = self.read(encoder, &missing);
        let disk = self.disk.as_deref();
        let look = |pictures: Result<Vec<Picture>>| -> Result<Vec<_>> {
            pictures?.into_iter().map(|p| p.look((model, adapter), encoder, disk).map(Arc::new)).collect()
        };
        // On the CPU a picture a thread: what a picture computes serially runs beside the other's products. A GPU
        // has memory pools by thread, so there it is one thread.
        let seen: Vec<Result<Vec<_>>> = if model.on_cpu() {
            pictures.into_par_iter().map(look).collect()
        } else {
            pictures.into_iter().map(look).collect()
        };
        let mut fresh: HashMap<usize, Vec<Arc<VisionOutput>>> = HashMap::new();
        for ((place, _), seen) in missing.iter().zip(seen) {
            fresh.insert(*place, seen?);
        }
        let all = samples
            .iter()
            .map(|(place, _)| self.kept.get(place).or_else(|| fresh.get(place)).cloned().unwrap_or_default())
            .collect();
        for (place, features) in fresh {
            let size: usize = features.iter().map(|f| f.bytes()).sum();
            if self.bytes + size <= LIMIT {
                self.bytes += size;
                self.kept.insert(place, features);
            }
        }
        Ok(all)
    }

    /// The pictures of `samples` as the tower takes them, for a tower that is trained: nothing is kept.
    pub fn pictures(
        &mut self,
        encoder: &Encoder,
        samples: &[(usize, &EncodedSample)],
    ) -> Result<Vec<Patches>> {
        let read = self.read(encoder, samples);
        let cut = |pictures: Result<Vec<Picture>>| pictures?.iter().map(|p| p.patches(encoder)).collect();
        let all: Result<Vec<Vec<Patches>>> = read.into_par_iter().map(cut).collect();
        Ok(all?.into_iter().flatten().collect())
    }

    /// The pictures of each sample: those read ahead, and the others read now.
    fn read(&mut self, encoder: &Encoder, samples: &[(usize, &EncodedSample)]) -> Vec<Result<Vec<Picture>>> {
        let start = Instant::now();
        let disk = self.disk.as_deref();
        let there: Vec<Option<Result<Vec<Picture>>>> =
            samples.iter().map(|(place, _)| self.ahead.as_mut()?.take(*place)).collect();
        let now = |(there, (_, s)): (Option<Result<Vec<Picture>>>, &(usize, &EncodedSample))| {
            let read = || s.images.iter().map(|i| Picture::read(i, encoder, disk)).collect();
            there.unwrap_or_else(read).map_err(|e| of_sample(e, s))
        };
        let pictures = there.into_par_iter().zip(samples).map(now).collect();
        self.data_wait += start.elapsed();
        pictures
    }
}

/// A picture whose features are wanted.
enum Picture {
    /// They are in this file; where they cannot be read, they are made of this picture.
    Known(PathBuf, ImageRef),
    /// To be looked at, and the file that its features go to.
    Fresh(Resized, Option<PathBuf>),
}

impl Picture {
    fn read(image: &ImageRef, encoder: &Encoder, disk: Option<&FeatureCache>) -> Result<Self> {
        let place = disk.map(|d| d.place(image)).transpose()?;
        match place {
            Some(place) if place.exists() => Ok(Self::Known(place, image.clone())),
            place => Ok(Self::Fresh(encoder.resized(image)?, place)),
        }
    }

    fn patches(&self, encoder: &Encoder) -> Result<Patches> {
        match self {
            Self::Known(_, image) => Ok(encoder.cut(&encoder.resized(image)?)),
            Self::Fresh(picture, _) => Ok(encoder.cut(picture)),
        }
    }

    fn look(
        self,
        (model, adapter): (&Qwen3Vl, Option<&Adapter>),
        encoder: &Encoder,
        disk: Option<&FeatureCache>,
    ) -> Result<VisionOutput> {
        let kept = match (&self, disk) {
            (Self::Known(place, _), Some(disk)) => disk.get(place, model),
            _ => None,
        };
        if let Some(features) = kept {
            return Ok(features);
        }
        let features = model.see(&self.patches(encoder)?, adapter);
        let (Self::Known(place, _) | Self::Fresh(_, Some(place))) = self else { return Ok(features) };
        if let Some(disk) = disk {
            disk.put(&place, &features)?;
        }
        Ok(features)
    }
}

fn of_sample(e: Error, s: &EncodedSample) -> Error {
    Error { message: format!("sample {} (row {}): {}", s.id, s.row, e.message), ..e }
}

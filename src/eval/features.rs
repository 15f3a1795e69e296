//! Features of a vision tower that does not change: computed once per picture, kept in memory up to a limit and on
//! disk where that is asked for, used again in later epochs and runs.

use super::feature_cache::FeatureCache;
use crate::config::TrainConfig;
use crate::data::batch::EncodedSample;
use crate::data::encode::Encoder;
use crate::data::patches::Patches;
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

/// Features by row of the data set. What does not fit is computed again when it is needed.
pub struct Features {
    kept: HashMap<usize, Vec<Arc<VisionOutput>>>,
    bytes: usize,
    /// Settings that ask for a cache on disk, until it is opened.
    asked: Option<Box<TrainConfig>>,
    disk: Option<FeatureCache>,
    /// Time spent on reading, decoding and resizing pictures.
    pub data_wait: Duration,
}

impl Features {
    pub fn new(config: &TrainConfig) -> Self {
        let asked = config.vision_cache_dir.as_ref().map(|_| Box::new(config.clone()));
        Self { kept: HashMap::new(), bytes: 0, asked, disk: None, data_wait: Duration::ZERO }
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
            self.disk = FeatureCache::open(&config, model, encoder)?;
        }
        let pictures = self.read(model, encoder, &missing);
        let disk = self.disk.as_ref();
        let look = |pictures: Result<Vec<Picture>>| -> Result<Vec<_>> {
            pictures?.into_iter().map(|p| p.look(model, adapter, disk).map(Arc::new)).collect()
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
        let start = Instant::now();
        let read =
            |(_, s): &(usize, &EncodedSample)| encoder.patches_of(&s.images).map_err(|e| of_sample(e, s));
        let all: Result<Vec<Vec<Patches>>> = samples.par_iter().map(read).collect();
        self.data_wait += start.elapsed();
        Ok(all?.into_iter().flatten().collect())
    }

    /// The pictures of each sample, or what the disk has of them.
    fn read(
        &mut self,
        model: &Qwen3Vl,
        encoder: &Encoder,
        samples: &[(usize, &EncodedSample)],
    ) -> Vec<Result<Vec<Picture>>> {
        let start = Instant::now();
        let disk = self.disk.as_ref();
        let one = |image: &ImageRef| -> Result<Picture> {
            let place = disk.map(|d| d.place(image)).transpose()?;
            let known = disk.zip(place.as_ref()).and_then(|(d, place)| d.get(place, model));
            if let Some(features) = known {
                return Ok(Picture::Known(Box::new(features)));
            }
            let mut patches = encoder.patches_of(std::slice::from_ref(image))?;
            Ok(Picture::Fresh(patches.remove(0), place))
        };
        let read = |(_, s): &(usize, &EncodedSample)| -> Result<Vec<Picture>> {
            s.images.iter().map(one).collect::<Result<_>>().map_err(|e| of_sample(e, s))
        };
        let pictures = samples.par_iter().map(read).collect();
        self.data_wait += start.elapsed();
        pictures
    }
}

/// A picture whose features are wanted.
enum Picture {
    Known(Box<VisionOutput>),
    /// To be looked at, and the file that its features go to.
    Fresh(Patches, Option<PathBuf>),
}

impl Picture {
    fn look(
        self,
        model: &Qwen3Vl,
        adapter: Option<&Adapter>,
        disk: Option<&FeatureCache>,
    ) -> Result<VisionOutput> {
        let (patches, place) = match self {
            Self::Known(features) => return Ok(*features),
            Self::Fresh(patches, place) => (patches, place),
        };
        let features = model.see(&patches, adapter);
        if let Some((disk, place)) = disk.zip(place) {
            disk.put(&place, &features)?;
        }
        Ok(features)
    }
}

fn of_sample(e: Error, s: &EncodedSample) -> Error {
    Error { message: format!("sample {} (row {}): {}", s.id, s.row, e.message), ..e }
}

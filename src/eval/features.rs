//! Features of a vision tower that does not change: computed once per picture, kept in memory up to a limit, used
//! again in later epochs.

use crate::data::batch::EncodedSample;
use crate::data::encode::Encoder;
use crate::data::patches::Patches;
use crate::error::{Error, Result};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::model::vision::VisionOutput;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of features that are kept.
const LIMIT: usize = 2 << 30;

/// Features by row of the data set. What does not fit is computed again when it is needed.
pub struct Features {
    kept: HashMap<usize, Vec<Arc<VisionOutput>>>,
    bytes: usize,
    /// Time spent on reading, decoding and resizing pictures.
    pub data_wait: Duration,
}

impl Features {
    pub fn new() -> Self {
        Self { kept: HashMap::new(), bytes: 0, data_wait: Duration::ZERO }
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
        let patches = self.patches(encoder, &missing);
        let mut fresh: HashMap<usize, Vec<Arc<VisionOutput>>> = HashMap::new();
        let look = |patches: Result<Vec<Patches>>| -> Result<Vec<_>> {
            Ok(patches?.iter().map(|p| Arc::new(model.see(p, adapter))).collect())
        };
        // On the CPU a picture a thread: what a picture computes serially runs beside the other's products. A GPU
        // has memory pools by thread, so there it is one thread.
        let seen: Vec<Result<Vec<_>>> = if model.on_cpu() {
            patches.into_par_iter().map(look).collect()
        } else {
            patches.into_iter().map(look).collect()
        };
        for ((place, _), seen) in missing.iter().zip(seen) {
            fresh.insert(*place, seen?);
        }
        let all = samples
            .iter()
            .map(|(place, _)| self.kept.get(place).or_else(|| fresh.get(place)).cloned().unwrap_or_default())
            .collect();
        for (place, features) in fresh {
            let size: usize = features.iter().map(|f| bytes(f)).sum();
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
        let all: Vec<Vec<Patches>> = self.patches(encoder, samples).into_iter().collect::<Result<_>>()?;
        Ok(all.into_iter().flatten().collect())
    }

    fn patches(
        &mut self,
        encoder: &Encoder,
        samples: &[(usize, &EncodedSample)],
    ) -> Vec<Result<Vec<Patches>>> {
        let start = Instant::now();
        let read =
            |(_, s): &(usize, &EncodedSample)| encoder.patches_of(&s.images).map_err(|e| of_sample(e, s));
        let patches = samples.par_iter().map(read).collect();
        self.data_wait += start.elapsed();
        patches
    }
}

impl Default for Features {
    fn default() -> Self {
        Self::new()
    }
}

fn of_sample(e: Error, s: &EncodedSample) -> Error {
    Error { message: format!("sample {} (row {}): {}", s.id, s.row, e.message), ..e }
}

fn bytes(f: &VisionOutput) -> usize {
    let one = |t: &burn::tensor::Tensor<2>| t.dims().iter().product::<usize>() * t.dtype().size();
    one(&f.merged) + f.deepstack.iter().map(one).sum::<usize>()
}

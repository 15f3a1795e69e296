//! Picture features on disk: a later run on the same pictures, model and limits needs no vision tower.
//!
//! A file per picture, named by a hash of its bytes, the tower's weights and settings, and the limits it was resized
//! by. When the folder is full the files that were used longest ago make room.

use crate::config::TrainConfig;
use crate::data::encode::Encoder;
use crate::data::sample::ImageRef;
use crate::error::{At, Error, Result};
use crate::files;
use crate::model::Weights;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::model::vision::VisionOutput;
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

const SUFFIX: &str = "features";

/// A folder of features.
pub struct FeatureCache {
    dir: PathBuf,
    /// Bytes that may be there, and that are.
    limit: u64,
    used: Mutex<u64>,
    /// Hash of what all pictures have in common.
    common: blake3::Hash,
}

impl FeatureCache {
    /// The cache that `config` asks for; `None` if it asks for none.
    ///
    /// # Errors
    /// The folder cannot be made or read, or the weights cannot.
    pub fn open(config: &TrainConfig, model: &Qwen3Vl, encoder: &Encoder) -> Result<Option<Self>> {
        let Some(dir) = config.vision_cache_dir.clone().filter(|_| config.vision_cache_gb > 0.0) else {
            return Ok(None);
        };
        fs::create_dir_all(&dir).at("create", &dir)?;
        let used = kept(&dir)?.iter().map(|file| file.bytes).sum();
        let mut hash = blake3::Hasher::new();
        let weights = Weights::open(&config.model_name_or_path)?;
        for name in weights.names().filter(|name| name.contains("visual.")) {
            hash.update(name.as_bytes());
            weights.raw(name).map(|raw| hash.update(raw.bytes));
        }
        // What was merged into the tower is not in the files.
        for (_, linear) in model.vision.linears() {
            hash.update(linear.w.to_f32().into_data().as_bytes());
        }
        let settings = format!("{:?} {:?} {:?}", model.config.vision, encoder.processor(), encoder.limits());
        hash.update(settings.as_bytes());
        hash.update(format!("{:?}", model.dtype).as_bytes());
        let limit = (config.vision_cache_gb * 1e9) as u64;
        Ok(Some(Self { dir, limit, used: Mutex::new(used), common: hash.finalize() }))
    }

    /// The file that a picture's features are in, or would be.
    ///
    /// # Errors
    /// The picture cannot be read.
    pub fn place(&self, image: &ImageRef) -> Result<PathBuf> {
        let mut hash = blake3::Hasher::new_keyed(self.common.as_bytes());
        hash.update(&image.bytes()?);
        Ok(self.dir.join(format!("{}.{SUFFIX}", hash.finalize().to_hex())))
    }

    /// The features in a file; `None` if there are none, or none that can be read.
    pub fn get(&self, place: &Path, model: &Qwen3Vl) -> Option<VisionOutput> {
        let bytes = fs::read(place).ok()?;
        let features = read(&bytes, model)?;
        let used_now =
            File::options().append(true).open(place).and_then(|f| f.set_modified(SystemTime::now()));
        drop(used_now); // without it the file is only thought older than it is
        Some(features)
    }

    /// Keeps the features of a picture.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn put(&self, place: &Path, features: &VisionOutput) -> Result<()> {
        let bytes = write(features)?;
        let size = bytes.len() as u64;
        if size > self.limit {
            return Ok(());
        }
        // Several threads look at pictures: what one of them is writing is not to be seen in the folder yet.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = if *used + size > self.limit { self.make_room(size)? } else { *used + size };
        files::write(place, &bytes)
    }

    /// Removes what was used longest ago until `size` bytes are free; returns how many are used with them.
    fn make_room(&self, size: u64) -> Result<u64> {
        let mut files = kept(&self.dir)?;
        files.sort_by_key(|file| file.used);
        let mut total = size + files.iter().map(|file| file.bytes).sum::<u64>();
        for file in files {
            if total <= self.limit {
                break;
            }
            // Another run may have removed it already.
            if fs::remove_file(&file.path).is_ok() {
                total -= file.bytes;
            }
        }
        Ok(total)
    }
}

struct Kept {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// The cache's files in a folder.
fn kept(dir: &Path) -> Result<Vec<Kept>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        if path.extension().is_none_or(|e| e != SUFFIX) {
            continue;
        }
        let Ok(meta) = fs::metadata(&path) else { continue };
        let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        all.push(Kept { path, bytes: meta.len(), used });
    }
    Ok(all)
}

/// Features as safetensors: `merged`, `deepstack.0`, `deepstack.1`, …
fn write(features: &VisionOutput) -> Result<Vec<u8>> {
    let named = std::iter::once(("merged".to_string(), &features.merged))
        .chain(features.deepstack.iter().enumerate().map(|(i, t)| (format!("deepstack.{i}"), t)));
    let data: Vec<(String, TensorData)> = named.map(|(name, t)| (name, t.clone().into_data())).collect();
    let internal = |e: safetensors::SafeTensorError| Error::internal(format!("features: {e}"));
    let views = data.iter().map(|(name, data)| {
        let dtype = if data.dtype == DType::F32 { Dtype::F32 } else { Dtype::BF16 };
        Ok((name, TensorView::new(dtype, data.shape.to_vec(), data.as_bytes()).map_err(internal)?))
    });
    let views: Vec<_> = views.collect::<Result<_>>()?;
    safetensors::serialize(views, None).map_err(internal)
}

fn read(bytes: &[u8], model: &Qwen3Vl) -> Option<VisionOutput> {
    let file = SafeTensors::deserialize(bytes).ok()?;
    let tensor = |name: &str| -> Option<Tensor<2>> {
        let view = file.tensor(name).ok()?;
        let dtype = if view.dtype() == Dtype::F32 { DType::F32 } else { DType::BF16 };
        let [rows, columns]: [usize; 2] = view.shape().try_into().ok()?;
        let data = TensorData::from_bytes_vec(view.data().to_vec(), [rows, columns], dtype);
        (dtype == model.dtype).then(|| Tensor::from_data(data, (&model.device, dtype)))
    };
    let deepstack = model.config.vision.deepstack_visual_indexes.len();
    Some(VisionOutput {
        merged: tensor("merged")?,
        deepstack: (0..deepstack).map(|i| tensor(&format!("deepstack.{i}"))).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn threads_that_write_at_the_same_time_keep_to_the_size() {
        let zeros = || Tensor::<2>::zeros([16, 64], &Device::flex());
        let features = VisionOutput { merged: zeros(), deepstack: vec![zeros()] };
        let limit = write(&features).unwrap().len() as u64 * 3 / 2;
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let common = blake3::hash(b"");
            let cache = FeatureCache { dir: dir.path().into(), limit, used: Mutex::new(0), common };
            let start = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                for name in ["a", "b", "c", "d"] {
                    let place = dir.path().join(format!("{name}.{SUFFIX}"));
                    let (cache, features, start) = (&cache, &features, &start);
                    scope.spawn(move || {
                        start.wait();
                        cache.put(&place, features).unwrap();
                    });
                }
            });
            let used: u64 = kept(dir.path()).unwrap().iter().map(|file| file.bytes).sum();
            assert!(0 < used && used <= limit, "{used} of {limit} bytes");
        }
    }
}

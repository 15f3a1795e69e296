//! The weights of a model folder: safetensors, one file or shards, mapped and read tensor by tensor.

mod convert;
mod experts;
mod open;
mod quantized;
mod rows;

pub use experts::ExpertLayout;
pub use quantized::Target;
pub use rows::StoredRows;

use crate::error::{At, Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use memmap2::Mmap;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where a tensor may be in older files, by the start of its name: as transformers 5 saves it, then as others do.
const VARIANTS: [(&str, &[&str]); 3] = [
    ("model.language_model.", &["language_model.model.", "model."]),
    ("model.visual.", &["visual."]),
    ("lm_head.", &["language_model.lm_head."]),
];

/// All tensors of a folder, by name. Nothing but headers is read until a tensor is asked for.
pub struct Weights {
    dir: PathBuf,
    shards: Vec<Shard>,
    entries: BTreeMap<String, Entry>,
    expert_layout: Option<ExpertLayout>,
}

/// One file, open for reading and mapped.
struct Shard {
    path: PathBuf,
    file: File,
    map: Mmap,
}

/// One tensor in a file.
struct Entry {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its bytes in the file.
    bytes: Range<usize>,
}

/// A tensor as it lies in a file.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    pub dtype: Dtype,
    pub shape: &'a [usize],
    /// Little-endian, row-major.
    pub bytes: &'a [u8],
}

/// A tensor that stays as long as the model: on a GPU in an allocation of its own size, where the pool for passing
/// ones would round it up.
fn frozen<const D: usize>(data: TensorData, device: &Device, dtype: DType) -> Tensor<D> {
    device.memory_persistent_allocations(data, |data| Tensor::from_data(data, (device, dtype)))
}

impl Weights {
    /// Opens `model.safetensors`, or the shards of `model.safetensors.index.json`, in `dir`.
    ///
    /// Errors: no weights there, a missing shard, a file that is truncated or not safetensors at all.
    pub fn open(dir: &Path) -> Result<Self> {
        open::open(dir)
    }

    /// Says how experts lie in the file, for shapes that fit both layouts.
    pub fn with_expert_layout(mut self, layout: Option<ExpertLayout>) -> Self {
        self.expert_layout = layout;
        self
    }

    /// Whether there is a tensor of this name (as transformers 5 spells it), under any known spelling.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Number of parameters in all tensors.
    pub fn parameters(&self) -> u64 {
        self.entries.values().map(|e| e.shape.iter().product::<usize>() as u64).sum()
    }

    /// The names as they are in the files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Reads one tensor onto `device` as `dtype` (F32, BF16 or F16).
    ///
    /// Errors: no such tensor, another shape than wanted, a type that is not a float of 16 or 32 bits.
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        device: &Device,
        dtype: DType,
    ) -> Result<Tensor<D>> {
        let entry = self.entry(name)?;
        if entry.shape != shape {
            return Err(self.wrong_shape(name, entry, &format!("{shape:?}")));
        }
        let read = convert::convert(self.source(name, entry)?, dtype).at("read", self.path(entry))?;
        let data = read.into_data(&shape);
        Ok(frozen(data, device, dtype))
    }

    /// A tensor as it lies in its file, by its name there; `None` if there is none.
    pub fn raw(&self, name: &str) -> Option<Raw<'_>> {
        let entry = self.entries.get(name)?;
        let bytes = &self.shards[entry.shard].map[entry.bytes.clone()];
        Some(Raw { dtype: entry.dtype, shape: &entry.shape, bytes })
    }

    /// The name in the files of a tensor that transformers 5 calls `name`.
    pub fn file_name(&self, name: &str) -> Option<&str> {
        self.find_named(name).map(|(name, _)| name)
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.find_named(name).map(|(_, entry)| entry)
    }

    fn find_named(&self, name: &str) -> Option<(&str, &Entry)> {
        let get = |name: &str| self.entries.get_key_value(name).map(|(name, entry)| (name.as_str(), entry));
        let variant = || {
            let (rest, others) =
                VARIANTS.iter().find_map(|(start, o)| Some((name.strip_prefix(start)?, o)))?;
            others.iter().find_map(|start| get(&format!("{start}{rest}")))
        };
        get(name).or_else(variant)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.find(name).ok_or_else(|| {
            Error::input(format!("the weights in {} have no tensor {name}", self.dir.display()))
                .hint("the weights do not belong to the config.json beside them, or are not all there")
        })
    }

    /// The file that a tensor is in.
    fn path(&self, entry: &Entry) -> &Path {
        &self.shards[entry.shard].path
    }

    /// The bytes of a tensor and their float type.
    fn source(&self, name: &str, entry: &Entry) -> Result<convert::Source<'_>> {
        let shard = &self.shards[entry.shard];
        convert::Source::new(&shard.file, entry.bytes.clone(), entry.dtype).ok_or_else(|| {
            let at = shard.path.display();
            Error::input(format!("tensor {name} in {at} is of type {:?}, which cannot be used", entry.dtype))
                .hint("take the BF16 release of the model; quantised weights cannot be trained here")
        })
    }

    fn wrong_shape(&self, name: &str, entry: &Entry, wanted: &str) -> Error {
        let at = self.shards[entry.shard].path.display();
        let found = &entry.shape;
        Error::input(format!("tensor {name} in {at} has shape {found:?}, but config.json asks for {wanted}"))
            .hint("the weights and the config.json of the folder do not belong together")
    }
}

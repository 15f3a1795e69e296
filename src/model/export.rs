//! A base model's weight files written again with an adapter folded in, one tensor in memory at a time.

use super::attach::{self, Parts};
use super::config::ModelConfig;
use super::modules::{self, Module, Part};
use super::peft::{AdapterConfig, AdapterTensor, floats};
use super::weights::{Raw, Weights};
use super::{dora, ops};
use crate::error::{At, Error, Result};
use crate::files;
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// What is merged: the weights of a model folder and the adapter's tensors.
pub struct Merge<'a> {
    weights: &'a Weights,
    /// By the tensor's name in the weight files.
    changes: HashMap<String, (Parts<'a>, Module)>,
    scale: f32,
}

/// Told (bytes done, bytes in all); an error stops the writing.
pub type Progress<'a> = &'a dyn Fn(u64, u64) -> Result<()>;

impl<'a> Merge<'a> {
    /// Matches adapter and weights.
    ///
    /// Errors: an adapter of another model, a weight type that cannot be merged into.
    pub fn new(
        weights: &'a Weights,
        model: &ModelConfig,
        (config, tensors): (&AdapterConfig, &'a [AdapterTensor]),
    ) -> Result<Self> {
        let known: HashMap<String, Module> =
            modules::all(model).into_iter().map(|m| (m.path.clone(), m)).collect();
        let mut changes = HashMap::new();
        for part in attach::parts(tensors, model)? {
            let module = known.get(&part.path);
            let magnitudes = part.magnitude.map(|m| m.values.len());
            attach::fits(&part.path, module, [part.a.matrix(), part.b.matrix()], magnitudes)?;
            let module = module.expect("checked by `fits`").clone();
            let name = if module.part == Part::Experts {
                part.path.clone()
            } else {
                format!("{}.weight", part.path)
            };
            let name = weights
                .file_name(&name)
                .ok_or_else(|| Error::input(format!("the weights have no tensor {name}")))?;
            mergeable(name, &weights.raw(name).expect("just found"), &module)?;
            changes.insert(name.to_string(), (part, module));
        }
        Ok(Self { weights, changes, scale: config.scale() as f32 })
    }

    /// Number of tensors that the adapter changes.
    pub fn changed(&self) -> usize {
        self.changes.len()
    }

    /// Writes shards of at most `limit` bytes (a larger tensor gets its own) and, of more than one, their index.
    pub fn write(&self, out: &Path, limit: u64, progress: Progress) -> Result<()> {
        let shards = self.shards(limit);
        let total: u64 = shards.iter().flatten().map(|name| self.raw(name).bytes.len() as u64).sum();
        let mut done = 0;
        let mut map = Map::new();
        for (i, names) in shards.iter().enumerate() {
            let file = match shards.len() {
                1 => "model.safetensors".to_string(),
                n => format!("model-{:05}-of-{n:05}.safetensors", i + 1),
            };
            self.write_shard(&out.join(&file), names, &mut |bytes| {
                done += bytes;
                progress(done, total)
            })?;
            map.extend(names.iter().map(|name| (name.to_string(), json!(file))));
        }
        if shards.len() > 1 {
            map.sort_keys();
            let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
            files::write_json(&out.join("model.safetensors.index.json"), &index)?;
        }
        Ok(())
    }

    fn raw(&self, name: &str) -> Raw<'a> {
        self.weights.raw(name).expect("a name of these weights")
    }

    /// Names of all tensors, shard by shard.
    fn shards(&self, limit: u64) -> Vec<Vec<&'a str>> {
        let mut shards: Vec<Vec<&str>> = Vec::new();
        let mut size = u64::MAX;
        for name in self.weights.names() {
            let bytes = self.raw(name).bytes.len() as u64;
            if size.saturating_add(bytes) > limit {
                shards.push(Vec::new());
                size = 0;
            }
            size += bytes;
            shards.last_mut().expect("begun above").push(name);
        }
        shards
    }

    /// One safetensors file: the header's length, the header, the tensors' bytes.
    fn write_shard(
        &self,
        path: &Path,
        names: &[&str],
        told: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut header = Map::from_iter([("__metadata__".to_string(), json!({ "format": "pt" }))]);
        let mut at = 0;
        for name in names {
            let raw = self.raw(name);
            let end = at + raw.bytes.len();
            let entry = json!({ "dtype": raw.dtype, "shape": raw.shape, "data_offsets": [at, end] });
            header.insert((*name).to_string(), entry);
            at = end;
        }
        let mut text = Value::Object(header).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut trouble = None;
        let written = files::write_with(path, |w| {
            w.write_all(&(text.len() as u64).to_le_bytes())?;
            w.write_all(&text)?;
            for name in names {
                let raw = self.raw(name);
                self.copy(name, raw, w)?;
                if let Err(e) = told(raw.bytes.len() as u64) {
                    trouble = Some(e);
                    return Err(std::io::ErrorKind::Interrupted.into());
                }
            }
            Ok(())
        });
        match trouble {
            Some(e) => Err(e),
            None => written,
        }
    }

    /// The tensor's bytes, merged where the adapter changes it.
    fn copy(&self, name: &str, raw: Raw, w: &mut dyn Write) -> std::io::Result<()> {
        match self.changes.get(name) {
            None => w.write_all(raw.bytes),
            Some((part, m)) if m.part == Part::Experts => self.merge_experts(part, m, raw, w),
            Some((part, m)) => {
                let width = [m.shape[0], m.shape[1]];
                let weight = matrix(floats(raw.dtype, raw.bytes).expect("checked before"), width);
                let pair = super::lora::Pair {
                    name: String::new(),
                    a: matrix(part.a.values.clone(), part.a.matrix()),
                    b: matrix(part.b.values.clone(), part.b.matrix()),
                    magnitude: None,
                };
                let merged = match part.magnitude {
                    Some(m) => dora::merged(weight, &pair, &matrix(m.values.clone(), m.matrix()), self.scale),
                    None => ops::add_matmul(weight, &pair.b, &pair.a, self.scale),
                };
                w.write_all(&bytes(raw.dtype, &values(merged)))
            }
        }
    }

    /// Expert by expert. peft rounds the difference to the weight's type before it adds it; so does this.
    fn merge_experts(&self, part: &Parts, m: &Module, raw: Raw, w: &mut dyn Write) -> std::io::Result<()> {
        let ([out, inp], r) = (m.shape, part.a.matrix()[0] / m.experts);
        let turned = raw.shape[1..] == [inp, out];
        let size = raw.bytes.len() / m.experts;
        for (e, old) in raw.bytes.chunks_exact(size).enumerate() {
            let a = matrix(part.a.values[e * r * out..(e + 1) * r * out].to_vec(), [r, out]);
            let row = |row: &[f32]| (0..r).map(|k| row[k * m.experts + e]).collect::<Vec<_>>();
            let b = part.b.values.chunks_exact(r * m.experts).flat_map(row).collect();
            let b = matrix(b, [inp, r]);
            let zero = Tensor::zeros(if turned { [inp, out] } else { [out, inp] }, (&b.device(), DType::F32));
            let delta = match turned {
                true => ops::add_matmul(zero, &b, &a, self.scale),
                false => ops::add_matmul(zero, &a.transpose(), &b.transpose(), self.scale),
            };
            let delta = bytes(raw.dtype, &values(delta));
            let (old, delta) = (floats(raw.dtype, old), floats(raw.dtype, &delta));
            let sums =
                old.expect("checked before").into_iter().zip(delta.expect("same type")).map(|(a, b)| a + b);
            w.write_all(&bytes(raw.dtype, &sums.collect::<Vec<_>>()))?;
        }
        Ok(())
    }
}

/// Whether a tensor of the weight files has the type and shape that `module` is merged into.
fn mergeable(name: &str, raw: &Raw, module: &Module) -> Result<()> {
    if !matches!(raw.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) {
        return Err(Error::input(format!(
            "{name} is of type {:?}: nothing can be merged into it",
            raw.dtype
        ))
        .hint("export with the model's BF16 release"));
    }
    let ([out, inp], e) = (module.shape, module.experts);
    let fits = match module.part {
        // Either layout of experts; a square could be both.
        Part::Experts => out != inp && (raw.shape == [e, out, inp] || raw.shape == [e, inp, out]),
        _ => raw.shape == [out, inp],
    };
    match fits {
        true => Ok(()),
        false => Err(Error::input(format!("{name} has shape {:?}, which cannot be merged into", raw.shape))
            .hint("the weights and the config.json of the folder do not belong together")),
    }
}

fn matrix(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
}

fn values(t: Tensor<2>) -> Vec<f32> {
    t.into_data().try_to_vec::<f32>().expect("computed in f32")
}

/// Values as little-endian floats of `dtype`, rounded to nearest even.
fn bytes(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::BF16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

/// Copies what belongs to a model besides its weights: configurations, tokenizer, processor, chat templates, licence.
pub fn copy_companions(from: &Path, to: &Path) -> Result<Vec<String>> {
    let mut copied = Vec::new();
    for entry in std::fs::read_dir(from).at("read", from)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kept = [".json", ".jinja", ".txt", ".model"].iter().any(|end| name.ends_with(end))
            || name.starts_with("LICENSE");
        let weights = name.ends_with(".index.json") || name.starts_with("adapter_");
        if !kept || weights || !entry.path().is_file() {
            continue;
        }
        let bytes = std::fs::read(entry.path()).at("read", entry.path())?;
        files::write(&to.join(&name), &bytes)?;
        copied.push(name);
    }
    copied.sort();
    Ok(copied)
}

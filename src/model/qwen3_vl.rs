//! The whole model: loading, attaching an adapter, pictures to features, sequences to packs.

use super::config::{ModelConfig, TextConfig};
use super::lora::{Adapter, Linear, Pair};
use super::moe::Moe;
use super::ops::Segment;
use super::peft::AdapterTensor;
use super::rope::{self, Positions};
use super::text::{Block, Mlp, Rope, Text, Visual};
use super::vision::{Vision, VisionOutput};
use super::weight::{ExpertWeight, Weight};
use super::weights::{Target, Weights};
use crate::config::quantization::Quantization;
use crate::data::patches::Patches;
use crate::error::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// A loaded Qwen3-VL, dense or mixture of experts. Its weights are frozen; an adapter is passed to each forward.
pub struct Qwen3Vl {
    pub config: ModelConfig,
    pub vision: Vision,
    pub text: Text,
    pub device: Device,
    pub dtype: DType,
    /// Number of frozen parameters.
    pub parameters: u64,
}

impl Qwen3Vl {
    /// Reads a model folder (`config.json` and safetensors). `progress` is told (layers done, layers).
    ///
    /// Errors name the file or tensor: not a Qwen3-VL, no weights, a missing or misshapen tensor.
    pub fn load(dir: &Path, device: &Device, dtype: DType, progress: &dyn Fn(usize, usize)) -> Result<Self> {
        Self::load_quantized(dir, None, (device, dtype), progress)
    }

    /// [`Qwen3Vl::load`] with the decoder's linear layers and experts quantised one by one. As with bitsandbytes
    /// embeddings, norms and head stay as they are; so does the vision tower, whose linear layers bitsandbytes
    /// would take (it leaves the experts).
    pub fn load_quantized(
        dir: &Path,
        quantization: Option<Quantization>,
        (device, dtype): (&Device, DType),
        progress: &dyn Fn(usize, usize),
    ) -> Result<Self> {
        let config = ModelConfig::load(dir)?;
        let weights = Weights::open(dir)?;
        let total = config.text.num_hidden_layers + 2;
        let vision = Vision::load(&weights, &config.vision, device)?;
        progress(1, total);
        let quantize = quantization.map(|how| Target { how, device, dtype });
        let load = Loader { weights: &weights, device, dtype, quantize };
        let text = load.text(&config, &|done| progress(done + 1, total))?;
        progress(total, total);
        let parameters = weights.parameters();
        Ok(Self { config, vision, text, device: device.clone(), dtype, parameters })
    }

    /// Merged and deepstack features of one picture.
    pub fn see(&self, patches: &Patches) -> VisionOutput {
        let rows: usize = patches.grid.iter().product();
        let width = patches.pixels.len() / rows.max(1);
        let pixels = TensorData::new(patches.pixels.clone(), [rows, width]);
        let pixels = Tensor::from_data(pixels, (&self.device, DType::F32));
        let out = self.vision.forward(pixels, &[patches.grid]);
        VisionOutput {
            merged: out.merged.cast(self.dtype),
            deepstack: out.deepstack.into_iter().map(|d| d.cast(self.dtype)).collect(),
        }
    }

    /// Every linear layer of the decoder with its PEFT path, in the order of the model.
    fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let blocks = self.text.blocks.iter_mut().enumerate();
        blocks
            .flat_map(|(i, b)| b.linears_mut().into_iter().map(move |(leaf, l)| (path(i, leaf), l)))
            .collect()
    }

    /// [`Qwen3Vl::linears_mut`] to look at.
    fn linears(&self) -> Vec<(String, &Linear)> {
        let blocks = self.text.blocks.iter().enumerate();
        blocks.flat_map(|(i, b)| b.linears().into_iter().map(move |(leaf, l)| (path(i, leaf), l))).collect()
    }

    /// Paths and shapes [out, in] of the modules that `lora_target` picks: `all` as LLaMA-Factory's `all`
    /// (every linear layer of the decoder, neither router nor experts), else names matched by their ends.
    pub fn targets(&self, lora_target: &str) -> Result<Vec<(String, [usize; 2])>> {
        let all: Vec<_> = self.linears().into_iter().map(|(name, l)| (name, l.w.dims())).collect();
        let wanted: Vec<&str> = lora_target.split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
        if wanted == ["all"] {
            return Ok(all);
        }
        let matches = |name: &str, w: &str| name == w || name.ends_with(&format!(".{w}"));
        if let Some(w) = wanted.iter().find(|w| !all.iter().any(|(name, _)| matches(name, w))) {
            let mut leaves: Vec<&str> = all.iter().filter_map(|(n, _)| n.rsplit('.').next()).collect();
            leaves.sort_unstable();
            leaves.dedup();
            return Err(Error::usage(format!("lora_target: no module is called {w:?}"))
                .hint(format!("this model has: all, {}", leaves.join(", "))));
        }
        Ok(all.into_iter().filter(|(name, _)| wanted.iter().any(|w| matches(name, w))).collect())
    }

    /// Points every linear layer at its pair in `adapter`, or at none.
    ///
    /// Errors: a pair that no module of this model fits, by name or by shape (an adapter of another model).
    pub fn attach(&mut self, adapter: &Adapter) -> Result<()> {
        let mut linears = self.linears_mut();
        for (_, l) in &mut linears {
            l.slot = None;
        }
        for (slot, pair) in adapter.pairs.iter().enumerate() {
            let wrong = |why: String| {
                Error::input(format!("the adapter does not fit this model: {}: {why}", pair.name))
                    .hint("use the adapter with the base model that it was trained on")
            };
            let Some((_, l)) = linears.iter_mut().find(|(name, _)| *name == pair.name) else {
                return Err(wrong("the model has no such module".into()));
            };
            let [out, inp] = l.w.dims();
            let ([ra, ia], [ob, rb]) = (pair.a.dims(), pair.b.dims());
            if ia != inp || ob != out || ra != rb {
                return Err(wrong(format!(
                    "lora_A is [{ra}, {ia}] and lora_B [{ob}, {rb}], the module's weight [{out}, {inp}]"
                )));
            }
            l.slot = Some(slot);
        }
        Ok(())
    }

    /// Folds the attached adapter into the weights: W ← W + scale · B·A.
    pub fn merge(&mut self, adapter: &Adapter) {
        for (_, l) in self.linears_mut() {
            if let Some(pair) = l.slot.take().map(|slot| &adapter.pairs[slot]) {
                l.w.change(|w| super::ops::add_matmul(w, &pair.b, &pair.a, adapter.scale));
            }
        }
    }

    /// An adapter from the tensors of a PEFT folder (`base_model.model.<path>.lora_A.weight`).
    pub fn adapter_from(&self, tensors: &[AdapterTensor], scale: f64) -> Result<Adapter> {
        let mut adapter = Adapter { scale: scale as f32, ..Adapter::default() };
        let find = |name: &str| tensors.iter().find(|t| t.name == name);
        for t in tensors {
            let Some(module) = t.name.strip_suffix(".lora_A.weight") else { continue };
            let b = find(&format!("{module}.lora_B.weight"))
                .ok_or_else(|| Error::input(format!("the adapter has {} but no lora_B of it", t.name)))?;
            let name = module.strip_prefix("base_model.model.").unwrap_or(module).to_string();
            adapter.pairs.push(Pair { name, a: self.parameter(t), b: self.parameter(b) });
        }
        if adapter.pairs.is_empty() {
            return Err(Error::input("the adapter holds no lora_A tensors"));
        }
        // The model's order, not the file's: sums over pairs and dropout masks depend on it.
        let order: HashMap<String, usize> =
            self.linears().into_iter().enumerate().map(|(i, (name, _))| (name, i)).collect();
        adapter.pairs.sort_by_key(|p| order.get(&p.name).copied().unwrap_or(usize::MAX));
        Ok(adapter)
    }

    fn parameter(&self, t: &AdapterTensor) -> Tensor<2> {
        Tensor::from_data(TensorData::new(t.values.clone(), t.shape), (&self.device, DType::F32))
    }

    /// Sequences one after another, with rope tables and picture features in place.
    pub fn pack(&self, sequences: &[Sequence]) -> Result<Pack> {
        let mut ids = Vec::new();
        let mut places: [Vec<i64>; 3] = Default::default();
        let mut deltas = Vec::new();
        let mut features = Vec::new();
        for s in sequences {
            let merge = self.config.vision.spatial_merge_size;
            let Positions { ids: p, delta } =
                rope::positions(s.ids, self.config.image_token_id, s.grids, merge)?;
            ids.extend_from_slice(s.ids);
            places.iter_mut().zip(p).for_each(|(all, p)| all.extend(p));
            deltas.push(delta);
            features.extend(s.features.iter().map(Arc::as_ref));
        }
        let rope = self.rope(&places);
        let rows = (0..ids.len()).filter(|&i| ids[i] == self.config.image_token_id).collect();
        let visual = visual(rows, &features);
        let segments = Segment::packed(sequences.iter().map(|s| s.ids.len()));
        Ok(Pack { ids, segments, rope, visual, deltas })
    }

    /// Rope tables of 3-D positions.
    pub fn rope(&self, places: &[Vec<i64>; 3]) -> Rope {
        let (cos, sin) = rope::mrope_cos_sin(places, &self.config.text, &self.device);
        Rope { cos, sin }
    }
}

/// The PEFT path of a module of layer `i`.
fn path(i: usize, leaf: &str) -> String {
    format!("model.language_model.layers.{i}.{leaf}")
}

/// One tokenised sequence and the features of its pictures.
pub struct Sequence<'a> {
    pub ids: &'a [u32],
    pub grids: &'a [[usize; 3]],
    pub features: &'a [Arc<VisionOutput>],
}

/// Sequences ready for the decoder.
pub struct Pack {
    pub ids: Vec<u32>,
    pub segments: Vec<Segment>,
    pub rope: Rope,
    pub visual: Visual,
    /// Per sequence: what to add to an index to get the position of generated text.
    pub deltas: Vec<i64>,
}

fn visual(rows: Vec<usize>, features: &[&VisionOutput]) -> Visual {
    if features.is_empty() {
        return Visual::default();
    }
    let join =
        |parts: Vec<Tensor<2>>| if parts.len() == 1 { parts[0].clone() } else { Tensor::cat(parts, 0) };
    let merged = join(features.iter().map(|f| f.merged.clone()).collect());
    let deepstack = (0..features[0].deepstack.len())
        .map(|i| join(features.iter().map(|f| f.deepstack[i].clone()).collect()))
        .collect();
    Visual { rows, merged: Some(merged), deepstack }
}

struct Loader<'a> {
    weights: &'a Weights,
    device: &'a Device,
    dtype: DType,
    quantize: Option<Target<'a>>,
}

impl Loader<'_> {
    fn get<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        self.weights.tensor(name, shape, self.device, self.dtype)
    }

    fn linear(&self, name: &str, out: usize, inp: usize) -> Result<Linear> {
        let name = format!("{name}.weight");
        Ok(Linear::new(match self.quantize {
            Some(to) => Weight::Quantized(self.weights.quantized(&name, [out, inp], to)?),
            None => Weight::Full(self.get(&name, [out, inp])?),
        }))
    }

    fn text(&self, config: &ModelConfig, done: &dyn Fn(usize)) -> Result<Text> {
        let c = &config.text;
        let embed = self.get("model.language_model.embed_tokens.weight", [c.vocab_size, c.hidden_size])?;
        let head = if config.tie_word_embeddings {
            embed.clone()
        } else {
            self.get("lm_head.weight", [c.vocab_size, c.hidden_size])?
        };
        let norm = self.get("model.language_model.norm.weight", [c.hidden_size])?;
        let blocks = (0..c.num_hidden_layers)
            .map(|i| {
                let block = self.block(c, i);
                done(i + 1);
                block
            })
            .collect::<Result<_>>()?;
        Ok(Text { embed, blocks, norm, head, eps: c.rms_norm_eps as f32 })
    }

    fn block(&self, c: &TextConfig, i: usize) -> Result<Block> {
        let at = format!("model.language_model.layers.{i}");
        let (h, d) = (c.hidden_size, c.head_dim);
        let (q, kv) = (c.num_attention_heads * d, c.num_key_value_heads * d);
        Ok(Block {
            input_layernorm: self.get(&format!("{at}.input_layernorm.weight"), [h])?,
            q_proj: self.linear(&format!("{at}.self_attn.q_proj"), q, h)?,
            k_proj: self.linear(&format!("{at}.self_attn.k_proj"), kv, h)?,
            v_proj: self.linear(&format!("{at}.self_attn.v_proj"), kv, h)?,
            o_proj: self.linear(&format!("{at}.self_attn.o_proj"), h, q)?,
            q_norm: self.get(&format!("{at}.self_attn.q_norm.weight"), [d])?,
            k_norm: self.get(&format!("{at}.self_attn.k_norm.weight"), [d])?,
            post_attention_layernorm: self.get(&format!("{at}.post_attention_layernorm.weight"), [h])?,
            mlp: self.mlp(c, i, &at)?,
            head_dim: d,
            eps: c.rms_norm_eps as f32,
        })
    }

    fn experts(&self, c: &TextConfig, i: usize) -> Result<(ExpertWeight, ExpertWeight)> {
        let Some(to) = self.quantize else {
            let (gate_up, down) = self.weights.experts(i, c, self.device, self.dtype)?;
            return Ok((ExpertWeight::Full(gate_up), ExpertWeight::Full(down)));
        };
        let [gate_up, down] = self.weights.quantized_experts(i, c, to)?;
        Ok((ExpertWeight::Quantized(gate_up), ExpertWeight::Quantized(down)))
    }

    fn mlp(&self, c: &TextConfig, i: usize, at: &str) -> Result<Mlp> {
        let (h, wide) = (c.hidden_size, c.intermediate_size);
        match c.moe.as_ref().filter(|_| c.is_sparse(i)) {
            Some(m) => {
                let (gate_up, down) = self.experts(c, i)?;
                let router = self.get(&format!("{at}.mlp.gate.weight"), [m.num_experts, h])?;
                Ok(Mlp::Moe(Moe { router, gate_up, down, top_k: m.num_experts_per_tok }))
            }
            None => Ok(Mlp::Dense {
                gate_proj: self.linear(&format!("{at}.mlp.gate_proj"), wide, h)?,
                up_proj: self.linear(&format!("{at}.mlp.up_proj"), wide, h)?,
                down_proj: self.linear(&format!("{at}.mlp.down_proj"), h, wide)?,
            }),
        }
    }
}

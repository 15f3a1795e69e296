//! The whole model: loading, attaching an adapter, pictures to features, sequences to packs.

use super::config::{ModelConfig, TextConfig};
use super::embedding::Embedding;
use super::lora::{Adapter, Linear, Pass};
use super::mlp::Mlp;
use super::moe::Moe;
use super::ops::{self, Segment};
use super::rope::{self, Positions};
use super::text::{Block, Rope, Text, Visual};
use super::vision::{self, Vision, VisionOutput};
use super::weight::{ExpertWeight, Weight};
use super::weights::{Target, Weights};
use crate::config::quantization::Quantization;
use crate::data::patches::Patches;
use crate::error::Result;
use burn::tensor::{DType, Device, Tensor, TensorData};
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
        let vision = Vision::load(&weights, &config.vision, device, dtype)?;
        progress(1, total);
        let quantize = quantization.map(|how| Target { how, device, dtype });
        let load = Loader { weights: &weights, device, dtype, quantize };
        let text = load.text(&config, &|done| progress(done + 1, total))?;
        progress(total, total);
        let parameters = weights.parameters();
        Ok(Self { config, vision, text, device: device.clone(), dtype, parameters })
    }

    /// Whether the fused kernels for the CPU compute this model.
    pub fn on_cpu(&self) -> bool {
        ops::is_cpu(&self.text.norm)
    }

    /// Merged and deepstack features of one picture, as the tower with `adapter` sees it.
    pub fn see(&self, patches: &Patches, adapter: Option<&Adapter>) -> VisionOutput {
        let (pixels, grids) = self.pixels(std::slice::from_ref(patches));
        self.vision.forward(pixels, &grids, &Pass::inference(adapter)).cast(self.dtype)
    }

    /// The picture features of a pack: those it came with, or where the tower has an adapter those of this pass.
    pub fn look(&self, pack: &Pack, pass: &Pass) -> Visual {
        if pack.pictures.is_empty() {
            return pack.visual.clone();
        }
        let (pixels, grids) = self.pixels(&pack.pictures);
        self.vision.forward(pixels, &grids, pass).cast(self.dtype).at(&pack.visual.rows)
    }

    /// [`Qwen3Vl::look`], and what the tower's backward pass needs where it has an adapter.
    pub fn look_saved(&self, pack: &Pack, pass: &Pass, inputs_only: bool) -> (Visual, Option<vision::Saved>) {
        if pack.pictures.is_empty() {
            return (pack.visual.clone(), None);
        }
        let (pixels, grids) = self.pixels(&pack.pictures);
        let (out, saved) = self.vision.forward_saved(pixels, &grids, pass, inputs_only);
        (out.cast(self.dtype).at(&pack.visual.rows), Some(saved))
    }

    /// Patches of pictures one after another, with one frame of still ones where the tower takes that, and their grids.
    fn pixels(&self, pictures: &[Patches]) -> (Tensor<2>, Vec<[usize; 3]>) {
        let grids: Vec<[usize; 3]> = pictures.iter().map(|p| p.grid).collect();
        let rows: usize = grids.iter().map(|g| g.iter().product::<usize>()).sum();
        let vision = &self.config.vision;
        let shape = [vision.temporal_patch_size, vision.patch_size.pow(2)];
        let still = self.vision.takes_one_frame().then(|| Patches::of_one_frame(pictures, shape)).flatten();
        let all = || pictures.iter().map(|p| p.pixels.as_slice()).collect::<Vec<_>>().concat();
        let values = still.unwrap_or_else(all);
        let width = values.len() / rows.max(1);
        (Tensor::from_data(TensorData::new(values, [rows, width]), (&self.device, DType::F32)), grids)
    }

    /// Where each token of a sequence stands.
    ///
    /// # Errors
    /// Picture tokens and grids do not fit.
    pub fn positions(&self, ids: &[u32], grids: &[[usize; 3]]) -> Result<Positions> {
        rope::positions(ids, self.config.image_token_id, grids, self.config.vision.spatial_merge_size)
    }

    /// Sequences one after another, with rope tables and picture features in place.
    pub fn pack(&self, sequences: &[Sequence]) -> Result<Pack> {
        let mut ids = Vec::new();
        let mut places: [Vec<i64>; 3] = Default::default();
        let mut deltas = Vec::new();
        let mut features = Vec::new();
        for s in sequences {
            let Positions { ids: p, delta } = self.positions(s.ids, s.grids)?;
            ids.extend_from_slice(s.ids);
            places.iter_mut().zip(p).for_each(|(all, p)| all.extend(p));
            deltas.push(delta);
            features.extend(s.features.iter().map(Arc::as_ref));
        }
        let rope = self.rope(&places);
        let rows = (0..ids.len()).filter(|&i| ids[i] == self.config.image_token_id).collect();
        let visual = visual(rows, &features);
        let segments = Segment::packed(sequences.iter().map(|s| s.ids.len()));
        Ok(Pack { ids, segments, rope, visual, deltas, pictures: Vec::new() })
    }

    /// Rope tables of 3-D positions.
    pub fn rope(&self, places: &[Vec<i64>; 3]) -> Rope {
        let (cos, sin) = rope::mrope_cos_sin(places, &self.config.text, &self.device);
        Rope { cos, sin }
    }
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
    /// Pictures to be looked at in every pass, because the vision tower has an adapter; `visual` then holds the
    /// rows only.
    pub pictures: Vec<Patches>,
    /// Per sequence: what to add to an index to get the position of generated text.
    pub deltas: Vec<i64>,
}

/// The features of pictures one after another, at the rows that hold their tokens.
pub fn visual(rows: Vec<usize>, features: &[&VisionOutput]) -> Visual {
    if features.is_empty() {
        return Visual { rows, ..Visual::default() };
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
        let norm = self.get("model.language_model.norm.weight", [c.hidden_size])?;
        let (name, shape) = ("model.language_model.embed_tokens.weight", [c.vocab_size, c.hidden_size]);
        let (embed, head) = if config.tie_word_embeddings {
            let embed: Tensor<2> = self.get(name, shape)?;
            (Embedding::Tensor(embed.clone()), embed)
        } else {
            let embed = match ops::is_cpu(&norm) {
                true => Embedding::Stored(self.weights.stored_rows(name, shape)?, self.device.clone()),
                false => Embedding::Tensor(self.get(name, shape)?),
            };
            (embed, self.get("lm_head.weight", shape)?)
        };
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
                Ok(Mlp::Moe(Moe { router, gate_up, down, top_k: m.num_experts_per_tok, slots: [None; 2] }))
            }
            None => Ok(Mlp::Dense {
                gate_proj: self.linear(&format!("{at}.mlp.gate_proj"), wide, h)?,
                up_proj: self.linear(&format!("{at}.mlp.up_proj"), wide, h)?,
                down_proj: self.linear(&format!("{at}.mlp.down_proj"), h, wide)?,
            }),
        }
    }
}

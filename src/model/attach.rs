//! An adapter and a model: whose pair is whose, reading the pairs of a PEFT folder, folding them into the weights.

use super::config::ModelConfig;
use super::dora::{self, Magnitude};
use super::expert_lora;
use super::lora::{Adapter, Linear, Pair};
use super::mlp::Mlp;
use super::modules::{self, Module, Part};
use super::moe::Moe;
use super::ops;
use super::peft::{AdapterConfig, AdapterTensor};
use super::qwen3_vl::Qwen3Vl;
use crate::error::{Error, Result};
use burn::tensor::{DType, Tensor, TensorData};
use std::collections::HashMap;

impl Qwen3Vl {
    /// Every linear layer that can have an adapter, with its PEFT path.
    fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let blocks = self.text.blocks.iter_mut().enumerate();
        let text = blocks
            .flat_map(|(i, b)| b.linears_mut().into_iter().map(move |(leaf, l)| (text_path(i, leaf), l)));
        let vision =
            self.vision.linears_mut().into_iter().map(|(leaf, l)| (format!("model.visual.{leaf}"), l));
        text.chain(vision).collect()
    }

    /// [`Qwen3Vl::linears_mut`] to look at.
    pub fn linears(&self) -> Vec<(String, &Linear)> {
        let blocks = self.text.blocks.iter().enumerate();
        let text =
            blocks.flat_map(|(i, b)| b.linears().into_iter().map(move |(leaf, l)| (text_path(i, leaf), l)));
        let vision = self.vision.linears().into_iter().map(|(leaf, l)| (format!("model.visual.{leaf}"), l));
        text.chain(vision).collect()
    }

    /// The mixtures of experts with the path of their experts.
    fn moes_mut(&mut self) -> impl Iterator<Item = (String, &mut Moe)> {
        self.text.blocks.iter_mut().enumerate().filter_map(|(i, b)| match &mut b.mlp {
            Mlp::Moe(m) => Some((text_path(i, "mlp.experts"), m)),
            Mlp::Dense { .. } => None,
        })
    }

    /// Whether the attached adapter has pairs in the vision tower or its mergers: features then change with every
    /// update and cannot be kept.
    pub fn vision_adapted(&self) -> bool {
        self.vision.linears().iter().any(|(_, l)| l.slot.is_some())
    }

    /// Points every module at its pair in `adapter`, or at none.
    ///
    /// Errors: a pair that no module of this model fits, by name or by shape (an adapter of another model).
    pub fn attach(&mut self, adapter: &Adapter) -> Result<()> {
        let known: HashMap<String, Module> =
            modules::all(&self.config).into_iter().map(|m| (m.path.clone(), m)).collect();
        let mut slots: HashMap<&str, usize> = HashMap::new();
        for (slot, pair) in adapter.pairs.iter().enumerate() {
            let magnitudes = pair.magnitude.as_ref().map(|m| m.m.dims()[1]);
            fits(&pair.name, known.get(&pair.name), [pair.a.dims(), pair.b.dims()], magnitudes)?;
            slots.insert(&pair.name, slot);
        }
        for (name, l) in self.linears_mut() {
            l.slot = slots.get(name.as_str()).copied();
        }
        for (name, m) in self.moes_mut() {
            let slot = |part: &str| slots.get(format!("{name}.{part}").as_str()).copied();
            m.slots = ["gate_up_proj", "down_proj"].map(slot);
        }
        Ok(())
    }

    /// Folds the attached adapter into the weights: W ← W + scale · B·A, and what DoRA and experts make of it.
    pub fn merge(&mut self, adapter: &Adapter) {
        let scale = adapter.scale;
        for (_, l) in self.linears_mut() {
            let Some(pair) = l.slot.take().map(|slot| &adapter.pairs[slot]) else { continue };
            l.w.change(|w| match &pair.magnitude {
                Some(m) => dora::merged(w, pair, &m.m, scale),
                None => ops::add_matmul(w, &pair.b, &pair.a, scale),
            });
        }
        for (_, m) in self.moes_mut() {
            let [gate_up, down] = std::mem::take(&mut m.slots);
            for (weight, slot) in [(&mut m.gate_up, gate_up), (&mut m.down, down)] {
                let Some(pair) = slot.map(|slot| &adapter.pairs[slot]) else { continue };
                let experts = weight.dims()[0];
                weight.change(|w| w + expert_lora::delta(pair, experts, scale));
            }
        }
    }

    /// An adapter from the tensors of a PEFT folder.
    ///
    /// Errors: those of [`parts`].
    pub fn adapter_from(&self, tensors: &[AdapterTensor], config: &AdapterConfig) -> Result<Adapter> {
        let linears: HashMap<String, &Linear> = self.linears().into_iter().collect();
        let pair = |p: Parts| {
            let magnitude = p.magnitude.zip(linears.get(&p.path));
            let magnitude = magnitude.map(|(m, l)| Magnitude::new(&l.w, Some(self.parameter(m))));
            Pair { a: self.parameter(p.a), b: self.parameter(p.b), magnitude, name: p.path }
        };
        Ok(Adapter {
            pairs: parts(tensors, &self.config)?.into_iter().map(pair).collect(),
            scale: config.scale() as f32,
            dropout: config.lora_dropout as f32,
            rank: config.r,
            alpha: config.lora_alpha,
            rslora: config.use_rslora,
        })
    }

    /// A vector becomes one row.
    fn parameter(&self, t: &AdapterTensor) -> Tensor<2> {
        Tensor::from_data(TensorData::new(t.values.clone(), t.matrix()), (&self.device, DType::F32))
    }
}

/// What an adapter file has of one module.
pub struct Parts<'a> {
    pub path: String,
    pub a: &'a AdapterTensor,
    pub b: &'a AdapterTensor,
    pub magnitude: Option<&'a AdapterTensor>,
}

/// Sorts the tensors of an adapter file by module, in the model's order (not the file's: sums over pairs and dropout
/// masks depend on it).
///
/// Errors: a lora_A without its lora_B, no lora_A at all, or tensors that are no part of a LoRA or DoRA adapter.
pub fn parts<'a>(tensors: &'a [AdapterTensor], model: &ModelConfig) -> Result<Vec<Parts<'a>>> {
    let modules = modules::all(model);
    let find = |name: String| tensors.iter().find(|t| t.name == name);
    let mut all = Vec::new();
    for t in tensors {
        let Some(module) = t.name.strip_suffix(".lora_A.weight") else {
            if [".lora_B.weight", dora::NAME].iter().any(|end| t.name.ends_with(end)) {
                continue;
            }
            return Err(Error::input(format!("the adapter holds {}, which is not supported", t.name)));
        };
        let b = find(format!("{module}.lora_B.weight"))
            .ok_or_else(|| Error::input(format!("the adapter has {} but no lora_B of it", t.name)))?;
        let path = module.strip_prefix("base_model.model.").unwrap_or(module);
        let wraps = tensors.iter().any(|t| t.name.starts_with(&format!("{module}.base_layer.")));
        let path = model_path(path, wraps, b, &modules);
        all.push(Parts { path, a: t, b, magnitude: find(format!("{module}.{}", dora::NAME)) });
    }
    if all.is_empty() {
        return Err(Error::input("the adapter holds no lora_A tensors"));
    }
    let order: HashMap<&str, usize> = modules.iter().enumerate().map(|(i, m)| (m.path.as_str(), i)).collect();
    all.sort_by_key(|p| order.get(p.path.as_str()).copied().unwrap_or(usize::MAX));
    Ok(all)
}

/// The path of a module of text layer `i`.
fn text_path(i: usize, leaf: &str) -> String {
    format!("model.language_model.layers.{i}.{leaf}")
}

/// The module's path for the path in an adapter file. peft wraps stacked experts once for each adapted parameter:
/// of two, `experts.base_layer` is `gate_up_proj` and `experts` is `down_proj`; of one, the shape tells.
fn model_path(path: &str, wraps: bool, b: &AdapterTensor, modules: &[Module]) -> String {
    if let Some(experts) = path.strip_suffix(".base_layer") {
        return format!("{experts}.gate_up_proj");
    }
    if !path.ends_with(".experts") {
        return path.into();
    }
    let gate_up = format!("{path}.gate_up_proj");
    let width = modules.iter().find(|m| m.path == gate_up).map(|m| m.shape[1]);
    if !wraps && width == b.shape.first().copied() { gate_up } else { format!("{path}.down_proj") }
}

/// Whether A, B and the number of magnitudes of `path` fit `module` of a model.
pub(super) fn fits(
    path: &str,
    module: Option<&Module>,
    [[ra, ia], [ob, rb]]: [[usize; 2]; 2],
    magnitudes: Option<usize>,
) -> Result<()> {
    let wrong = |why: String| {
        Err(Error::input(format!("the adapter does not fit this model: {path}: {why}"))
            .hint("use the adapter with the base model that it was trained on"))
    };
    let Some(m) = module else { return wrong("the model has no such module".into()) };
    let ([out, inp], [wa, wb]) = (m.shape, m.widths());
    if ia != wa || ob != wb || ra != rb || !ra.is_multiple_of(m.experts) {
        let kind = if m.part == Part::Experts { "each expert's weight" } else { "the module's weight" };
        return wrong(format!("lora_A is [{ra}, {ia}] and lora_B [{ob}, {rb}], {kind} [{out}, {inp}]"));
    }
    match magnitudes {
        Some(n) if n != out => wrong(format!("it has {n} magnitudes for {out} rows")),
        _ => Ok(()),
    }
}

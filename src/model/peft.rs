//! PEFT adapter folders (0.18): `adapter_config.json` and `adapter_model.safetensors`, as plain data.

use crate::config::TrainConfig;
use crate::error::{At, Error, Result};
use crate::files;
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// One matrix or vector: PEFT's name of it, its shape, row-major values.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl AdapterTensor {
    /// The shape as a matrix; a vector is one row.
    pub fn matrix(&self) -> [usize; 2] {
        let columns = self.shape.last().copied().unwrap_or(1);
        [self.values.len() / columns.max(1), columns]
    }
}

/// The file's name for each module: stacked experts are wrapped once for each adapted parameter, `gate_up_proj`
/// first, so that with both `experts.base_layer` is `gate_up_proj` and `experts` is `down_proj`.
pub fn file_names(paths: &[&str]) -> Vec<String> {
    let both = |experts: &str| paths.contains(&format!("{experts}.down_proj").as_str());
    let of = |path: &str| match path.rsplit_once(".experts.") {
        Some((layer, "gate_up_proj")) if both(&format!("{layer}.experts")) => {
            format!("{layer}.experts.base_layer")
        }
        Some((layer, _)) => format!("{layer}.experts"),
        None => path.to_string(),
    };
    paths.iter().map(|p| format!("base_model.model.{}", of(p))).collect()
}

/// `adapter_config.json`. Keys that we do not use are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    pub peft_type: String,
    pub r: usize,
    pub lora_alpha: f64,
    #[serde(default)]
    pub lora_dropout: f64,
    #[serde(default)]
    pub use_rslora: bool,
    #[serde(default)]
    pub target_modules: Value,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl AdapterConfig {
    /// What peft 0.18.1 writes for a run with these settings. `ends` are the ends of the modules' names, `parameters`
    /// those of adapted stacks of experts.
    pub fn new(config: &TrainConfig, ends: Vec<String>, parameters: Vec<String>) -> Self {
        let parameters = if parameters.is_empty() { Value::Null } else { json!(parameters) };
        let rest = json!({
            "alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "auto_mapping": null,
            "base_model_name_or_path": config.model_name_or_path, "bias": "none", "corda_config": null,
            "ensure_weight_tying": false, "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false,
            "inference_mode": true, "init_lora_weights": true, "layer_replication": null,
            "layers_pattern": null, "layers_to_transform": null, "loftq_config": {}, "lora_bias": false,
            "megatron_config": null, "megatron_core": "megatron.core", "modules_to_save": null,
            "peft_version": "0.18.1", "qalora_group_size": 16, "rank_pattern": {}, "revision": null,
            "target_parameters": parameters, "task_type": "CAUSAL_LM", "trainable_token_indices": null,
            "use_dora": config.use_dora, "use_qalora": false,
        });
        let Value::Object(rest) = rest else { unreachable!("an object literal") };
        Self {
            peft_type: "LORA".into(),
            r: config.lora_rank,
            lora_alpha: config.alpha(),
            lora_dropout: config.lora_dropout,
            use_rslora: config.use_rslora,
            target_modules: json!(ends),
            rest,
        }
    }

    /// alpha / r, or alpha / √r with rsLoRA.
    pub fn scale(&self) -> f64 {
        let r = self.r as f64;
        self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }
    }
}

/// Writes both files. Whole numbers are written whole, as Python would.
pub fn save(dir: &Path, config: &AdapterConfig, tensors: &[AdapterTensor]) -> Result<()> {
    let mut value = serde_json::to_value(config).expect("plain data serialises");
    if config.lora_alpha.fract() == 0.0 {
        value["lora_alpha"] = json!(config.lora_alpha as u64);
    }
    if let Value::Object(map) = &mut value {
        map.sort_keys();
    }
    write_tensors(&dir.join(WEIGHTS), tensors)?;
    files::write_json(&dir.join(CONFIG), &value)
}

/// Reads an adapter folder.
///
/// Errors: not an adapter folder, another method than LoRA and DoRA, per-module ranks, damaged weights.
pub fn load(dir: &Path) -> Result<(AdapterConfig, Vec<AdapterTensor>)> {
    let path = dir.join(CONFIG);
    if !path.exists() {
        return Err(Error::input(format!("{} is not an adapter folder: no {CONFIG}", dir.display()))
            .hint("give the output folder of a run, or one of its checkpoints"));
    }
    let bytes = std::fs::read(&path).at("read", &path)?;
    let config: AdapterConfig = serde_json::from_slice(&bytes)
        .map_err(|e| Error::input(format!("{} is not an adapter configuration: {e}", path.display())))?;
    let refuse = |what: &str| Err(Error::input(format!("{}: {what} is not supported", path.display())));
    if config.peft_type != "LORA" {
        return refuse(&format!("peft_type {}", config.peft_type));
    }
    for pattern in ["rank_pattern", "alpha_pattern"] {
        if config.rest.get(pattern).and_then(Value::as_object).is_some_and(|p| !p.is_empty()) {
            return refuse(pattern);
        }
    }
    Ok((config, read_tensors(&dir.join(WEIGHTS))?))
}

/// Writes matrices as f32 safetensors, atomically.
pub fn write_tensors(path: &Path, tensors: &[AdapterTensor]) -> Result<()> {
    let views: Vec<(String, TensorView)> = tensors
        .iter()
        .map(|t| {
            let bytes = bytemuck::cast_slice(&t.values);
            let view = TensorView::new(Dtype::F32, t.shape.clone(), bytes)
                .expect("as many values as the shape says");
            (t.name.clone(), view)
        })
        .collect();
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| Error::internal(e.to_string()))?;
    files::write(path, &bytes)
}

/// Reads matrices of a safetensors file as f32, sorted by name.
pub fn read_tensors(path: &Path) -> Result<Vec<AdapterTensor>> {
    let damaged = |why: String| Error::input(format!("{} is damaged: {why}", path.display()));
    let bytes = std::fs::read(path).at("read", path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let mut tensors: Vec<AdapterTensor> = file
        .iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            if !(1..=2).contains(&shape.len()) {
                return Err(damaged(format!("{name} is not a matrix")));
            }
            let values = floats(view.dtype(), view.data())
                .ok_or_else(|| damaged(format!("{name} holds {:?}, not floats", view.dtype())))?;
            Ok(AdapterTensor { name: name.into(), shape, values })
        })
        .collect::<Result<_>>()?;
    // The file's own order is that of a hash table.
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// Little-endian floats of 16 or 32 bits as f32.
pub(super) fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = || bytes.as_chunks::<2>().0.iter();
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::BF16 => halves().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F16 => halves().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        _ => return None,
    })
}

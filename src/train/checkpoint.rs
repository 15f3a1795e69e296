//! Checkpoints: a folder that appears whole or not at all, with all that a run needs to go on bit for bit.

use super::optimizer::{AdamW, Moments};
use super::position::Position;
use crate::config::TrainConfig;
use crate::error::{At, Error, Result};
use crate::files;
use crate::model::lora::{Adapter, Pair};
use crate::model::peft::{self, AdapterConfig, AdapterTensor};
use crate::model::qwen3_vl::Qwen3Vl;
use burn::tensor::{DType, Tensor, TensorData};
use std::fs;
use std::path::{Path, PathBuf};

const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "lorascope_state.json";

/// Writes the adapter as PEFT reads it (`adapter_config.json`, `adapter_model.safetensors`).
pub fn save_adapter(dir: &Path, adapter: &Adapter, config: &TrainConfig) -> Result<()> {
    let mut tensors = Vec::new();
    for pair in &adapter.pairs {
        let of = |t: &Tensor<2>, which: &str| AdapterTensor {
            name: format!("base_model.model.{}.lora_{which}.weight", pair.name),
            shape: t.dims(),
            values: host(t),
        };
        tensors.push(of(&pair.a, "A"));
        tensors.push(of(&pair.b, "B"));
    }
    peft::save(dir, &adapter_config(adapter, config), &tensors)
}

fn adapter_config(adapter: &Adapter, config: &TrainConfig) -> AdapterConfig {
    let mut leaves: Vec<String> =
        adapter.pairs.iter().filter_map(|p| p.name.rsplit('.').next()).map(String::from).collect();
    leaves.sort_unstable();
    leaves.dedup();
    AdapterConfig::new(config, leaves)
}

fn host(t: &Tensor<2>) -> Vec<f32> {
    t.clone().cast(DType::F32).into_data().try_to_vec::<f32>().expect("cast to f32")
}

/// Writes `output_dir/checkpoint-N` (by way of a hidden folder and a rename) and returns its path.
/// `extra` puts more files into it before it appears.
pub fn save(
    output_dir: &Path,
    (adapter, config): (&Adapter, &TrainConfig),
    optimizer: &AdamW,
    position: &Position,
    extra: &dyn Fn(&Path) -> Result<()>,
) -> Result<PathBuf> {
    fs::create_dir_all(output_dir).at("create", output_dir)?;
    let done = folder(output_dir, position.step);
    let making = output_dir.join(format!(".checkpoint-{}.tmp", position.step));
    remove(&making)?;
    fs::create_dir(&making).at("create", &making)?;
    let fill = || {
        save_adapter(&making, adapter, config)?;
        if !config.save_only_model {
            save_optimizer(&making.join(OPTIMIZER), adapter, optimizer)?;
        }
        files::write_json(&making.join(STATE), position)?;
        extra(&making)
    };
    if let Err(e) = fill() {
        let _ = remove(&making);
        return Err(e);
    }
    // A checkpoint of the same step (save now, then stop) is put aside until the new one stands.
    let old = output_dir.join(format!(".checkpoint-{}.old", position.step));
    remove(&old)?;
    if done.exists() {
        fs::rename(&done, &old).at("rename", &done)?;
    }
    fs::rename(&making, &done).at("rename", &making)?;
    files::sync_dir(output_dir);
    remove(&old)?;
    Ok(done)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", dir),
        _ => Ok(()),
    }
}

/// Removes the oldest checkpoints until `limit` are left, but never the newest and never that of the step `best`
/// (transformers' `rotate_checkpoints`).
pub fn rotate(output_dir: &Path, limit: Option<usize>, best: Option<usize>) -> Result<()> {
    let Some(limit) = limit.filter(|l| *l > 0) else { return Ok(()) };
    let all = list(output_dir);
    let newest = all.last().map(|(step, _)| *step);
    let kept = |step: usize| Some(step) == newest || Some(step) == best;
    let keep = limit.max(all.iter().filter(|(step, _)| kept(*step)).count());
    let surplus = all.len().saturating_sub(keep);
    for (_, dir) in all.iter().filter(|(step, _)| !kept(*step)).take(surplus) {
        remove(dir)?;
    }
    Ok(())
}

/// The folder of a checkpoint.
pub fn folder(output_dir: &Path, step: usize) -> PathBuf {
    output_dir.join(format!("checkpoint-{step}"))
}

/// Checkpoints of a run by step, oldest first. Unfinished ones have another name and are not seen.
pub fn list(output_dir: &Path) -> Vec<(usize, PathBuf)> {
    let Ok(entries) = fs::read_dir(output_dir) else { return Vec::new() };
    let mut all: Vec<(usize, PathBuf)> = entries
        .flatten()
        .filter_map(|e| {
            let step = e.file_name().to_str()?.strip_prefix("checkpoint-")?.parse().ok()?;
            Some((step, e.path()))
        })
        .collect();
    all.sort();
    all
}

fn save_optimizer(path: &Path, adapter: &Adapter, optimizer: &AdamW) -> Result<()> {
    let mut tensors = Vec::new();
    for ((pair, a), b) in adapter.pairs.iter().zip(&optimizer.a).zip(&optimizer.b) {
        for (matrix, moments) in [("A", a), ("B", b)] {
            for (which, t) in [("exp_avg", &moments.m), ("exp_avg_sq", &moments.v)] {
                let name = format!("{}.lora_{matrix}.{which}", pair.name);
                tensors.push(AdapterTensor { name, shape: t.dims(), values: host(t) });
            }
        }
    }
    peft::write_tensors(path, &tensors)
}

/// What a checkpoint holds.
pub struct Loaded {
    pub adapter: Adapter,
    pub optimizer: AdamW,
    pub position: Position,
}

/// Reads a checkpoint that [`save`] wrote.
///
/// Errors: no checkpoint of ours (one of LLaMA-Factory holds torch pickles), or one without optimizer state.
pub fn load(dir: &Path, model: &Qwen3Vl, config: &TrainConfig) -> Result<Loaded> {
    let state = dir.join(STATE);
    if !state.exists() {
        return Err(Error::input(format!("{} is not a checkpoint that can be resumed: no {STATE}", dir.display()))
            .hint("to go on from an adapter of another program, set adapter_name_or_path and create_new_adapter: false"));
    }
    let bytes = fs::read(&state).at("read", &state)?;
    let position: Position = serde_json::from_slice(&bytes)
        .map_err(|e| Error::input(format!("{} is damaged: {e}", state.display())))?;
    let (_, tensors) = peft::load(dir)?;
    let mut adapter = model.adapter_from(&tensors, config.lora_scale())?;
    adapter.dropout = config.lora_dropout as f32;
    let path = dir.join(OPTIMIZER);
    if !path.exists() {
        return Err(Error::input(format!("{} has no optimizer state", dir.display()))
            .hint("it was saved with save_only_model; use it with adapter_name_or_path instead"));
    }
    let moments = peft::read_tensors(&path)?;
    let mut optimizer = AdamW::new(config, &adapter);
    optimizer.updates = position.step - position.skipped.updates;
    for (i, pair) in adapter.pairs.iter().enumerate() {
        optimizer.a[i] = moments_of(model, &moments, (pair, "A"), &path)?;
        optimizer.b[i] = moments_of(model, &moments, (pair, "B"), &path)?;
    }
    Ok(Loaded { adapter, optimizer, position })
}

fn moments_of(
    model: &Qwen3Vl,
    all: &[AdapterTensor],
    (pair, matrix): (&Pair, &str),
    path: &Path,
) -> Result<Moments> {
    let get = |which: &str| {
        let name = format!("{}.lora_{matrix}.{which}", pair.name);
        let t = all
            .iter()
            .find(|t| t.name == name)
            .ok_or_else(|| Error::input(format!("{} is damaged: {name} is missing", path.display())))?;
        let data = TensorData::new(t.values.clone(), t.shape);
        Ok::<_, Error>(Tensor::from_data(data, (&model.device, DType::F32)))
    };
    Ok(Moments { m: get("exp_avg")?, v: get("exp_avg_sq")? })
}

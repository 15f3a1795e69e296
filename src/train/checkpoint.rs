//! Checkpoints: a folder that appears whole or not at all, with all that a run needs to go on bit for bit.

use super::optimizer::{AdamW, Moments};
use super::position::Position;
use crate::config::TrainConfig;
use crate::error::{At, Error, Result};
use crate::files;
use crate::model::lora::{Adapter, Pair};
use crate::model::modules::{self, Part};
use crate::model::peft::{self, AdapterConfig, AdapterTensor};
use crate::model::qwen3_vl::Qwen3Vl;
use crate::model::{dora, targets};
use burn::tensor::{DType, Tensor, TensorData};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "lorascope_state.json";

/// Writes the adapter as PEFT reads it (`adapter_config.json`, `adapter_model.safetensors`).
pub fn save_adapter(dir: &Path, adapter: &Adapter, model: &Qwen3Vl, config: &TrainConfig) -> Result<()> {
    let paths: Vec<&str> = adapter.pairs.iter().map(|p| p.name.as_str()).collect();
    let mut tensors = Vec::new();
    for (pair, file) in adapter.pairs.iter().zip(peft::file_names(&paths)) {
        for (which, t) in pair.tensors() {
            let vector = which == dora::NAME;
            let name = if vector { format!("{file}.{which}") } else { format!("{file}.{which}.weight") };
            let shape = if vector { vec![t.dims()[1]] } else { t.dims().to_vec() };
            tensors.push(AdapterTensor { name, shape, values: host(t) });
        }
    }
    peft::save(dir, &adapter_config(adapter, model, config), &tensors)
}

/// The folder says what the adapter is; an adapter that was given to the run keeps its own rank and alpha.
fn adapter_config(adapter: &Adapter, model: &Qwen3Vl, config: &TrainConfig) -> AdapterConfig {
    let all = modules::all(&model.config);
    let names: HashSet<&str> = adapter.pairs.iter().map(|p| p.name.as_str()).collect();
    let ends = |experts: bool| {
        let of_kind = all.iter().filter(|m| (m.part == Part::Experts) == experts).map(|m| m.path.as_str());
        let (chosen, mut others): (Vec<&str>, Vec<&str>) = of_kind.partition(|p| names.contains(p));
        others.extend(modules::OTHERS);
        targets::shortest_ends(&chosen, &others)
    };
    // Readers tell experts by their path.
    let whole = |end: String| if end.contains('.') { end } else { format!("mlp.experts.{end}") };
    let parameters = ends(true).into_iter().map(whole).collect();
    let own = TrainConfig {
        lora_rank: adapter.rank,
        lora_alpha: Some(adapter.alpha),
        use_rslora: adapter.rslora,
        use_dora: adapter.pairs.iter().any(|p| p.magnitude.is_some()),
        ..config.clone()
    };
    AdapterConfig::new(&own, ends(false), parameters)
}

fn host(t: &Tensor<2>) -> Vec<f32> {
    t.clone().cast(DType::F32).into_data().try_to_vec::<f32>().expect("cast to f32")
}

/// Writes `output_dir/checkpoint-N` (by way of a hidden folder and a rename) and returns its path.
/// `extra` puts more files into it before it appears.
pub fn save(
    output_dir: &Path,
    (adapter, model, config): (&Adapter, &Qwen3Vl, &TrainConfig),
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
        save_adapter(&making, adapter, model, config)?;
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
    for (i, pair) in adapter.pairs.iter().enumerate() {
        let moments = [Some(&optimizer.a[i]), Some(&optimizer.b[i]), optimizer.m[i].as_ref()];
        for ((tensor, _), moments) in pair.tensors().zip(moments.into_iter().flatten()) {
            for (which, t) in [("exp_avg", &moments.m), ("exp_avg_sq", &moments.v)] {
                let name = format!("{}.{tensor}.{which}", pair.name);
                tensors.push(AdapterTensor { name, shape: t.dims().to_vec(), values: host(t) });
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
    let (own, tensors) = peft::load(dir)?;
    let mut adapter = model.adapter_from(&tensors, &own)?;
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
        optimizer.a[i] = moments_of(model, &moments, (pair, "lora_A"), &path)?;
        optimizer.b[i] = moments_of(model, &moments, (pair, "lora_B"), &path)?;
        if pair.magnitude.is_some() {
            optimizer.m[i] = Some(moments_of(model, &moments, (pair, dora::NAME), &path)?);
        }
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
        let name = format!("{}.{matrix}.{which}", pair.name);
        let t = all
            .iter()
            .find(|t| t.name == name)
            .ok_or_else(|| Error::input(format!("{} is damaged: {name} is missing", path.display())))?;
        let data = TensorData::new(t.values.clone(), t.matrix());
        Ok::<_, Error>(Tensor::from_data(data, (&model.device, DType::F32)))
    };
    Ok(Moments { m: get("exp_avg")?, v: get("exp_avg_sq")? })
}

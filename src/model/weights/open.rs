//! Finding the weight files of a folder, and reading their headers.

use super::{Entry, ExpertLayout, Shard, Weights};
use crate::error::{At, Error, Result, must_exist};
use crate::model::mmap;
use safetensors::SafeTensors;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// How a file of git-lfs begins that stands where the real one should be.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec";

const AGAIN: &str = "download the file again, and compare its size with the one on the model's page";

#[derive(serde::Deserialize)]
struct Index {
    /// Tensor name to file name.
    weight_map: BTreeMap<String, String>,
}

/// See [`Weights::open`]. The single file wins over an index, as in transformers.
pub(super) fn open(dir: &Path) -> Result<Weights> {
    must_exist(dir, "model folder")?;
    if dir.join(SINGLE).exists() {
        let (shard, entries) = read_shard(&dir.join(SINGLE), 0)?;
        return Ok(Weights { dir: dir.into(), shards: vec![shard], entries, expert_layout: layout_of(dir) });
    }
    if !dir.join(INDEX).exists() {
        return Err(no_weights(dir));
    }
    let Index { weight_map } = read_index(&dir.join(INDEX))?;
    let files: BTreeSet<&String> = weight_map.values().collect();
    let missing: Vec<&str> = files.iter().filter(|f| !dir.join(f).exists()).map(|f| f.as_str()).collect();
    if !missing.is_empty() {
        return Err(missing_shards(dir, &missing, files.len()));
    }
    let (mut shards, mut entries) = (Vec::new(), BTreeMap::new());
    for (i, file) in files.into_iter().enumerate() {
        let (shard, mut found) = read_shard(&dir.join(file), i)?;
        // The index decides: a name in two files counts where the index says it is.
        for (name, _) in weight_map.iter().filter(|(_, f)| *f == file) {
            let (name, entry) = found.remove_entry(name).ok_or_else(|| not_in_shard(name, &shard.path))?;
            entries.insert(name, entry);
        }
        shards.push(shard);
    }
    Ok(Weights { dir: dir.into(), shards, entries, expert_layout: layout_of(dir) })
}

/// The layout of experts that the library of `transformers_version` in `config.json` saves.
fn layout_of(dir: &Path) -> Option<ExpertLayout> {
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("config.json")).ok()?).ok()?;
    let major: u32 = config["transformers_version"].as_str()?.split('.').next()?.parse().ok()?;
    Some(if major < 5 { ExpertLayout::Hub } else { ExpertLayout::Transformers5 })
}

fn read_index(path: &Path) -> Result<Index> {
    let bytes = std::fs::read(path).at("read", path)?;
    let index: Index = serde_json::from_slice(&bytes).map_err(|e| {
        Error::input(format!("{} is not an index of weight files: {e}", path.display()))
            .hint("download the file again")
    })?;
    let outside = index.weight_map.values().find(|f| Path::new(f).file_name() != Some(f.as_ref()));
    match outside {
        Some(f) => Err(Error::input(format!("{} names a file outside its folder: {f:?}", path.display()))
            .hint("weight files lie beside their index; do not use an index that says otherwise")),
        None => Ok(index),
    }
}

/// Maps one file and reads its header.
fn read_shard(path: &Path, shard: usize) -> Result<(Shard, BTreeMap<String, Entry>)> {
    let len = std::fs::metadata(path).at("read", path)?.len();
    if len == 0 {
        return Err(broken(path, "it is empty").hint(AGAIN));
    }
    let file = File::open(path).at("read", path)?;
    let map = mmap::map(&file, path)?;
    let read = SafeTensors::read_metadata(&map);
    let (header, metadata) = read.map_err(|e| not_weights(path, &map, &e))?;
    let start = 8 + header;
    let entries = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let bytes = start + info.data_offsets.0..start + info.data_offsets.1;
            (name, Entry { shard, dtype: info.dtype, shape: info.shape.clone(), bytes })
        })
        .collect();
    Ok((Shard { path: path.into(), file, map }, entries))
}

/// What stands at `path` instead of weights.
fn not_weights(path: &Path, bytes: &[u8], error: &safetensors::SafeTensorError) -> Error {
    use safetensors::SafeTensorError as E;
    if bytes.starts_with(LFS_POINTER) {
        return broken(path, "it is a git-lfs pointer, not the weights themselves")
            .hint("run `git lfs pull` in the folder, or download the file from the model's page");
    }
    if bytes.trim_ascii_start().starts_with(b"<") {
        return broken(path, "it is a web page, not weights").hint(AGAIN);
    }
    let why = match error {
        E::MetadataIncompleteBuffer | E::HeaderTooSmall | E::InvalidHeaderLength => {
            format!("it is incomplete or damaged: its header does not fit its {} bytes", bytes.len())
        }
        e => format!("it is not a safetensors file ({e})"),
    };
    broken(path, &why).hint(AGAIN)
}

fn broken(path: &Path, why: &str) -> Error {
    Error::input(format!("cannot read weights from {}: {why}", path.display()))
}

fn missing_shards(dir: &Path, missing: &[&str], all: usize) -> Error {
    let shown = missing[..missing.len().min(3)].join(", ");
    let more = if missing.len() > 3 { ", ..." } else { "" };
    let n = missing.len();
    Error::input(format!("{n} of {all} weight files are missing from {}: {shown}{more}", dir.display()))
        .hint("download them, or wait until the download is done")
}

fn not_in_shard(name: &str, path: &Path) -> Error {
    Error::input(format!("{INDEX} puts tensor {name} in {}, but it is not there", path.display()))
        .hint("the index and the weight files are of different models or versions; download both again")
}

/// Why a folder has no weights, as far as its other files tell.
fn no_weights(dir: &Path) -> Error {
    let names: Vec<String> = std::fs::read_dir(dir)
        .map(|files| files.flatten().map(|f| f.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let some = |test: fn(&str) -> bool| names.iter().any(|n| test(n));
    let hint = if names.iter().any(|n| n == "adapter_model.safetensors") {
        "this is an adapter: give its base model as the model, and this as the adapter"
    } else if some(|n| n.ends_with(".safetensors")) {
        "there are weight files but no model.safetensors.index.json: download that too"
    } else if some(|n| n.ends_with(".bin") || n.ends_with(".pt") || n.ends_with(".gguf")) {
        "only safetensors work, not .bin, .pt or .gguf: take the model's safetensors release"
    } else {
        "download the model's *.safetensors into the folder"
    };
    Error::input(format!("no weights in {}: neither {SINGLE} nor {INDEX}", dir.display())).hint(hint)
}

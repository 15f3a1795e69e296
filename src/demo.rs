//! The embedded demo: a tiny model, drawn scans to train on, others held out, and a few real pictures.

use crate::config::presets;
use crate::error::{At, Result};
use crate::files;
use crate::job::ConvertJob;
use std::path::{Path, PathBuf};

/// Where the parts of the demo are. `unpack` has written those that are inputs; the others are to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoPaths {
    /// The base model's folder.
    pub model: PathBuf,
    /// 300 drawn scans with captions.
    pub train_parquet: PathBuf,
    /// 64 other drawn scans.
    pub heldout_parquet: PathBuf,
    /// What was drawn in each held-out scan, one JSON line each.
    pub labels: PathBuf,
    /// 15 real pictures, and their sources and licences.
    pub real_parquet: PathBuf,
    pub real_manifest: PathBuf,
    /// `demo.yaml` with the paths here.
    pub config: PathBuf,
    /// The data folder that conversion makes.
    pub data: PathBuf,
    /// Where runs go, and the demo's own run.
    pub runs: PathBuf,
    pub run: PathBuf,
}

macro_rules! assets {
    ($($path:literal),* $(,)?) => {
        /// Path below the demo folder, and content.
        const ASSETS: &[(&str, &[u8])] = &[$(($path, include_bytes!(concat!("../assets/demo/", $path)))),*];
    };
}

assets! {
    "model/config.json",
    "model/generation_config.json",
    "model/model.safetensors",
    "model/processor_config.json",
    "model/tokenizer.json",
    "model/tokenizer_config.json",
    "parquet/train.parquet",
    "parquet/heldout.parquet",
    "parquet/heldout.labels.jsonl",
    "parquet/medtrinity_sample.parquet",
    "parquet/medtrinity_sample.manifest.json",
    "README.md",
}

impl DemoPaths {
    /// The layout of a demo folder.
    pub fn new(dir: &Path) -> Self {
        let parquet = dir.join("parquet");
        Self {
            model: dir.join("model"),
            train_parquet: parquet.join("train.parquet"),
            heldout_parquet: parquet.join("heldout.parquet"),
            labels: parquet.join("heldout.labels.jsonl"),
            real_parquet: parquet.join("medtrinity_sample.parquet"),
            real_manifest: parquet.join("medtrinity_sample.manifest.json"),
            config: dir.join("demo.yaml"),
            data: dir.join("data"),
            runs: dir.join("runs"),
            run: dir.join("runs").join("demo"),
        }
    }
}

impl DemoPaths {
    /// What makes the demo's two data sets: one to train on, one whose pictures training never sees.
    pub fn conversions(&self) -> [ConvertJob; 2] {
        [("demo_train", &self.train_parquet), ("demo_heldout", &self.heldout_parquet)].map(
            |(name, parquet)| {
                let names = [name.to_string(), format!("{name}_val")];
                ConvertJob {
                    val_ratio: 0.0,
                    names,
                    ..ConvertJob::new(vec![parquet.clone()], self.data.clone())
                }
            },
        )
    }
}

/// Writes the demo into `dir`, each file atomically. Files that are there with the right content stay as they are;
/// others of the same name are replaced.
pub fn unpack(dir: &Path) -> Result<DemoPaths> {
    let paths = DemoPaths::new(dir);
    for (path, content) in ASSETS {
        put(&dir.join(path), content)?;
    }
    put(&paths.config, config(&paths).as_bytes())?;
    Ok(paths)
}

fn put(path: &Path, content: &[u8]) -> Result<()> {
    let same_size = std::fs::metadata(path).is_ok_and(|m| m.len() == content.len() as u64);
    if same_size && std::fs::read(path).at("read", path)? == content {
        return Ok(());
    }
    files::write(path, content)
}

/// The demo's settings with the folders of this demo.
fn config(paths: &DemoPaths) -> String {
    let folders = [
        ("model_name_or_path", &paths.model),
        ("dataset_dir", &paths.data),
        ("media_dir", &paths.data),
        ("output_dir", &paths.run),
    ];
    let mut text = String::new();
    for line in presets::DEMO.lines() {
        let key = line.split(':').next().unwrap_or_default();
        match folders.iter().find(|(name, _)| *name == key) {
            // A JSON string is a YAML string, whatever the path has in it.
            Some((_, folder)) => text += &format!("{key}: {}\n", serde_json::json!(folder.to_string_lossy())),
            None => text += &format!("{line}\n"),
        }
    }
    text
}

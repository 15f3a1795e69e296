//! Picture features come back from disk as they were computed, and the folder keeps to its size.
#![allow(clippy::unwrap_used)]

use crate::golden;
use burn::tensor::{DType, Device, Tensor};
use lorascope::config::TrainConfig;
use lorascope::data::encode::Encoder;
use lorascope::model::qwen3_vl::Qwen3Vl;
use lorascope::train::split;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn config(cache: &Path) -> TrainConfig {
    let fixtures = golden::path("");
    TrainConfig {
        model_name_or_path: fixtures.join("models/tiny-dense"),
        dataset: vec!["mllm_train_data".into()],
        dataset_dir: fixtures.join("data"),
        image_max_pixels: 65536,
        image_min_pixels: 1024,
        vision_cache_dir: Some(cache.to_path_buf()),
        ..TrainConfig::default()
    }
}

/// Features of the first three samples, as a run of its own sees them.
fn features(config: &TrainConfig) -> Vec<Tensor<2>> {
    let model = Qwen3Vl::load(&config.model_name_or_path, &Device::flex(), DType::F32, &|_, _| {}).unwrap();
    let encoder = Encoder::load(&config.model_name_or_path, config).unwrap();
    let mut data = split::load(config, &encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
    let (pack, _) = data.train.pack(&model, &encoder, &[0, 1, 2]).unwrap();
    pack.visual.merged.into_iter().chain(pack.visual.deepstack).collect()
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn same(a: &[Tensor<2>], b: &[Tensor<2>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| golden::values(a.clone()) == golden::values(b.clone()))
}

#[test]
fn features_come_back_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = features(&config);
    let kept = files(dir.path());
    assert!(!kept.is_empty());
    assert!(same(&first, &features(&config)));
    assert_eq!(files(dir.path()), kept, "the second run found all of them");

    // What is in the file is what is used: a number changed there is seen.
    let mut bytes = fs::read(&kept[0]).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&1234.5f32.to_le_bytes());
    fs::write(&kept[0], &bytes).unwrap();
    assert!(!same(&first, &features(&config)));

    // A file that was cut off is computed again.
    fs::write(&kept[0], &bytes[..end / 2]).unwrap();
    assert!(same(&first, &features(&config)));
    assert_eq!(fs::read(&kept[0]).unwrap().len(), end);
}

/// What was read ahead on other threads is what is read when it is needed, with a cache on disk and without.
#[test]
fn pictures_read_ahead_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { vision_cache_dir: None, ..config(dir.path()) };
    let want = features(&config);
    for config in [config.clone(), TrainConfig { vision_cache_dir: Some(dir.path().into()), ..config }] {
        let model =
            Qwen3Vl::load(&config.model_name_or_path, &Device::flex(), DType::F32, &|_, _| {}).unwrap();
        let encoder = Encoder::load(&config.model_name_or_path, &config).unwrap();
        let mut data = split::load(&config, &encoder, &|_| {}, &AtomicBool::new(false)).unwrap();
        data.train.pack(&model, &encoder, &[0]).unwrap();
        data.train.read_ahead(&model, &encoder, &[0, 1, 2]);
        let (pack, _) = data.train.pack(&model, &encoder, &[0, 1, 2]).unwrap();
        let got: Vec<_> = pack.visual.merged.into_iter().chain(pack.visual.deepstack).collect();
        assert!(same(&want, &got));
    }
}

#[test]
fn other_limits_are_other_features() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    features(&config);
    let kept = files(dir.path()).len();
    features(&TrainConfig { image_max_pixels: 16384, ..config });
    assert!(files(dir.path()).len() > kept);
}

#[test]
fn the_folder_keeps_to_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = features(&config);
    let kept = files(dir.path());
    let one = fs::metadata(&kept[0]).unwrap().len();
    let small = tempfile::tempdir().unwrap();
    let gigabytes = 1.5 * one as f64 / 1e9;
    let config = TrainConfig { vision_cache_gb: gigabytes, ..self::config(small.path()) };
    assert!(same(&first, &features(&config)));
    let used: u64 = files(small.path()).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    assert!(used as f64 <= gigabytes * 1e9, "{used} bytes");
}

//! The embedded demo unpacks whole, again without touching what is there, and its settings point at it.
#![allow(clippy::unwrap_used)]

use lorascope::config::{layers, validate};
use lorascope::demo;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::{self, File};
use std::path::Path;

fn rows(path: &Path) -> i64 {
    SerializedFileReader::new(File::open(path).unwrap()).unwrap().metadata().file_metadata().num_rows()
}

#[test]
fn unpacks_and_repairs() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a demo: \"quoted\" # and more");
    let paths = demo::unpack(&dir).unwrap();
    assert_eq!(
        (rows(&paths.train_parquet), rows(&paths.heldout_parquet), rows(&paths.real_parquet)),
        (300, 64, 15)
    );
    assert_eq!(fs::read_to_string(&paths.labels).unwrap().lines().count(), 64);
    for file in ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"] {
        assert!(paths.model.join(file).is_file(), "{file}");
    }

    let changed = |p: &Path| fs::metadata(p).unwrap().modified().unwrap();
    let (weights, config) = (paths.model.join("model.safetensors"), paths.model.join("config.json"));
    let before = changed(&weights);
    fs::write(&config, "broken").unwrap();
    assert_eq!(demo::unpack(&dir).unwrap(), paths);
    assert_eq!(changed(&weights), before, "an identical file stays");
    assert!(fs::read_to_string(&config).unwrap().contains("qwen3_vl"), "a broken one is replaced");
}

#[test]
fn the_settings_point_at_the_demo() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a demo: \"quoted\" # and more");
    let paths = demo::unpack(&dir).unwrap();
    let config = layers::load(Some(&paths.config), &[]).unwrap();
    assert_eq!(config.model_name_or_path, paths.model);
    assert_eq!((&config.dataset_dir, config.media_dir()), (&paths.data, paths.data.clone()));
    assert_eq!(config.output_dir, paths.run);
    assert_eq!(config.image_max_pixels, 224 * 224);
    assert_eq!(validate::problems(&config), Vec::new());
}

#[test]
fn the_program_stays_small() {
    fn size(dir: &Path) -> u64 {
        let of = |e: fs::DirEntry| match e.file_type().unwrap().is_dir() {
            true => size(&e.path()),
            false => e.metadata().unwrap().len(),
        };
        fs::read_dir(dir).unwrap().map(|e| of(e.unwrap())).sum()
    }
    let bytes = size(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo"));
    assert!(bytes < 14_000_000, "{bytes}");
}

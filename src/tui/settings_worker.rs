//! Settings on disk, paths, and what settings will take: read and computed on the worker's thread.

use crate::config::{TrainConfig, layers, presets, yaml_file};
use crate::error::{Error, Result};
use crate::files;
use crate::plan::{Device, Plan};
use crate::runs::TRAINING_ARGS;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Something to find out.
#[derive(Clone, Debug)]
pub enum Ask {
    /// What the settings will take. `rows` of the data sets, if they were opened.
    Estimate { config: Box<TrainConfig>, rows: Option<usize> },
    /// Paths that begin with what was typed.
    Complete { typed: String, folders_only: bool },
    /// The settings of a preset, a YAML file or a run folder, to take.
    Load(String),
    /// The same, to compare with.
    Other(String),
    /// Write the settings into a YAML file.
    Save { path: PathBuf, config: Box<TrainConfig> },
}

/// What was found.
pub enum Told {
    Estimate { config: Box<TrainConfig>, found: Option<Estimate> },
    Completions { typed: String, found: Vec<String> },
    Loaded { name: String, found: Result<(Box<TrainConfig>, Vec<String>)> },
    Other { name: String, found: Result<Box<TrainConfig>> },
    Saved(Result<PathBuf>),
}

/// What settings will take, in short.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    pub trainable: u64,
    /// Bytes at most, and how many there are.
    pub peak: u64,
    pub available: u64,
    pub seconds: Option<f64>,
}

pub fn answer(ask: Ask) -> Told {
    match ask {
        Ask::Estimate { config, rows } => {
            let found = estimate(&config, rows);
            Told::Estimate { config, found }
        }
        Ask::Complete { typed, folders_only } => {
            let found = complete(&typed, folders_only);
            Told::Completions { typed, found }
        }
        Ask::Load(name) => {
            let found = read(&name);
            Told::Loaded { name, found }
        }
        Ask::Other(name) => {
            let found = read(&name).map(|(config, _)| config);
            Told::Other { name, found }
        }
        Ask::Save { path, config } => Told::Saved(save(&path, &config).map(|()| path)),
    }
}

fn estimate(config: &TrainConfig, rows: Option<usize>) -> Option<Estimate> {
    // Its speed is measured once: a tenth of a second that a run beside it would feel.
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let plan = Plan::glance(config, rows, DEVICE.get_or_init(Device::cpu))?;
    // The adapter's values are kept in f32.
    let adapter = plan.memory.resident.iter().find(|p| p.name == "adapter").map_or(0, |p| p.bytes);
    Some(Estimate {
        trainable: adapter / 4,
        peak: plan.memory.peak,
        available: plan.device.memory,
        seconds: plan.total_seconds,
    })
}

/// Most names that are offered.
const MOST: usize = 200;

/// Files and folders whose path begins with `typed`, folders with a slash behind, in order.
fn complete(typed: &str, folders_only: bool) -> Vec<String> {
    let (dir, start) =
        typed.rsplit_once('/').map_or(("", typed), |(dir, start)| (&typed[..=dir.len()], start));
    let home = std::env::var("HOME").unwrap_or_default();
    let real = match dir.strip_prefix("~/") {
        Some(rest) => PathBuf::from(format!("{home}/{rest}")),
        None if dir.is_empty() => PathBuf::from("."),
        None => PathBuf::from(dir),
    };
    let Ok(entries) = std::fs::read_dir(real) else { return Vec::new() };
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let hidden = name.starts_with('.') && !start.starts_with('.');
        let folder = entry.path().is_dir();
        let fits = name.starts_with(start) && !hidden && (folder || !folders_only);
        fits.then(|| format!("{dir}{name}{}", if folder { "/" } else { "" }))
    };
    let mut found: Vec<String> = entries.flatten().filter_map(name).collect();
    found.sort();
    found.truncate(MOST);
    found
}

/// The settings of a preset by its name, of a run by its folder, or of a YAML file.
fn read(name: &str) -> Result<(Box<TrainConfig>, Vec<String>)> {
    let name = name.trim();
    if let Some(text) = presets::text(name) {
        return layers::from_yaml(text, name).map(|config| (Box::new(config), Vec::new()));
    }
    let path = Path::new(name);
    let file = if path.is_dir() { path.join(TRAINING_ARGS) } else { path.to_path_buf() };
    if !file.exists() {
        let known = presets::ALL.map(|p| p.0).join(", ");
        return Err(Error::input(format!("no settings in {name}"))
            .hint(format!("give a YAML file, a run folder, or one of {known}")));
    }
    layers::load_with_notes(Some(&file), &[]).map(|(config, notes)| (Box::new(config), notes))
}

/// Writes the settings; what a file there says besides stays.
fn save(path: &Path, config: &TrainConfig) -> Result<()> {
    if !path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        return Err(
            Error::usage(format!("{} is not a name for settings", path.display())).hint("end it in .yaml")
        );
    }
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::io("read", path, &e)),
    };
    let text = yaml_file::update(&old, config, &path.display().to_string())?;
    files::write(path, text.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_completed_in_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["model/config.json", "models.txt", ".hidden", "other"] {
            files::write(&dir.path().join(name), b"").unwrap();
        }
        let at = |rest: &str| format!("{}/{rest}", dir.path().display());
        assert_eq!(complete(&at("mo"), false), [at("model/"), at("models.txt")]);
        assert_eq!(complete(&at("mo"), true), [at("model/")]);
        assert_eq!(complete(&at("model/"), false), [at("model/config.json")]);
        assert_eq!(complete(&at("").to_string(), false).len(), 3);
        assert_eq!(complete(&at("."), false), [at(".hidden")]);
        assert!(complete(&at("nowhere/x"), false).is_empty());
    }

    #[test]
    fn settings_come_from_presets_files_and_runs_and_go_to_files() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read("default").unwrap().0.lora_rank, TrainConfig::default().lora_rank);
        let path = dir.path().join(TRAINING_ARGS);
        let config = TrainConfig { lora_rank: 24, ..TrainConfig::default() };
        save(&path, &config).unwrap();
        for name in [path.to_str().unwrap(), dir.path().to_str().unwrap()] {
            assert_eq!(read(name).unwrap().0.lora_rank, 24, "{name}");
        }
        assert!(read("nothing").unwrap_err().hint.unwrap().contains("tutorial-two"));
        assert!(save(&dir.path().join("notes.txt"), &config).is_err());
    }
}

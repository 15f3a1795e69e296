//! The adapters that can answer: those of runs, and of their checkpoints.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folders with an `adapter_config.json` among the runs and their checkpoints, the newest first.
pub fn newest_first(runs: &Path) -> Vec<PathBuf> {
    let pattern = |tail: &str| format!("{}{tail}", glob::Pattern::escape(&runs.to_string_lossy()));
    let found = |tail: &str| glob::glob(&pattern(tail)).into_iter().flatten().flatten().collect::<Vec<_>>();
    let mut all = found("/*/adapter_config.json");
    all.extend(found("/*/checkpoint-*/adapter_config.json"));
    let modified = |p: &PathBuf| p.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    all.sort_by_cached_key(|path| std::cmp::Reverse(modified(path)));
    all.iter().filter_map(|path| path.parent().map(Path::to_path_buf)).collect()
}

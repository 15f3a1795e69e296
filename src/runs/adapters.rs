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

/// How an adapter is called beside others: its folder's name, after as many of the folders above it as tell it from them.
pub fn name_beside<'a>(dir: &Path, others: impl IntoIterator<Item = &'a PathBuf>) -> String {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let own = whole(dir);
    let others: Vec<PathBuf> =
        others.into_iter().map(|path| whole(path)).filter(|path| *path != own).collect();
    let tells = |n: &usize| others.iter().all(|path| tail(path, *n) != tail(&own, *n));
    let folders = own.components().count();
    tail(&own, (1..folders).find(tells).unwrap_or(folders)).display().to_string()
}

/// The last `n` parts of a path.
fn tail(path: &Path, n: usize) -> PathBuf {
    path.iter().skip(path.iter().count().saturating_sub(n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_of_a_path_is_named_as_tells_it_from_others() {
        let [one, two, other] =
            ["/s/one/checkpoint-200", "/s/two/checkpoint-200", "/s/two"].map(PathBuf::from);
        assert_eq!(name_beside(&one, []), "checkpoint-200");
        assert_eq!(name_beside(&one, [&one, &other]), "checkpoint-200", "it is not told from itself");
        assert_eq!(name_beside(&one, [&one, &two]), "one/checkpoint-200");
        assert_eq!(name_beside(&two, [&one, &two]), "two/checkpoint-200");
        assert_eq!(name_beside(&other, [&one, &two]), "two");
        let far = PathBuf::from("/t/one/checkpoint-200");
        assert_eq!(name_beside(&one, [&far]), "s/one/checkpoint-200");
        assert_eq!(name_beside(Path::new("runs/../runs/a"), [&one]), "a");
    }
}

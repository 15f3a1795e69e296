//! Deleting a run with care: only a run, only what runs write, never one that somebody works in.

use super::{RunLock, list, lock};
use crate::error::{At, Error, Kind, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Names of files and folders that runs of ours, LLaMA-Factory's and transformers' have at their top; `*` as in globs.
const OURS: [&str; 35] = [
    "checkpoint-*",
    "adapter_*",
    "trainer_*",
    "*_results.json",
    "training_args.*",
    "training_*.png",
    "README.md",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "config.json",
    "generation_config.json",
    "model*.safetensors*",
    "generated_predictions.jsonl",
    "predictions*",
    "evaluat*",
    "report.*",
    "talk*",
    "lorascope_*",
    "llamaboard_config.yaml",
    "running_log.txt",
    "runs",
    "events.jsonl",
    "changes.json",
    "bad_batch*",
    "imported.json",
    "chat*",
    "run.*",
    ".*",
];

/// Seconds after which another program's run without results counts as given up.
const QUIET: u64 = 600;

/// What a deletion takes away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doomed {
    pub path: PathBuf,
    pub files: usize,
    pub bytes: u64,
    pub checkpoints: usize,
}

/// Looks whether a folder may be deleted as a run, and what is in it.
///
/// Errors: no run folder; a link; a run that is going on; other runs or files of another kind inside.
pub fn look(dir: &Path) -> Result<Doomed> {
    let refuse = |why: String| Err(Error::usage(format!("{} is not deleted: {why}", dir.display())));
    if std::fs::symlink_metadata(dir).at("read", dir)?.is_symlink() {
        return refuse("it is a link".into())
            .map_err(|e| e.hint("delete what it points to, or the link itself"));
    }
    let Some(run) = list::look(dir, dir) else { return refuse("it is not a run folder".into()) };
    if lock::is_held(dir) {
        return refuse("a process works in it".into()).map_err(|e| e.hint("stop that run first"));
    }
    if run.status == list::Status::Unknown && run.age_seconds < QUIET {
        return refuse(format!("it has no results and was written to {} s ago", run.age_seconds))
            .map_err(|e| e.hint("another program may be training in it: wait some minutes"));
    }
    let patterns: Vec<_> = OURS.iter().filter_map(|p| glob::Pattern::new(p).ok()).collect();
    let mut doomed = Doomed { path: dir.to_path_buf(), files: 0, bytes: 0, checkpoints: 0 };
    for entry in std::fs::read_dir(dir).at("read", dir)? {
        let entry = entry.at("read", dir)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !patterns.iter().any(|p| p.matches(&name)) {
            return refuse(format!("{name} in it is not a file of a run"))
                .map_err(|e| e.hint("move it away, or delete the folder with other means"));
        }
        doomed.checkpoints += usize::from(name.starts_with("checkpoint-"));
        weigh(&entry.path(), &mut doomed);
    }
    Ok(doomed)
}

/// Adds up a file or folder without following links.
fn weigh(path: &Path, doomed: &mut Doomed) {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return };
    if !meta.is_dir() {
        doomed.files += 1;
        doomed.bytes += meta.len();
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        weigh(&entry.path(), doomed);
    }
}

/// Deletes a run. It goes to a hidden name in one step first, so that a deletion that breaks off leaves no half a run.
///
/// Errors: see [`look`]; a folder that cannot be removed.
pub fn delete(dir: &Path) -> Result<Doomed> {
    let doomed = look(dir)?;
    // Held while it is moved, so that no run can start in it.
    let held = RunLock::acquire(dir)?;
    let name = dir.file_name().ok_or_else(|| Error::usage(format!("{} has no name", dir.display())))?;
    let hidden = (0..1000)
        .map(|n| dir.with_file_name(format!(".{}.deleted-{n}", name.to_string_lossy())))
        .find(|path| !path.exists())
        .ok_or_else(|| Error::new(Kind::Io, format!("too many deleted runs beside {}", dir.display())))?;
    std::fs::rename(dir, &hidden).at("remove", dir)?;
    drop(held);
    std::fs::remove_dir_all(&hidden).at("remove", &hidden)?;
    Ok(doomed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run_folder(root: &Path) -> PathBuf {
        let dir = root.join("one");
        crate::files::write(&dir.join("trainer_log.jsonl"), b"{}\n").unwrap();
        crate::files::write(&dir.join("all_results.json"), b"{\"train_loss\": 1.0}").unwrap();
        crate::files::write(&dir.join("checkpoint-5/adapter_model.safetensors"), &[0; 100]).unwrap();
        dir
    }

    #[test]
    fn a_run_goes_and_its_neighbours_stay() {
        let root = tempfile::tempdir().unwrap();
        let dir = run_folder(root.path());
        crate::files::write(&root.path().join("two/trainer_log.jsonl"), b"{}\n").unwrap();
        let doomed = delete(&dir).unwrap();
        assert_eq!((doomed.files, doomed.bytes, doomed.checkpoints), (3, 122, 1));
        let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["two"]);
    }

    #[test]
    fn what_is_no_run_or_in_use_or_holds_other_things_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let why = |dir: &Path| delete(dir).unwrap_err().message;
        assert!(why(root.path()).contains("not a run folder"));
        let dir = run_folder(root.path());
        {
            let _held = RunLock::acquire(&dir).unwrap();
            assert!(why(&dir).contains("a process works in it"));
        }
        let going = root.path().join("going");
        crate::files::write(&going.join("trainer_log.jsonl"), b"{}\n").unwrap();
        assert!(why(&going).contains("s ago"), "another program may be at work");
        crate::files::write(&dir.join("thesis.tex"), b"years of work").unwrap();
        assert!(why(&dir).contains("thesis.tex"));
        std::fs::remove_file(dir.join("thesis.tex")).unwrap();
        std::fs::create_dir(dir.join("another")).unwrap();
        assert!(why(&dir).contains("another"));
        std::fs::remove_dir(dir.join("another")).unwrap();
        #[cfg(unix)]
        {
            let link = root.path().join("link");
            std::os::unix::fs::symlink(&dir, &link).unwrap();
            assert!(why(&link).contains("a link"));
        }
        assert!(dir.join("trainer_log.jsonl").exists());
    }
}

//! Finds the runs below a folder: status, progress, last loss, age.

use super::{EVENTS, LOCK, TRAINER_LOG, TRAINER_STATE, lock, read, results};
use crate::error::{At, Result};
use crate::job::{Event, Outcome};
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Folders are searched this deep.
const MAX_DEPTH: usize = 5;
/// Enough for the last lines of any log.
const TAIL: u64 = 64 * 1024;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A living process holds the folder.
    Running,
    Finished,
    /// The user stopped it.
    Stopped,
    Failed,
    /// It has no end, and no process works on it: killed, or the machine went down.
    Interrupted,
    /// Another program's run without results: it may still be going.
    Unknown,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Finished => "finished",
            Status::Stopped => "stopped",
            Status::Failed => "failed",
            Status::Interrupted => "interrupted",
            Status::Unknown => "unknown",
        }
    }
}

/// One run, at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunInfo {
    pub path: PathBuf,
    /// The path below the folder that was listed.
    pub name: String,
    pub status: Status,
    pub step: usize,
    pub total_steps: usize,
    /// The last logged loss.
    pub loss: Option<f64>,
    /// Seconds since the run last wrote something.
    pub age_seconds: u64,
}

/// The runs below `root` (and `root` itself if it is one), the latest first. Error if `root` cannot be read.
pub fn list(root: &Path) -> Result<Vec<RunInfo>> {
    std::fs::read_dir(root).at("read", root)?;
    let mut found = Vec::new();
    search(root, root, 0, &mut found);
    found.sort_by(|a, b| a.age_seconds.cmp(&b.age_seconds).then_with(|| a.name.cmp(&b.name)));
    Ok(found)
}

/// The run in `dir`; `None` if it is no run folder.
pub fn look(root: &Path, dir: &Path) -> Option<RunInfo> {
    let age_seconds = age(dir)?;
    let (step, total_steps, loss) = progress(dir);
    let name = dir.strip_prefix(root).ok().filter(|p| !p.as_os_str().is_empty()).unwrap_or(dir);
    Some(RunInfo {
        path: dir.to_path_buf(),
        name: name.display().to_string(),
        status: status(dir),
        step,
        total_steps,
        loss,
        age_seconds,
    })
}

fn search(root: &Path, dir: &Path, depth: usize, found: &mut Vec<RunInfo>) {
    found.extend(look(root, dir));
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    // `file_type` does not follow links, so a ring of links is no trap.
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // A checkpoint has a trainer state too, but it is a part of its run.
        if depth < MAX_DEPTH && !name.starts_with('.') && !name.starts_with("checkpoint-") {
            search(root, &entry.path(), depth + 1, found);
        }
    }
}

/// Seconds since the last write; `None` without any file of a run.
fn age(dir: &Path) -> Option<u64> {
    let files = [EVENTS, TRAINER_LOG, TRAINER_STATE, LOCK];
    let changed = |name: &&str| std::fs::metadata(dir.join(name)).ok()?.modified().ok();
    let latest = files.iter().filter_map(changed).max()?;
    // A file from the future (a clock that was set back) is new.
    Some(SystemTime::now().duration_since(latest).map_or(0, |d| d.as_secs()))
}

fn status(dir: &Path) -> Status {
    if lock::is_held(dir) {
        return Status::Running;
    }
    if dir.join(EVENTS).exists() {
        return last_outcome(dir).unwrap_or(Status::Interrupted);
    }
    if results::read(dir).contains_key("train_loss") {
        Status::Finished
    } else if lock::is_there(dir) {
        Status::Interrupted
    } else {
        Status::Unknown
    }
}

/// How the last job in the folder ended; `None` if it did not.
fn last_outcome(dir: &Path) -> Option<Status> {
    let tail = tail(&dir.join(EVENTS))?;
    for line in tail.lines().rev() {
        match serde_json::from_str::<Event>(line) {
            Ok(Event::Finished(Outcome::Done { .. })) => return Some(Status::Finished),
            Ok(Event::Finished(Outcome::Stopped { .. })) => return Some(Status::Stopped),
            Ok(Event::Finished(Outcome::Failed { .. })) => return Some(Status::Failed),
            Ok(Event::Started { .. }) => return None,
            _ => {}
        }
    }
    None
}

/// Step, total and loss of the last log that has a loss.
fn progress(dir: &Path) -> (usize, usize, Option<f64>) {
    if let Some(text) = tail(&dir.join(TRAINER_LOG)) {
        for line in text.lines().rev().filter_map(read::object) {
            let whole = |key| line.get(key).and_then(|v| v.as_u64()).unwrap_or(0) as usize;
            if let Some(loss) = line.get("loss").and_then(read::number) {
                return (whole("current_steps"), whole("total_steps"), Some(loss));
            }
        }
    }
    match super::TrainerState::read(dir) {
        Ok(s) => {
            let last = s.log_history.iter().rev().find_map(|e| e.get("loss").and_then(read::number));
            (s.global_step, s.max_steps, last)
        }
        Err(_) => (0, 0, None),
    }
}

/// The end of a text file. The first line may be a part of one.
fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

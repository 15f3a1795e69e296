//! `events.jsonl`: every event of the jobs in a run folder, one JSON line each.

use super::EVENTS;
use super::append::Appender;
use crate::error::{At, Result};
use crate::job::Event;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The events of a run folder, open for appending.
pub struct EventLog {
    lines: Appender,
}

impl EventLog {
    /// Opens the log of `run_dir`. A last line that a crash has torn is removed first.
    pub fn open(run_dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(run_dir).at("create", run_dir)?;
        let path = run_dir.join(EVENTS);
        let mut file = File::options().read(true).append(true).create(true).open(&path).at("write", &path)?;
        let whole = end_of_last_line(&mut file).at("read", &path)?;
        file.set_len(whole).at("write", &path)?;
        Ok(Self { lines: Appender::open(path)? })
    }

    /// Appends one event and hands it to the system, so that a reader sees it at once. What cannot be written (a
    /// full disk) is kept, and comes with the next event.
    pub fn push(&mut self, event: &Event) -> Result<()> {
        let line = serde_json::to_string(event).expect("events are plain data");
        self.lines.push(&(line + "\n"))
    }
}

/// The events of a run folder. A torn line, or one of a newer version, is passed over; none without the file.
pub fn read(run_dir: &Path) -> Vec<Event> {
    each(run_dir).collect()
}

/// Like [`read`], one at a time: the file of a long run is large.
pub fn each(run_dir: &Path) -> impl Iterator<Item = Event> + use<> {
    super::read::lines(&run_dir.join(EVENTS)).filter_map(|line| serde_json::from_str(&line).ok())
}

/// Length of the file up to and with its last line end.
fn end_of_last_line(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0u8; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|b| *b == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

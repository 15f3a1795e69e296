//! Parquet files to a registered ShareGPT data set: `mllm_data/<id>.<ext>`, two JSON files, a report.
//!
//! A conversion grows in a hidden folder of the output folder and is moved into place at the end. What became of each row
//! is a line of a journal there, and all results are made from the journal. A conversion that was stopped or killed goes
//! on after the last good line, and so ends as an undisturbed one does.

mod batches;
mod conversion;
mod disk_map;
mod file_names;
mod finish;
pub mod inputs;
mod journal;
mod jpeg_code;
mod jpeg_scan;
mod neighbours;
pub mod parquet;
pub(super) mod parquet_file;
mod pick;
pub mod picture_file;
mod pixels;
mod results;
pub mod row_notes;
mod split;
mod staging;
mod tally;

use super::registry::{self, Registry};
use super::special;
use crate::error::{At, Error, Kind, Result};
use crate::job::{ConvertJob, Emit, Event, Finding, Level};
use conversion::Conversion;
use inputs::Inputs;
use serde_json::{Value, json};
use staging::{PICTURES, Staging};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The report's name in the output folder: each pair of data sets has its own.
fn report_name(job: &ConvertJob) -> String {
    match job.names[0].as_str() {
        "mllm_train_data" => "convert_report.json".into(),
        name => format!("{name}_convert_report.json"),
    }
}

const JOURNAL: &str = "journal.jsonl";

/// Larger sets get sub-folders of 10,000 pictures. The tutorial's 16,163 pictures stay in one folder; folders of more than
/// some ten thousand files are slow to list and to copy, and FAT32, as of a USB disk, ends at 13,107 names of this length.
const FLAT_UP_TO: usize = 50_000;
const PICTURES_IN_A_FOLDER: usize = 10_000;

/// Converts. The result is the summary that `convert --json` prints.
///
/// # Errors
/// No input can be read; no row can be kept; a bad row or file in strict mode; the disk; `stop` was set. In each case the
/// results of an earlier conversion are as they were; after a stop or a full disk the same job goes on where it was.
pub fn run(job: &ConvertJob, stop: &AtomicBool, emit: Emit) -> Result<Value> {
    let started = Instant::now();
    let prompt = prompt(job)?;
    validate(job)?;
    let inputs = Inputs::open(job, emit)?;
    if job.out.join(registry::FILE_NAME).exists() {
        Registry::open(&job.out)?;
    }
    let had_pictures = job.out.join(PICTURES).exists();
    let staging = Staging::open(&job.out, &job.names, emit)?;
    let again = staging.path("").display().to_string();
    let mut conversion = Conversion::open(job, staging, &inputs, emit)?;
    let done = conversion.convert_rows(stop, emit).and_then(|()| conversion.finish(&prompt, emit));
    let mut summary = done.map_err(|e| resumable(e, &again))?;
    if had_pictures {
        report_orphans(job, emit)?;
    }
    summary["seconds"] = json!((started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    Ok(summary)
}

/// The user's turn: the question with one picture mark.
fn prompt(job: &ConvertJob) -> Result<String> {
    match (job.question.matches(special::IMAGE).count(), special::media_marks(&job.question)) {
        (0, 0) => Ok(format!("{}{}", special::IMAGE, job.question)),
        (1, 1) => Ok(job.question.clone()),
        _ => Err(Error::usage("the question holds more marks than the one picture of a row")
            .hint("write the question without <image>: the mark is put in front")),
    }
}

fn validate(job: &ConvertJob) -> Result<()> {
    if !(0.0..1.0).contains(&job.val_ratio) {
        return Err(Error::usage(format!(
            "the validation ratio must be from 0 to below 1, not {}",
            job.val_ratio
        ))
        .hint("0.2 holds out a fifth of the rows"));
    }
    for name in &job.names {
        let plain = Path::new(name).file_name().is_some_and(|n| n == name.as_str());
        if !plain || name.contains(['/', '\\', ':', '\0']) || name.starts_with('.') || name.len() > 100 {
            return Err(Error::usage(format!("`{name}` cannot be the name of a data set"))
                .hint("use a plain, short name without folders"));
        }
    }
    if job.names[0] == job.names[1] {
        return Err(Error::usage("the training and the validation set need different names"));
    }
    if job.limit == Some(0) || job.sample == Some(0) {
        return Err(Error::usage("0 rows are wanted").hint("take at least one row"));
    }
    if job.limit.is_some() && job.sample.is_some() {
        return Err(Error::usage("the first rows and drawn rows cannot both be wanted")
            .hint("use --limit or --sample"));
    }
    if let Some(root) = job.image_root.as_ref().filter(|root| !root.is_dir()) {
        return Err(Error::input(format!("{} is not a folder", root.display()))
            .hint("name the folder below which the pictures are with --image-root"));
    }
    Ok(())
}

/// How many pictures a sub-folder gets; `None`: there are none.
fn pictures_in_a_folder(job: &ConvertJob, rows: usize) -> Option<usize> {
    match job.shard_pictures {
        Some(0) => None,
        Some(n) => Some(n),
        None => (rows > FLAT_UP_TO).then_some(PICTURES_IN_A_FOLDER),
    }
}

/// Says how to go on where that is possible.
fn resumable(error: Error, staging: &str) -> Error {
    if error.kind != Kind::Io || !Path::new(staging).exists() {
        return error;
    }
    let hint = format!(
        "mend that (free some space?) and run the same command again: it goes on where it was. To give up instead, remove \
         {staging}"
    );
    error.hint(hint)
}

/// Tells of pictures that no registered set names, or removes them if that is wanted.
fn report_orphans(job: &ConvertJob, emit: Emit) -> Result<()> {
    let scratch = tempfile::tempdir().at("create", "a temporary folder")?;
    let Some((count, first)) = neighbours::orphans(&job.out, scratch.path(), job.prune)? else {
        return Ok(());
    };
    if count == 0 {
        return Ok(());
    }
    let more = if count > first.len() { ", …" } else { "" };
    let done = if job.prune { " and were removed" } else { "" };
    emit(Event::Finding(Finding {
        level: Level::Info,
        code: "orphan_pictures".into(),
        message: format!(
            "{count} pictures belong to no registered data set{done}: {}{more}",
            first.join(", ")
        ),
        count,
        rows: Vec::new(),
        fix: if job.prune { String::new() } else { "--prune removes them".into() },
    }));
    Ok(())
}

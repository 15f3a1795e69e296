//! Parquet files to a registered ShareGPT data set: `mllm_data/<id>.<ext>`, two JSON files, a report.

mod batches;
mod file_names;
pub mod inputs;
pub mod parquet;
pub(super) mod parquet_file;
pub mod picture_file;
mod pixels;
pub mod row_notes;
mod split;
mod spool;
mod staging;
mod tally;

use super::groups::Place;
use super::registry::{self, Entry, Registry};
use super::special;
use crate::error::{At, Error, Kind, Result};
use crate::job::{ConvertJob, Emit, Event, Phase};
use batches::{Loaded, Made, make, read_batches};
use file_names::FileNames;
use inputs::Inputs;
use parquet::Id;
use rayon::prelude::*;
use row_notes::Notice;
use serde_json::{Value, json};
use split::{PictureHash, split};
use spool::Spool;
use staging::{PICTURES, Staging};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tally::Tally;

/// The report's name in the output folder.
pub const REPORT: &str = "convert_report.json";

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Converts. The result is the summary that `convert --json` prints.
///
/// # Errors
/// No input can be read; no row can be kept; a bad row or file in strict mode; the disk; `stop` was set. In each case
/// the output folder is as it was.
pub fn run(job: &ConvertJob, stop: &AtomicBool, emit: Emit) -> Result<Value> {
    let started = Instant::now();
    let prefix = question(job)?;
    validate(job)?;
    let inputs = Inputs::open(job, emit)?;
    if job.out.join(registry::FILE_NAME).exists() {
        Registry::open(&job.out)?;
    }
    let staging = Staging::open(&job.out)?;
    let mut conversion = Conversion::new(job, staging, &inputs, prefix)?;
    conversion.convert_rows(stop, emit)?;
    let refusal = conversion.refuse_bad_outcome();
    let fix = if refusal.is_ok() { "see convert_report.json for every row" } else { "" };
    conversion.tally.emit(fix, emit);
    refusal?;
    let mut summary = conversion.finish()?;
    summary["seconds"] = json!((started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    Ok(summary)
}

/// The user's turn: the question with one picture mark.
fn question(job: &ConvertJob) -> Result<String> {
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
        if !plain || name.contains(['/', '\\', ':', '\0']) || name.starts_with('.') {
            return Err(Error::usage(format!("`{name}` cannot be the name of a data set"))
                .hint("use a plain name without folders"));
        }
    }
    if job.names[0] == job.names[1] {
        return Err(Error::usage("the training and the validation set need different names"));
    }
    Ok(())
}

/// A conversion under way.
struct Conversion<'a> {
    job: &'a ConvertJob,
    staging: Staging,
    inputs: &'a Inputs,
    prefix: String,
    names: FileNames,
    tally: Tally,
    records: Spool,
    pictures: Vec<PictureHash>,
    seen: HashSet<PictureHash>,
    last_progress: Option<Instant>,
}

impl<'a> Conversion<'a> {
    fn new(job: &'a ConvertJob, staging: Staging, inputs: &'a Inputs, prefix: String) -> Result<Self> {
        let records = Spool::new(staging.path("records.jsonl"))?;
        let tally = Tally::new(Spool::new(staging.path("results.jsonl"))?);
        Ok(Self {
            job,
            staging,
            inputs,
            prefix,
            names: FileNames::default(),
            tally,
            records,
            pictures: Vec::new(),
            seen: HashSet::new(),
            last_progress: None,
        })
    }

    /// Reads on one thread, decodes on all, writes in order.
    fn convert_rows(&mut self, stop: &AtomicBool, emit: Emit) -> Result<()> {
        let shards = &self.inputs.shards;
        std::thread::scope(|scope| {
            let (sender, batches) = sync_channel(1);
            scope.spawn(move || read_batches(shards, &sender));
            self.convert_batches(batches, stop, emit)
        })
    }

    fn convert_batches(
        &mut self,
        batches: Receiver<Vec<Loaded>>,
        stop: &AtomicBool,
        emit: Emit,
    ) -> Result<()> {
        self.progress(emit, true);
        for batch in batches {
            let made: Vec<Made> =
                batch.into_par_iter().filter_map(|(file, item)| make(file, item, stop)).collect();
            if stop.load(Ordering::Relaxed) {
                return Err(Error::new(Kind::Stopped, "conversion stopped; the output folder is as it was"));
            }
            self.write(made)?;
            self.progress(emit, false);
        }
        self.progress(emit, true);
        Ok(())
    }

    fn write(&mut self, made: Vec<Made>) -> Result<()> {
        let mut files = Vec::new();
        for one in made {
            files.extend(self.record(one)?);
        }
        files.par_iter().try_for_each(|(name, bytes)| self.staging.write_picture(name, bytes))
    }

    /// Counts a row and, if it is kept, spools its record and names its picture's file.
    fn record(&mut self, made: Made) -> Result<Option<(String, Vec<u8>)>> {
        let path = &self.inputs.shards[made.file].path;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let place = Place { file: &file, row: made.row, id: made.id.text() };
        let kept = match made.result {
            Ok(kept) => kept,
            Err((reason, detail)) => {
                self.tally.skip(&place, made.count, reason, &detail)?;
                return Ok(None);
            }
        };
        let mut notices = kept.picture.notices.clone();
        let id = match &made.id {
            Id::Text(id) => id.clone(),
            missing => {
                notices.push(if *missing == Id::NotText { Notice::IdNotText } else { Notice::MadeId });
                format!("{}-{}", path.file_stem().unwrap_or_default().to_string_lossy(), made.row)
            }
        };
        let stem = self.names.stem_for(&id);
        notices.extend(stem.cleaned.then_some(Notice::RenamedId));
        notices.extend(stem.numbered.then_some(Notice::DuplicateId));
        notices.extend((!self.seen.insert(kept.hash)).then_some(Notice::DuplicatePicture));
        notices.extend(special::has_control_token(&kept.caption).then_some(Notice::SpecialToken));
        let name = format!("{}.{}", stem.stem, kept.picture.extension);
        let image = format!("{PICTURES}/{name}");
        self.tally.keep(&place, &image, &notices)?;
        self.records.push(&json!({
            "conversations": [
                { "from": "user", "value": self.prefix },
                { "from": "assistant", "value": kept.caption },
            ],
            "images": [image],
            "id": id,
        }))?;
        self.pictures.push(kept.hash);
        Ok(Some((name, kept.picture.bytes)))
    }

    fn progress(&mut self, emit: Emit, always: bool) {
        if always || self.last_progress.is_none_or(|t| t.elapsed() >= PROGRESS_EVERY) {
            self.last_progress = Some(Instant::now());
            emit(Event::Progress {
                phase: Phase::Converting,
                done: self.tally.rows,
                total: self.inputs.rows,
            });
        }
    }

    fn refuse_bad_outcome(&self) -> Result<()> {
        let (rows, skipped) = (self.tally.rows, self.tally.skipped());
        let at = self.job.out.display();
        if self.job.strict && skipped > 0 {
            return Err(Error::new(
                Kind::Check,
                format!(
                    "strict: {skipped} of {rows} rows are bad: {}; nothing was written to {at}",
                    self.tally.reasons()
                ),
            )
            .hint("mend the rows, or leave out --strict to skip them"));
        }
        if self.tally.kept == 0 {
            return Err(Error::input(format!(
                "none of the {rows} rows can be used: {}; nothing was written to {at}",
                self.tally.reasons()
            ))
            .hint("is this the right file, and are these the right columns?"));
        }
        Ok(())
    }

    /// Splits, writes the JSON files and the report, moves all into place, registers.
    fn finish(mut self) -> Result<Value> {
        let out = self.job.out.clone();
        let held_out = split(&self.pictures, self.job.val_ratio, self.job.seed);
        let val = held_out.iter().filter(|v| **v).count();
        let [train_name, val_name] = &self.job.names;
        let sets = [(train_name, false, held_out.len() - val), (val_name, true, val)];
        let mut committed = Vec::new();
        for (name, side, rows) in sets {
            if rows > 0 {
                let file = format!("{name}.json");
                self.records.write_array(&self.staging.path(&file), |i| held_out[i] == side)?;
                committed.push(file);
            }
        }
        let mut summary = self.summary(&sets);
        self.write_report(&summary)?;
        committed.push(REPORT.into());
        self.staging.commit(&committed)?;
        for (name, _, rows) in sets {
            if rows > 0 {
                registry::register(&out, name, &Entry::sharegpt(format!("{name}.json")))?;
            } else {
                forget(&out, name)?;
            }
        }
        summary["files"] = self.files(&sets);
        Ok(summary)
    }

    fn summary(&self, sets: &[(&String, bool, usize); 2]) -> Value {
        json!({
            "rows": self.tally.rows,
            "kept": self.tally.kept,
            "skipped": self.tally.skipped_json(),
            "train": sets[0].2,
            "val": sets[1].2,
            "notices": self.tally.notices_json(),
            "broken_files": self.inputs.broken_json(),
        })
    }

    fn files(&self, sets: &[(&String, bool, usize); 2]) -> Value {
        let out = &self.job.out;
        let set = |i: usize| (sets[i].2 > 0).then(|| out.join(format!("{}.json", sets[i].0)));
        json!({
            "train": set(0),
            "val": set(1),
            "images": out.join(PICTURES),
            "dataset_info": out.join(registry::FILE_NAME),
            "report": out.join(REPORT),
        })
    }

    /// The summary, and a line for each row that was skipped or changed.
    fn write_report(&mut self, summary: &Value) -> Result<()> {
        let path = self.staging.path(REPORT);
        let lines = self.tally.results.lines()?;
        let text = serde_json::to_string_pretty(summary).expect("plain data serialises");
        let head = text.strip_suffix("\n}").expect("an object with fields").to_string();
        crate::files::write_with(&path, |w| {
            write!(w, "{head},\n  \"results\": [")?;
            for (i, line) in lines.enumerate() {
                write!(w, "{}\n    {}", if i == 0 { "" } else { "," }, line?)?;
            }
            w.write_all(b"\n  ]\n}\n")
        })
    }
}

/// An earlier run's set of this name would be stale beside the new one: file and entry go.
fn forget(out: &Path, name: &str) -> Result<()> {
    registry::unregister(out, name)?;
    let file = out.join(format!("{name}.json"));
    if std::fs::symlink_metadata(&file).is_ok() {
        std::fs::remove_file(&file).at("remove", &file)?;
    }
    Ok(())
}

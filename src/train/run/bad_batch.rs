//! Batches with a loss or gradient that is no number: named, and stopped at or passed over.

use super::{Trainer, log};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::job::Level;
use crate::train::sampler::MicroBatch;
use serde_json::{Value, json};
use std::path::Path;

/// The list in the run folder.
pub const BAD_BATCH: &str = "bad_batch.json";

/// More updates than this are not skipped in a row: then it is not the batch.
const MOST_IN_A_ROW: usize = 5;

/// What became NaN or infinite, and the samples it came from.
pub(super) struct Bad<'a> {
    pub what: &'static str,
    pub value: f64,
    pub places: &'a [usize],
}

impl Trainer<'_> {
    /// Lists the batch in `bad_batch.json`. An error, with the state before the batch saved, unless it may be skipped.
    pub(super) fn bad_batch(&mut self, bad: &Bad) -> Result<()> {
        let step = self.position.step + 1;
        let skip = self.config.skip_bad_batch && self.position.skipped.in_a_row < MOST_IN_A_ROW;
        let names = self.data.train.names(bad.places);
        self.list(step, bad, skip);
        let what = format!("{} became {} at step {step}", bad.what, bad.value);
        if skip {
            log(
                self.emit,
                Level::Warning,
                format!("{what}: nothing is learned from this batch. Samples: {names}"),
            );
            return Ok(());
        }
        let saved = self.saved_before();
        let hint = if self.config.skip_bad_batch {
            format!(
                "{MOST_IN_A_ROW} batches in a row were skipped: lower the learning rate, and go on from an earlier checkpoint"
            )
        } else {
            "look at these samples with `show`, lower the learning rate, or set skip_bad_batch: true to go on past them".into()
        };
        Err(Error::new(Kind::Training, format!("{what}; {saved}. Samples: {names}")).hint(hint))
    }

    /// No sample of the update can be read: skipped a few times, then the disk is to blame.
    pub(super) fn nothing_to_learn(&mut self, micro_batches: &[MicroBatch]) -> Result<()> {
        if self.position.skipped.in_a_row < MOST_IN_A_ROW {
            return Ok(());
        }
        let places: Vec<usize> = micro_batches.iter().flat_map(|m| m.places.iter().copied()).collect();
        let names = self.data.train.names(&places);
        let saved = self.saved_before();
        let message =
            format!("no picture of the last {MOST_IN_A_ROW} updates can be read; {saved}. Samples: {names}");
        Err(Error::new(Kind::Io, message).hint("see whether the disk with the pictures is still there"))
    }

    fn saved_before(&mut self) -> String {
        match self.save() {
            Ok(path) => format!("the state before this batch is in {}", path.display()),
            Err(e) => format!("saving the state before this batch failed: {}", e.message),
        }
    }

    fn list(&self, step: usize, bad: &Bad, skipped: bool) {
        let path = self.config.output_dir.join(BAD_BATCH);
        let mut all = read(&path);
        let samples: Vec<Value> = bad
            .places
            .iter()
            .map(|&p| &self.data.train.all[p])
            .map(|s| json!({ "id": s.id, "row": s.row, "tokens": s.encoded.input_ids.len() }))
            .collect();
        let entry = json!({
            "step": step, "what": bad.what, "value": bad.value.to_string(), "skipped": skipped, "samples": samples,
        });
        // A run that came here again after a resume has told it already.
        if !all.contains(&entry) {
            all.push(entry);
        }
        if let Err(e) = files::write_json(&path, &all) {
            log(self.emit, Level::Warning, e.message);
        }
    }
}

fn read(path: &Path) -> Vec<Value> {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

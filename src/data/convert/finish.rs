//! The end of a conversion: split, JSON files, report, everything moved into place, both sets registered.

use super::conversion::Conversion;
use super::report_name;
use super::results::{KeptSides, Results};
use super::row_notes::Notice;
use super::split::Sides;
use super::staging::PICTURES;
use crate::error::{Error, Kind, Result};
use crate::job::Emit;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::path::PathBuf;

impl<'a> Conversion<'a> {
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
    pub fn finish(&mut self, prompt: &str, emit: Emit) -> Result<Value> {
        let refusal = self.refuse_bad_outcome();
        let report = report_name(self.job);
        let fix = if refusal.is_ok() { format!("see {report} for every row") } else { String::new() };
        self.tally.emit(&fix, emit);
        if refusal.is_err() {
            self.staging.keep = false;
        }
        refusal?;
        let groups = self.groups.take().expect("it ends once");
        let sides = groups.split(self.job.val_ratio, self.job.seed)?;
        let sets = self.sets(&sides);
        let files = self.inputs.shards.iter().map(|s| s.path.clone()).collect();
        let sides = KeptSides::read(&sides, self.tally.kept)?;
        let results = Results { journal: &self.journal, sides, prompt, files };
        let mut summary = self.summary(&sets);
        let (format, staging, filled) = (self.job.format, &self.staging, |set: &&Set| set.rows > 0);
        let write = |set: &Set| results.write_set(&staging.path(&set.file), format, set.held_out);
        // Each reads the journal for itself.
        let (written, reported) = rayon::join(
            || sets.par_iter().filter(filled).try_for_each(write),
            || results.write_report(&staging.path(&report), &summary),
        );
        written.and(reported)?;
        let names: Vec<String> =
            sets.iter().filter(filled).map(|set| set.file.clone()).chain([report]).collect();
        self.staging.commit(self.journal.kept()?, &names)?;
        for set in &sets {
            if set.rows > 0 {
                super::register(self.job, set.name)?;
            } else {
                super::forget(&self.job.out, set.name)?;
            }
        }
        summary["files"] = self.files(&sets);
        Ok(summary)
    }

    fn sets(&self, sides: &Sides) -> [Set<'a>; 2] {
        let [train, val] = &self.job.names;
        let set = |name: &'a String, held_out, rows| Set {
            name,
            file: format!("{name}.{}", self.job.format.extension()),
            held_out,
            rows,
        };
        [set(train, false, self.tally.kept - sides.val), set(val, true, sides.val)]
    }

    fn summary(&self, sets: &[Set; 2]) -> Value {
        let duplicates = self.tally.noticed(Notice::DuplicatePicture);
        json!({
            "rows": self.tally.rows,
            "kept": self.tally.kept,
            "skipped": self.tally.skipped_json(),
            "train": sets[0].rows,
            "val": sets[1].rows,
            // By construction none: a picture's rows stay together.
            "leakage": { "repeated_pictures": duplicates, "on_both_sides": 0 },
            "notices": self.tally.notices_json(),
            "broken_files": self.inputs.broken_json(),
        })
    }

    fn files(&self, sets: &[Set; 2]) -> Value {
        let out = &self.job.out;
        let set = |i: usize| -> Option<PathBuf> { (sets[i].rows > 0).then(|| out.join(&sets[i].file)) };
        json!({
            "train": set(0),
            "val": set(1),
            "images": out.join(PICTURES),
            "dataset_info": out.join(super::registry::FILE_NAME),
            "report": out.join(report_name(self.job)),
        })
    }
}

/// One of the two data sets.
struct Set<'a> {
    name: &'a String,
    file: String,
    held_out: bool,
    rows: usize,
}

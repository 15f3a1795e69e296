//! The end of a conversion: split, JSON files, report, everything moved into place, both sets registered.

use super::conversion::Conversion;
use super::report_name;
use super::results::{KeptSides, Results};
use super::row_notes::Notice;
use super::split::Sides;
use super::staging::PICTURES;
use crate::data::registry::{self, Entry};
use crate::error::{At, Error, Kind, Result};
use crate::job::{Emit, RowFormat};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

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
        self.register(&sets)?;
        summary["files"] = self.files(&sets);
        Ok(summary)
    }

    /// Registers the sets that have rows, both in one write. What an earlier run registered or wrote of these names and is not
    /// of this one would be stale beside it, and goes.
    fn register(&self, sets: &[Set; 2]) -> Result<()> {
        let out = &self.job.out;
        let entry = |set: &Set| (set.rows > 0).then(|| Entry::sharegpt(&set.file));
        let entries = sets.each_ref().map(entry);
        let named = [0, 1].map(|i| (sets[i].name.as_str(), entries[i].as_ref()));
        registry::update(out, &named)?;
        for set in sets {
            let files =
                [RowFormat::Json, RowFormat::Jsonl].map(|f| format!("{}.{}", set.name, f.extension()));
            for file in files.iter().filter(|file| set.rows == 0 || **file != set.file) {
                remove(&out.join(file))?;
            }
        }
        Ok(())
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
            "dataset_info": out.join(registry::FILE_NAME),
            "report": out.join(report_name(self.job)),
        })
    }
}

fn remove(file: &Path) -> Result<()> {
    if fs::symlink_metadata(file).is_ok() {
        fs::remove_file(file).at("remove", file)?;
    }
    Ok(())
}

/// One of the two data sets.
struct Set<'a> {
    name: &'a String,
    file: String,
    held_out: bool,
    rows: usize,
}

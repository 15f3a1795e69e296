//! Looks a registered data set over before it is trained on: format, roles, pictures, answers, length; a verdict.

mod against;
mod characters;
mod estimate;
mod fix;
mod ledger;
mod numbers;
mod profile;
mod repeats;
mod row;
mod rule;
mod saved;
mod scan;
mod script;
pub mod stats;
mod words;

pub use saved::{RowFindings, Saved, saved, saved_findings};

use crate::data::encode::Encoder;
use crate::data::groups::count_rows;
use crate::data::picture_cache::PictureCache;
use crate::data::picture_look::Depth;
use crate::data::reader::Reader;
use crate::error::{Error, Kind, Result};
use crate::job::{CheckJob, Emit, Event, Finding, Level, Phase};
use ledger::Ledger;
use profile::Profile;
use repeats::{Others, Repeats};
use row::{Encoders, Looker, Seen};
use rule::Rule;
use scan::{Meter, scan};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;

/// Checks, sends the findings, and gives the report.
///
/// # Errors
/// As [`report`]; `Kind::Check` when the findings hold an error, `Kind::Stopped` after the findings so far.
pub fn run(job: &CheckJob, stop: &AtomicBool, emit: Emit) -> Result<Value> {
    let report = report(job, stop, emit)?;
    match refusal(&report) {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

/// Checks and sends the findings; errors in the data are in the report, not an `Err`. Once `stop` is set the report
/// is about the rows so far, its verdict `stopped`.
///
/// # Errors
/// The data set cannot be opened at all, the model folder has no tokenizer, the cleaned copy cannot be written.
pub fn report(job: &CheckJob, stop: &AtomicBool, emit: Emit) -> Result<Value> {
    let config = &job.config;
    let reader = open(job, &job.dataset, stop, emit)?;
    if let Some(name) = &job.fix {
        fix::may_write(job, name)?;
    }
    let encoders = job.model.as_deref().map(|model| Encoders::load(model, config)).transpose()?;
    let others = against::open(job, stop, emit)?;
    let cache = PictureCache::open(Some(&job.dataset_dir));
    let depth = if job.deep { Depth::Pixels } else { Depth::Header };
    let meter = Meter::new(reader.len() + others.iter().map(Reader::len).sum::<usize>(), emit);
    let mut found = Found::new(&reader);
    let looker =
        Looker { reader: &reader, cache: &cache, depth, encoders: encoders.as_ref(), with_words: false };
    let compared = others.iter().all(|other| {
        let looker = Looker { reader: other, depth: Depth::Header, encoders: None, ..looker };
        scan(&looker, &meter, stop, &mut |seen| {
            found.others.take(&seen);
        })
    });
    let finished = compared && scan(&looker, &meter, stop, &mut |seen| found.take(&seen));
    meter.finish();
    if let Err(error) = cache.save() {
        emit(Event::Log { level: Level::Warning, line: format!("not remembered: {}", error.message) });
    }
    found.close(finished);
    let mut report = found.report(job, finished, emit);
    report["against"] = others.iter().map(|o| o.name.as_str()).collect();
    if let (Some(name), true) = (&job.fix, finished) {
        let source = fix::Source { reader: &reader, ledger: &found.ledger, cache: &cache };
        report["fix"] = fix::write(job, name, &source)?;
    }
    Ok(report)
}

/// Opens a set; the rows of a big file are looked for when it is opened first.
fn open(job: &CheckJob, name: &str, stop: &AtomicBool, emit: Emit) -> Result<Reader> {
    let told = |done: u64, total: u64| {
        emit(Event::Progress { phase: Phase::Loading, done: done as usize, total: total as usize });
    };
    Reader::open_with(&job.dataset_dir, name, job.config.media_dir.as_deref(), &told, stop)
}

/// The error of a report whose verdict is `errors` or `stopped`.
pub fn refusal(report: &Value) -> Option<Error> {
    let line = report["line"].as_str().unwrap_or_default();
    match report["verdict"].as_str() {
        Some("errors") => Some(Error::new(Kind::Check, line).hint(
            "each finding says what to do; rows with errors are left out of a training, leaked ones are not; \
             `--fix NAME` writes a clean set",
        )),
        Some("stopped") => Some(Error::new(Kind::Stopped, line)),
        _ => None,
    }
}

/// All that is gathered row by row.
struct Found<'a> {
    reader: &'a Reader,
    ledger: Ledger,
    profile: Profile,
    repeats: Repeats,
    others: Others,
    /// Rows looked at.
    looked: usize,
}

impl<'a> Found<'a> {
    fn new(reader: &'a Reader) -> Self {
        Self {
            reader,
            ledger: Ledger::default(),
            profile: Profile::default(),
            repeats: Repeats::default(),
            others: Others::default(),
            looked: 0,
        }
    }

    fn take(&mut self, seen: &Seen) {
        self.looked += 1;
        for note in &seen.notes {
            self.ledger.add(note.rule, (seen.row, seen.id.as_deref()), note.detail.as_deref());
        }
        self.others.compare(seen, &mut self.ledger);
        self.repeats.take(seen, &mut self.ledger);
        self.profile.take(seen);
    }

    /// What can be told only when all rows are known.
    fn close(&mut self, finished: bool) {
        if finished {
            for (writing, rows) in self.profile.minorities() {
                rows.iter().for_each(|r| {
                    self.ledger.add(Rule::MinorityLanguage, (*r as usize, None), Some(writing))
                });
            }
        }
    }

    /// Sends the findings, keeps them beside the data, and puts the report together.
    fn report(&self, job: &CheckJob, finished: bool, emit: Emit) -> Value {
        let rows = self.reader.len();
        let (mut findings, all): (Vec<Finding>, Vec<RowFindings>) =
            self.ledger.findings(rows).into_iter().unzip();
        if finished && self.profile.readable() == 0 {
            findings.insert(0, no_rows(&self.reader.name, rows));
        }
        findings.iter().for_each(|f| emit(Event::Finding(f.clone())));
        if finished && let Err(error) = saved::write(&job.dataset_dir, &job.dataset, rows, all) {
            emit(Event::Log { level: Level::Warning, line: format!("not kept: {}", error.message) });
        }
        let (verdict, line) = self.verdict(&findings, finished);
        let mut tokens = self.profile.tokens.all.json();
        if let Value::Object(tokens) = &mut tokens {
            tokens.insert("cutoff_len".into(), json!(job.config.cutoff_len));
            tokens.insert("over".into(), json!(self.profile.tokens.over));
        }
        json!({
            "dataset": self.reader.name,
            "rows": rows,
            "looked_at": self.looked,
            "usable": self.profile.usable,
            "tokens": tokens,
            "profile": self.profile.json(),
            "estimate": estimate::estimate(&self.profile.tokens, &job.config),
            "findings": findings,
            "verdict": verdict,
            "line": line,
        })
    }

    fn verdict(&self, findings: &[Finding], finished: bool) -> (&'static str, String) {
        let count = |level: Level| findings.iter().filter(|f| f.level == level).count();
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (name, rows) = (&self.reader.name, self.reader.len());
        let found = format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"));
        if !finished {
            return (
                "stopped",
                format!("{name}: stopped after {} of {}, {found}", self.looked, count_rows(rows)),
            );
        }
        let (verdict, word) = match (errors, warnings) {
            (0, 0) => ("ok", "符合"),
            (0, _) => ("warnings", "符合"),
            _ => ("errors", "不符合"),
        };
        (verdict, format!("{name}: {} of {} usable, {found}: {word}", self.profile.usable, count_rows(rows)))
    }
}

impl Encoders {
    fn load(model: &std::path::Path, config: &crate::config::TrainConfig) -> Result<Self> {
        let endless = crate::config::TrainConfig { cutoff_len: usize::MAX, ..config.clone() };
        let (cutting, whole) = (Encoder::load(model, config)?, Encoder::load(model, &endless)?);
        Ok(Self { cutting, whole, cutoff: config.cutoff_len })
    }
}

fn no_rows(name: &str, rows: usize) -> Finding {
    Finding {
        level: Level::Error,
        code: "no_rows".into(),
        message: format!("no row of {name} can be used ({} in the file)", count_rows(rows)),
        count: 1,
        rows: Vec::new(),
        fix: "mend the rows, or convert the data again".into(),
    }
}

//! Looks a registered data set over before it is trained on: format, roles, pictures, answers, length; a verdict.

mod saved;

pub use saved::{RowFindings, Saved, saved, saved_findings};

use crate::data::dataset::{self, Dataset};
use crate::data::encode::Encoder;
use crate::data::groups::{Group, Place, count_rows};
use crate::data::picture::Picture;
use crate::data::sample::{ImageRef, Role, Sample};
use crate::data::special;
use crate::error::{At, Error, Kind, Result};
use crate::job::{CheckJob, Emit, Event, Finding, Level, Phase};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts the tokens of a sample before any cut.
pub type TokenCounter<'a> = &'a (dyn Fn(&Sample) -> Result<usize> + Sync);

/// Control tokens that stand for a picture: in a text they make the model look for one that is not there.
const VISION_TOKENS: [&str; 4] = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"];

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Checks, sends the findings, and gives the report.
///
/// # Errors
/// As [`report`]; `Kind::Check` when the findings hold an error.
pub fn run(job: &CheckJob, stop: &AtomicBool, emit: Emit) -> Result<Value> {
    let report = report(job, stop, emit)?;
    match refusal(&report) {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

/// Checks and sends the findings; errors in the data are in the report, not an `Err`.
///
/// # Errors
/// The data set cannot be loaded at all, the model folder has no tokenizer, `stop` was set.
pub fn report(job: &CheckJob, stop: &AtomicBool, emit: Emit) -> Result<Value> {
    let media = job.config.media_dir.as_deref();
    let dataset = dataset::load(&job.dataset_dir, &job.dataset, media)?;
    let cutoff = job.config.cutoff_len;
    let Some(model) = &job.model else { return check(&dataset, cutoff, None, stop, emit) };
    let mut config = (*job.config).clone();
    config.cutoff_len = usize::MAX;
    let encoder = Encoder::load(model, &config)?;
    let count = |sample: &Sample| Ok(encoder.encode(sample, &encoder.grids(sample)?)?.input_ids.len());
    check(&dataset, cutoff, Some(&count), stop, emit)
}

/// The error of a report whose verdict is `errors`.
pub fn refusal(report: &Value) -> Option<Error> {
    (report["verdict"] == "errors").then(|| {
        Error::new(Kind::Check, report["line"].as_str().unwrap_or_default())
            .hint("each finding says what to do; rows with errors would be left out of a training")
    })
}

/// Checks a loaded data set. Tokens are counted against `cutoff` if there is a way to count them.
pub fn check(
    dataset: &Dataset,
    cutoff: usize,
    counter: Option<TokenCounter>,
    stop: &AtomicBool,
    emit: Emit,
) -> Result<Value> {
    let looked = look_at_all(dataset, counter, stop, emit)?;
    let mut report = Report::new(dataset.rows);
    let mut seen = Seen::default();
    for (sample, looked) in dataset.samples.iter().zip(&looked) {
        report.texts(sample);
        report.looked(sample, looked, cutoff);
        report.repeated(sample, looked, &mut seen);
    }
    let mut findings = dataset.findings.clone();
    findings.extend(report.findings());
    if dataset.samples.is_empty() {
        findings.push(no_rows(dataset));
    }
    findings.sort_by_key(|f| std::cmp::Reverse(f.level));
    findings.iter().for_each(|f| emit(Event::Finding(f.clone())));
    Ok(summary(dataset, &findings, &looked, cutoff))
}

fn summary(dataset: &Dataset, findings: &[Finding], looked: &[Looked], cutoff: usize) -> Value {
    let count = |level: Level| findings.iter().filter(|f| f.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    let (verdict, word) = match (errors, warnings) {
        (0, 0) => ("ok", "符合"),
        (0, _) => ("warnings", "符合"),
        _ => ("errors", "不符合"),
    };
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let line = format!(
        "{}: {} of {} usable, {}, {}: {word}",
        dataset.name,
        dataset.samples.len(),
        count_rows(dataset.rows),
        plural(errors, "error"),
        plural(warnings, "warning")
    );
    json!({
        "dataset": dataset.name,
        "rows": dataset.rows,
        "usable": dataset.samples.len(),
        "pictures": dataset.samples.iter().map(|s| s.images.len()).sum::<usize>(),
        "tokens": tokens(looked, cutoff),
        "findings": findings,
        "verdict": verdict,
        "line": line,
    })
}

/// Shortest, longest and mean sample; null if tokens were not counted.
fn tokens(looked: &[Looked], cutoff: usize) -> Value {
    let counts: Vec<usize> =
        looked.iter().filter_map(|l| l.tokens.as_ref()?.as_ref().ok().copied()).collect();
    let (Some(min), Some(max)) = (counts.iter().min(), counts.iter().max()) else { return Value::Null };
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let over = counts.iter().filter(|n| **n > cutoff).count();
    json!({ "min": min, "max": max, "mean": (mean * 10.0).round() / 10.0, "cutoff_len": cutoff, "over": over })
}

fn no_rows(dataset: &Dataset) -> Finding {
    Finding {
        level: Level::Error,
        code: "no_rows".into(),
        message: format!("no row of {} can be used ({} in the file)", dataset.name, count_rows(dataset.rows)),
        count: 1,
        rows: Vec::new(),
        fix: "mend the rows, or convert the data again".into(),
    }
}

/// What the parallel look at a sample's files gives.
struct Looked {
    /// The hash of each picture's bytes, or why it cannot be opened.
    pictures: Vec<Result<[u8; 32]>>,
    tokens: Option<Result<usize>>,
}

fn look_at_all(
    dataset: &Dataset,
    counter: Option<TokenCounter>,
    stop: &AtomicBool,
    emit: Emit,
) -> Result<Vec<Looked>> {
    let total = dataset.samples.len();
    let done = AtomicUsize::new(0);
    let last = Mutex::new(None::<Instant>);
    let look_at = |sample: &Sample| {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Stopped, "check stopped"));
        }
        let looked = look(sample, counter);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last = last.lock().expect("no panic while it is held");
        if done == total || last.is_none_or(|t| t.elapsed() >= PROGRESS_EVERY) {
            *last = Some(Instant::now());
            emit(Event::Progress { phase: Phase::Checking, done, total });
        }
        Ok(looked)
    };
    dataset.samples.par_iter().map(look_at).collect()
}

fn look(sample: &Sample, counter: Option<TokenCounter>) -> Looked {
    let pictures: Vec<Result<[u8; 32]>> = sample.images.iter().map(open).collect();
    let sound = pictures.iter().all(Result::is_ok);
    Looked { pictures, tokens: counter.filter(|_| sound).map(|count| count(sample)) }
}

/// Opens a picture as the trainer does.
fn open(image: &ImageRef) -> Result<[u8; 32]> {
    Picture::open(image)?;
    Ok(match image {
        ImageRef::Path(path) => *blake3::hash(&std::fs::read(path).at("read", path)?).as_bytes(),
        ImageRef::Bytes(bytes) => *blake3::hash(bytes).as_bytes(),
    })
}

/// Rows and pictures met so far.
#[derive(Default)]
struct Seen {
    rows: HashSet<[u8; 32]>,
    pictures: HashSet<[u8; 32]>,
}

/// What a finding is about. The order is that of the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    BrokenPicture,
    VisionToken,
    Uncountable,
    OverCutoff,
    ControlToken,
    EmptyAnswer,
    DuplicateRow,
    RepeatedPicture,
}

impl About {
    /// Level, code, what, and what to do.
    fn describe(self) -> (Level, &'static str, &'static str, &'static str) {
        use Level::{Error, Info, Warning};
        match self {
            About::BrokenPicture => (
                Error,
                "broken_picture",
                "a picture does not open",
                "get the file again, or take the row out",
            ),
            About::VisionToken => (
                Error,
                "vision_token",
                "the text holds a picture token of the model",
                "take it out of the text",
            ),
            About::Uncountable => {
                (Error, "not_encodable", "the row cannot be turned into tokens", "see the detail")
            }
            About::OverCutoff => (
                Warning,
                "over_cutoff",
                "more tokens than cutoff_len: the end is cut",
                "raise cutoff_len, or lower image_max_pixels",
            ),
            About::ControlToken => (
                Warning,
                "special_token",
                "the text holds a control token, which the model reads as such",
                "take it out of the text",
            ),
            About::EmptyAnswer => {
                (Warning, "empty_answer", "an answer is empty", "write the answer, or take the row out")
            }
            About::DuplicateRow => (
                Warning,
                "duplicate_row",
                "the same pictures and text as an earlier row",
                "take the copies out",
            ),
            About::RepeatedPicture => {
                (Info, "repeated_picture", "a picture of an earlier row with another text", "")
            }
        }
    }
}

/// Findings by what they are about.
struct Report {
    rows: usize,
    groups: BTreeMap<About, Group>,
}

impl Report {
    fn new(rows: usize) -> Self {
        Self { rows, groups: BTreeMap::new() }
    }

    fn add(&mut self, about: About, sample: &Sample, detail: Option<&str>) {
        let place = Place { file: "", row: sample.row, id: Some(&sample.id) };
        self.groups.entry(about).or_default().add(&place, 1, detail);
    }

    fn texts(&mut self, sample: &Sample) {
        let answers =
            || sample.messages.iter().filter(|m| matches!(m.role, Role::Assistant | Role::Function));
        if answers().any(|m| m.content.trim().is_empty()) {
            self.add(About::EmptyAnswer, sample, None);
        }
        let mut texts = sample.messages.iter().map(|m| m.content.as_str()).chain(sample.system.as_deref());
        if let Some(token) = VISION_TOKENS.iter().find(|t| texts.clone().any(|text| text.contains(**t))) {
            self.add(About::VisionToken, sample, Some(token));
        } else if let Some(token) = texts.find_map(special::control_token) {
            self.add(About::ControlToken, sample, Some(token));
        }
    }

    fn looked(&mut self, sample: &Sample, looked: &Looked, cutoff: usize) {
        if let Some(error) = looked.pictures.iter().find_map(|p| p.as_ref().err()) {
            self.add(About::BrokenPicture, sample, Some(&error.message));
        }
        match &looked.tokens {
            Some(Ok(n)) if *n > cutoff => {
                self.add(About::OverCutoff, sample, Some(&format!("{n} > {cutoff}")))
            }
            Some(Err(error)) => self.add(About::Uncountable, sample, Some(&error.message)),
            _ => {}
        }
    }

    fn repeated(&mut self, sample: &Sample, looked: &Looked, seen: &mut Seen) {
        let mut row = blake3::Hasher::new();
        for text in sample.messages.iter().map(|m| &m.content).chain(&sample.system) {
            row.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        let pictures: Vec<&[u8; 32]> = looked.pictures.iter().flatten().collect();
        pictures.iter().for_each(|p| {
            row.update(&p[..]);
        });
        let repeated = pictures.iter().filter(|p| !seen.pictures.insert(***p)).count() > 0;
        if !seen.rows.insert(*row.finalize().as_bytes()) {
            self.add(About::DuplicateRow, sample, None);
        } else if repeated {
            self.add(About::RepeatedPicture, sample, None);
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let one = |(about, group): (&About, &Group)| {
            let (level, code, text, fix) = about.describe();
            let what = format!("{} of {}: {text}", group.count, count_rows(self.rows));
            group.finding(level, code, &what, fix)
        };
        self.groups.iter().map(one).collect()
    }
}

//! Encodes a whole data set into plain vectors, in parallel and in order.

use super::encode::{Encoded, Encoder, named};
use super::picture_cache::PictureCache;
use super::picture_look::Depth;
use super::sample::{ImageRef, Sample};
use crate::error::{Error, Kind, Result};
use crate::job::{Emit, Event, Finding, Level, Phase};
use rayon::prelude::*;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A sample that is ready for training; its pictures are still files.
#[derive(Clone, Debug)]
pub struct EncodedSample {
    pub row: usize,
    pub id: String,
    pub encoded: Encoded,
    pub images: Vec<ImageRef>,
}

/// Why a sample cannot be trained on.
struct Rejected {
    code: &'static str,
    reason: String,
    fix: String,
}

/// Samples encoded between two looks at `stop` and two progress events.
const CHUNK: usize = 64;

/// Rows listed in a finding.
const LISTED_ROWS: usize = 20;

/// What is seen of pictures is kept this often, so that a killed start does not begin anew.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// How samples are encoded.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// Threads.
    pub workers: usize,
    /// The data folder, where it is kept which pictures were decoded once. `None`: each pass decodes all.
    pub cache: Option<&'a Path>,
}

/// Encodes all samples. What cannot be trained on is left out and told by a finding for each kind. Fails with
/// [`Kind::Stopped`] once `stop` is set.
pub fn encode_all(
    encoder: &Encoder,
    samples: &[Sample],
    pass: Pass,
    emit: Emit,
    stop: &AtomicBool,
) -> Result<(Vec<EncodedSample>, Vec<Finding>)> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(pass.workers.max(1))
        .build()
        .map_err(|e| Error::internal(format!("cannot start threads: {e}")))?;
    let cache = PictureCache::open(pass.cache);
    let total = samples.len();
    let (mut kept, mut findings) = (Vec::with_capacity(total), Vec::new());
    let mut saved = Instant::now();
    emit(Event::Progress { phase: Phase::Encoding, done: 0, total });
    for (i, chunk) in samples.chunks(CHUNK).enumerate() {
        if stop.load(Ordering::Relaxed) {
            keep(&cache, emit);
            return Err(Error::new(Kind::Stopped, format!("stopped after encoding {} samples", i * CHUNK)));
        }
        let encoded: Vec<_> =
            pool.install(|| chunk.par_iter().map(|s| encode_one(encoder, s, &cache)).collect());
        for (sample, result) in chunk.iter().zip(encoded) {
            match result {
                Ok(encoded) => kept.push(EncodedSample {
                    row: sample.row,
                    id: sample.id.clone(),
                    encoded,
                    images: sample.images.clone(),
                }),
                Err(rejected) => note(&mut findings, rejected, sample),
            }
        }
        if saved.elapsed() >= KEEP_EVERY {
            keep(&cache, emit);
            saved = Instant::now();
        }
        emit(Event::Progress { phase: Phase::Encoding, done: i * CHUNK + chunk.len(), total });
    }
    keep(&cache, emit);
    for finding in &mut findings {
        finding.message = format!("{} of {total} rows left out: {}", finding.count, finding.message);
    }
    Ok((kept, findings))
}

/// A folder that cannot be written to costs the next start its time, and is no reason to end this one.
fn keep(cache: &PictureCache, emit: Emit) {
    if let Err(error) = cache.save() {
        let line = format!("decoded pictures are not remembered: {}", error.message);
        emit(Event::Log { level: Level::Debug, line });
    }
}

fn encode_one(encoder: &Encoder, sample: &Sample, cache: &PictureCache) -> Result<Encoded, Rejected> {
    // Decoded once in full: a picture that breaks off in its middle must not end a run hours later.
    let grid = |image: &ImageRef| {
        let look = cache.look(image, Depth::Pixels).map_err(|(_, e)| e)?;
        encoder.grid(look.width, look.height).map_err(|e| named(e, image))
    };
    let grids: Vec<_> =
        sample.images.iter().map(grid).collect::<Result<_>>().map_err(|e| rejected("broken_picture", e))?;
    let encoded = encoder.encode(sample, &grids).map_err(|e| rejected("bad_conversation", e))?;
    let (found, needed) = (encoded.picture_tokens, encoded.picture_tokens_needed);
    if encoded.picture_cut() {
        return Err(Rejected {
            code: "picture_cut",
            reason: format!("cutoff_len leaves {found} of {needed} picture tokens"),
            fix: "raise cutoff_len or lower image_max_pixels".into(),
        });
    }
    if found > needed {
        return Err(Rejected {
            code: "special_token_in_text",
            reason: format!("the text itself holds {} picture tokens", found - needed),
            fix: "take `<|image_pad|>` out of the text".into(),
        });
    }
    if encoded.label_tokens() == 0 {
        return Err(Rejected {
            code: "nothing_to_learn",
            reason: "no token of the answer is left within cutoff_len".into(),
            fix: "raise cutoff_len".into(),
        });
    }
    Ok(encoded)
}

fn rejected(code: &'static str, error: Error) -> Rejected {
    Rejected { code, reason: error.message, fix: error.hint.unwrap_or_default() }
}

/// Adds a sample to the finding of its code; the message gives the first reason.
fn note(findings: &mut Vec<Finding>, rejected: Rejected, sample: &Sample) {
    let Rejected { code, reason, fix } = rejected;
    match findings.iter_mut().find(|f| f.code == code) {
        Some(finding) => {
            finding.count += 1;
            if finding.rows.len() < LISTED_ROWS {
                finding.rows.push(sample.row);
            }
        }
        None => findings.push(Finding {
            level: Level::Warning,
            code: code.into(),
            message: format!("{reason} (row {} id {})", sample.row, sample.id),
            count: 1,
            rows: vec![sample.row],
            fix,
        }),
    }
}

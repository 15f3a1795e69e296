//! The numbers of a data set without a judgement.

use super::estimate::estimate;
use super::profile::Profile;
use super::row::{Encoders, Looker};
use super::scan::{Meter, scan};
use super::words::Words;
use crate::data::picture_cache::PictureCache;
use crate::data::picture_look::Depth;
use crate::error::Result;
use crate::job::{CheckJob, Emit, Event, Level};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;

/// Counts. Of the job, the data set, the model and the settings matter. Once `stop` is set the numbers are those of
/// the rows so far, and `finished` is false.
///
/// # Errors
/// The data set cannot be opened, the model folder has no tokenizer.
pub fn stats(job: &CheckJob, stop: &AtomicBool, emit: Emit) -> Result<Value> {
    let reader = super::open(job, &job.dataset, stop, emit)?;
    let encoders = job.model.as_deref().map(|model| Encoders::load(model, &job.config)).transpose()?;
    let cache = PictureCache::open(Some(&job.dataset_dir));
    let looker = Looker {
        reader: &reader,
        cache: &cache,
        depth: Depth::Header,
        encoders: encoders.as_ref(),
        with_words: true,
    };
    let (mut profile, mut words, mut looked) = (Profile::default(), Words::default(), 0);
    let meter = Meter::new(reader.len(), emit);
    let finished = scan(&looker, &meter, stop, &mut |mut seen| {
        looked += 1;
        profile.take(&seen);
        if let Some(answer) = seen.facts.as_mut().and_then(|f| f.words.take()) {
            words.take(answer);
        }
    });
    meter.finish();
    if let Err(error) = cache.save() {
        emit(Event::Log { level: Level::Warning, line: format!("not remembered: {}", error.message) });
    }
    Ok(json!({
        "dataset": reader.name,
        "rows": reader.len(),
        "looked_at": looked,
        "finished": finished,
        "profile": profile.json(),
        "words": words.json(),
        "estimate": estimate(&profile.tokens, &job.config),
    }))
}

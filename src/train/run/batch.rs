//! Packs of what can still be read: a picture that was lost in mid-run costs its sample, not the run.

use super::{Trainer, log};
use crate::data::encode::Encoder;
use crate::error::{Kind, Result};
use crate::eval::loss::Targets;
use crate::eval::samples::Samples;
use crate::job::{Event, Finding, Level};
use crate::model::qwen3_vl::{Pack, Qwen3Vl};

/// A micro-batch that has been read.
pub(super) struct Read {
    /// `None`: no sample could be read.
    pub pack: Option<(Pack, Targets)>,
    /// Samples in the pack.
    pub samples: usize,
    /// Places of the others, and why.
    pub lost: Vec<(usize, String)>,
}

/// Reads the samples at `places`, without those whose pictures cannot be read any more.
pub(super) fn read(
    samples: &mut Samples,
    (model, encoder): (&Qwen3Vl, &Encoder),
    places: &[usize],
) -> Result<Read> {
    let unreadable = |kind: Kind| matches!(kind, Kind::Input | Kind::Io);
    match samples.pack(model, encoder, places) {
        Ok(pack) => return Ok(Read { pack: Some(pack), samples: places.len(), lost: Vec::new() }),
        Err(e) if !unreadable(e.kind) => return Err(e),
        Err(_) => {}
    }
    let (mut good, mut lost) = (Vec::new(), Vec::new());
    for &place in places {
        match samples.pack(model, encoder, &[place]) {
            Ok(_) => good.push(place),
            Err(e) if unreadable(e.kind) => lost.push((place, e.message)),
            Err(e) => return Err(e),
        }
    }
    let pack = if good.is_empty() { None } else { Some(samples.pack(model, encoder, &good)?) };
    Ok(Read { pack, samples: good.len(), lost })
}

impl Trainer<'_> {
    /// Counts samples that were left out of training, and names each of them once.
    pub(super) fn note_lost(&mut self, lost: &[(usize, String)]) {
        self.position.skipped.samples += lost.len();
        for (place, why) in lost {
            if !self.unreadable.insert(*place) {
                continue;
            }
            let sample = &self.data.train.all[*place];
            log(self.emit, Level::Warning, format!("training goes on without a sample: {why}"));
            (self.emit)(Event::Finding(Finding {
                level: Level::Warning,
                code: "unreadable_picture".into(),
                message: format!("left out while training: {why}"),
                count: 1,
                rows: vec![sample.row],
                fix: "see whether the file is still there and whole".into(),
            }));
        }
    }
}

//! What the run will take: the plan of its own samples, put right by what is measured.

use super::{Trainer, log};
use crate::config::TrainConfig;
use crate::data::batch::EncodedSample;
use crate::job::{Emit, Level};
use crate::model::backend;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::plan::lengths::{Batch, Length};
use crate::plan::{self, Device, Lengths, Plan};
use crate::train::step::Keep;

/// Updates that are timed at the start of a run.
const TIMED: usize = 3;

/// The plan of a run in progress.
pub(super) struct Forecast {
    /// `None`: the settings do not name what the adapter has, or the device's memory is not known.
    plan: Option<Plan>,
    /// What is kept of the forward pass.
    pub keep: Keep,
    /// Whether the settings leave that to the plan.
    pub free: bool,
    /// Seconds of the first updates, where they are timed.
    timed: Option<Vec<f64>>,
    /// Seconds before the first update, which say nothing about the others.
    pub rehearsed: f64,
    /// Seconds spent on pictures of a frozen tower, most of them in the first epoch.
    pub looked: f64,
}

impl Forecast {
    /// Plans the run on `samples` with the largest micro-batch `worst`. Its speed is estimated where it is `long`.
    pub fn new(
        config: &TrainConfig,
        model: &Qwen3Vl,
        samples: &[EncodedSample],
        (worst, long): (&[usize], bool),
        emit: Emit,
    ) -> Self {
        let device = match (model.on_cpu(), backend::gpu_memory(&model.device)) {
            (true, _) if long => Some(Device::cpu()),
            (true, _) => Some(Device::cpu_of_unknown_speed()),
            (false, Some((name, memory))) => Some(Device::present(&name, memory)),
            (false, None) => None,
        };
        let lengths = lengths(config, samples, worst);
        let plan = device.and_then(|d| Plan::of(config, &model.config, &lengths, &d).ok());
        let asked = config.disable_gradient_checkpointing;
        let recompute = plan.as_ref().map_or(asked == Some(false), |p| p.recompute);
        if let Some(plan) = &plan {
            let level = if plan.fits() { Level::Info } else { Level::Warning };
            log(emit, level, format!("plan: {}", plan.line()));
        }
        Self {
            plan,
            keep: if recompute { Keep::Inputs } else { Keep::All },
            free: asked.is_none(),
            timed: long.then(Vec::new),
            rehearsed: 0.0,
            looked: 0.0,
        }
    }

    /// Whether features of all pictures are kept, so that later epochs look at none.
    fn features_fit(&self) -> bool {
        self.plan.as_ref().is_some_and(|p| p.memory.features_fit)
    }
}

fn lengths(config: &TrainConfig, samples: &[EncodedSample], worst: &[usize]) -> Lengths {
    let all: Vec<Length> = samples.iter().map(|s| Length::of(&s.encoded)).collect();
    let worst: Vec<Length> = worst.iter().map(|&place| all[place]).collect();
    let tokenizer = std::fs::metadata(config.model_name_or_path.join("tokenizer.json"));
    Lengths {
        rows: all.len(),
        worst: Some(Batch::of(&worst)),
        samples: all,
        tokenizer: tokenizer.map_or(0, |m| m.len()),
        source: "lengths: the run's own samples".into(),
    }
}

impl Trainer<'_> {
    /// Takes the seconds of an update. When enough of the first ones are timed the log says what they make of the plan.
    pub(super) fn took(&mut self, seconds: f64) {
        let Some(timed) = &mut self.forecast.timed else { return };
        timed.push(seconds);
        if timed.len() < TIMED {
            return;
        }
        let timed = self.forecast.timed.take().unwrap_or_default();
        let Some(plan) = &self.forecast.plan else { return };
        let measured = plan::refine(plan, &timed).step_seconds.unwrap_or_default();
        let planned = plan.step_seconds.map_or(String::new(), |s| format!(", planned {}", plan::duration(s)));
        let left = plan::duration(self.remaining());
        let line = format!(
            "an update takes {} (median of the first {TIMED}{planned}): about {left} left",
            plan::duration(measured)
        );
        log(self.emit, Level::Info, line);
    }

    /// Says what the worst micro-batch took, `held` bytes at most, and what that makes of the planned peak.
    pub(super) fn held(&self, tokens: usize, seconds: f64, held: u64) {
        let begin =
            format!("worst micro-batch, {tokens} tokens: {}, {}", plan::duration(seconds), plan::size(held));
        let Some(plan) = &self.forecast.plan else {
            return log(self.emit, Level::Info, begin);
        };
        // picture features grow until each was looked at
        let features =
            plan.memory.resident.iter().find(|p| p.name == "picture features").map_or(0, |p| p.bytes);
        let peak = held + features.saturating_sub(self.data.train.feature_bytes());
        let (planned, room) = (plan::size(plan.memory.peak), plan::size(plan.device.memory));
        let level = if peak > plan.device.memory { Level::Warning } else { Level::Info };
        log(
            self.emit,
            level,
            format!("{begin} so far; {} expected at most (planned {planned}) of {room}", plan::size(peak)),
        );
    }

    /// Seconds to the end of the run, by the updates done. Pictures of a frozen tower cost time in the first epoch only,
    /// where their features are kept.
    pub(super) fn remaining(&self) -> f64 {
        let (first, step, total) = (self.first_step, self.position.step, self.plan.total);
        let done = (step - first).max(1) as f64;
        let elapsed = self.began.elapsed().as_secs_f64() - self.forecast.rehearsed;
        let left = (total - step) as f64;
        if !self.forecast.features_fit() {
            return elapsed / done * left;
        }
        let all_seen = total.min(first + self.plan.updates_per_epoch);
        let looking = self.forecast.looked / (step.min(all_seen) - first).max(1) as f64;
        (elapsed - self.forecast.looked) / done * left + looking * all_seen.saturating_sub(step) as f64
    }
}

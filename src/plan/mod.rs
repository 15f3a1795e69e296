//! Before a start: what memory and time a run will take, by a formula per component, without weights.

pub mod advise;
pub mod device;
mod flops;
pub mod lengths;
pub mod memory;
pub mod models;
mod shapes;

pub use device::Device;
pub use lengths::Lengths;
pub use memory::{Memory, Part};
pub use shapes::read_for_a_token;

use crate::config::TrainConfig;
use crate::config::steps::{Steps, steps};
use crate::error::Result;
use crate::model::ModelConfig;
use flops::Flops;

/// Share of the memory that a plan may fill which keeps all activations unasked.
const ROOM: f64 = 0.9;

/// What a run will take.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Plan {
    pub device: Device,
    /// Whether layers are computed again on the way back, as the settings say or the memory demands.
    pub recompute: bool,
    pub memory: Memory,
    pub steps: Steps,
    /// Floating point operations of a mean update, and of the whole run.
    pub step_flops: f64,
    pub total_flops: f64,
    /// Seconds of a mean update. `None` where the device's speed is not known.
    pub step_seconds: Option<f64>,
    pub total_seconds: Option<f64>,
    /// What the numbers rest on that was not read or measured.
    pub assumptions: Vec<String>,
}

impl Plan {
    /// The plan of `config` for a model of these shapes on data of these lengths.
    ///
    /// Errors: a `lora_target` that names nothing of the model.
    pub fn of(config: &TrainConfig, model: &ModelConfig, lengths: &Lengths, device: &Device) -> Result<Self> {
        if config.disable_gradient_checkpointing.is_some() {
            return Self::decided(config, model, lengths, device);
        }
        let with = |keep_all| {
            let config = TrainConfig { disable_gradient_checkpointing: Some(keep_all), ..config.clone() };
            Self::decided(&config, model, lengths, device)
        };
        let all = with(true)?;
        if all.memory.peak as f64 <= ROOM * device.memory as f64 {
            return Ok(all);
        }
        let mut plan = with(false)?;
        plan.assumptions
            .push(format!("layers are computed again: to keep all would take {}", size(all.memory.peak)));
        Ok(plan)
    }

    /// Where the settings say whether layers are computed again.
    fn decided(
        config: &TrainConfig,
        model: &ModelConfig,
        lengths: &Lengths,
        device: &Device,
    ) -> Result<Self> {
        let sized = lengths.sized(config);
        let steps = steps(config, sized.items(config), 1);
        let memory = memory::of(config, model, &sized, device)?;
        let flops = Flops::of(config, model, &sized)?;
        let cached = memory.features_fit;
        let step_flops = flops.step(config, cached, steps.epochs);
        let seconds = device.seconds(step_flops, flops.traffic(config, model));
        let mut assumptions = vec![lengths.source.clone()];
        assumptions.extend(device.assumption());
        if !config.disable_shuffling && lengths.worst.is_none() {
            assumptions.push("worst batch: the longest samples meet in one micro-batch".into());
        }
        Ok(Self {
            device: device.clone(),
            recompute: config.recomputes(),
            memory,
            steps,
            step_flops,
            total_flops: step_flops * steps.total as f64,
            step_seconds: seconds,
            total_seconds: seconds.map(|s| s * steps.total as f64),
            assumptions,
        })
    }

    /// Whether the peak fits the device.
    pub fn fits(&self) -> bool {
        self.memory.peak <= self.device.memory
    }

    /// A plan for the workbench's line of derived numbers: no file is read but the model's `config.json`, and a known
    /// model needs not even that. `rows` are the samples of the data set, if it has been opened.
    pub fn glance(config: &TrainConfig, rows: Option<usize>, device: &Device) -> Option<Self> {
        let model = models::find(&config.model_name_or_path).ok()?;
        let mut lengths = Lengths::assumed(config, "none were read");
        lengths.rows = rows.unwrap_or(lengths.rows);
        Self::of(config, &model.config, &lengths, device).ok()
    }

    /// One line for people: memory against what there is, and time.
    pub fn line(&self) -> String {
        let verdict = if self.fits() { "fits" } else { "does not fit" };
        let kept = if self.recompute { "layers computed again" } else { "all activations kept" };
        let time = self.total_seconds.map(|s| format!(" · about {}", duration(s))).unwrap_or_default();
        format!("{verdict}: {} of {}, {kept}{time}", size(self.memory.peak), size(self.device.memory))
    }
}

/// The plan with the seconds of updates that have been measured in place of the estimate: their median, as the
/// first updates also compute picture features and a checkpoint may fall into one.
pub fn refine(plan: &Plan, measured: &[f64]) -> Plan {
    let mut sorted: Vec<f64> = measured.iter().copied().filter(|s| s.is_finite() && *s > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let mut refined = plan.clone();
    let Some(&median) = sorted.get(sorted.len() / 2) else { return refined };
    refined.step_seconds = Some(median);
    refined.total_seconds = Some(median * plan.steps.total as f64);
    refined.assumptions.retain(|a| plan.device.assumption().as_ref() != Some(a));
    refined.assumptions.push(format!("time: the median of {} measured updates", sorted.len()));
    refined
}

/// Bytes for people, in the powers of two that a card's "24 GB" means.
pub fn size(bytes: u64) -> String {
    let b = bytes as f64;
    match bytes {
        0..0x10_0000 => format!("{:.0} KiB", b / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.0} MiB", b / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", b / f64::from(1 << 30)),
    }
}

/// Seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

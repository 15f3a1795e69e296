//! `lorascope plan`: the memory and time of a run before it is started.

use super::columns;
use super::output::Out;
use crate::config::layers;
use crate::error::{Error, Kind, Result};
use crate::plan::{self, Device, Lengths, Part, Plan, advise, models};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Say what memory and time a run will take, and what to change if it does not fit
///
/// Needs no weights: the model is a folder with config.json or a known name such as 4B, 32B or 30B-A3B. Lengths are
/// read from the data set where it and a tokenizer are there. Without --gpu or --memory it is for this machine's CPU.
/// Exit code 4 if the run does not fit.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// A YAML file with LLaMA-Factory's keys
    #[arg(value_name = "CONFIG.yaml")]
    pub config: PathBuf,
    /// Settings that override it
    #[arg(value_name = "key=value")]
    pub settings: Vec<String>,
    /// A model folder or name, instead of model_name_or_path
    #[arg(long, value_name = "NAME")]
    pub model: Option<PathBuf>,
    /// A GPU by name, such as A100-80GB or 4090
    #[arg(long, value_name = "NAME", conflicts_with = "memory")]
    pub gpu: Option<String>,
    /// Any GPU with this much memory
    #[arg(long, value_name = "GB")]
    pub memory: Option<f64>,
}

pub fn run(args: &PlanArgs, out: &Out) -> Result<()> {
    let (config, notes) = layers::load_with_notes(Some(&args.config), &args.settings)?;
    notes.iter().for_each(|note| out.note(note));
    let model = models::find(args.model.as_ref().unwrap_or(&config.model_name_or_path))?;
    let device = match (&args.gpu, args.memory) {
        (Some(name), _) => Device::gpu(name)?,
        (None, Some(gib)) if gib > 0.0 => Device::of_memory(gib),
        (None, Some(_)) => return Err(Error::usage("--memory is a number of GB above 0")),
        (None, None) => Device::cpu(),
    };
    let lengths = Lengths::find(&config, model.dir.as_deref());
    let plan = Plan::of(&config, &model.config, &lengths, &device)?;
    let advice =
        if plan.fits() { Vec::new() } else { advise::advise(&config, &model.config, &lengths, &device)? };
    out.line(format!("{} on {}", model.name, device.name));
    table(&plan, out);
    for a in &advice {
        let changes: Vec<String> = a.changes.iter().map(|c| format!("{}={}", c.key, c.value)).collect();
        out.line(format!("fits with {}: {}", changes.join(" "), plan::size(a.peak)));
    }
    out.object(&json!({ "model": model.name, "fits": plan.fits(), "plan": plan, "advice": advice }));
    if plan.fits() {
        return Ok(());
    }
    let hint = if advice.is_empty() {
        "no two of batch, recomputation, quantization_bit, image_max_pixels, cutoff_len and lora_rank suffice: \
         take a larger GPU or a smaller model"
    } else {
        "change the settings as shown"
    };
    Err(Error::new(Kind::Check, plan.line()).hint(hint))
}

fn table(plan: &Plan, out: &Out) {
    let row = |p: &Part, mark: &str| {
        let cells = [&format!("  {}{mark}", p.name), &plan::size(p.bytes), &p.note];
        out.line(columns::row(&cells.map(String::as_str), &[24, 10, 44]).trim_end());
    };
    let memory = &plan.memory;
    out.line("memory, all the time");
    memory.resident.iter().for_each(|p| row(p, ""));
    out.line("memory, one after another (* counts)");
    let largest = memory.phases.iter().map(|p| p.bytes).max();
    memory.phases.iter().for_each(|p| row(p, if Some(p.bytes) == largest { " *" } else { "" }));
    row(&memory.overhead, "");
    let s = &plan.steps;
    out.line(format!(
        "{} updates of {} samples, {:.2e} operations each",
        s.total, s.effective_batch, plan.step_flops
    ));
    if let Some(seconds) = plan.step_seconds {
        out.line(format!("about {} an update", plan::duration(seconds)));
    }
    plan.assumptions.iter().for_each(|a| out.line(format!("  {a}")));
    out.line(plan.line());
}

//! `lorascope bench`: how fast and in how much memory a run goes, and how far that is from what the processor can do.

use super::output::Out;
use super::{bench_quantized, bench_screen, config_file, job};
use crate::config::TrainConfig;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::job::{Event, Job, StepRow};
use crate::model::ModelConfig;
use crate::model::ops::limits;
use crate::plan::{self, Lengths, Plan};
use crate::train::memory;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// Measure a training or prediction run (samples a second, peak memory, where the time goes) or the workbench
///
/// Runs CONFIG.yaml as `train` or `eval` would and sets its speed against what this processor reaches in one large
/// product and in reading memory. tests/bench/peer.py compares with LLaMA-Factory on the same files. `quantized` trains
/// on the full model, on 8 and on 4 bits, and says what they change about the loss; nothing is written to output_dir.
/// `screen` needs no CONFIG: the workbench without a terminal, with a run of a million points that goes on and a data set
/// of 16,163 samples, all in a temporary folder (half a gigabyte).
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[arg(value_enum)]
    pub what: What,
    /// The configuration
    #[arg(value_name = "CONFIG.yaml")]
    pub config: Option<PathBuf>,
    /// Settings that come after the file, such as num_train_epochs=2
    #[arg(value_name = "key=value")]
    pub overrides: Vec<String>,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    Train,
    Predict,
    Quantized,
    Screen,
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
struct Measured {
    samples_per_second: f64,
    /// Of each epoch; from the second one on, frozen picture features are there already.
    epochs: Vec<f64>,
    tokens_per_second: f64,
    peak_bytes: u64,
    /// Operations a second of the run, of one large product, and bytes a second read from memory.
    run_flops: Option<f64>,
    product_flops: f64,
    read_bytes: f64,
    /// Share of the time by part.
    split: Vec<(String, f64)>,
    answers: Option<Answers>,
}

/// How fast prompts are read and answers written.
#[derive(Debug, Serialize)]
struct Answers {
    prompt_tokens_per_second: f64,
    tokens_per_second: f64,
    /// Seconds of one pass for every answer that runs.
    seconds_per_round: f64,
    /// Tokens that were guessed, and how many of them were right.
    guessed: f64,
    right: f64,
    /// Bytes of weights that a round has to read.
    read_per_round: Option<u64>,
}

pub fn run(args: &BenchArgs, out: &Out) -> Result<()> {
    let settings = &args.overrides;
    let mut measured = match (args.what, &args.config) {
        (What::Train, Some(file)) => train(config_file::load(file, settings, out)?, out)?,
        (What::Predict, Some(file)) => predict(config_file::load_to_evaluate(file, settings, out)?, out)?,
        (What::Quantized, Some(file)) => {
            return bench_quantized::run(&config_file::load(file, settings, out)?, out);
        }
        (What::Screen, None) => return bench_screen::run(bench_screen::FULL, out),
        (What::Screen, Some(_)) => return Err(Error::usage("bench screen takes no configuration")),
        (what, None) => {
            let name = what.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default();
            let usage = format!("this needs a configuration: lorascope bench {name} CONFIG.yaml");
            return Err(Error::usage(usage));
        }
    };
    measured.peak_bytes = memory::peak();
    measured.product_flops = limits::products();
    measured.read_bytes = limits::reading();
    print(&measured, out);
    out.object(&measured);
    Ok(())
}

fn train(config: TrainConfig, out: &Out) -> Result<Measured> {
    let flops = flops_of_a_sample(&config);
    let mut rows: Vec<StepRow> = Vec::new();
    let summary = job::run(&Engine::start(), Job::Train(Box::new(config)), out, &mut |event| {
        if let Event::Step(row) = event {
            rows.push(row.clone());
        }
    })?;
    let total = |of: fn(&StepRow) -> usize| rows.iter().map(of).sum::<usize>() as f64;
    let seconds: f64 = rows.iter().map(|r| r.seconds).sum();
    let speed = summary["results"]["train_samples_per_second"].as_f64().unwrap_or_default();
    Ok(Measured {
        samples_per_second: speed,
        epochs: by_epoch(&rows),
        tokens_per_second: total(|r| r.tokens) / seconds.max(1e-9),
        run_flops: flops.map(|f| f * total(|r| r.samples) / seconds.max(1e-9)),
        split: split(&rows, seconds),
        ..Measured::default()
    })
}

fn predict(config: TrainConfig, out: &Out) -> Result<Measured> {
    let model = ModelConfig::load(&config.model_name_or_path).ok();
    let (slots, sampling) = (config.per_device_eval_batch_size, config.sampling());
    let summary = job::run(&Engine::start(), Job::Evaluate(Box::new(config)), out, &mut |_| {})?;
    let speed = summary["results"]["predict_samples_per_second"].as_f64().unwrap_or_default();
    let of = |key: &str| summary["time"][key].as_f64().unwrap_or_default();
    let parts = [("pictures", of("pictures")), ("prompts", of("reading")), ("answers", of("writing"))];
    let total = parts.iter().map(|p| p.1).sum::<f64>().max(1e-9);
    let per_round = of("writing") / of("rounds").max(1.0);
    Ok(Measured {
        samples_per_second: speed,
        split: parts.map(|(name, seconds)| (name.to_string(), seconds / total)).into(),
        answers: Some(Answers {
            prompt_tokens_per_second: of("read") / of("reading").max(1e-9),
            tokens_per_second: of("written") / of("writing").max(1e-9),
            seconds_per_round: per_round,
            guessed: of("guessed"),
            right: of("right"),
            read_per_round: model.map(|m| plan::read_for_a_token(&m, slots, &sampling)),
        }),
        ..Measured::default()
    })
}

/// Operations of a mean sample in the first epoch; `None` where they cannot be counted beforehand.
fn flops_of_a_sample(config: &TrainConfig) -> Option<f64> {
    let dir = &config.model_name_or_path;
    let model = ModelConfig::load(dir).ok()?;
    let lengths = Lengths::read(config, dir).ok()?;
    let plan = Plan::of(config, &model, &lengths, &plan::Device::of_memory(1024.0)).ok()?;
    Some(plan.step_flops / (config.per_device_train_batch_size * config.gradient_accumulation_steps) as f64)
}

/// Samples a second of each epoch.
fn by_epoch(rows: &[StepRow]) -> Vec<f64> {
    let epoch = |row: &StepRow| (row.epoch - 1e-9).floor();
    rows.chunk_by(|a, b| epoch(a) == epoch(b))
        .map(|rows| {
            let seconds: f64 = rows.iter().map(|r| r.seconds).sum();
            rows.iter().map(|r| r.samples).sum::<usize>() as f64 / seconds.max(1e-9)
        })
        .collect()
}

/// Share of `seconds` by part of the work, largest first.
fn split(rows: &[StepRow], seconds: f64) -> Vec<(String, f64)> {
    let mut parts: Vec<(String, f64)> = Vec::new();
    for row in rows {
        let split = serde_json::to_value(row.split).unwrap_or_default();
        for (i, (name, spent)) in split.as_object().into_iter().flatten().enumerate() {
            if i == parts.len() {
                parts.push((name.clone(), 0.0));
            }
            parts[i].1 += spent.as_f64().unwrap_or_default() / seconds.max(1e-9);
        }
    }
    parts.retain(|(_, share)| *share >= 0.001);
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    parts
}

fn print(m: &Measured, out: &Out) {
    out.line(format!("samples/s      {:.3}", m.samples_per_second));
    if m.epochs.len() > 1 {
        let all: Vec<String> = m.epochs.iter().map(|e| format!("{e:.3}")).collect();
        out.line(format!("  by epoch     {}", all.join("  ")));
    }
    if m.tokens_per_second > 0.0 {
        out.line(format!("tokens/s       {:.0}", m.tokens_per_second));
    }
    out.line(format!("peak memory    {}", plan::size(m.peak_bytes)));
    if let Some(flops) = m.run_flops {
        let share = 100.0 * flops / m.product_flops;
        out.line(format!("GFLOP/s        {:.0}, {share:.0} % of a large product", flops / 1e9));
    }
    let parts: Vec<String> = m.split.iter().map(|(n, s)| format!("{n} {:.1} %", 100.0 * s)).collect();
    if !parts.is_empty() {
        out.line(format!("time           {}", parts.join("  ")));
    }
    if let Some(a) = &m.answers {
        out.line(format!("prompts        {:.0} tokens/s", a.prompt_tokens_per_second));
        let least = a.read_per_round.map(|bytes| bytes as f64 / m.read_bytes);
        let least = least.map(|s| format!("; reading the weights alone takes {:.1} ms", 1e3 * s));
        out.line(format!(
            "answers        {:.0} tokens/s, {:.1} ms a round{}",
            a.tokens_per_second,
            1e3 * a.seconds_per_round,
            least.unwrap_or_default()
        ));
        if a.guessed > 0.0 {
            let share = 100.0 * a.right / a.guessed;
            out.line(format!("guesses        {share:.0} % of {} tokens were right", a.guessed));
        }
    }
    let limits = (m.product_flops / 1e9, m.read_bytes / 1e9);
    out.line(format!(
        "this processor {:.0} GFLOP/s in a large product, reads {:.1} GB/s",
        limits.0, limits.1
    ));
}

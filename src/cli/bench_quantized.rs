//! `lorascope bench quantized`: what a base in 8 or 4 bits changes about the loss, before and after the same training.

use super::output::Out;
use super::{columns, job};
use crate::config::TrainConfig;
use crate::engine::Engine;
use crate::error::{At, Result};
use crate::job::{Event, Job};
use serde::Serialize;
use std::path::Path;

/// What a run on one form of the frozen model came to.
#[derive(Debug, Serialize)]
struct Row {
    /// "f32", "int8", "nf4"
    base: String,
    /// Mean loss on the evaluation samples of the untrained model, and of the trained one.
    loss_before: f64,
    loss_after: f64,
    /// Mean loss of all updates.
    train_loss: f64,
    samples_per_second: f64,
    /// What that is more than with the full base.
    difference_before: f64,
    difference_after: f64,
}

/// Runs `config` on the full base and on quantised ones: same data, same order, same start of the adapter.
pub(super) fn run(config: &TrainConfig, out: &Out) -> Result<()> {
    let folder = tempfile::tempdir().at("create a folder for the runs in", std::env::temp_dir())?;
    let mut rows: Vec<Row> = Vec::new();
    for bits in [None, Some(8), Some(4)] {
        let mut row = measure(&TrainConfig { quantization_bit: bits, ..config.clone() }, folder.path(), out)?;
        if let Some(full) = rows.first() {
            row.difference_before = row.loss_before - full.loss_before;
            row.difference_after = row.loss_after - full.loss_after;
        }
        rows.push(row);
    }
    print(&rows, out);
    out.object(&rows);
    Ok(())
}

fn measure(config: &TrainConfig, folder: &Path, out: &Out) -> Result<Row> {
    let mut config = config.clone();
    config.output_dir = folder.join("run");
    config.overwrite_output_dir = true;
    config.save_only_model = true;
    if config.eval_dataset.is_empty() && config.val_size == 0.0 {
        config.eval_dataset = config.dataset.clone();
    }
    // one evaluation, at the end
    (config.eval_steps, config.eval_strategy, config.load_best_model_at_end) = (0, None, false);
    // an update at a rate of 0 leaves the model as it is
    let untrained =
        TrainConfig { learning_rate: 0.0, max_steps: 1, gradient_accumulation_steps: 1, ..config.clone() };
    let engine = Engine::start();
    let (mut kind, mut scores) = (String::new(), Vec::new());
    let mut results = serde_json::Value::Null;
    for config in [untrained, config] {
        let base = name(&config);
        let on_event = &mut |event: &Event| match event {
            Event::Started { device, .. } => kind = base(device),
            Event::Score { name, value, .. } if name.ends_with("loss") => scores.push(*value),
            _ => {}
        };
        results = job::run(&engine, Job::Train(Box::new(config)), out, on_event)?["results"].clone();
    }
    let number = |key: &str| results[key].as_f64().unwrap_or(f64::NAN);
    let score = |i: usize| scores.get(i).copied().unwrap_or(f64::NAN);
    Ok(Row {
        base: kind,
        loss_before: score(0),
        loss_after: score(1),
        train_loss: number("train_loss"),
        samples_per_second: number("train_samples_per_second"),
        difference_before: 0.0,
        difference_after: 0.0,
    })
}

/// What the base of `config` is called on a device.
fn name(config: &TrainConfig) -> impl Fn(&str) -> String + use<> {
    let (how, bf16) = (config.quantization(), config.bf16);
    move |device| match how {
        Some(how) => format!("{:?}{}", how.code, if how.double { ", double" } else { "" }).to_lowercase(),
        None if bf16 && !device.starts_with("CPU") => "bf16".into(),
        None => "f32".into(),
    }
}

fn print(rows: &[Row], out: &Out) {
    let heading = ["base", "untrained", "trained", "train_loss", "samples/s", "difference"];
    let cells = |r: &Row| {
        let loss = |l: f64| format!("{l:.5}");
        let difference = format!("{:+.5} untrained, {:+.5} trained", r.difference_before, r.difference_after);
        let speed = format!("{:.2}", r.samples_per_second);
        vec![r.base.clone(), loss(r.loss_before), loss(r.loss_after), loss(r.train_loss), speed, difference]
    };
    let mut cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    cells.first_mut().into_iter().for_each(|full| full[5].clear());
    let widths = columns::widths(&heading, &cells);
    out.line(columns::row(&heading, &widths));
    for row in &cells {
        out.line(columns::row(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
    }
}

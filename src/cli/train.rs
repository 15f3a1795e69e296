//! `lorascope train`: LoRA SFT as a configuration file says.

use super::output::Out;
use super::{columns, config_file, job};
use crate::config::TrainConfig;
use crate::engine::{Engine, launch};
use crate::error::Result;
use crate::job::{Event, Job, StepRow, TargetRow};
use clap::Args;
use std::path::PathBuf;

/// Train a LoRA adapter; goes on from the newest checkpoint in output_dir
///
/// Takes LLaMA-Factory's YAML keys. Ctrl-C and SIGTERM stop and save, also while samples are encoded or an evaluation
/// runs; the same command goes on from there. A second one ends at once. When the terminal is closed (SIGHUP) the run
/// goes on: `lorascope watch DIR` shows it and takes its controls. With --json each event is one line on standard
/// output, the last one the summary.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// The configuration, or - for standard input
    #[arg(value_name = "CONFIG.yaml")]
    pub config: PathBuf,
    /// Start the run in a process of its own and return; `lorascope watch` shows it
    #[arg(long)]
    pub detach: bool,
    /// Settings that come after the file, such as learning_rate=1e-4
    #[arg(value_name = "key=value")]
    pub overrides: Vec<String>,
}

pub fn run(args: &TrainArgs, out: &Out) -> Result<()> {
    let config = config_file::load(&args.config, &args.overrides, out)?;
    if args.detach {
        return detach(config, out);
    }
    let summary = job::run(&Engine::start(), Job::Train(Box::new(config)), out, &mut |event| {
        print(event, out);
        if !matches!(event, Event::Progress { .. }) {
            out.object(event);
        }
    })?;
    out.line(format!("done: the adapter is in {}", summary["output_dir"].as_str().unwrap_or_default()));
    out.object(&summary);
    Ok(())
}

/// Starts the run and leaves it alone.
fn detach(config: TrainConfig, out: &Out) -> Result<()> {
    let process = launch::train_detached(&config)?;
    let dir = config.output_dir.display();
    out.line(format!("process {process} trains in {dir}"));
    out.line(format!("watch it: lorascope watch {dir}; stop it: lorascope watch {dir} --tell stop"));
    out.object(&serde_json::json!({ "process": process, "output_dir": config.output_dir }));
    Ok(())
}

/// A training job's events for people.
pub fn print(event: &Event, out: &Out) {
    match event {
        Event::Started { run_dir, device, total_steps, trainable, parameters, targets } => {
            out.note(format!("run {} on {device}: {total_steps} steps", run_dir.display()));
            let share = *trainable as f64 / *parameters as f64 * 100.0;
            out.note(format!("{trainable} of {parameters} parameters are trained ({share:.2} %)"));
            target_lines(targets).iter().for_each(|line| out.note(line));
        }
        Event::Step(row) => out.note(step_line(row)),
        Event::Score { name, value, step: Some(step) } => out.note(format!("step {step}: {name} {value:.4}")),
        Event::Saved { path, .. } => out.note(format!("saved {}", path.display())),
        _ => {}
    }
}

/// The target report as a table.
pub fn target_lines(targets: &[TargetRow]) -> Vec<String> {
    let heading = ["modules", "matrices", "parameters", "trained", "share", ""];
    let rows: Vec<Vec<String>> = targets
        .iter()
        .map(|t| {
            let share = t.trainable as f64 / (t.parameters + t.trainable).max(1) as f64 * 100.0;
            vec![
                t.family.clone(),
                t.matrices.to_string(),
                t.parameters.to_string(),
                t.trainable.to_string(),
                if t.trainable > 0 { format!("{share:.2} %") } else { String::new() },
                t.note.clone(),
            ]
        })
        .collect();
    let widths = columns::widths(&heading, &rows);
    let lines =
        rows.iter().map(|row| columns::row(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
    std::iter::once(columns::row(&heading, &widths)).chain(lines).collect()
}

fn step_line(row: &StepRow) -> String {
    let per_second = |n: usize| n as f64 / row.seconds.max(1e-9);
    let gpu = row.gpu.map_or(String::new(), |gpu| format!("  {gpu}"));
    format!(
        "step {}/{}  epoch {:.2}  loss {:.4}  lr {:.3e}  grad_norm {:.3}  {:.1} samples/s  {:.0} tokens/s{gpu}  ETA {}",
        row.step,
        row.total_steps,
        row.epoch,
        row.loss,
        row.lr,
        row.grad_norm,
        per_second(row.samples),
        per_second(row.tokens),
        crate::runs::log::timedelta(row.remaining),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::GpuUse;

    #[test]
    fn a_steps_line_tells_of_the_gpu_where_there_is_one() {
        let row = StepRow { step: 3, total_steps: 9, ..StepRow::default() };
        assert!(!step_line(&row).contains("GPU"));
        let gpu = Some(GpuUse { percent: Some(87), memory: 12 << 30, total: 80 << 30 });
        let line = step_line(&StepRow { gpu, ..row });
        assert!(line.contains("tokens/s  GPU 87 %, 12.0/80.0 GiB  ETA"), "{line}");
    }
}

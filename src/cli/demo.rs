//! `lorascope demo`: the whole job on embedded data, from parquet to a tuned model that answers.

use super::output::Out;
use super::{columns, job, train};
use crate::config::{TrainConfig, layers};
use crate::data::{ImageRef, dataset};
use crate::demo::{self, DemoPaths};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::slots::{Labels, SlotReport};
use crate::job::{AskJob, CheckJob, Event, Job, Turn};
use clap::Args;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Run the whole job on embedded data: convert, check, train, evaluate base and tuned, ask
///
/// Needs no download and no GPU. A tiny Qwen3-VL that knows drawn scans learns to write their captions.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Folder for everything it makes
    #[arg(long, default_value = "lorascope-demo", value_name = "DIR")]
    pub dir: PathBuf,
    /// A short run that shows that all parts work; the model learns little
    #[arg(long)]
    pub quick: bool,
}

/// One side of the comparison.
struct Side {
    summary: Value,
    slots: SlotReport,
}

struct Demo<'a> {
    out: &'a Out,
    engine: Engine,
    paths: DemoPaths,
    config: TrainConfig,
    began: Instant,
}

pub fn run(args: &DemoArgs, out: &Out) -> Result<()> {
    let paths = demo::unpack(&args.dir)?;
    let quick: &[&str] = &["max_samples=24", "num_train_epochs=2", "max_new_tokens=64"];
    let overrides: Vec<String> =
        if args.quick { quick.iter().map(|s| s.to_string()).collect() } else { Vec::new() };
    let config = layers::load(Some(&paths.config), &overrides)?;
    let demo = Demo { out, engine: Engine::start(), paths, config, began: Instant::now() };
    demo.convert_and_check()?;
    let base = demo.evaluate("base", None)?;
    demo.train()?;
    let tuned = demo.evaluate("tuned", Some(demo.paths.run.clone()))?;
    let (question, answers) = demo.ask()?;
    demo.report(&base, &tuned, &question, &answers);
    Ok(())
}

impl Demo<'_> {
    fn step(&self, text: &str) {
        self.out.note(format!("[{:3.0} s] {text}", self.began.elapsed().as_secs_f64()));
    }

    fn job(&self, job: Job, on_event: &mut dyn FnMut(&Event)) -> Result<Value> {
        job::run(&self.engine, job, self.out, on_event)
    }

    fn convert_and_check(&self) -> Result<()> {
        for convert in self.paths.conversions() {
            let name = convert.names[0].clone();
            self.step(&format!("converting {}", convert.inputs[0].display()));
            self.job(Job::Convert(Box::new(convert)), &mut |_| {})?;
            let check = CheckJob {
                model: Some(self.paths.model.clone()),
                config: Box::new(self.config.clone()),
                ..CheckJob::new(name, &self.paths.data)
            };
            let report = self.job(Job::Check(check), &mut |_| {})?;
            self.step(report["line"].as_str().unwrap_or_default());
        }
        Ok(())
    }

    fn train(&self) -> Result<()> {
        self.step("training a LoRA adapter");
        self.job(Job::Train(Box::new(self.config.clone())), &mut |event| train::print(event, self.out))?;
        Ok(())
    }

    fn evaluate(&self, name: &str, adapter: Option<PathBuf>) -> Result<Side> {
        self.step(&format!("evaluating the {name} model on pictures that training never sees"));
        let output_dir = self.paths.runs.join(format!("eval-{name}"));
        let config = TrainConfig { adapter_name_or_path: adapter, output_dir, ..self.config.clone() };
        let summary = self.job(Job::Evaluate(Box::new(config)), &mut |_| {})?;
        let slots = score_slots(&self.paths.labels, &summary)?;
        Ok(Side { summary, slots })
    }

    /// Base and tuned on the first held-out picture.
    fn ask(&self) -> Result<(String, [String; 2])> {
        let data = dataset::load(&self.paths.data, "demo_heldout", None)?;
        let picture = data.samples.first().and_then(|s| s.images.first());
        let Some(ImageRef::Path(picture)) = picture else {
            return Err(Error::internal("the demo's first held-out sample has no picture"));
        };
        let question = crate::job::DEFAULT_QUESTION.to_string();
        let turn = |use_base| Turn {
            images: vec![picture.clone()],
            question: question.clone(),
            use_base,
            sampling: self.config.sampling(),
            ..Turn::default()
        };
        let answer = |use_base| {
            let ask = AskJob {
                model: self.paths.model.clone(),
                adapter: Some(self.paths.run.clone()),
                turn: turn(use_base),
                config: Box::new(self.config.clone()),
            };
            let result = self.job(Job::Ask(Box::new(ask)), &mut |_| {})?;
            Ok::<_, Error>(result["answer"].as_str().unwrap_or_default().to_string())
        };
        Ok((format!("{question} ({})", picture.display()), [answer(true)?, answer(false)?]))
    }

    fn report(&self, base: &Side, tuned: &Side, question: &str, answers: &[String; 2]) {
        let out = self.out;
        out.line("");
        for line in table(base, tuned) {
            out.line(line);
        }
        out.line("");
        out.line(format!("question  {question}"));
        out.line(format!("base      {}", answers[0]));
        out.line(format!("tuned     {}", answers[1]));
        out.line("          (not a medical device)");
        out.line("");
        out.line(format!("adapter      {}", self.paths.run.display()));
        out.line(format!("predictions  {}", tuned.summary["predictions"].as_str().unwrap_or_default()));
        out.line(format!("data         {}", self.paths.data.display()));
        out.line(format!("settings     {}", self.paths.config.display()));
        let seconds = self.began.elapsed().as_secs_f64();
        out.line(format!("took         {seconds:.0} s"));
        out.object(&json!({
            "base": side_json(base), "tuned": side_json(tuned), "question": question, "answers": answers,
            "adapter": self.paths.run, "data": self.paths.data, "config": self.paths.config, "seconds": seconds,
        }));
    }
}

fn side_json(side: &Side) -> Value {
    json!({
        "results": side.summary["results"], "eval_loss": side.summary["eval_loss"],
        "slots": side.slots.to_json(), "predictions": side.summary["predictions"],
    })
}

/// Compares the predictions with what was drawn.
fn score_slots(labels: &Path, summary: &Value) -> Result<SlotReport> {
    let said: HashMap<String, String> = summary["by_id"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(id, text)| (id.clone(), text.as_str().unwrap_or_default().to_string()))
        .collect();
    Ok(Labels::read(labels)?.score_said(&said).unwrap_or_default())
}

fn table(base: &Side, tuned: &Side) -> Vec<String> {
    let heading = ["held-out pictures", "base", "tuned", "blind"];
    let mut rows: Vec<Vec<String>> = Vec::new();
    let number = |side: &Side, key: &str| side.summary["results"][key].as_f64().unwrap_or_default();
    for (name, key) in [
        ("BLEU-4", "predict_bleu-4"),
        ("ROUGE-1", "predict_rouge-1"),
        ("ROUGE-2", "predict_rouge-2"),
        ("ROUGE-L", "predict_rouge-l"),
    ] {
        let cell = |side| format!("{:.2}", number(side, key));
        rows.push(vec![name.into(), cell(base), cell(tuned), String::new()]);
    }
    let loss = |side: &Side| format!("{:.4}", side.summary["eval_loss"].as_f64().unwrap_or_default());
    rows.push(vec!["loss".into(), loss(base), loss(tuned), String::new()]);
    for (b, t) in base.slots.rows.iter().zip(&tuned.slots.rows) {
        let percent = |x: f64| format!("{:.1} %", x * 100.0);
        let name = format!("{} right", b.slot.replace('_', " "));
        rows.push(vec![name, percent(b.accuracy), percent(t.accuracy), percent(t.blind)]);
    }
    let widths = columns::widths(&heading, &rows);
    let line =
        |cells: &[String]| columns::row(&cells.iter().map(String::as_str).collect::<Vec<_>>(), &widths);
    std::iter::once(columns::row(&heading, &widths)).chain(rows.iter().map(|r| line(r))).collect()
}

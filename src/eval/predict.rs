//! Answers for a data set, written as they come, and their scores; LLaMA-Factory's `do_predict`.

use super::features::Features;
use super::loss;
use super::samples::{self, Samples};
use super::scores::{self, Scores};
use crate::config::TrainConfig;
use crate::data::batch::EncodedSample;
use crate::data::encode::{Encoded, Encoder, IGNORE};
use crate::data::numpy::RandomState;
use crate::data::sample::{Role, Sample};
use crate::error::{At, Error, Kind, Result};
use crate::files;
use crate::generate::{Next, Prompt, Rules, generate};
use crate::job::{Command, Emit, Event, Level, Phase};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::runs::results;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::time::Instant;

const PREDICTIONS: &str = "generated_predictions.jsonl";
/// Predictions while the job runs: what is here is not predicted again after a crash.
const PARTIAL: &str = "generated_predictions.partial.jsonl";

/// What an evaluation job works with.
pub struct Setup<'a> {
    pub model: &'a Qwen3Vl,
    pub encoder: &'a Encoder,
    pub config: &'a TrainConfig,
    pub adapter: Option<&'a Adapter>,
}

/// One line of `generated_predictions.jsonl`; `index` only while the job runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    prompt: String,
    predict: String,
    label: String,
}

/// A question with its reference answer.
struct Item {
    id: String,
    prompt_ids: Vec<u32>,
    grids: Vec<[usize; 3]>,
    sample: EncodedSample,
    label: String,
}

/// Predicts every sample of `eval_dataset` and scores it. The summary holds LLaMA-Factory's keys, the mean loss,
/// and the predictions by sample id.
pub fn run(setup: &Setup, inbox: &Receiver<Command>, emit: Emit) -> Result<Value> {
    let config = setup.config;
    let stop = AtomicBool::new(false);
    let names = if config.eval_dataset.is_empty() { &config.dataset } else { &config.eval_dataset };
    if names.is_empty() {
        return Err(
            Error::usage("eval_dataset is not set").hint("set eval_dataset: NAME, as in dataset_info.json")
        );
    }
    let read = samples::read(config, names, &mut RandomState::new(config.seed), emit, &stop)?;
    let read: Vec<Sample> = read.into_iter().flatten().collect();
    let encoded = samples::encode(config, setup.encoder, &read, emit, &stop)?;
    let items = items(setup.encoder, &read, &encoded)?;
    if items.is_empty() {
        return Err(
            Error::input("no sample is left to evaluate").hint("see the findings above, or run `check`")
        );
    }
    fs::create_dir_all(&config.output_dir).at("create", &config.output_dir)?;
    let began = Instant::now();
    let lines = predict(setup, &items, inbox, emit)?;
    let seconds = began.elapsed().as_secs_f64();
    let mean_loss = mean_loss(setup, encoded, emit)?;
    finish(config, &items, &lines, (seconds, mean_loss), emit)
}

/// The prompt of each encoded sample: everything before its last answer.
fn items(encoder: &Encoder, read: &[Sample], encoded: &Samples) -> Result<Vec<Item>> {
    // Rows are unique within a data set only; encoded samples keep the order of the read ones.
    let mut rest = read.iter();
    let mut items = Vec::new();
    for e in &encoded.all {
        let Some(sample) = rest.find(|s| s.row == e.row && s.id == e.id) else { continue };
        let question = match sample.messages.split_last() {
            Some((last, question)) if last.role == Role::Assistant => question,
            _ => &sample.messages,
        };
        items.push(Item {
            id: e.id.clone(),
            prompt_ids: encoder.prompt(sample.system.as_deref(), question, &e.encoded.grids)?,
            grids: e.encoded.grids.clone(),
            sample: e.clone(),
            label: encoder.decode(last_target(&e.encoded), true),
        });
    }
    Ok(items)
}

/// The tokens of the last answer. LLaMA-Factory's labels are these, decoded: with the template's line end after
/// the answer, which its scores count too.
fn last_target(encoded: &Encoded) -> &[u32] {
    let source = encoded.labels.iter().rposition(|l| *l == IGNORE).map_or(0, |i| i + 1);
    &encoded.input_ids[source..]
}

/// Generates what is not there yet, a line written for each answer as it ends.
fn predict(setup: &Setup, items: &[Item], inbox: &Receiver<Command>, emit: Emit) -> Result<Vec<Line>> {
    let path = setup.config.output_dir.join(PARTIAL);
    let mut done = read_partial(&path, items);
    if !done.is_empty() {
        let line = format!("{} of {} predictions are there already", done.len(), items.len());
        emit(Event::Log { level: Level::Info, line });
    }
    let mut file = File::options().create(true).append(true).open(&path).at("write", &path)?;
    let todo: Vec<usize> = (0..items.len()).filter(|i| !done.contains_key(i)).collect();
    let features = RefCell::new(Features::new(setup.config));
    let rules = Rules {
        adapter: setup.adapter,
        sampling: setup.config.sampling(),
        stop_ids: setup.encoder.stop_ids(),
        slots: setup.config.per_device_eval_batch_size,
    };
    let mut prompt = |i: usize| {
        let item = &items[todo[i]];
        // The pictures of the prompts that come next are looked at together; they are there when it is their turn.
        let ahead = if i.is_multiple_of(rules.slots) { rules.slots } else { 1 };
        let next = todo[i..].iter().take(ahead).map(|&at| (at, &items[at].sample)).collect::<Vec<_>>();
        let seen = features.borrow_mut().of((setup.model, setup.adapter), setup.encoder, &next)?;
        let features = seen.into_iter().next().unwrap_or_default();
        let (ids, grids) = (item.prompt_ids.clone(), item.grids.clone());
        Ok(Prompt { ids, grids, features, stream: todo[i] })
    };
    let mut answers: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let mut trouble: Option<Error> = None;
    let mut on_token = |i: usize, token: Option<u32>| {
        if let Some(id) = token {
            answers.entry(i).or_default().push(id);
            return ControlFlow::Continue(Next::GoOn);
        }
        let index = todo[i];
        let line = line(setup.encoder, &items[index], index, &answers.remove(&i).unwrap_or_default());
        emit(Event::Predicted { index, predict: line.predict.clone(), label: line.label.clone() });
        if let Err(e) = append(&mut file, &line).at("write", &path) {
            trouble = Some(e);
            return ControlFlow::Break(());
        }
        done.insert(index, line);
        emit(Event::Progress { phase: Phase::Evaluating, done: done.len(), total: items.len() });
        if stop_asked(inbox) {
            trouble = Some(stopped(done.len(), items.len()));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(Next::GoOn)
    };
    generate(setup.model, todo.len(), &mut prompt, &rules, &mut on_token)?;
    match trouble {
        Some(e) => Err(e),
        None => Ok(done.into_values().collect()),
    }
}

fn line(encoder: &Encoder, item: &Item, index: usize, answer: &[u32]) -> Line {
    Line {
        index: Some(index),
        prompt: encoder.decode(&item.prompt_ids, false),
        predict: encoder.decode(answer, true),
        label: item.label.clone(),
    }
}

fn append(file: &mut File, line: &Line) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)
}

fn stop_asked(inbox: &Receiver<Command>) -> bool {
    std::iter::from_fn(|| inbox.try_recv().ok()).any(|c| matches!(c, Command::Stop { .. }))
}

fn stopped(done: usize, total: usize) -> Error {
    Error::new(Kind::Stopped, format!("evaluation stopped after {done} of {total} predictions"))
        .hint("start it again to go on; what is predicted is kept")
}

/// Predictions of an interrupted job, if they are of these items; a torn last line is passed over.
fn read_partial(path: &Path, items: &[Item]) -> BTreeMap<usize, Line> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|l| serde_json::from_str::<Line>(l).ok());
    lines
        .filter_map(|l| Some((l.index?, l)))
        .filter(|(i, l)| items.get(*i).is_some_and(|item| item.label == l.label))
        .collect()
}

/// Mean cross-entropy over the samples, weighted by samples per batch as transformers' `eval_loss`.
fn mean_loss(setup: &Setup, mut encoded: Samples, emit: Emit) -> Result<f64> {
    let n = encoded.all.len();
    let places: Vec<usize> = (0..n).collect();
    let mut sum = 0.0;
    for batch in places.chunks(setup.config.per_device_eval_batch_size) {
        let (pack, targets) = encoded.pack(setup.model, setup.encoder, batch)?;
        let mean = loss::mean(setup.model, setup.adapter, &pack, &targets);
        sum +=
            f64::from(mean.into_data().try_to_vec::<f32>().expect("the loss is f32")[0]) * batch.len() as f64;
    }
    let mean = sum / n as f64;
    emit(Event::Score { name: "eval_loss".into(), value: mean, step: None });
    Ok(mean)
}

/// Writes the final files and makes the summary.
fn finish(
    config: &TrainConfig,
    items: &[Item],
    lines: &[Line],
    (seconds, loss): (f64, f64),
    emit: Emit,
) -> Result<Value> {
    let dir = &config.output_dir;
    let path = dir.join(PREDICTIONS);
    files::write_with(&path, |w| {
        for line in lines {
            serde_json::to_writer(&mut *w, &Line { index: None, ..line.clone() })?;
            w.write_all(b"\n")?;
        }
        Ok(())
    })?;
    let partial = dir.join(PARTIAL);
    fs::remove_file(&partial).at("remove", &partial)?;
    let pairs: Vec<(&str, &str)> = lines.iter().map(|l| (l.predict.as_str(), l.label.as_str())).collect();
    let mean: Scores = scores::mean(&scores::score_all(&pairs));
    let mut metrics = Map::new();
    for (name, value) in mean.named() {
        metrics.insert(format!("predict_{name}"), json!(value));
        emit(Event::Score { name: format!("predict_{name}"), value, step: None });
    }
    let batches = lines.len().div_ceil(config.per_device_eval_batch_size);
    let round = |x: f64| (x * 1000.0).round() / 1000.0;
    metrics.insert("predict_runtime".into(), json!((seconds * 10_000.0).round() / 10_000.0));
    metrics.insert("predict_samples_per_second".into(), json!(round(lines.len() as f64 / seconds)));
    metrics.insert("predict_steps_per_second".into(), json!(round(batches as f64 / seconds)));
    results::write(dir, "predict", &metrics)?;
    let by_id: Map<String, Value> =
        items.iter().zip(lines).map(|(item, l)| (item.id.clone(), json!(l.predict))).collect();
    Ok(json!({
        "output_dir": dir, "predictions": path, "samples": lines.len(), "eval_loss": loss,
        "results": metrics, "by_id": by_id,
    }))
}

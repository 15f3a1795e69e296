//! Answers for a data set, written as they come, and their scores; LLaMA-Factory's `do_predict`.

use super::features::Features;
use super::groups::Groups;
use super::items::{self, Item, Known};
use super::listen::while_listening;
use super::measures::{self, Summary};
use super::running::Running;
use super::samples::{self, Samples};
use super::slots::{self, Labels};
use super::{loss, report};
use crate::config::TrainConfig;
use crate::data::encode::Encoder;
use crate::data::numpy::RandomState;
use crate::data::sample::Sample;
use crate::error::{At, Error, Kind, Result};
use crate::files;
use crate::generate::batch::Timing;
use crate::generate::{Grown, Next, Prompt, Rules, generate};
use crate::job::{Command, Emit, Event, Level, Phase, Prediction, Sampling};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::runs::predictions::Growing;
use crate::runs::{EVALUATED_SO_FAR, EVALUATION, PREDICTIONS, results};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::time::Instant;

/// What an evaluation job works with.
pub struct Setup<'a> {
    pub model: &'a Qwen3Vl,
    pub encoder: &'a Encoder,
    pub config: &'a TrainConfig,
    pub adapter: Option<&'a Adapter>,
}

impl Setup<'_> {
    /// How answers are made.
    pub(super) fn rules(&self) -> Rules<'_> {
        Rules {
            adapter: self.adapter,
            sampling: self.config.sampling(),
            stop_ids: self.encoder.stop_ids(),
            slots: self.config.per_device_eval_batch_size,
        }
    }
}

/// Predicts every sample of `eval_dataset` and scores it. The summary holds LLaMA-Factory's keys, the mean loss,
/// all measures, and the predictions by sample id.
pub fn run(setup: &Setup, inbox: &Receiver<Command>, emit: Emit) -> Result<Value> {
    let config = setup.config;
    let names = config.evaluated();
    if names.is_empty() {
        return Err(
            Error::usage("eval_dataset is not set").hint("set eval_dataset: NAME, as in dataset_info.json")
        );
    }
    if config.eval_dataset.is_empty() {
        let names = names.join(", ");
        let line = format!("eval_dataset is not set, so the training data are evaluated: {names}");
        emit(Event::Log { level: Level::Warning, line });
    }
    let labels = slots::of_config(config.slot_labels.as_deref(), emit)?;
    let heard = while_listening(inbox, |stop| load(setup, names, emit, stop));
    let (read, encoded) = heard.done?;
    if heard.stopped {
        return Err(stopped(0, read.len()));
    }
    let groups = Groups::of_config(config)?;
    let known = Known {
        labels: labels.as_ref(),
        skip_special: config.skip_special_tokens,
        groups: groups.as_ref(),
        only: None,
    };
    let items: Vec<Item> =
        items::of(setup.encoder, &read, &encoded, &known)?.into_iter().map(|(_, item)| item).collect();
    if items.is_empty() {
        return Err(
            Error::input("no sample is left to evaluate").hint("see the findings above, or run `check`")
        );
    }
    if let Some(labels) = &labels {
        labels.must_fit(&items.iter().map(|item| item.id.as_str()).collect())?;
    }
    fs::create_dir_all(&config.output_dir).at("create", &config.output_dir)?;
    let mut growing = Growing::open(&config.output_dir, &fingerprint(config)?)?;
    tell_known(&growing, items.len(), emit);
    growing.done.retain(|i, p| items.get(*i).is_some_and(|item| asks(item, p)));
    // Groups may be asked for by another column than before.
    growing.done.iter_mut().for_each(|(i, p)| p.group.clone_from(&items[*i].group));
    let (began, before) = (Instant::now(), growing.done.len());
    let (written, time) = predict(setup, &items, (&mut growing, labels.as_ref()), inbox, emit)?;
    let seconds = began.elapsed().as_secs_f64();
    let mean_loss = mean_loss(setup, encoded, inbox, emit)?;
    write_predictions(setup, &items, &growing, &written)?;
    let fresh = growing.done.len() - before;
    let mut summary = finish(config, growing, labels.as_ref(), (fresh, seconds, mean_loss), emit)?;
    summary["time"] = json!(time);
    Ok(summary)
}

/// The rows and what is left of them when they are encoded.
fn load(setup: &Setup, names: &[String], emit: Emit, stop: &AtomicBool) -> Result<(Vec<Sample>, Samples)> {
    let config = setup.config;
    let read = samples::read(config, names, &mut RandomState::new(config.seed), emit, stop)?;
    let read: Vec<Sample> = read.into_iter().flatten().collect();
    let encoded = samples::encode(config, setup.encoder, &read, emit, stop)?;
    Ok((read, encoded))
}

/// Whether a prediction is an answer to this sample. One that has another question or reference now is another sample.
fn asks(item: &Item, p: &Prediction) -> bool {
    (&item.id, &item.question, &item.images, &item.label) == (&p.id, &p.question, &p.images, &p.label)
}

/// Whether the evaluation of this configuration has ended in its folder, with these settings and nothing since.
///
/// # Errors
/// The adapter cannot be read.
pub fn has_ended(config: &TrainConfig) -> Result<bool> {
    let dir = &config.output_dir;
    let Ok(text) = fs::read_to_string(dir.join(EVALUATION)) else { return Ok(false) };
    let known: Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(!dir.join(EVALUATED_SO_FAR).exists()
        && known["of"] == fingerprint(config)?
        && known["grouped_by"] == json!(config.eval_group_by)
        && known["labels"] == json!(slots::fingerprint(config.slot_labels.as_deref())?))
}

/// Where the time of predicting went.
#[derive(Default, Serialize)]
struct Time {
    /// Seconds of looking at pictures.
    pictures: f64,
    #[serde(flatten)]
    texts: Timing,
}

/// What the predictions depend on: model, adapter, data and decoding. Other ones are not mixed with these.
fn fingerprint(config: &TrainConfig) -> Result<String> {
    let mut hash = blake3::Hasher::new();
    let settings = json!([
        config.model_name_or_path,
        config.adapter_name_or_path,
        // Guesses change the time, not the answer.
        Sampling { guesses: 0, ..config.sampling() },
        config.template,
        config.enable_thinking,
        config.default_system,
        config.image_max_pixels,
        config.image_min_pixels,
        config.cutoff_len,
        config.eval_dataset,
        config.dataset,
        config.dataset_dir,
        config.media_dir,
        config.mix_strategy,
        config.interleave_probs,
        config.max_samples,
        config.quantization_bit,
        config.quantization_type,
        config.skip_special_tokens,
    ]);
    hash.update(settings.to_string().as_bytes());
    if let Some(dir) = &config.adapter_name_or_path {
        // The configuration too: the same weights with another alpha are another adapter.
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let file = dir.join(name);
            hash.update_reader(fs::File::open(&file).at("read", &file)?).at("read", &file)?;
        }
    }
    Ok(hash.finalize().to_hex().to_string())
}

fn tell_known(growing: &Growing, total: usize, emit: Emit) {
    let log = |line: String| emit(Event::Log { level: Level::Info, line });
    if growing.dropped > 0 {
        log(format!("{} predictions of other settings were here; it starts anew", growing.dropped));
    }
    if !growing.done.is_empty() {
        log(format!("{} of {total} predictions are there already", growing.done.len()));
    }
}

/// Generates what is not there yet, a line written for each answer as it ends. Gives what is written of predictions
/// whose special tokens are kept, and where the time went.
fn predict(
    setup: &Setup,
    items: &[Item],
    (growing, labels): (&mut Growing, Option<&Labels>),
    inbox: &Receiver<Command>,
    emit: Emit,
) -> Result<(BTreeMap<usize, String>, Time)> {
    let todo: Vec<usize> = (0..items.len()).filter(|i| !growing.done.contains_key(i)).collect();
    let features = RefCell::new(Features::new(setup.config));
    let rules = setup.rules();
    let mut time = Time::default();
    let mut prompt = |i: usize| {
        let item = &items[todo[i]];
        // The pictures of the prompts that come next are looked at together; they are there when it is their turn.
        let ahead = if i.is_multiple_of(rules.slots) { rules.slots } else { 1 };
        let next = todo[i..].iter().take(ahead).map(|&at| (at, &items[at].sample)).collect::<Vec<_>>();
        let began = Instant::now();
        let seen = features.borrow_mut().of((setup.model, setup.adapter), setup.encoder, &next)?;
        time.pictures += began.elapsed().as_secs_f64();
        let features = seen.into_iter().next().unwrap_or_default();
        let (ids, grids) = (item.prompt_ids.clone(), item.grids.clone());
        Ok(Prompt { ids, grids, features, stream: todo[i] })
    };
    let mut running = Running::new(growing.done.values(), items.len(), labels);
    let mut written = BTreeMap::new();
    let mut trouble: Option<Error> = None;
    let stop = &rules.sampling.stop;
    let mut on_token = |i: usize, grown: Grown| {
        let answer = match grown {
            // An answer may take minutes.
            Grown::Longer(_) if stop_asked(inbox) => {
                trouble = Some(stopped(growing.done.len(), items.len()));
                return ControlFlow::Break(());
            }
            Grown::Longer(answer) => return ControlFlow::Continue(next(setup.encoder, answer, stop)),
            Grown::Ended(answer) => answer,
        };
        let prediction = judged(setup.encoder, &items[todo[i]], todo[i], (answer, stop));
        if !setup.config.skip_special_tokens {
            written.insert(todo[i], setup.encoder.decode(answer, false));
        }
        // On the disk first: what was told is never predicted again.
        if let Err(e) = growing.push(prediction.clone()) {
            trouble = Some(e);
            return ControlFlow::Break(());
        }
        running.push(&prediction, emit);
        emit(Event::Predicted(prediction));
        let (done, total) = (growing.done.len(), items.len());
        emit(Event::Progress { phase: Phase::Evaluating, done, total });
        if stop_asked(inbox) {
            trouble = Some(stopped(done, total));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(Next::GoOn)
    };
    let answers = generate(setup.model, todo.len(), &mut prompt, &rules, &mut on_token)?;
    time.texts = answers.timing;
    trouble.map_or(Ok((written, time)), Err)
}

/// Where the first stop text begins in an answer.
fn stop_text(encoder: &Encoder, answer: &[u32], stop: &[String]) -> Option<usize> {
    if stop.is_empty() {
        return None;
    }
    let text = encoder.decode(answer, true);
    stop.iter().filter(|s| !s.is_empty()).filter_map(|s| text.find(s.as_str())).min()
}

/// What follows the newest token of an answer: its end where a stop text is in it.
pub(super) fn next(encoder: &Encoder, answer: &[u32], stop: &[String]) -> Next {
    if stop_text(encoder, answer, stop).is_some() { Next::End } else { Next::GoOn }
}

/// The answer as text, up to a stop text.
pub(super) fn text_of(encoder: &Encoder, answer: &[u32], stop: &[String]) -> String {
    let mut text = encoder.decode(answer, true);
    if let Some(at) = stop_text(encoder, answer, stop) {
        text.truncate(at);
    }
    text
}

fn judged(encoder: &Encoder, item: &Item, index: usize, (answer, stop): (&[u32], &[String])) -> Prediction {
    let predict = text_of(encoder, answer, stop);
    Prediction {
        index,
        id: item.id.clone(),
        images: item.images.clone(),
        group: item.group.clone(),
        question: item.question.clone(),
        scores: measures::named(&predict, &item.label),
        predict,
        label: item.label.clone(),
    }
}

fn stop_asked(inbox: &Receiver<Command>) -> bool {
    std::iter::from_fn(|| inbox.try_recv().ok()).any(|c| matches!(c, Command::Stop { .. }))
}

fn stopped(done: usize, total: usize) -> Error {
    Error::new(Kind::Stopped, format!("evaluation stopped after {done} of {total} predictions"))
        .hint("start it again to go on; what is predicted is kept")
}

/// Mean cross-entropy over the samples, weighted by samples per batch as transformers' `eval_loss`.
fn mean_loss(setup: &Setup, mut encoded: Samples, inbox: &Receiver<Command>, emit: Emit) -> Result<f64> {
    let n = encoded.all.len();
    let places: Vec<usize> = (0..n).collect();
    let mut sum = 0.0;
    for batch in places.chunks(setup.config.per_device_eval_batch_size) {
        if stop_asked(inbox) {
            return Err(stopped(n, n));
        }
        let (pack, targets) = encoded.pack(setup.model, setup.encoder, batch)?;
        let mean = loss::mean(setup.model, setup.adapter, &pack, &targets);
        sum +=
            f64::from(mean.into_data().try_to_vec::<f32>().expect("the loss is f32")[0]) * batch.len() as f64;
    }
    let mean = sum / n as f64;
    emit(Event::Score { name: "eval_loss".into(), value: mean, step: None });
    Ok(mean)
}

/// `generated_predictions.jsonl`, byte for byte as Python's `json.dumps(…, ensure_ascii=False)` writes its lines.
fn write_predictions(
    setup: &Setup,
    items: &[Item],
    growing: &Growing,
    written: &BTreeMap<usize, String>,
) -> Result<()> {
    files::write_with(&setup.config.output_dir.join(PREDICTIONS), |w| {
        for (i, prediction) in &growing.done {
            let (item, quoted) = (&items[*i], |text: &str| serde_json::to_string(text));
            let prompt = quoted(&setup.encoder.decode(&item.prompt_ids, false))?;
            let predict = quoted(written.get(i).unwrap_or(&prediction.predict))?;
            let label = quoted(&item.written_label)?;
            writeln!(w, "{{\"prompt\": {prompt}, \"predict\": {predict}, \"label\": {label}}}")?;
        }
        Ok(())
    })
}

/// Writes the results and makes the summary. The growing file goes when they are there: until then a killed evaluation
/// has its predictions.
fn finish(
    config: &TrainConfig,
    growing: Growing,
    labels: Option<&Labels>,
    (fresh, seconds, loss): (usize, f64, f64),
    emit: Emit,
) -> Result<Value> {
    let dir = &config.output_dir;
    let all: Vec<Prediction> = growing.done.values().cloned().collect();
    let summary = Summary { grouped_by: config.eval_group_by.clone(), ..Summary::of(&all, labels) };
    let mut metrics = Map::new();
    for row in summary.measures.iter().take(4) {
        let name = format!("predict_{}", row.name);
        metrics.insert(name.clone(), json!(row.mean));
        emit(Event::Score { name, value: row.mean, step: None });
    }
    let batches = fresh.div_ceil(config.per_device_eval_batch_size);
    let per_second = |n: usize| ((n as f64 / seconds.max(1e-9)) * 1000.0).round() / 1000.0;
    metrics.insert("predict_runtime".into(), json!((seconds * 10_000.0).round() / 10_000.0));
    metrics.insert("predict_samples_per_second".into(), json!(per_second(fresh)));
    metrics.insert("predict_steps_per_second".into(), json!(per_second(batches)));
    results::write(dir, "predict", &metrics)?;
    let mut evaluation = json!({
        "of": growing.of, "model": config.model_name_or_path, "adapter": config.adapter_name_or_path, "eval_loss": loss,
        "sampling": config.sampling(), "labels": slots::fingerprint(config.slot_labels.as_deref())?,
        "data": report::Data::of(config),
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut evaluation, json!(summary)) {
        all.extend(more);
    }
    files::write_json(&dir.join(EVALUATION), &evaluation)?;
    growing.finish(dir)?;
    let report = report::write(dir, None)?;
    let by_id: Map<String, Value> = all.iter().map(|p| (p.id.clone(), json!(p.predict))).collect();
    Ok(json!({
        "output_dir": dir, "predictions": dir.join(PREDICTIONS), "samples": all.len(), "eval_loss": loss,
        "results": metrics, "evaluation": summary, "report": report, "by_id": by_id,
    }))
}

//! Merging an adapter into its base model: written beside its place, compared with model and adapter, then renamed.

use crate::config::TrainConfig;
use crate::data::encode::Encoder;
use crate::data::numpy::RandomState;
use crate::data::sample::{ImageRef, Message, Role, Sample};
use crate::error::{At, Error, Kind, Result, must_exist};
use crate::eval::{loss, samples};
use crate::files;
use crate::job::{Command, Emit, Event, ExportJob, Level, Phase};
use crate::model::export::{Merge, copy_companions};
use crate::model::qwen3_vl::Qwen3Vl;
use crate::model::{ModelConfig, Weights, backend, peft};
use crate::train::init;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;

/// Samples whose logits are compared.
const COMPARED: usize = 2;

/// Exports as the job says. The summary holds the folder, its files, and what was compared.
pub fn run(job: &ExportJob, inbox: &Receiver<Command>, emit: Emit) -> Result<Value> {
    let config = job.config.as_ref();
    let out = target(config)?;
    let adapter_dir = config.adapter_name_or_path.as_deref().ok_or_else(|| {
        Error::usage("no adapter is set").hint("give --adapter DIR, or set adapter_name_or_path")
    })?;
    must_exist(&config.model_name_or_path, "model folder")?;
    let (adapter, tensors) = peft::load(adapter_dir)?;
    let model = ModelConfig::load(&config.model_name_or_path)?;
    let weights = Weights::open(&config.model_name_or_path)?;
    let merge = Merge::new(&weights, &model, (&adapter, &tensors))?;
    let before =
        if job.compare { Some(answers(config, &config.model_name_or_path, true, emit)?) } else { None };
    // 1. Written beside its place, so that a broken export is never found there
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).at("create", parent)?;
    let making =
        tempfile::Builder::new().prefix(".lorascope-export-").tempdir_in(parent).at("create", parent)?;
    merge.write(making.path(), config.export_size * 1_000_000_000, &|done, total| {
        let mb = |bytes: u64| (bytes / 1_000_000) as usize;
        emit(Event::Progress { phase: Phase::Merging, done: mb(done), total: mb(total) });
        if std::iter::from_fn(|| inbox.try_recv().ok()).any(|c| matches!(c, Command::Stop { .. })) {
            return Err(Error::new(Kind::Stopped, "export stopped; nothing was left behind"));
        }
        Ok(())
    })?;
    let mut copied = copy_companions(&config.model_name_or_path, making.path())?;
    // 2. Compared
    let compared = match before {
        Some(before) => compare(&before, &answers(config, making.path(), false, emit)?)?,
        None => Value::Null,
    };
    // 3. In its place
    let made = making.keep();
    open_to_all(&made);
    if let Err(e) = std::fs::rename(&made, &out) {
        let _ = std::fs::remove_dir_all(&made);
        return Err(e).at("create", &out);
    }
    files::sync_dir(parent);
    copied.retain(|name| name != "model.safetensors.index.json");
    Ok(json!({
        "export_dir": out, "merged_tensors": merge.changed(), "copied": copied, "compared": compared,
    }))
}

/// The folder to be made: nothing may be there, or an empty folder.
fn target(config: &TrainConfig) -> Result<PathBuf> {
    let out = config.export_dir.clone().filter(|p| !p.as_os_str().is_empty());
    let out =
        out.ok_or_else(|| Error::usage("no export folder is set").hint("give --out DIR, or set export_dir"))?;
    let empty = || std::fs::read_dir(&out).is_ok_and(|mut d| d.next().is_none());
    if out.exists() && !empty() {
        return Err(Error::usage(format!("{} exists already", out.display()))
            .hint("choose another folder, or remove this one first: an export never overwrites"));
    }
    Ok(out)
}

/// A temporary folder is made for its owner alone; a model is for all users of the machine.
fn open_to_all(dir: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755));
    }
    #[cfg(not(unix))]
    let _ = dir;
}

/// What a model says to the compared samples.
struct Answers {
    logits: Vec<f32>,
    /// Without the adapter.
    base: Vec<f32>,
    vocab: usize,
    input: String,
    stored_as: String,
}

/// Logits of the model in `dir`, with the adapter or as it is. The model is freed before this returns.
fn answers(config: &TrainConfig, dir: &Path, with_adapter: bool, emit: Emit) -> Result<Answers> {
    let place = if config.export_device == "cpu" { backend::cpu(None) } else { backend::choose(config.bf16) };
    let mut model = Qwen3Vl::load(dir, &place.device, place.dtype, &|done, total| {
        emit(Event::Progress { phase: Phase::Loading, done, total });
    })?;
    let encoder = Encoder::load(dir, config)?;
    let adapter = match config.adapter_name_or_path.as_deref().filter(|_| with_adapter) {
        Some(dir) => Some(init::from_folder(&model, dir)?),
        None => None,
    };
    if let Some(adapter) = &adapter {
        model.attach(adapter)?;
    }
    let (input, chosen) = inputs(config, emit);
    let config = TrainConfig { model_name_or_path: dir.into(), ..config.clone() };
    let mut encoded = samples::encode(&config, &encoder, &chosen, emit, &AtomicBool::new(false))?;
    if encoded.all.is_empty() {
        return Err(Error::input("no sample could be encoded to compare the models with")
            .hint("see the findings above, or export with --skip-compare"));
    }
    let places: Vec<usize> = (0..encoded.all.len()).collect();
    emit(Event::Progress { phase: Phase::Comparing, done: 0, total: 1 });
    let (pack, targets) = encoded.pack(&model, &encoder, &places)?;
    let (logits, vocab) = loss::logits(&model, adapter.as_ref(), &pack, &targets);
    let base = if with_adapter { loss::logits(&model, None, &pack, &targets).0 } else { Vec::new() };
    emit(Event::Progress { phase: Phase::Comparing, done: 1, total: 1 });
    Ok(Answers { logits, base, vocab, input, stored_as: stored_as(dir)? })
}

/// The type of most of the weights.
fn stored_as(dir: &Path) -> Result<String> {
    let weights = Weights::open(dir)?;
    let largest = weights.names().filter_map(|n| weights.raw(n)).max_by_key(|raw| raw.bytes.len());
    Ok(largest.map(|raw| format!("{:?}", raw.dtype)).unwrap_or_default())
}

/// The first samples of the run's data, or where that is gone a drawn picture with a question.
fn inputs(config: &TrainConfig, emit: Emit) -> (String, Vec<Sample>) {
    let names = config.evaluated();
    let few = TrainConfig { max_samples: Some(COMPARED), ..config.clone() };
    if let Some(name) = names.first() {
        let mut draws = RandomState::new(config.seed);
        let go = AtomicBool::new(false);
        match samples::read(&few, std::slice::from_ref(name), &mut draws, &|_| {}, &go) {
            Ok(rows) => {
                let usable: Vec<Sample> = rows.into_iter().flatten().collect();
                if !usable.is_empty() {
                    return (format!("the first samples of {name}"), usable);
                }
            }
            Err(e) => {
                let line = format!("compared on a drawn picture, not on {name}: {}", e.message);
                emit(Event::Log { level: Level::Warning, line });
            }
        }
    }
    let message = |role, content: &str| Message { role, content: content.into() };
    let sample = Sample {
        row: 0,
        id: "drawn".into(),
        system: None,
        messages: vec![
            message(Role::User, &format!("<image>{}", crate::job::DEFAULT_QUESTION)),
            message(Role::Assistant, "The image shows a bright lesion in the upper part."),
        ],
        images: vec![ImageRef::Bytes(drawn(256).into())],
    };
    ("a drawn picture".into(), vec![sample])
}

/// A grey bitmap (BMP, 24 bits) with a bright disc, `side` pixels wide; `side` is a multiple of 4.
fn drawn(side: u32) -> Vec<u8> {
    let size = 54 + side * side * 3;
    let mut bmp = Vec::from(*b"BM");
    for word in [size, 0, 54, 40, side, side, 1 | 24 << 16, 0, side * side * 3, 2835, 2835, 0, 0] {
        bmp.extend(word.to_le_bytes());
    }
    for i in 0..side * side {
        let (x, y) = ((i % side) as f32 / side as f32 - 0.6, (i / side) as f32 / side as f32 - 0.7);
        let grey =
            if x.hypot(y) < 0.15 { 230 } else { (80.0 + 60.0 * (x * 9.0).sin() * (y * 7.0).cos()) as u8 };
        bmp.extend([grey; 3]);
    }
    bmp
}

/// How far the merged model's logits may be from those of model and adapter: ‖difference‖ / ‖logits‖. In f32 only the
/// order of sums differs. Else each merged weight is rounded by up to 2⁻⁹ (bfloat16) or 2⁻¹² of itself, and a few
/// hundred layers' roundings add up as their root: some 20 times that.
fn tolerance(stored_as: &str) -> f64 {
    match stored_as {
        "F32" => 1e-4,
        "F16" => 5e-3,
        _ => 4e-2,
    }
}

fn compare(before: &Answers, after: &Answers) -> Result<Value> {
    let off = distance(&after.logits, &before.logits);
    let effect = distance(&before.base, &before.logits);
    let allowed = tolerance(&after.stored_as);
    if off.is_nan() || off > allowed {
        return Err(Error::internal(format!(
            "the merged model does not answer as model and adapter do: its logits differ by {off:.1e} of their size, \
             {allowed:.1e} is allowed for {}; nothing was written",
            after.stored_as
        ))
        .hint("please report this with the model's name and the adapter's configuration"));
    }
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let rows = before.logits.chunks_exact(before.vocab).zip(after.logits.chunks_exact(after.vocab));
    let same = rows.clone().filter(|(a, b)| best(a) == best(b)).count();
    Ok(json!({
        "input": before.input, "positions": rows.count(), "same_best_token": same, "stored_as": after.stored_as,
        "difference": off, "allowed": allowed, "adapter_effect": effect,
    }))
}

/// ‖a − b‖ / ‖b‖
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let off: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let size: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    if a.len() == b.len() { (off / size).sqrt() } else { f64::NAN }
}

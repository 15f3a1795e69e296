//! The run folder while training: log lines, state, results, and the files that make the adapter usable elsewhere.

use super::changes::CHANGES;
use super::checkpoint;
use super::position::Position;
use super::run::BAD_BATCH;
use crate::config::steps::Steps;
use crate::config::{TrainConfig, layers};
use crate::error::{At, Error, Result};
use crate::files;
use crate::job::StepRow;
use crate::runs::results::{self, TrainTotals};
use crate::runs::{EVENTS, TRAINING_ARGS, TrainerLog, TrainerState};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Files of the model folder that a PEFT adapter folder needs beside it to be loaded.
const COMPANIONS: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "processor_config.json",
    "preprocessor_config.json",
];

/// The open run folder. The caller holds its lock.
pub struct Output {
    dir: PathBuf,
    model_dir: PathBuf,
    log: TrainerLog,
    state: TrainerState,
    last: StepRow,
}

/// The checkpoint a run goes on from: the one that is named, else the newest in `output_dir` (as LLaMA-Factory),
/// unless `overwrite_output_dir`.
///
/// Errors: a named folder that is not there; an output folder with a finished run in it.
pub fn resume_folder(config: &TrainConfig) -> Result<Option<PathBuf>> {
    if let Some(dir) = &config.resume_from_checkpoint {
        return crate::error::must_exist(dir, "resume_from_checkpoint").map(Some);
    }
    if config.overwrite_output_dir {
        return Ok(None);
    }
    Ok(checkpoint::list(&config.output_dir).pop().map(|(_, dir)| dir))
}

impl Output {
    /// Continues the folder's log after `position`, or begins a new one.
    pub fn open(config: &TrainConfig, plan: &Steps, position: &Position) -> Result<Self> {
        let dir = config.output_dir.clone();
        files::remove_leftovers(&dir);
        let log = TrainerLog::open(&dir, position.step)?;
        let mut state = TrainerState::new(config, plan);
        if position.step > 0 {
            let at = checkpoint::folder(&dir, position.step);
            if let Ok(before) = TrainerState::read(&at) {
                state.log_history = before.log_history;
            }
        }
        let text = layers::to_yaml(config)?;
        files::write(&dir.join(TRAINING_ARGS), text.as_bytes())?;
        let model_dir = config.model_name_or_path.clone();
        Ok(Self { dir, model_dir, log, state, last: StepRow::default() })
    }

    /// A training log line.
    pub fn step(&mut self, row: &StepRow) -> Result<()> {
        self.state.step(row);
        self.last = row.clone();
        self.log.step(row)
    }

    /// An evaluation while training: the metrics of each data set, its loss first; `at` says where the run stands. As
    /// transformers, an entry for each, and no `eval_loss` in the log where losses have names.
    pub fn evaluated(&mut self, at: &StepRow, sets: &[Vec<(String, f64)>]) -> Result<()> {
        let mut all = Map::new();
        for metrics in sets {
            let one: Map<String, Value> = metrics.iter().map(|(name, x)| (name.clone(), json!(x))).collect();
            self.state.evaluated(at, &one);
            let loss = metrics.iter().find(|(name, _)| name == "eval_loss").map(|(_, loss)| *loss);
            let scores = one.iter().filter(|(name, _)| !name.ends_with("loss"));
            let scores = scores.map(|(name, x)| (name.clone(), x.clone())).collect();
            self.log.evaluated(at, loss, scores)?;
            all.extend(one);
        }
        results::write(&self.dir, "eval", &all)
    }

    /// A setting that changed.
    pub fn changed(&mut self, at: &StepRow, key: &str, value: &str) -> Result<()> {
        self.log.changed(at, key, value)
    }

    /// Takes over where the run stands, and which step was the best, with its checkpoint where that is there or
    /// about to be.
    pub fn stands(&mut self, position: &Position, epoch: f64) {
        (self.state.global_step, self.state.epoch) = (position.step, epoch);
        let Some(best) = position.best else { return };
        self.state.best_metric = Some(best.value);
        self.state.best_global_step = Some(best.step);
        let folder = checkpoint::folder(&self.dir, best.step);
        if best.step == position.step || folder.exists() {
            self.state.best_model_checkpoint = Some(folder.display().to_string());
        }
    }

    /// The evaluation of the step `best` is the result, because its adapter is.
    pub fn evaluated_best(&self, best: usize) -> Result<()> {
        let of_best = self.state.log_history.iter().filter(|entry| entry["step"] == best);
        let metrics =
            of_best.filter_map(Value::as_object).flatten().filter(|(key, _)| key.starts_with("eval_"));
        results::write(&self.dir, "eval", &metrics.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// `trainer_state.json` and the files beside an adapter, into a checkpoint.
    pub fn fill(&self, dir: &Path) -> Result<()> {
        self.state.write(dir)?;
        self.companions(dir)
    }

    fn companions(&self, dir: &Path) -> Result<()> {
        for name in COMPANIONS {
            let from = self.model_dir.join(name);
            if from.exists() {
                let bytes = std::fs::read(&from).at("read", &from)?;
                files::write(&dir.join(name), &bytes)?;
            }
        }
        Ok(())
    }

    /// The results at the end of a run; returns `all_results.json`.
    pub fn finish(&mut self, totals: &TrainTotals) -> Result<Map<String, Value>> {
        self.log.end(&self.last, totals.train_runtime)?;
        self.state.end(totals);
        self.state.write(&self.dir)?;
        self.companions(&self.dir)?;
        results::write(&self.dir, "train", &totals.metrics())?;
        Ok(results::read(&self.dir))
    }
}

/// Makes room for a run that begins anew: removes what an earlier one left where that is allowed.
///
/// Errors: a finished run is there and `overwrite_output_dir` is not set.
pub fn clear(config: &TrainConfig) -> Result<()> {
    let dir = &config.output_dir;
    if dir.join("train_results.json").exists() && !config.overwrite_output_dir {
        return Err(Error::usage(format!("{} holds a finished run", dir.display()))
            .hint("choose another output_dir, or set overwrite_output_dir: true"));
    }
    for (_, old) in checkpoint::list(dir) {
        std::fs::remove_dir_all(&old).at("remove", &old)?;
    }
    let files = ["all_results.json", "train_results.json", "eval_results.json", "trainer_state.json"];
    for name in files.into_iter().chain([EVENTS, CHANGES, BAD_BATCH]) {
        match std::fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).at("remove", dir.join(name)),
            _ => {}
        }
    }
    Ok(())
}

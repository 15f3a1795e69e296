//! `trainer_state.json`: transformers' `TrainerState`, with the log history that has the gradient norms.

use super::{TRAINER_STATE, python_json};
use crate::config::steps::Steps;
use crate::config::{Every, TrainConfig};
use crate::error::{At, Error, Result};
use crate::files;
use crate::job::StepRow;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// The fields that transformers 5 writes, all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainerState {
    pub epoch: f64,
    pub global_step: usize,
    pub max_steps: usize,
    pub logging_steps: f64,
    pub eval_steps: f64,
    pub save_steps: f64,
    pub train_batch_size: Option<usize>,
    pub num_train_epochs: usize,
    pub num_input_tokens_seen: u64,
    pub total_flos: f64,
    /// One object per log: `epoch`, `grad_norm`, `learning_rate`, `loss`, `step`, or the keys of an evaluation.
    pub log_history: Vec<Value>,
    pub best_metric: Option<f64>,
    pub best_global_step: Option<usize>,
    pub best_model_checkpoint: Option<String>,
    pub is_local_process_zero: bool,
    pub is_world_process_zero: bool,
    pub is_hyper_param_search: bool,
    pub trial_name: Option<String>,
    pub trial_params: Value,
    pub stateful_callbacks: Value,
}

impl Default for TrainerState {
    fn default() -> Self {
        Self {
            epoch: 0.0,
            global_step: 0,
            max_steps: 0,
            logging_steps: 500.0,
            eval_steps: 500.0,
            save_steps: 500.0,
            train_batch_size: None,
            num_train_epochs: 0,
            num_input_tokens_seen: 0,
            total_flos: 0.0,
            log_history: Vec::new(),
            best_metric: None,
            best_global_step: None,
            best_model_checkpoint: None,
            is_local_process_zero: true,
            is_world_process_zero: true,
            is_hyper_param_search: false,
            trial_name: None,
            trial_params: Value::Null,
            stateful_callbacks: control(false),
        }
    }
}

impl TrainerState {
    /// The state before the first update.
    pub fn new(config: &TrainConfig, steps: &Steps) -> Self {
        // transformers leaves its default of 500 where there is no evaluation.
        let eval_steps = match config.evaluates() {
            Every::Steps(n) => n as f64,
            Every::Never | Every::Epoch => 500.0,
        };
        Self {
            max_steps: steps.total,
            logging_steps: config.logging_steps as f64,
            eval_steps,
            save_steps: config.save_steps as f64,
            train_batch_size: Some(config.per_device_train_batch_size),
            num_train_epochs: steps.epochs,
            ..Self::default()
        }
    }

    /// Takes a training log into the history.
    pub fn step(&mut self, row: &StepRow) {
        (self.global_step, self.epoch) = (row.step, row.epoch);
        self.log_history.push(json!({
            "epoch": row.epoch, "grad_norm": row.grad_norm, "learning_rate": row.lr, "loss": row.loss, "step": row.step,
        }));
    }

    /// Takes an evaluation (`eval_loss` and the like) into the history.
    pub fn evaluated(&mut self, at: &StepRow, metrics: &serde_json::Map<String, Value>) {
        (self.global_step, self.epoch) = (at.step, at.epoch);
        self.push_metrics(metrics.clone());
    }

    /// Takes the totals of the run (`train_loss`, `train_runtime`, ...) into the history, as its last entry.
    pub fn end(&mut self, totals: &super::results::TrainTotals) {
        self.total_flos = totals.total_flos;
        self.stateful_callbacks = control(true);
        self.push_metrics(totals.metrics());
    }

    fn push_metrics(&mut self, mut entry: serde_json::Map<String, Value>) {
        entry.insert("epoch".into(), self.epoch.into());
        entry.insert("step".into(), self.global_step.into());
        self.log_history.push(Value::Object(entry));
    }

    /// Writes `trainer_state.json` into a run or checkpoint folder.
    pub fn write(&self, dir: &Path) -> Result<()> {
        files::write(&dir.join(TRAINER_STATE), (python_json::sorted(&self.tidy(), 2) + "\n").as_bytes())
    }

    /// Reads `trainer_state.json` from a run or checkpoint folder, ours or LLaMA-Factory's.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(TRAINER_STATE);
        let text = std::fs::read_to_string(&path).at("read", &path)?;
        let value = super::read::python_value(&text)
            .ok_or_else(|| Error::input(format!("{} is not valid JSON", path.display())))?;
        serde_json::from_value(value)
            .map_err(|e| Error::input(format!("{} is not a trainer state: {e}", path.display())))
    }

    /// As JSON, with whole step counts written whole, as transformers has them.
    fn tidy(&self) -> Value {
        let mut value = serde_json::to_value(self).expect("plain data serialises");
        for key in ["logging_steps", "eval_steps", "save_steps"] {
            if let Some(x) = value[key].as_f64().filter(|x| x.fract() == 0.0) {
                value[key] = (x as u64).into();
            }
        }
        value
    }
}

/// transformers' `TrainerControl`; it refuses a state without one on resume.
fn control(ended: bool) -> Value {
    json!({ "TrainerControl": { "args": {
        "should_training_stop": ended, "should_epoch_stop": false, "should_save": true,
        "should_evaluate": false, "should_log": false,
    }, "attributes": {} } })
}

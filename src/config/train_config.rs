//! The typed settings of a run. Field names, meanings and defaults are LLaMA-Factory's.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How the learning rate moves after the warmup. Names as in transformers' `SchedulerType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrScheduler {
    Linear,
    Cosine,
    CosineWithRestarts,
    Polynomial,
    Constant,
    ConstantWithWarmup,
    InverseSqrt,
    CosineWithMinLr,
}

/// All settings of training, evaluation and generation. `Default` gives LLaMA-Factory's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    // model
    pub model_name_or_path: PathBuf,
    pub adapter_name_or_path: Option<PathBuf>,
    /// `false` goes on training the given adapter; `true` starts a new one.
    pub create_new_adapter: bool,
    pub image_max_pixels: u64,
    pub image_min_pixels: u64,

    // data
    /// Names in `dataset_info.json`.
    pub dataset: Vec<String>,
    pub eval_dataset: Vec<String>,
    pub dataset_dir: PathBuf,
    /// Where relative picture paths start; the data folder if not given.
    pub media_dir: Option<PathBuf>,
    pub template: String,
    pub enable_thinking: Option<bool>,
    pub cutoff_len: usize,
    pub max_samples: Option<usize>,
    pub val_size: f64,
    pub train_on_prompt: bool,
    pub mask_history: bool,
    pub disable_shuffling: bool,
    pub preprocessing_num_workers: usize,

    // method
    pub stage: String,
    pub finetuning_type: String,
    pub lora_rank: usize,
    /// `None`: twice the rank.
    pub lora_alpha: Option<f64>,
    pub lora_dropout: f64,
    /// `all`, or names of modules with commas between.
    pub lora_target: String,
    pub use_rslora: bool,
    pub use_dora: bool,
    pub freeze_vision_tower: bool,
    pub freeze_multi_modal_projector: bool,
    pub freeze_language_model: bool,

    // optimisation
    pub learning_rate: f64,
    pub num_train_epochs: f64,
    /// Greater than 0 overrides `num_train_epochs`.
    pub max_steps: i64,
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    pub lr_scheduler_type: LrScheduler,
    /// The floor of `cosine_with_min_lr`, as a learning rate.
    pub min_lr: Option<f64>,
    pub warmup_ratio: f64,
    pub warmup_steps: f64,
    pub max_grad_norm: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub bf16: bool,
    pub seed: u64,

    // output
    pub output_dir: PathBuf,
    pub overwrite_output_dir: bool,
    /// A checkpoint folder to go on from.
    pub resume_from_checkpoint: Option<PathBuf>,
    pub logging_steps: usize,
    pub save_steps: usize,
    pub save_total_limit: Option<usize>,
    pub save_only_model: bool,
    /// 0: no evaluation while training.
    pub eval_steps: usize,

    // evaluation and generation
    pub per_device_eval_batch_size: usize,
    pub do_sample: bool,
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: usize,
    pub repetition_penalty: f64,
    pub max_new_tokens: usize,
}

impl TrainConfig {
    /// `lora_alpha`, or LLaMA-Factory's default of twice the rank.
    pub fn alpha(&self) -> f64 {
        self.lora_alpha.unwrap_or(2.0 * self.lora_rank as f64)
    }

    /// The factor of the LoRA branch: alpha / r, or alpha / sqrt(r) with rsLoRA (arXiv 2312.03732).
    pub fn lora_scale(&self) -> f64 {
        let r = self.lora_rank as f64;
        self.alpha() / if self.use_rslora { r.sqrt() } else { r }
    }

    /// The decoding rule of evaluation.
    pub fn sampling(&self) -> crate::job::Sampling {
        crate::job::Sampling {
            temperature: if self.do_sample { self.temperature as f32 } else { 0.0 },
            top_p: self.top_p as f32,
            top_k: self.top_k,
            repetition_penalty: self.repetition_penalty as f32,
            max_new_tokens: self.max_new_tokens,
            seed: self.seed,
        }
    }

    /// Where relative picture paths start.
    pub fn media_dir(&self) -> PathBuf {
        self.media_dir.clone().unwrap_or_else(|| self.dataset_dir.clone())
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            model_name_or_path: PathBuf::new(),
            adapter_name_or_path: None,
            create_new_adapter: false,
            image_max_pixels: 768 * 768,
            image_min_pixels: 32 * 32,
            dataset: Vec::new(),
            eval_dataset: Vec::new(),
            dataset_dir: PathBuf::from("data"),
            media_dir: None,
            template: "qwen3_vl_nothink".into(),
            enable_thinking: Some(true),
            cutoff_len: 2048,
            max_samples: None,
            val_size: 0.0,
            train_on_prompt: false,
            mask_history: false,
            disable_shuffling: false,
            preprocessing_num_workers: 2,
            stage: "sft".into(),
            finetuning_type: "lora".into(),
            lora_rank: 8,
            lora_alpha: None,
            lora_dropout: 0.0,
            lora_target: "all".into(),
            use_rslora: false,
            use_dora: false,
            freeze_vision_tower: true,
            freeze_multi_modal_projector: true,
            freeze_language_model: false,
            learning_rate: 5e-5,
            num_train_epochs: 3.0,
            max_steps: -1,
            per_device_train_batch_size: 2,
            gradient_accumulation_steps: 8,
            lr_scheduler_type: LrScheduler::Cosine,
            min_lr: None,
            warmup_ratio: 0.0,
            warmup_steps: 0.0,
            max_grad_norm: 1.0,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            bf16: true,
            seed: 42,
            output_dir: PathBuf::from("saves/run"),
            overwrite_output_dir: false,
            resume_from_checkpoint: None,
            logging_steps: 5,
            save_steps: 100,
            save_total_limit: None,
            save_only_model: false,
            eval_steps: 0,
            per_device_eval_batch_size: 8,
            do_sample: true,
            temperature: 0.95,
            top_p: 0.7,
            top_k: 50,
            repetition_penalty: 1.0,
            max_new_tokens: 1024,
        }
    }
}

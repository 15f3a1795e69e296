//! The typed settings of a run. Field names, meanings and defaults are LLaMA-Factory's.

use super::ScheduleArgs;
use super::quantization::FourBit;
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
    ReduceLrOnPlateau,
    CosineWithMinLr,
    CosineWarmupWithMinLr,
    WarmupStableDecay,
}

/// transformers' `eval_strategy` and `save_strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    No,
    Steps,
    Epoch,
    /// Saving only: whenever the best metric gets better.
    Best,
}

/// When something is due while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    Never,
    /// After every so many updates, and after the last.
    Steps(usize),
    Epoch,
}

/// How several data sets become one. Names as in LLaMA-Factory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MixStrategy {
    /// One after another.
    Concat,
    /// By turns, until the first is used up.
    InterleaveUnder,
    /// By turns, those used up again, until the last is used up.
    InterleaveOver,
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
    /// 8 or 4: the frozen model in blocks of that many bits (QLoRA).
    pub quantization_bit: Option<usize>,
    /// Of 4 bits.
    pub quantization_type: FourBit,
    /// Of 4 bits: the scales of the blocks in 8 bits too.
    pub double_quantization: bool,
    pub quantization_method: String,
    pub image_max_pixels: u64,
    pub image_min_pixels: u64,

    // data
    /// Names in `dataset_info.json`.
    pub dataset: Vec<String>,
    pub eval_dataset: Vec<String>,
    pub dataset_dir: PathBuf,
    /// Where relative picture paths start; the data folder if not given.
    pub media_dir: Option<PathBuf>,
    pub mix_strategy: MixStrategy,
    /// Numbers with commas between: how often each data set comes.
    pub interleave_probs: Option<String>,
    pub template: String,
    /// The system message where a sample has none.
    pub default_system: Option<String>,
    pub enable_thinking: Option<bool>,
    pub cutoff_len: usize,
    pub max_samples: Option<usize>,
    pub val_size: f64,
    pub eval_on_each_dataset: bool,
    pub train_on_prompt: bool,
    pub mask_history: bool,
    pub disable_shuffling: bool,
    pub preprocessing_num_workers: usize,
    /// Greedy packs of samples up to `cutoff_len`, each sample for itself.
    pub packing: bool,
    pub neat_packing: bool,
    /// Samples among which packs are made.
    pub preprocessing_batch_size: usize,
    pub dataloader_drop_last: bool,

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
    pub lr_scheduler_kwargs: ScheduleArgs,
    pub warmup_ratio: f64,
    pub warmup_steps: f64,
    pub max_grad_norm: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub bf16: bool,
    /// Keep all activations; `false` keeps the layers' inputs and computes each layer again on the way back; `None`:
    /// whichever the memory allows.
    pub disable_gradient_checkpointing: Option<bool>,
    /// Where features of a frozen vision tower are kept for later runs, and how many GB of them.
    pub vision_cache_dir: Option<PathBuf>,
    pub vision_cache_gb: f64,
    pub seed: u64,
    /// Of the data order alone; `None`: `seed`.
    pub data_seed: Option<u64>,
    pub skip_bad_batch: bool,
    /// Kept for an external engine.
    pub deepspeed: Option<String>,

    // output
    pub output_dir: PathBuf,
    pub overwrite_output_dir: bool,
    /// A checkpoint folder to go on from.
    pub resume_from_checkpoint: Option<PathBuf>,
    pub logging_steps: usize,
    pub save_strategy: Strategy,
    pub save_steps: usize,
    pub save_total_limit: Option<usize>,
    pub save_only_model: bool,
    /// Where `export` writes the merged model.
    pub export_dir: Option<PathBuf>,
    /// Largest weight file in GB (10⁹ bytes).
    pub export_size: u64,
    pub export_device: String,
    /// `None`: `steps` if `eval_steps` is above 0, else `no`.
    pub eval_strategy: Option<Strategy>,
    pub eval_steps: usize,
    /// Samples that are answered and scored at each evaluation.
    pub eval_generate_samples: usize,
    pub load_best_model_at_end: bool,
    pub metric_for_best_model: Option<String>,
    pub greater_is_better: Option<bool>,
    /// Evaluations without a better metric after which training ends.
    pub early_stopping_steps: Option<usize>,

    // evaluation and generation
    pub per_device_eval_batch_size: usize,
    pub do_sample: bool,
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: usize,
    pub min_p: f64,
    pub repetition_penalty: f64,
    pub max_new_tokens: usize,
    pub stop_strings: Vec<String>,
    pub prompt_lookup_num_tokens: usize,
    pub skip_special_tokens: bool,
    /// What is drawn in each picture, for slot accuracy.
    pub eval_group_by: Option<String>,
    pub slot_labels: Option<PathBuf>,
}

impl TrainConfig {
    /// The data sets that an evaluation is of: `eval_dataset`, else those that are trained on.
    pub fn evaluated(&self) -> &Vec<String> {
        if self.eval_dataset.is_empty() { &self.dataset } else { &self.eval_dataset }
    }

    /// The numbers of `interleave_probs`.
    ///
    /// # Errors
    /// One of them is no number.
    pub fn probabilities(&self) -> Result<Option<Vec<f64>>, std::num::ParseFloatError> {
        let numbers = |text: &String| text.split(',').map(|p| p.trim().parse()).collect();
        self.interleave_probs.as_ref().map(numbers).transpose()
    }

    /// `lora_alpha`, or LLaMA-Factory's default of twice the rank.
    pub fn alpha(&self) -> f64 {
        self.lora_alpha.unwrap_or(2.0 * self.lora_rank as f64)
    }

    /// The factor of the LoRA branch: alpha / r, or alpha / sqrt(r) with rsLoRA (arXiv 2312.03732).
    pub fn lora_scale(&self) -> f64 {
        let r = self.lora_rank as f64;
        self.alpha() / if self.use_rslora { r.sqrt() } else { r }
    }

    /// Whether layers are computed again on the way back: not where that is left to the plan, until it has chosen.
    pub fn recomputes(&self) -> bool {
        self.disable_gradient_checkpointing == Some(false)
    }

    /// Whether samples are put together into packs.
    pub fn packs(&self) -> bool {
        self.packing || self.neat_packing
    }

    /// Longest sample and longest pack, in tokens. With packs LLaMA-Factory keeps one token for itself.
    pub fn longest(&self) -> usize {
        if self.packs() { self.cutoff_len.saturating_sub(1).max(1) } else { self.cutoff_len }
    }

    /// When the loss on held-out samples is due. `steps` without `eval_steps` follows the log, as in transformers.
    pub fn evaluates(&self) -> Every {
        match self.eval_strategy {
            Some(Strategy::Epoch) => Every::Epoch,
            Some(Strategy::Steps) if self.eval_steps == 0 => Every::Steps(self.logging_steps),
            Some(Strategy::Steps) | None if self.eval_steps > 0 => Every::Steps(self.eval_steps),
            _ => Every::Never,
        }
    }

    /// The metric that tells which checkpoint is the best, as `eval_...`; `None` if nobody asks.
    pub fn best_metric(&self) -> Option<String> {
        let asked = self.load_best_model_at_end
            || self.early_stopping_steps.is_some()
            || self.save_strategy == Strategy::Best
            || self.lr_scheduler_type == LrScheduler::ReduceLrOnPlateau;
        let name = match &self.metric_for_best_model {
            Some(name) => name.as_str(),
            None if asked => "loss",
            None => return None,
        };
        Some(if name.starts_with("eval_") { name.into() } else { format!("eval_{name}") })
    }

    /// Whether a larger metric is better: as set, else for all but losses.
    pub fn larger_is_better(&self) -> bool {
        let loss = self.best_metric().is_none_or(|name| name.ends_with("loss"));
        self.greater_is_better.unwrap_or(!loss)
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
            quantization_bit: None,
            quantization_type: FourBit::Nf4,
            double_quantization: true,
            quantization_method: "bnb".into(),
            image_max_pixels: 768 * 768,
            image_min_pixels: 32 * 32,
            dataset: Vec::new(),
            eval_dataset: Vec::new(),
            dataset_dir: PathBuf::from("data"),
            media_dir: None,
            mix_strategy: MixStrategy::Concat,
            interleave_probs: None,
            template: "qwen3_vl_nothink".into(),
            default_system: None,
            enable_thinking: Some(true),
            cutoff_len: 2048,
            max_samples: None,
            val_size: 0.0,
            eval_on_each_dataset: false,
            train_on_prompt: false,
            mask_history: false,
            disable_shuffling: false,
            preprocessing_num_workers: 2,
            packing: false,
            neat_packing: false,
            preprocessing_batch_size: 1000,
            dataloader_drop_last: false,
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
            lr_scheduler_kwargs: ScheduleArgs::default(),
            warmup_ratio: 0.0,
            warmup_steps: 0.0,
            max_grad_norm: 1.0,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            bf16: true,
            disable_gradient_checkpointing: None,
            vision_cache_dir: None,
            vision_cache_gb: 20.0,
            seed: 42,
            data_seed: None,
            skip_bad_batch: false,
            deepspeed: None,
            output_dir: PathBuf::from("saves/run"),
            overwrite_output_dir: false,
            resume_from_checkpoint: None,
            logging_steps: 5,
            save_strategy: Strategy::Steps,
            save_steps: 100,
            save_total_limit: None,
            save_only_model: false,
            export_dir: None,
            export_size: 5,
            export_device: "cpu".into(),
            eval_strategy: None,
            eval_steps: 0,
            eval_generate_samples: 0,
            load_best_model_at_end: false,
            metric_for_best_model: None,
            greater_is_better: None,
            early_stopping_steps: None,
            per_device_eval_batch_size: 8,
            do_sample: true,
            temperature: 0.95,
            top_p: 0.7,
            top_k: 50,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_new_tokens: 1024,
            stop_strings: Vec::new(),
            prompt_lookup_num_tokens: 7,
            skip_special_tokens: true,
            eval_group_by: None,
            slot_labels: None,
        }
    }
}

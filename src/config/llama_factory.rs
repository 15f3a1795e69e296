//! LLaMA-Factory's keys that are no rows here: which may stand in a file, which are refused, and near misses.

use super::fields;
use crate::error::Error;

/// Accepted and without effect, with the reason that is told.
const IGNORED: &[(&str, &[&str])] = &[
    (
        "the command says what is done",
        &["do_train", "do_eval", "do_predict", "predict_with_generate", "prediction_loss_only", "task"],
    ),
    (
        "the loss curve is drawn live and kept in the run folder; nothing is sent anywhere",
        &[
            "plot_loss",
            "report_to",
            "run_name",
            "project",
            "logging_dir",
            "logging_strategy",
            "logging_first_step",
            "log_level",
            "log_level_replica",
            "log_on_each_node",
            "disable_tqdm",
            "trackio_space_id",
            "hub_private_repo",
            "print_param_status",
            "use_swanlab",
            "swanlab_project",
            "swanlab_workspace",
            "swanlab_run_name",
            "swanlab_mode",
        ],
    ),
    (
        "padding is always left out of the token counts",
        &[
            "include_num_input_tokens_seen",
            "include_tokens_per_second",
            "include_effective_tokens_per_second",
        ],
    ),
    (
        "pictures are read by threads of the same process; nothing has to be tokenised beforehand",
        &[
            "overwrite_cache",
            "cache_dir",
            "data_shared_file_system",
            "dataloader_num_workers",
            "dataloader_pin_memory",
            "dataloader_persistent_workers",
            "dataloader_prefetch_factor",
            "remove_unused_columns",
        ],
    ),
    (
        "one process on one device, with kernels of its own",
        &[
            "fsdp",
            "fsdp_config",
            "ddp_timeout",
            "ddp_find_unused_parameters",
            "ddp_backend",
            "local_rank",
            "low_cpu_mem_usage",
            "use_cpu",
            "no_cuda",
            "flash_attn",
            "enable_liger_kernel",
            "use_unsloth",
            "use_unsloth_gc",
            "use_v1_kernels",
            "gradient_checkpointing",
            "gradient_checkpointing_kwargs",
            "use_reentrant_gc",
            "upcast_layernorm",
            "upcast_lmhead_output",
            "torch_compile",
            "tf32",
            "use_kv_cache",
            "infer_backend",
            "infer_dtype",
            "trust_remote_code",
            "use_fast_tokenizer",
        ],
    ),
    (
        "of no effect for pictures and LoRA",
        &[
            "video_max_pixels",
            "video_min_pixels",
            "video_fps",
            "video_maxlen",
            "audio_sampling_rate",
            "use_audio_in_video",
            "image_do_pan_and_scan",
            "crop_to_patches",
            "buffer_size",
            "save_safetensors",
            "max_length",
            "length_penalty",
            "ignore_pad_token_for_loss",
            "preserve_thinking",
            "pref_beta",
            "pref_ftx",
            "pref_loss",
            "loraplus_lr_embedding",
            "eval_accumulation_steps",
            "bf16_full_eval",
            "freeze_trainable_layers",
            "freeze_trainable_modules",
            "save_on_each_node",
        ],
    ),
];

/// Keys whose other values are not supported yet: key, values that are fine, what is said otherwise.
const NOT_YET: &[(&str, &[&str], &str)] = &[
    ("stage", &["sft"], "only sft (supervised fine-tuning) is supported yet"),
    ("finetuning_type", &["lora"], "only lora is supported yet"),
    ("pissa_init", OFF, "PiSSA is not supported"),
    ("pure_bf16", OFF, "adapters are kept in f32 always; use bf16: true for a bfloat16 model"),
    ("fp16", OFF, "half precision is not supported; use bf16: true, or bf16: false for f32"),
    ("fp8", OFF, "not supported"),
    ("loraplus_lr_ratio", OFF, "LoRA+ is not supported"),
    ("additional_target", OFF, "fully trained extra modules are not supported"),
    ("use_galore", OFF, "GaLore is not supported"),
    ("use_apollo", OFF, "APOLLO is not supported"),
    ("use_badam", OFF, "BAdam is not supported"),
    ("use_adam_mini", OFF, "Adam-mini is not supported"),
    ("use_muon", OFF, "Muon is not supported"),
    ("use_dft_loss", OFF, "the DFT loss is not supported"),
    ("use_llama_pro", OFF, "LLaMA Pro is not supported"),
    ("use_kt", OFF, "KTransformers is not supported"),
    ("shift_attn", OFF, "shifted sparse attention is not supported"),
    ("neftune_noise_alpha", OFF, "NEFTune is not supported"),
    ("label_smoothing_factor", OFF, "label smoothing is not supported"),
    ("moe_aux_loss_coef", OFF, "a router loss is not supported: the router is frozen"),
    ("rope_scaling", OFF, "RoPE scaling is not supported; the model's own setting is used"),
    ("streaming", OFF, "not supported: pictures are read when they are needed anyway"),
    ("tokenized_path", OFF, "tokenised data sets are not read or written"),
    ("tool_format", OFF, "tool formats are not supported"),
    ("resize_vocab", OFF, "changing the vocabulary is not supported"),
    ("add_tokens", OFF, "changing the vocabulary is not supported"),
    ("add_special_tokens", OFF, "changing the vocabulary is not supported"),
    ("train_from_scratch", OFF, "training from nothing is not supported"),
    ("compute_accuracy", OFF, "not supported; `eval` computes BLEU and ROUGE"),
    ("group_by_length", OFF, "not supported; batches follow LLaMA-Factory's order"),
    ("push_to_hub", OFF, "nothing is uploaded"),
    ("auto_find_batch_size", OFF, "not supported"),
    ("optim", &["adamw_torch", "adamw_torch_fused", "adamw_hf"], "only AdamW is supported"),
    ("num_beams", &["1"], "beam search is not supported"),
    ("eval_num_beams", &["1", "", "null"], "beam search is not supported"),
];

/// Values that leave a feature off.
const OFF: &[&str] = &["", "null", "None", "~", "false", "no", "off", "0", "0.0"];

/// Keys that the layers turn into ours.
pub const TRANSLATED: &[&str] = &["evaluation_strategy"];

/// Short names people try, and what they mean.
const ALIASES: &[(&str, &str)] = &[
    ("lr", "learning_rate"),
    ("epochs", "num_train_epochs"),
    ("num_epochs", "num_train_epochs"),
    ("batch_size", "per_device_train_batch_size"),
    ("train_batch_size", "per_device_train_batch_size"),
    ("eval_batch_size", "per_device_eval_batch_size"),
    ("grad_accum", "gradient_accumulation_steps"),
    ("gradient_accumulation", "gradient_accumulation_steps"),
    ("model", "model_name_or_path"),
    ("model_path", "model_name_or_path"),
    ("adapter", "adapter_name_or_path"),
    ("checkpoint_dir", "adapter_name_or_path"),
    ("data", "dataset_dir"),
    ("output", "output_dir"),
    ("scheduler", "lr_scheduler_type"),
    ("warmup", "warmup_ratio"),
    ("rank", "lora_rank"),
    ("lora_r", "lora_rank"),
    ("alpha", "lora_alpha"),
    ("dropout", "lora_dropout"),
    ("max_pixels", "image_max_pixels"),
    ("min_pixels", "image_min_pixels"),
];

/// Why a key of LLaMA-Factory has no effect here; `None` for other keys.
pub fn ignored(key: &str) -> Option<&'static str> {
    IGNORED.iter().find(|(_, keys)| keys.contains(&key)).map(|(reason, _)| *reason)
}

/// What is said when a key has a value that LLaMA-Factory knows and we do not support yet.
pub fn not_yet(key: &str, text: &str) -> Option<&'static str> {
    let (_, fine, message) = NOT_YET.iter().find(|(k, ..)| *k == key)?;
    (!fine.contains(&text.trim())).then_some(*message)
}

/// True for a key of LLaMA-Factory that is no row of ours but may stand in a file with some values.
pub fn is_optional_feature(key: &str) -> bool {
    NOT_YET.iter().any(|(k, ..)| *k == key)
}

/// The error for a key nobody knows, with the nearest known one.
pub fn unknown_key(key: &str) -> Error {
    let mut error = Error::usage(format!("unknown setting {key}"));
    error.hint = Some(match nearest(key) {
        Some(near) => format!("did you mean {near}? `lorascope params` lists all settings"),
        None => "`lorascope params` lists all settings".to_string(),
    });
    error
}

/// The known key that looks most like `key`, if one looks like it at all.
pub fn nearest(key: &str) -> Option<&'static str> {
    let key = key.trim_start_matches('-').to_ascii_lowercase().replace('-', "_");
    if let Some((_, meant)) = ALIASES.iter().find(|(alias, _)| *alias == key) {
        return Some(meant);
    }
    let ours = fields::all().iter().map(|f| f.key);
    let theirs = NOT_YET.iter().map(|r| r.0).chain(IGNORED.iter().flat_map(|r| r.1.iter().copied()));
    let limit = (key.chars().count() / 3).clamp(1, 4);
    ours.chain(theirs)
        .chain(TRANSLATED.iter().copied())
        .map(|known| (strsim::levenshtein(&key, known), known))
        .min_by_key(|(d, _)| *d)
        .filter(|(d, _)| *d <= limit)
        .map(|(_, known)| known)
}

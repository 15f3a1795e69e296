//! The hyper-parameter table itself: one row per field of `TrainConfig`, in the order it is shown.

use super::fields::Kind::{Bool, Choice, Float, Folder, Int, List, Path, Text};
use super::fields::{Field, Group, Kind};

const BIG: i64 = 1_000_000_000;

const fn row(key: &'static str, group: Group, kind: Kind, unit: &'static str, help: &'static str) -> Field {
    Field { key, group, kind, unit, help, optional: false }
}

const fn opt(key: &'static str, group: Group, kind: Kind, unit: &'static str, help: &'static str) -> Field {
    Field { key, group, kind, unit, help, optional: true }
}

const fn int(min: i64, max: i64) -> Kind {
    Int { min, max }
}

const fn float(min: f64, max: f64) -> Kind {
    Float { min, max }
}

/// Names of transformers' schedules that are in force here.
const SCHEDULES: &[&str] = &[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "cosine_with_min_lr",
];

pub(super) static ROWS: &[Field] = &[
    row(
        "model_name_or_path",
        Group::Model,
        Folder,
        "",
        "Folder of the Qwen3-VL model in Hugging Face layout.",
    ),
    opt("adapter_name_or_path", Group::Model, Folder, "", "Folder of a LoRA adapter to go on from."),
    row(
        "create_new_adapter",
        Group::Model,
        Bool,
        "",
        "With an adapter given: start a new one on top of it instead of training it on.",
    ),
    row(
        "image_max_pixels",
        Group::Model,
        int(1024, 16_777_216),
        "pixels",
        "Larger pictures are scaled down to this area. About 1,024 pixels make one token.",
    ),
    row(
        "image_min_pixels",
        Group::Model,
        int(1, 16_777_216),
        "pixels",
        "Smaller pictures are scaled up to this area.",
    ),
    row(
        "dataset",
        Group::Data,
        List,
        "",
        "Names of data sets in dataset_info.json to train on, commas between.",
    ),
    row("eval_dataset", Group::Data, List, "", "Names of data sets to evaluate on, commas between."),
    row("dataset_dir", Group::Data, Folder, "", "Folder with dataset_info.json."),
    opt("media_dir", Group::Data, Folder, "", "Where relative picture paths start. Not set: dataset_dir."),
    row(
        "template",
        Group::Data,
        Choice(&["qwen3_vl_nothink", "qwen3_vl"]),
        "",
        "Chat template: qwen3_vl_nothink for Instruct models, qwen3_vl for Thinking models.",
    ),
    opt(
        "enable_thinking",
        Group::Data,
        Bool,
        "",
        "Template qwen3_vl only: true trains an empty thought where the answer has none.",
    ),
    row(
        "cutoff_len",
        Group::Data,
        int(4, 131_072),
        "tokens",
        "Longer samples are cut; picture tokens count too.",
    ),
    opt("max_samples", Group::Data, int(1, BIG), "samples", "Use the first N rows of each data set only."),
    row(
        "val_size",
        Group::Data,
        float(0.0, 1e9),
        "",
        "Held out of the training data: a share below 1, a number of samples above 1.",
    ),
    row("train_on_prompt", Group::Data, Bool, "", "Also learn the user's turns."),
    row("mask_history", Group::Data, Bool, "", "Learn the last answer of a conversation only."),
    row("disable_shuffling", Group::Data, Bool, "", "Take the samples in file order."),
    row(
        "preprocessing_num_workers",
        Group::Data,
        int(1, 512),
        "threads",
        "Threads that decode pictures and count tokens.",
    ),
    row("stage", Group::Method, Choice(&["sft"]), "", "Training method: supervised fine-tuning."),
    row("finetuning_type", Group::Method, Choice(&["lora"]), "", "What is trained: low-rank adapters."),
    row(
        "lora_rank",
        Group::Method,
        int(1, 1024),
        "",
        "Rank r of the adapters: their capacity, memory and size.",
    ),
    opt(
        "lora_alpha",
        Group::Method,
        float(1e-3, 65_536.0),
        "",
        "The adapter's output is multiplied by alpha / rank. Not set: twice the rank.",
    ),
    row(
        "lora_dropout",
        Group::Method,
        float(0.0, 0.99),
        "",
        "Share of adapter inputs dropped while training.",
    ),
    row(
        "lora_target",
        Group::Method,
        Text,
        "",
        "Modules that get an adapter: all, names with commas between, or a pattern for whole paths. Experts must be named.",
    ),
    row("use_rslora", Group::Method, Bool, "", "Scale by alpha / sqrt(rank) instead (arXiv 2312.03732)."),
    row("use_dora", Group::Method, Bool, "", "Also train the length of each weight row: DoRA (arXiv 2402.09353)."),
    row("freeze_vision_tower", Group::Method, Bool, "", "No adapters in the vision tower."),
    row(
        "freeze_multi_modal_projector",
        Group::Method,
        Bool,
        "",
        "No adapters in the merger between vision and text.",
    ),
    row("freeze_language_model", Group::Method, Bool, "", "No adapters in the language model."),
    row(
        "learning_rate",
        Group::Optimisation,
        float(0.0, 1.0),
        "",
        "Peak learning rate of AdamW, reached after the warmup.",
    ),
    row("num_train_epochs", Group::Optimisation, float(0.0, 10_000.0), "epochs", "Passes over the data."),
    row(
        "max_steps",
        Group::Optimisation,
        int(-1, BIG),
        "steps",
        "Stop after this many updates; above 0 it overrides num_train_epochs.",
    ),
    row(
        "per_device_train_batch_size",
        Group::Optimisation,
        int(1, 1024),
        "samples",
        "Samples per micro-batch.",
    ),
    row(
        "gradient_accumulation_steps",
        Group::Optimisation,
        int(1, 1024),
        "",
        "Micro-batches per update. The effective batch is the product of the two.",
    ),
    row(
        "lr_scheduler_type",
        Group::Optimisation,
        Choice(SCHEDULES),
        "",
        "How the learning rate moves after the warmup.",
    ),
    opt(
        "min_lr",
        Group::Optimisation,
        float(0.0, 1.0),
        "",
        "Floor of cosine_with_min_lr (in LLaMA-Factory: lr_scheduler_kwargs).",
    ),
    row(
        "warmup_ratio",
        Group::Optimisation,
        float(0.0, 1.0),
        "",
        "Share of all updates over which the learning rate rises from 0. Above 0 it wins over warmup_steps.",
    ),
    row(
        "warmup_steps",
        Group::Optimisation,
        float(0.0, 1e9),
        "steps",
        "Updates over which the learning rate rises from 0; below 1 it is a share of all updates.",
    ),
    row(
        "max_grad_norm",
        Group::Optimisation,
        float(0.0, 1e9),
        "",
        "Gradients with a larger norm are scaled down to it. 0: never.",
    ),
    row("weight_decay", Group::Optimisation, float(0.0, 1.0), "", "AdamW's weight decay on the adapters."),
    row("adam_beta1", Group::Optimisation, float(0.0, 0.999_999), "", "Decay of AdamW's mean of gradients."),
    row("adam_beta2", Group::Optimisation, float(0.0, 0.999_999_9), "", "Decay of AdamW's mean of squares."),
    row(
        "adam_epsilon",
        Group::Optimisation,
        float(1e-16, 1.0),
        "",
        "Added to AdamW's denominator, against division by zero.",
    ),
    row(
        "bf16",
        Group::Optimisation,
        Bool,
        "",
        "The frozen model in bfloat16; adapters and optimizer stay in f32. The CPU computes in f32.",
    ),
    row("seed", Group::Optimisation, int(0, i64::MAX), "", "Seed of data order, adapter start and dropout."),
    row("output_dir", Group::Output, Folder, "", "The run folder: log, checkpoints, adapter, results."),
    row("overwrite_output_dir", Group::Output, Bool, "", "Start anew in a run folder that has a run in it."),
    opt("resume_from_checkpoint", Group::Output, Path, "", "A checkpoint-N folder to go on from."),
    row("logging_steps", Group::Output, int(1, BIG), "steps", "Updates between two lines of the log."),
    row(
        "save_steps",
        Group::Output,
        int(1, BIG),
        "steps",
        "Updates between two checkpoints; the end saves too.",
    ),
    opt("save_total_limit", Group::Output, int(1, BIG), "", "Keep this many checkpoints. Not set: all."),
    row(
        "save_only_model",
        Group::Output,
        Bool,
        "",
        "Checkpoints without optimizer state: smaller, but no resume.",
    ),
    row(
        "eval_steps",
        Group::Output,
        int(0, BIG),
        "steps",
        "Updates between two evaluations of the loss. 0: none while training.",
    ),
    row(
        "per_device_eval_batch_size",
        Group::Generation,
        int(1, 1024),
        "samples",
        "Samples per batch of an evaluation.",
    ),
    row("do_sample", Group::Generation, Bool, "", "Draw the next token; false takes the likeliest (greedy)."),
    row("temperature", Group::Generation, float(0.0, 10.0), "", "Flattens (above 1) or sharpens the draw."),
    row("top_p", Group::Generation, float(0.0, 1.0), "", "Draw from the likeliest tokens that add up to it."),
    row("top_k", Group::Generation, int(0, 1_000_000), "tokens", "Draw from the K likeliest. 0: from all."),
    row(
        "repetition_penalty",
        Group::Generation,
        float(0.01, 10.0),
        "",
        "Above 1 makes repeated tokens rarer.",
    ),
    row("max_new_tokens", Group::Generation, int(1, 131_072), "tokens", "Longest answer."),
];

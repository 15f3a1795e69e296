//! The hyper-parameter table itself: one row per field of `TrainConfig`, in the order it is shown.

mod training;

use super::fields::Kind::{Bool, Choice, Float, Folder, Int, List, Text};
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

/// All rows.
pub(super) static ROWS: [Field; FIRST.len() + training::ROWS.len()] = joined(&[FIRST, training::ROWS]);

const fn joined<const N: usize>(parts: &[&[Field]]) -> [Field; N] {
    let mut all = [parts[0][0]; N];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            all[at] = parts[part][i];
            (at, i) = (at + 1, i + 1);
        }
        part += 1;
    }
    all
}

/// Model, data and method.
const FIRST: &[Field] = &[
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
    opt(
        "quantization_bit",
        Group::Model,
        int(4, 8),
        "bits",
        "The frozen model in blocks of 8 or 4 bits while training (QLoRA). Not set: in full.",
    ),
    row(
        "quantization_type",
        Group::Model,
        Choice(&["nf4", "fp4"]),
        "",
        "Code of 4-bit weights: nf4 has the smaller error (arXiv 2305.14314).",
    ),
    row(
        "double_quantization",
        Group::Model,
        Bool,
        "",
        "Of 4 bits: the scales of the blocks in 8 bits too; saves 0.37 bits per weight.",
    ),
    row(
        "quantization_method",
        Group::Model,
        Choice(&["bnb"]),
        "",
        "Quantised while loading, in the layout of bitsandbytes.",
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
        "mix_strategy",
        Group::Data,
        Choice(&["concat", "interleave_under", "interleave_over"]),
        "",
        "Several data sets: one after another, or by turns until the first (under) or the last (over) is used up.",
    ),
    opt(
        "interleave_probs",
        Group::Data,
        Text,
        "",
        "How often each data set comes, 0.3,0.7 for two. Not set: strictly by turns.",
    ),
    row(
        "template",
        Group::Data,
        Choice(&["qwen3_vl_nothink", "qwen3_vl"]),
        "",
        "Chat template: qwen3_vl_nothink for Instruct models, qwen3_vl for Thinking models.",
    ),
    opt("default_system", Group::Data, Text, "", "The system message of samples that have none."),
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
    row(
        "eval_on_each_dataset",
        Group::Data,
        Bool,
        "",
        "Evaluate on each of eval_dataset by itself: eval_NAME_loss.",
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
    row(
        "packing",
        Group::Data,
        Bool,
        "",
        "Fill packs up to cutoff_len with whole samples; each attends to itself only. A pack counts as one sample.",
    ),
    row("neat_packing", Group::Data, Bool, "", "The same as packing: packs are always neat here."),
    row(
        "preprocessing_batch_size",
        Group::Data,
        int(1, BIG),
        "samples",
        "Packs are made among this many samples that follow one another in the data.",
    ),
    row(
        "dataloader_drop_last",
        Group::Data,
        Bool,
        "",
        "Leave out the last micro-batch of an epoch if it is smaller.",
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
    row(
        "use_dora",
        Group::Method,
        Bool,
        "",
        "Also train the length of each weight row: DoRA (arXiv 2402.09353).",
    ),
    row("freeze_vision_tower", Group::Method, Bool, "", "No adapters in the vision tower."),
    row(
        "freeze_multi_modal_projector",
        Group::Method,
        Bool,
        "",
        "No adapters in the merger between vision and text.",
    ),
    row("freeze_language_model", Group::Method, Bool, "", "No adapters in the language model."),
];

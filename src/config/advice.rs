//! What the evidence says about a setting, shown beside its row. Never applied unasked.

/// A recommendation and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Advice {
    pub text: &'static str,
    pub source: &'static str,
}

const TUTORIAL: &str = "the MedTrinity tutorial's experiments";
const TRAINER: &str = "how this trainer works";
const LLAMA_FACTORY: &str = "LLaMA-Factory's behaviour";

/// Key, what to do, where it comes from.
const ROWS: &[(&str, &str, &str)] = &[
    (
        "num_train_epochs",
        "3 epochs for about 16,000 samples: from the 4th it over-fits. 6 to 8 for about 5,000.",
        TUTORIAL,
    ),
    ("lr_scheduler_type", "cosine, with a warmup of 3 % (warmup_ratio 0.03).", TUTORIAL),
    (
        "warmup_ratio",
        "0.03 with cosine. A larger batch wants a longer warmup or a lower learning rate.",
        TUTORIAL,
    ),
    ("learning_rate", "With a larger effective batch: lower it, or lengthen the warmup.", TUTORIAL),
    (
        "per_device_train_batch_size",
        "A larger batch wants a longer warmup or a lower learning rate.",
        TUTORIAL,
    ),
    ("lora_rank", "8 to 32 helps; at 64 the gain is used up.", TUTORIAL),
    ("lora_alpha", "Twice the rank.", TUTORIAL),
    ("lora_dropout", "0.05 up to 10,000 samples, 0 above.", TUTORIAL),
    (
        "packing",
        "Batches carry no padding here without it too; packs make micro-batches of even length, and fewer updates.",
        TRAINER,
    ),
    (
        "early_stopping_steps",
        "Over-fitting shows as a rising eval_loss: 2 or 3 evaluations, with load_best_model_at_end.",
        TRAINER,
    ),
    (
        "do_sample",
        "Drawn answers make BLEU and ROUGE noisy; false (greedy) gives the same score twice.",
        LLAMA_FACTORY,
    ),
    (
        "template",
        "qwen3_vl on an Instruct model teaches it to think aloud; qwen3_vl_nothink does not.",
        "LLaMA-Factory issues 9392 and 10644",
    ),
    (
        "cutoff_len",
        "Above the longest sample: a cut inside a picture's tokens breaks the sample. `check` counts them.",
        LLAMA_FACTORY,
    ),
    (
        "image_max_pixels",
        "Use the same limits for training and for asking: other sizes change the answers.",
        "LLaMA-Factory issues 6925 and 8856",
    ),
];

/// The advice beside the row `key`, if there is evidence.
pub fn advice(key: &str) -> Option<Advice> {
    ROWS.iter().find(|r| r.0 == key).map(|(_, text, source)| Advice { text, source })
}

//! Rules across settings: what cannot be run, and what will not do what it seems to.

use super::{Every, LrScheduler, MixStrategy, Strategy, TrainConfig, fields, llama_factory, schedule_args};

/// Something wrong with a setting. `fatal` ones forbid the start.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    pub key: &'static str,
    pub message: String,
    pub fatal: bool,
}

/// All problems of a training configuration, fatal ones first.
pub fn problems(config: &TrainConfig) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    unsupported(config, &mut found);
    quantization(config, &mut found);
    model_and_data(config, &mut found);
    mixing(config, &mut found);
    method(config, &mut found);
    optimisation(config, &mut found);
    output(config, &mut found);
    evaluation(config, &mut found);
    found.0.sort_by_key(|p| !p.fatal);
    found.0
}

struct Found(Vec<Problem>);

impl Found {
    fn fatal(&mut self, when: bool, key: &'static str, message: impl Into<String>) {
        if when {
            self.0.push(Problem { key, message: message.into(), fatal: true });
        }
    }
    fn warn(&mut self, when: bool, key: &'static str, message: impl Into<String>) {
        if when {
            self.0.push(Problem { key, message: message.into(), fatal: false });
        }
    }
}

fn unsupported(config: &TrainConfig, found: &mut Found) {
    for (field, value) in fields::all().iter().zip(fields::texts(config)) {
        if let Some(message) = llama_factory::not_yet(field.key, &value) {
            found.fatal(true, field.key, message);
        }
    }
}

fn quantization(c: &TrainConfig, found: &mut Found) {
    found.fatal(
        c.quantization_bit.is_some_and(|bits| bits != 4 && bits != 8),
        "quantization_bit",
        "the frozen model is kept in 8 or in 4 bits, or in full (null)",
    );
    found.fatal(
        c.quantization_bit.is_some() && c.adapter_name_or_path.is_some() && c.create_new_adapter,
        "create_new_adapter",
        "an adapter cannot be merged into a quantised model: its change would be rounded away; \
         merge it without quantization_bit first, or train it on (create_new_adapter: false)",
    );
}

fn model_and_data(c: &TrainConfig, found: &mut Found) {
    found.fatal(c.model_name_or_path.as_os_str().is_empty(), "model_name_or_path", "no model folder is set");
    found.fatal(c.dataset.is_empty(), "dataset", "no data set is set");
    found.fatal(
        c.image_min_pixels > c.image_max_pixels,
        "image_min_pixels",
        format!("image_min_pixels {} is above image_max_pixels {}", c.image_min_pixels, c.image_max_pixels),
    );
    // One token is a 32 x 32 square: 16-pixel patches, merged 2 x 2.
    let tokens = c.image_max_pixels / 1024;
    found.warn(
        tokens >= c.cutoff_len as u64,
        "cutoff_len",
        format!(
            "a picture of image_max_pixels is {tokens} tokens and does not fit cutoff_len {}",
            c.cutoff_len
        ),
    );
    found.fatal(
        c.val_size > 0.0 && !c.eval_dataset.is_empty(),
        "val_size",
        "val_size and eval_dataset exclude each other",
    );
    found.fatal(
        c.val_size > 1.0 && c.val_size.fract() != 0.0,
        "val_size",
        format!("val_size above 1 is a number of samples and must be whole (given: {})", c.val_size),
    );
    found.fatal(c.val_size == 1.0, "val_size", "val_size 1 is the share 1: it leaves nothing to train on");
    found.fatal(
        c.train_on_prompt && c.mask_history,
        "mask_history",
        "mask_history and train_on_prompt exclude each other",
    );
}

fn mixing(c: &TrainConfig, found: &mut Found) {
    let Some(given) = &c.interleave_probs else { return };
    let key = "interleave_probs";
    found.fatal(
        c.mix_strategy == MixStrategy::Concat,
        key,
        "interleave_probs needs mix_strategy: interleave_under or interleave_over",
    );
    let Ok(probs) = c.probabilities() else {
        return found.fatal(
            true,
            key,
            format!("interleave_probs must be numbers, commas between (given: {given})"),
        );
    };
    let probs = probs.unwrap_or_default();
    for (names, what) in [(&c.dataset, "dataset"), (&c.eval_dataset, "eval_dataset")] {
        found.fatal(
            !names.is_empty() && names.len() != probs.len(),
            key,
            format!("interleave_probs has {} numbers, {what} {} names", probs.len(), names.len()),
        );
    }
    let sum: f64 = probs.iter().sum();
    // numpy's tolerance: the root of the machine epsilon.
    found.fatal(
        !((sum - 1.0).abs() <= f64::EPSILON.sqrt() && probs.iter().all(|p| *p >= 0.0)),
        key,
        format!("interleave_probs must be 0 or more and add up to 1 (given: {given})"),
    );
    found.fatal(
        c.mix_strategy == MixStrategy::InterleaveOver && probs.contains(&0.0),
        key,
        "with interleave_over no data set may come with probability 0: it would never be used up",
    );
}

fn method(c: &TrainConfig, found: &mut Found) {
    found.fatal(
        c.lora_target.trim().is_empty(),
        "lora_target",
        "no modules are named; `all` is the usual value",
    );
    found.fatal(
        c.freeze_language_model && c.freeze_vision_tower && c.freeze_multi_modal_projector,
        "freeze_language_model",
        "everything is frozen: nothing would be trained",
    );
    found.warn(
        c.adapter_name_or_path.is_some() && !c.create_new_adapter,
        "lora_rank",
        "a given adapter is trained on: rank, alpha and target are its own, not those set here",
    );
}

fn optimisation(c: &TrainConfig, found: &mut Found) {
    found.fatal(
        c.max_steps <= 0 && c.num_train_epochs == 0.0,
        "num_train_epochs",
        "0 epochs and no max_steps: nothing would be trained",
    );
    found.warn(c.learning_rate == 0.0, "learning_rate", "with a learning rate of 0 nothing is learned");
    schedule(c, found);
    found.warn(
        c.warmup_ratio > 0.0 && c.warmup_steps > 0.0,
        "warmup_steps",
        "warmup_ratio and warmup_steps are both set; the ratio wins",
    );
    let warmup = c.warmup_ratio > 0.0 || c.warmup_steps > 0.0;
    found.warn(
        warmup && matches!(c.lr_scheduler_type, LrScheduler::Constant | LrScheduler::ReduceLrOnPlateau),
        "lr_scheduler_type",
        "constant and reduce_lr_on_plateau have no warmup; constant_with_warmup has",
    );
    found.warn(
        c.max_steps > 0 && warmup && c.warmup_ratio == 0.0 && c.warmup_steps >= c.max_steps as f64,
        "warmup_steps",
        "the warmup is as long as the run: the full learning rate is never reached",
    );
}

/// What transformers' schedules refuse when they are made.
fn schedule(c: &TrainConfig, found: &mut Found) {
    use LrScheduler as S;
    let (kind, args) = (c.lr_scheduler_type, &c.lr_scheduler_kwargs);
    let name = fields::get(c, "lr_scheduler_type");
    let floored = matches!(kind, S::CosineWithMinLr | S::CosineWarmupWithMinLr);
    let floors = [c.min_lr, args.number("min_lr"), args.number("min_lr_rate")];
    let given = floors.iter().flatten().count();
    found.fatal(floored && given == 0, "min_lr", format!("{name} needs min_lr"));
    found.fatal(
        floored && given > 1,
        "min_lr",
        "min_lr and min_lr_rate exclude each other; give the floor once",
    );
    found.warn(
        !floored && kind != S::ReduceLrOnPlateau && c.min_lr.is_some(),
        "min_lr",
        format!("{name} has no floor: min_lr has no effect"),
    );
    let floor = c.min_lr.or(args.number("min_lr"));
    found.fatal(
        floored && floor.is_some_and(|floor| floor > c.learning_rate),
        "min_lr",
        "min_lr is above learning_rate",
    );
    let no_arguments = matches!(kind, S::Constant | S::ConstantWithWarmup);
    for given in args.names().filter(|n| !schedule_args::taken_by(kind).contains(n)) {
        let message = format!("{given} is no argument of {name}");
        // transformers passes none to these two, and an error comes from all others.
        if no_arguments {
            found.warn(true, "lr_scheduler_kwargs", message);
        } else {
            found.fatal(true, "lr_scheduler_kwargs", message);
        }
    }
    found.fatal(
        kind == S::WarmupStableDecay && args.number("num_decay_steps").is_none(),
        "lr_scheduler_kwargs",
        "warmup_stable_decay needs {num_decay_steps: N}",
    );
    found.fatal(
        kind == S::Polynomial && args.number("lr_end").unwrap_or(1e-7) >= c.learning_rate,
        "lr_scheduler_kwargs",
        "lr_end (1e-7 if not given) must be below learning_rate",
    );
}

/// Rules of transformers about evaluation, the best checkpoint and early stopping.
fn evaluation(c: &TrainConfig, found: &mut Found) {
    let evaluates = c.evaluates();
    let has_samples = c.val_size > 0.0 || !c.eval_dataset.is_empty();
    found.fatal(
        evaluates != Every::Never && !has_samples,
        if c.eval_steps > 0 { "eval_steps" } else { "eval_strategy" },
        "evaluation while training needs eval_dataset or val_size",
    );
    found.warn(
        c.eval_strategy == Some(Strategy::No) && c.eval_steps > 0,
        "eval_steps",
        "eval_strategy is no: eval_steps has no effect",
    );
    found.warn(
        c.eval_generate_samples > 0 && !has_samples,
        "eval_generate_samples",
        "there is nothing to answer: set eval_dataset or val_size",
    );
    let never = evaluates == Every::Never;
    found.fatal(
        never && c.early_stopping_steps.is_some(),
        "early_stopping_steps",
        "early stopping needs evaluations: set eval_steps, or eval_strategy: epoch",
    );
    found.fatal(
        never && c.lr_scheduler_type == LrScheduler::ReduceLrOnPlateau,
        "lr_scheduler_type",
        "reduce_lr_on_plateau follows the evaluations: set eval_steps, or eval_strategy: epoch",
    );
    found.fatal(
        never && c.save_strategy == Strategy::Best,
        "save_strategy",
        "best needs evaluations: set eval_steps, or eval_strategy: epoch",
    );
    let saves_what_it_evaluates = match (c.save_strategy, evaluates) {
        (Strategy::Best, _) | (Strategy::Epoch, Every::Epoch) => true,
        (Strategy::Steps, Every::Steps(n)) => c.save_steps.is_multiple_of(n),
        _ => false,
    };
    found.fatal(
        c.load_best_model_at_end && (never || !saves_what_it_evaluates),
        "load_best_model_at_end",
        "it needs an evaluation before each save: the same strategy for both, and save_steps a multiple of eval_steps",
    );
}

fn output(c: &TrainConfig, found: &mut Found) {
    let out = c.output_dir.as_path();
    found.fatal(out.as_os_str().is_empty(), "output_dir", "no run folder is set");
    for (what, input) in
        [("model", Some(&c.model_name_or_path)), ("adapter", c.adapter_name_or_path.as_ref())]
    {
        found.fatal(
            !out.as_os_str().is_empty() && input.is_some_and(|p| p == out),
            "output_dir",
            format!("output_dir is the {what} folder; it would be overwritten"),
        );
    }
    found.warn(
        c.resume_from_checkpoint.is_some() && c.overwrite_output_dir,
        "overwrite_output_dir",
        "a resumed run goes on with its log; overwrite_output_dir has no effect",
    );
    found.warn(
        c.resume_from_checkpoint.is_some() && c.adapter_name_or_path.is_some(),
        "adapter_name_or_path",
        "the checkpoint brings its own adapter; adapter_name_or_path has no effect",
    );
}

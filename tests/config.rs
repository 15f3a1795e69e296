//! Settings: the table covers the typed configuration, layers win in order, rules and derived numbers hold.
#![allow(clippy::unwrap_used)]

use lorascope::config::fields::{self, Kind};
use lorascope::config::steps::{held_out, steps, warmup};
use lorascope::config::{Every, Strategy, TrainConfig, advice, layers, presets, reference, validate};
use lorascope::error;
use std::path::Path;

fn keys(config: &TrainConfig) -> Vec<String> {
    serde_json::to_value(config).unwrap().as_object().unwrap().keys().cloned().collect()
}

fn overrides(pairs: &[&str]) -> lorascope::error::Result<TrainConfig> {
    layers::load(None, &pairs.iter().map(|s| s.to_string()).collect::<Vec<_>>())
}

fn yaml(text: &str) -> lorascope::error::Result<TrainConfig> {
    layers::from_yaml(text, "run.yaml")
}

#[test]
fn every_field_has_a_row_and_back() {
    let rows: Vec<_> = fields::all().iter().map(|f| f.key.to_string()).collect();
    let mut of_struct = keys(&TrainConfig::default());
    let mut sorted = rows.clone();
    sorted.sort();
    of_struct.sort();
    assert_eq!(sorted, of_struct);
    assert!(fields::all().iter().all(|f| f.help.ends_with('.')), "help is a sentence");
}

#[test]
fn every_default_reads_back_and_null_is_for_optional_rows() {
    let default = TrainConfig::default();
    for field in fields::all() {
        let mut config = default.clone();
        fields::set(&mut config, field.key, &fields::get(&default, field.key)).unwrap();
        assert_eq!(config, default, "{}", field.key);

        let unset = fields::set(&mut config, field.key, "null");
        let text = matches!(field.kind, Kind::Text | Kind::Path | Kind::Folder | Kind::List);
        assert_eq!(unset.is_ok(), field.optional || text, "{}", field.key);
        if field.optional {
            assert_eq!(fields::get(&config, field.key), "", "{}", field.key);
        }
    }
}

#[test]
fn limits_are_inclusive_and_enforced() {
    for field in fields::all() {
        let mut config = TrainConfig::default();
        let mut set = |text: String| fields::set(&mut config, field.key, &text);
        match field.kind {
            Kind::Int { min, max } => {
                set(min.to_string()).unwrap();
                set(max.to_string()).unwrap();
                assert!(set((min - 1).to_string()).is_err(), "{}", field.key);
                assert!(set("1.5".into()).is_err(), "{}", field.key);
            }
            Kind::Float { min, max } => {
                set(format!("{min:e}")).unwrap();
                set(format!("{max:e}")).unwrap();
                assert!(set((min - 1.0).to_string()).is_err(), "{}", field.key);
                assert!(set("NaN".into()).is_err(), "{}", field.key);
            }
            Kind::Choice(names) => {
                for name in names {
                    set(name.to_string()).unwrap();
                }
                assert!(set("nonsense".into()).is_err(), "{}", field.key);
            }
            _ => {}
        }
    }
}

#[test]
fn messages_name_key_range_and_what_was_given() {
    let e = overrides(&["lora_rank=0"]).unwrap_err();
    assert_eq!(e.message, "lora_rank must be a whole number, 1 to 1024 (given: 0)");
    let e = overrides(&["bf16=maybe"]).unwrap_err();
    assert_eq!(e.message, "bf16 must be true or false (given: maybe)");
    let e = overrides(&["lr_scheduler_type=cosin"]).unwrap_err();
    assert!(e.message.contains("one of linear, cosine,") && e.message.contains("(given: cosin)"));
    let e = overrides(&["template=qwen3"]).unwrap_err();
    assert_eq!(e.message, "template must be one of qwen3_vl_nothink, qwen3_vl (given: qwen3)");
    assert_eq!(e.kind, error::Kind::Usage);
}

#[test]
fn numbers_and_lists_are_read_as_people_write_them() {
    let c = overrides(&["learning_rate=1e-4", "max_samples=1e5", "dataset=a, b,", "bf16=no"]).unwrap();
    assert_eq!((c.learning_rate, c.max_samples, c.bf16), (1e-4, Some(100_000), false));
    assert_eq!(c.dataset, ["a", "b"]);
    assert_eq!(fields::get(&c, "learning_rate"), "1e-4");
    assert_eq!(fields::get(&c, "dataset"), "a,b");
    let c =
        yaml("learning_rate: \"1e-4\"\nadam_epsilon: 5.0e-9\ndataset: [a, b]\nmax_samples: null\n").unwrap();
    assert_eq!((c.learning_rate, c.adam_epsilon, c.max_samples), (1e-4, 5e-9, None));
    assert_eq!(c.dataset, ["a", "b"]);
}

#[test]
fn later_layers_win() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.yaml");
    std::fs::write(&file, "lora_rank: 16\r\nseed: 7\r\n").unwrap();
    let c = layers::load(Some(&file), &["seed=8".into(), "seed=9".into()]).unwrap();
    assert_eq!((c.lora_rank, c.seed, c.lora_alpha), (16, 9, None));
    assert_eq!(TrainConfig { lora_rank: 16, seed: 9, ..TrainConfig::default() }, c);
}

#[test]
fn a_llama_factory_file_is_accepted_with_notes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("qwen3vl_lora_sft.yaml");
    std::fs::write(&file, LLAMA_FACTORY_EXAMPLE).unwrap();
    let (c, notes) = layers::load_with_notes(Some(&file), &[]).unwrap();
    assert_eq!((c.image_max_pixels, c.dataset.len(), c.warmup_ratio), (262_144, 2, 0.1));
    assert_eq!((c.save_steps, c.eval_steps), (500, 0));
    let all = notes.join("\n");
    for key in ["do_train", "overwrite_cache", "report_to", "plot_loss", "trust_remote_code", "ddp_timeout"] {
        assert!(all.contains(key), "{key} is told");
    }
    assert!(validate::problems(&c).iter().all(|p| !p.fatal));
}

/// The keys of LLaMA-Factory's example for LoRA SFT of Qwen3-VL.
const LLAMA_FACTORY_EXAMPLE: &str = "
model_name_or_path: Qwen/Qwen3-VL-4B-Instruct
image_max_pixels: 262144
video_max_pixels: 16384
trust_remote_code: true
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
dataset: mllm_demo,identity
template: qwen3_vl_nothink
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
dataloader_num_workers: 4
output_dir: saves/qwen3-vl-4b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
packing: false
quantization_bit: null
";

#[test]
fn what_is_not_supported_yet_is_refused_and_off_is_fine() {
    for text in ["stage: dpo", "finetuning_type: full", "pure_bf16: true", "fp16: true", "optim: adafactor"] {
        let key = text.split(':').next().unwrap();
        let e = yaml(text).expect_err(text);
        assert!(e.message.starts_with(&format!("run.yaml:1: {key}: ")), "{}", e.message);
        assert!(e.hint.is_some());
    }
    yaml("packing: false\nquantization_bit: null\nuse_dora: no\npure_bf16: False\nfp16: false\n").unwrap();
    yaml("loraplus_lr_ratio: 0.0\noptim: adamw_torch\nsave_strategy: steps\n").unwrap();
}

#[test]
fn strategies_and_schedule_arguments_become_ours() {
    let c = yaml("eval_strategy: steps\nlogging_steps: 7\nval_size: 0.1").unwrap();
    assert_eq!(c.evaluates(), Every::Steps(7));
    assert_eq!(yaml("eval_strategy: steps\neval_steps: 50").unwrap().evaluates(), Every::Steps(50));
    assert_eq!(yaml("eval_steps: 50").unwrap().evaluates(), Every::Steps(50));
    assert_eq!(yaml("eval_steps: 50\neval_strategy: no").unwrap().evaluates(), Every::Never);
    assert_eq!(yaml("evaluation_strategy: epoch").unwrap().evaluates(), Every::Epoch);
    assert_eq!(yaml("save_strategy: false").unwrap().save_strategy, Strategy::No);
    for wrong in ["save_strategy: sometimes", "eval_strategy: best"] {
        assert!(yaml(wrong).unwrap_err().message.contains("must be one of steps, epoch"), "{wrong}");
    }
    let c = yaml("lr_scheduler_kwargs:\n  min_lr_rate: 0.5\n  num_cycles: 2").unwrap();
    assert_eq!(fields::get(&c, "lr_scheduler_kwargs"), r#"{"min_lr_rate":0.5,"num_cycles":2}"#);
    let c = overrides(&["lr_scheduler_kwargs={min_lr: 1e-6}"]).unwrap();
    assert_eq!(c.lr_scheduler_kwargs.number("min_lr"), Some(1e-6));
    let e = yaml("lr_scheduler_kwargs: {cycles: 2}").unwrap_err();
    assert!(e.message.starts_with("run.yaml:1: lr_scheduler_kwargs: cycles is not known"), "{}", e.message);
}

#[test]
fn unknown_keys_get_the_nearest_known_one() {
    for (wrong, right) in [
        ("learning_rat", "learning_rate"),
        ("lora-rank", "lora_rank"),
        ("lr", "learning_rate"),
        ("batch_size", "per_device_train_batch_size"),
        ("num_train_epoch", "num_train_epochs"),
        ("do_trian", "do_train"),
    ] {
        let e = overrides(&[&format!("{wrong}=1")]).unwrap_err();
        assert_eq!(e.message, format!("unknown setting {wrong}"));
        assert!(
            e.hint.as_ref().unwrap().contains(&format!("did you mean {right}?")),
            "{wrong}: {:?}",
            e.hint
        );
    }
    let e = overrides(&["xyzzy=1"]).unwrap_err();
    assert!(!e.hint.unwrap().contains("did you mean"));
    let e = yaml("seed: 1\n\nlearnin_rate: 1").unwrap_err();
    assert_eq!(e.message, "run.yaml:3: unknown setting learnin_rate");
    assert_eq!(overrides(&["lora_rank"]).unwrap_err().message, "not a setting: lora_rank");
}

#[test]
fn broken_files_name_file_line_and_column() {
    let e = yaml("seed: 1\nlora_rank: [8\nx: 2").unwrap_err();
    assert!(e.message.starts_with("run.yaml:3:2: not valid YAML"), "{}", e.message);
    let e = yaml("seed: 1\n\tlora_rank: 8").unwrap_err();
    assert!(e.message.starts_with("run.yaml:2:"), "{}", e.message);
    let e = yaml("seed: 1\nseed: 2").unwrap_err();
    assert!(e.message.contains("duplicate"), "{}", e.message);
    let e = yaml("just a line").unwrap_err();
    assert!(e.message.contains("not a configuration"));
    let e = yaml("lora_rank: {a: 1}").unwrap_err();
    assert_eq!(e.message, "run.yaml:1: lora_rank cannot be a map");
    let e = yaml("seed: 1\n\"lora_rank\" : many").unwrap_err();
    assert!(e.message.starts_with("run.yaml:2: lora_rank must be"), "{}", e.message);
    assert_eq!(yaml("").unwrap(), TrainConfig::default());
    assert_eq!(yaml("\u{FEFF}# nothing\n").unwrap(), TrainConfig::default());

    let dir = tempfile::tempdir().unwrap();
    let missing = layers::load(Some(&dir.path().join("no.yaml")), &[]).unwrap_err();
    assert_eq!(missing.kind, error::Kind::Input);
    let binary = dir.path().join("b.yaml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    assert!(layers::load(Some(&binary), &[]).unwrap_err().message.contains("UTF-8"));
    std::fs::write(&binary, vec![b' '; 2 << 20]).unwrap();
    assert!(layers::load(Some(&binary), &[]).unwrap_err().message.contains("too large"));
    assert!(layers::load(Some(Path::new(dir.path())), &[]).is_err());
}

#[test]
fn the_default_file_is_the_default_and_has_every_key() {
    assert_eq!(yaml(presets::DEFAULT).unwrap(), TrainConfig::default());
    let map: serde_yaml_ng::Mapping = serde_yaml_ng::from_str(presets::DEFAULT).unwrap();
    let in_file: Vec<_> = map.keys().map(|k| k.as_str().unwrap().to_string()).collect();
    let rows: Vec<_> = fields::all().iter().map(|f| f.key.to_string()).collect();
    assert_eq!(in_file, rows, "in the table's order");
}

#[test]
fn the_presets_have_no_fatal_problem() {
    for (name, text) in presets::ALL.iter().filter(|(name, _)| *name != "default") {
        let config = layers::from_yaml(text, name).unwrap();
        let found: Vec<_> = validate::problems(&config);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    let two = yaml(presets::text("tutorial-two").unwrap()).unwrap();
    assert_eq!((two.per_device_train_batch_size, two.gradient_accumulation_steps), (16, 1));
}

#[test]
fn rules_across_settings() {
    let fatal = |pairs: &[&str]| -> Vec<&'static str> {
        let mut all = vec!["model_name_or_path=m", "dataset=d"];
        all.extend(pairs);
        let found = validate::problems(&overrides(&all).unwrap());
        found.iter().filter(|p| p.fatal).map(|p| p.key).collect()
    };
    assert_eq!(fatal(&[]), Vec::<&str>::new());
    assert_eq!(fatal(&["model_name_or_path=", "dataset="]), ["model_name_or_path", "dataset"]);
    assert_eq!(fatal(&["image_min_pixels=4096", "image_max_pixels=2048"]), ["image_min_pixels"]);
    assert_eq!(fatal(&["val_size=0.1", "eval_dataset=e"]), ["val_size"]);
    assert_eq!(fatal(&["val_size=1"]), ["val_size"]);
    assert_eq!(fatal(&["val_size=10.5"]), ["val_size"]);
    assert_eq!(fatal(&["train_on_prompt=true", "mask_history=true"]), ["mask_history"]);
    assert_eq!(fatal(&["freeze_language_model=true"]), ["freeze_language_model"]);
    assert_eq!(fatal(&["num_train_epochs=0"]), ["num_train_epochs"]);
    assert_eq!(fatal(&["lr_scheduler_type=cosine_with_min_lr"]), ["min_lr"]);
    let schedule = |kind: &str, args: &str| {
        let (kind, args) = (format!("lr_scheduler_type={kind}"), format!("lr_scheduler_kwargs={args}"));
        fatal(&[&kind, &args])
    };
    assert_eq!(schedule("linear", "{power: 2}"), ["lr_scheduler_kwargs"]);
    assert_eq!(schedule("warmup_stable_decay", ""), ["lr_scheduler_kwargs"]);
    assert_eq!(schedule("polynomial", "{lr_end: 0.1}"), ["lr_scheduler_kwargs"]);
    assert_eq!(schedule("cosine_with_min_lr", "{min_lr: 1e-6, min_lr_rate: 0.1}"), ["min_lr"]);
    assert!(schedule("cosine_with_min_lr", "{min_lr_rate: 0.1}").is_empty());
    assert_eq!(schedule("reduce_lr_on_plateau", ""), ["lr_scheduler_type"]);
    assert_eq!(fatal(&["early_stopping_steps=2"]), ["early_stopping_steps"]);
    assert_eq!(fatal(&["load_best_model_at_end=true"]), ["load_best_model_at_end"]);
    let best = ["load_best_model_at_end=true", "val_size=0.1", "eval_steps=20"];
    assert_eq!(fatal(&[&best[..], &["save_steps=50"]].concat()), ["load_best_model_at_end"]);
    assert!(fatal(&[&best[..], &["save_steps=60"]].concat()).is_empty());
    assert_eq!(fatal(&["output_dir=m"]), ["output_dir"]);
    assert_eq!(fatal(&["eval_steps=5"]), ["eval_steps"]);
    let edited = TrainConfig {
        model_name_or_path: "m".into(),
        dataset: vec!["d".into()],
        stage: "dpo".into(),
        ..TrainConfig::default()
    };
    assert_eq!(validate::problems(&edited)[0].key, "stage");
    assert!(validate::problems(&edited)[0].fatal);
}

#[test]
fn warnings_do_not_forbid() {
    let warned = |pairs: &[&str]| {
        let mut all = vec!["model_name_or_path=m", "dataset=d"];
        all.extend(pairs);
        let found = validate::problems(&overrides(&all).unwrap());
        assert!(found.iter().all(|p| !p.fatal), "{found:?}");
        found.iter().map(|p| p.key).collect::<Vec<_>>()
    };
    assert_eq!(warned(&["warmup_ratio=0.1", "warmup_steps=5"]), ["warmup_steps"]);
    assert_eq!(warned(&["cutoff_len=512"]), ["cutoff_len"]);
    assert_eq!(warned(&["adapter_name_or_path=a"]), ["lora_rank"]);
    assert_eq!(warned(&["lr_scheduler_type=constant", "warmup_steps=5"]), ["lr_scheduler_type"]);
    assert_eq!(warned(&["max_steps=5", "warmup_steps=5"]), ["warmup_steps"]);
}

#[test]
fn advice_has_a_row_and_a_source() {
    let with: Vec<_> = fields::all().iter().filter_map(|f| advice::advice(f.key)).collect();
    assert!(with.len() >= 10 && with.iter().all(|a| !a.source.is_empty() && a.text.ends_with('.')));
    let rank = advice::advice("lora_rank").unwrap();
    assert_eq!(rank.source, "the MedTrinity tutorial's experiments");
    assert!(advice::advice("seed").is_none());
}

/// The worked examples: 12,931 samples on 4 devices, both of the tutorial's sets.
#[test]
fn steps_of_the_worked_examples() {
    let one = overrides(&["num_train_epochs=2", "warmup_ratio=0.1"]).unwrap();
    let s = steps(&one, 12_931, 4);
    assert_eq!((s.effective_batch, s.micro_batches_per_epoch), (64, 1617));
    assert_eq!((s.updates_per_epoch, s.total, s.warmup, s.epochs), (203, 406, 41, 2));
    let two = overrides(&[
        "num_train_epochs=2",
        "per_device_train_batch_size=16",
        "gradient_accumulation_steps=1",
        "warmup_steps=0.1",
    ])
    .unwrap();
    let s = steps(&two, 12_931, 4);
    assert_eq!((s.updates_per_epoch, s.total, s.warmup), (203, 406, 41));
}

#[test]
fn steps_of_small_and_partial_runs() {
    let c = overrides(&["per_device_train_batch_size=3", "gradient_accumulation_steps=2"]).unwrap();
    let s = steps(&c, 22, 1);
    assert_eq!((s.micro_batches_per_epoch, s.updates_per_epoch, s.total), (8, 4, 12));
    let half = TrainConfig { num_train_epochs: 0.6, ..c.clone() };
    assert_eq!((steps(&half, 22, 1).total, steps(&half, 22, 1).epochs), (3, 1));
    let fixed = TrainConfig { max_steps: 9, ..c.clone() };
    assert_eq!((steps(&fixed, 22, 1).total, steps(&fixed, 22, 1).epochs), (9, 3));
    assert_eq!(steps(&c, 1, 1).updates_per_epoch, 1);
    let w = |ratio, steps| warmup(&TrainConfig { warmup_ratio: ratio, warmup_steps: steps, ..c.clone() }, 12);
    assert_eq!((w(0.0, 0.0), w(0.1, 0.0), w(0.0, 7.9), w(0.0, 0.5), w(0.1, 7.0)), (0, 2, 7, 6, 2));
    assert_eq!((held_out(0.2, 16_163), held_out(100.0, 16_163), held_out(0.0, 5)), (3233, 100, 0));
}

#[test]
fn the_readme_has_the_table_of_the_fields() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once(reference::BEGIN).expect("the README has the first marker");
    let (table, _) = rest.split_once(reference::END).expect("the README has the second marker");
    assert_eq!(table, reference::markdown(), "replace it by the output of `lorascope params --markdown`");
}

/// How the workbench hands settings to the process of a run.
#[test]
fn settings_written_as_yaml_are_read_back_the_same() {
    for (name, text) in presets::ALL {
        let mut config = yaml(text).unwrap();
        config.learning_rate = 1.0 / 3.0;
        config.default_system = Some("no: \"x\" # 肺".into());
        config.adapter_name_or_path = Some("/a b/'c'".into());
        let back = yaml(&layers::to_yaml(&config).unwrap()).unwrap();
        assert!(back == config, "{name}");
    }
}

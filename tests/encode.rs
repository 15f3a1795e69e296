//! Tokens, labels, grids and patches against LLaMA-Factory 0.9.5 and transformers 5.6.
//!
//! `fixtures/golden/image_pixels.safetensors` holds the processor's output as bytes, (v + 1) * 127.5, without the
//! repeated second frame: (patches, 3 * 16 * 16).
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use lorascope::config::TrainConfig;
use lorascope::data::batch::{Pass, encode_all};
use lorascope::data::encode::Encoder;
use lorascope::data::patches::{self, PixelLimits, Processor};
use lorascope::data::picture::{self, Picture};
use lorascope::data::{ImageRef, Message, Role, Sample};
use lorascope::error::Kind;
use lorascope::job::{Event, Phase};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(path)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn encoder(config: &TrainConfig) -> Encoder {
    Encoder::load(&golden("models/tiny-dense"), config).unwrap()
}

/// Turns of a golden row: `[[role, content], …]`; a leading system turn becomes the system text.
fn sample(turns: &Value, images: Vec<ImageRef>) -> Sample {
    let mut sample = Sample { row: 0, id: "golden".into(), system: None, messages: Vec::new(), images };
    for turn in turns.as_array().unwrap() {
        let content = turn[1].as_str().unwrap().to_owned();
        match turn[0].as_str().unwrap() {
            "system" => sample.system = Some(content),
            "user" => sample.messages.push(Message { role: Role::User, content }),
            _ => sample.messages.push(Message { role: Role::Assistant, content }),
        }
    }
    sample
}

fn blank_picture(width: u32, height: u32) -> ImageRef {
    let mut png = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(width, height).write_to(&mut png, image::ImageFormat::Png).unwrap();
    ImageRef::Bytes(png.into_inner().into())
}

fn pair(question: &str, answer: &str, images: Vec<ImageRef>) -> Sample {
    sample(&serde_json::json!([["user", question], ["assistant", answer]]), images)
}

#[test]
fn grids_and_pixels_equal_the_processors() {
    let processor = Processor::load(&golden("models/tiny-dense")).unwrap();
    let bytes = std::fs::read(golden("image_pixels.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let rows = read_json(&golden("image_processing.json"));
    let mut compared = 0;
    for row in rows.as_array().unwrap() {
        let file = row["file"].as_str().unwrap();
        let image = ImageRef::Path(golden("images").join(file));
        let limits = PixelLimits {
            max_pixels: row["image_max_pixels"].as_u64().unwrap(),
            min_pixels: row["image_min_pixels"].as_u64().unwrap(),
        };
        let (w, h) = picture::size(&image).unwrap();
        let grid = patches::grid(w, h, limits, &processor);
        if row.get("error").is_some() {
            assert!(grid.is_err(), "{row}");
            continue;
        }
        let grid = grid.unwrap();
        assert_eq!(serde_json::json!(grid), row["grid_thw"], "{row}");
        assert_eq!(processor.tokens(grid) as u64, row["tokens"].as_u64().unwrap());

        let made = patches::patches(&Picture::open(&image).unwrap(), limits, &processor).unwrap();
        assert_eq!(made.grid, grid);
        assert_eq!(made.pixels.len(), grid[1] * grid[2] * 1536);
        let n = made.pixels.len() as f64;
        let mean = made.pixels.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        assert!((mean - row["mean"].as_f64().unwrap()).abs() < 1.0 / 127.5, "{row}: mean {mean}");
        let Ok(tensor) = tensors.tensor(row["key"].as_str().unwrap()) else { continue };
        let (average, worst) = difference(&made.pixels, tensor.data());
        assert!(average <= 1.0 && worst <= 4.0, "{file}: mean {average}/255, max {worst}/255");
        compared += 1;
    }
    assert_eq!(compared, 12);
}

/// Mean and largest difference in steps of 1/255, over both frames of every patch.
fn difference(made: &[f32], golden: &[u8]) -> (f32, f32) {
    assert_eq!(made.len(), golden.len() * 2);
    let (mut sum, mut worst) = (0.0f32, 0.0f32);
    for (frames, plane) in made.chunks_exact(512).zip(golden.chunks_exact(256)) {
        for (i, v) in frames.iter().enumerate() {
            let d = ((v + 1.0) * 127.5 - f32::from(plane[i % 256])).abs();
            sum += d;
            worst = worst.max(d);
        }
    }
    (sum / made.len() as f32, worst)
}

#[test]
fn tokens_and_labels_equal_llama_factorys() {
    let rows = read_json(&golden("encoding.json"));
    for row in rows.as_array().unwrap() {
        let flag = |key: &str| row["flags"][key].as_bool().unwrap_or(false);
        let encoder = encoder(&TrainConfig {
            template: row["template"].as_str().unwrap().into(),
            cutoff_len: row["cutoff_len"].as_u64().unwrap() as usize,
            train_on_prompt: flag("train_on_prompt"),
            mask_history: flag("mask_history"),
            image_max_pixels: 262_144,
            image_min_pixels: 1024,
            ..TrainConfig::default()
        });
        let [w, h] = [0, 1].map(|i| row["image_size"][i].as_u64().unwrap() as u32);
        let sample =
            sample(&row["turns"], vec![blank_picture(w, h); row["images"].as_u64().unwrap() as usize]);
        let grids = encoder.grids(&sample).unwrap();
        let encoded = encoder.encode(&sample, &grids).unwrap();
        let what = format!("{} {} {} {}", row["template"], row["cutoff_len"], row["flags"], row["name"]);
        assert_eq!(serde_json::json!(encoded.input_ids), row["input_ids"], "{what}");
        assert_eq!(serde_json::json!(encoded.labels), row["labels"], "{what}");
    }
}

#[test]
fn a_prompt_is_what_comes_before_the_answer() {
    for template in ["qwen3_vl_nothink", "qwen3_vl"] {
        for enable_thinking in [Some(true), Some(false), None] {
            let encoder = encoder(&TrainConfig {
                template: template.into(),
                enable_thinking,
                ..TrainConfig::default()
            });
            let sample = pair("<image>What is it?", "A CT.", vec![blank_picture(64, 64)]);
            let grids = encoder.grids(&sample).unwrap();
            let encoded = encoder.encode(&sample, &grids).unwrap();
            let prompt = encoder.prompt(None, &sample.messages[..1], &grids).unwrap();
            let learned = encoded.labels.iter().position(|l| *l >= 0).unwrap();
            assert_eq!(prompt, encoded.input_ids[..learned], "{template} {enable_thinking:?}");
            assert_eq!(encoder.patches(&sample).unwrap()[0].grid, grids[0]);
        }
    }
}

#[test]
fn stop_ids_come_from_the_model_folder() {
    let encoder = encoder(&TrainConfig::default());
    assert_eq!(encoder.stop_ids(), [3048]);
    assert_eq!(encoder.image_token(), 3058);
}

#[test]
fn a_stream_never_gives_half_a_character() {
    let encoder = encoder(&TrainConfig::default());
    let text = "肺部 CT: 2 µm — naïve 🩻 ok";
    let turn = [Message { role: Role::User, content: text.into() }];
    let ids = encoder.prompt(None, &turn, &[]).unwrap();
    for skip_special in [true, false] {
        let mut stream = encoder.stream(skip_special);
        let mut out = String::new();
        for id in &ids {
            let piece = stream.push(*id);
            assert!(!piece.contains('\u{FFFD}'), "{piece:?}");
            out += &piece;
        }
        out += &stream.finish();
        assert_eq!(out, encoder.decode(&ids, skip_special));
        assert!(out.contains(text));
    }
    // a character cut off by the end of the answer, and a stray continuation byte
    let scan = encoder.prompt(None, &[Message { role: Role::User, content: "🩻".into() }], &[]).unwrap();
    let scan = &scan[3..scan.len() - 5];
    assert!(scan.len() > 1, "the character is to be spread over tokens: {scan:?}");
    let mut stream = encoder.stream(true);
    assert_eq!(stream.push(scan[0]), "");
    assert_eq!(stream.finish(), "\u{FFFD}");
    assert_eq!(stream.push(scan[scan.len() - 1]).chars().next(), Some('\u{FFFD}'));
}

#[test]
fn bad_samples_become_findings_and_good_ones_stay_in_order() {
    let encoder = encoder(&TrainConfig { cutoff_len: 60, ..TrainConfig::default() });
    let small = || blank_picture(32, 32);
    let good = |row| Sample { row, ..pair("Hello", "Hi.", vec![]) };
    let mut samples: Vec<Sample> = (0..100).map(good).collect();
    samples[3] = Sample { row: 3, ..pair("<image>?", "x", vec![ImageRef::Path("no/such.png".into())]) };
    samples[5] = Sample { row: 5, ..pair("no mark", "x", vec![small()]) };
    samples[7] = Sample { row: 7, ..pair("<image>?", "x", vec![blank_picture(256, 320)]) };
    samples[9] = Sample { row: 9, ..pair("<image>?", "x", vec![ImageRef::Bytes(b"<html>"[..].into())]) };
    samples[11] = Sample { row: 11, ..pair("?", "<|image_pad|>", vec![]) };
    let events = Mutex::new(Vec::new());
    let emit = |e: Event| events.lock().unwrap().push(e);
    let pass = Pass { workers: 2, cache: None };
    let (kept, findings) = encode_all(&encoder, &samples, pass, &emit, &AtomicBool::new(false)).unwrap();

    let rows: Vec<usize> = kept.iter().map(|s| s.row).collect();
    assert_eq!(rows, (0..100).filter(|r| ![3, 5, 7, 9, 11].contains(r)).collect::<Vec<_>>());
    let found: Vec<_> = findings.iter().map(|f| (f.code.as_str(), f.rows.clone())).collect();
    assert_eq!(
        found,
        [
            ("broken_picture", vec![3, 9]),
            ("bad_conversation", vec![5]),
            ("picture_cut", vec![7]),
            ("special_token_in_text", vec![11])
        ]
    );
    assert!(findings[0].message.contains("no/such.png"));
    let last = events.into_inner().unwrap().pop();
    assert!(matches!(last, Some(Event::Progress { phase: Phase::Encoding, done: 100, total: 100 })));

    let stopped = encode_all(&encoder, &samples, pass, &|_| {}, &AtomicBool::new(true));
    assert_eq!(stopped.unwrap_err().kind, Kind::Stopped);
}

#[test]
fn a_model_folder_without_its_files_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let message = |dir: &Path| Encoder::load(dir, &TrainConfig::default()).err().unwrap().message;
    assert!(message(&empty.path().join("gone")).contains("gone"));
    assert!(message(empty.path()).contains("tokenizer.json"));
    std::fs::copy(golden("models/tiny-dense/tokenizer.json"), empty.path().join("tokenizer.json")).unwrap();
    std::fs::write(empty.path().join("config.json"), r#"{"image_token_id": 7}"#).unwrap();
    assert!(message(empty.path()).contains("disagree"));
    std::fs::write(empty.path().join("config.json"), r#"{"image_token_id": 3058}"#).unwrap();
    assert!(message(empty.path()).contains("picture settings"));
    std::fs::write(empty.path().join("preprocessor_config.json"), r#"{"patch_size": 0}"#).unwrap();
    assert!(message(empty.path()).contains("patch_size"));
}

/// The real vocabulary is not part of the repository: its goldens are looked at where they lie beside it.
#[test]
fn the_real_vocabulary_gives_the_same_ids() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/assets/tokenizer_qwen3");
    if !folder.join("tokenizer.json").exists() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let model = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("tokenizer.json"), model.path().join("tokenizer.json")).unwrap();
    std::fs::write(model.path().join("config.json"), r#"{"image_token_id": 151655}"#).unwrap();
    std::fs::write(model.path().join("preprocessor_config.json"), "{}").unwrap();
    let encoder = Encoder::load(model.path(), &TrainConfig::default()).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    for case in read_json(&folder.join("golden_encodings.json"))["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let ids = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        assert_eq!(serde_json::json!(ids), case["full"], "{text:?}");
        let mut stream = encoder.stream(false);
        let streamed: String = ids.iter().map(|id| stream.push(*id)).collect();
        assert_eq!(streamed + &stream.finish(), encoder.decode(&ids, false), "{text:?}");
    }
    let mut compared = 0;
    for chat in read_json(&folder.join("golden_chat.json")).as_array().unwrap() {
        let Some((system, turns)) = plain_chat(chat) else { continue };
        let pictures = turns.iter().map(|t| t.content.matches("<image>").count()).sum();
        let grids = vec![[1, 2, 2]; pictures];
        let ids = if turns.len() % 2 == 1 {
            encoder.prompt(system.as_deref(), &turns, &grids).unwrap()
        } else {
            let sample = Sample { row: 0, id: String::new(), system, messages: turns, images: Vec::new() };
            encoder.encode(&sample, &grids).unwrap().input_ids
        };
        assert_eq!(serde_json::json!(ids), chat["full_ids"], "{}", chat["name"]);
        compared += 1;
    }
    assert!(compared >= 3, "{compared} chats");
}

/// A golden chat as system and turns; `None` where it uses what only the model's own chat template has.
fn plain_chat(chat: &Value) -> Option<(Option<String>, Vec<Message>)> {
    let asks = chat["kwargs"]["add_generation_prompt"].as_bool().unwrap_or(false);
    if chat["kwargs"].as_object()?.keys().any(|k| k != "add_generation_prompt") {
        return None;
    }
    let (mut system, mut turns) = (None, Vec::new());
    for message in chat["messages"].as_array()? {
        let content = match &message["content"] {
            Value::String(text) => text.clone(),
            parts => parts
                .as_array()?
                .iter()
                .map(|part| match part["type"].as_str()? {
                    "image" => Some("<image>"),
                    "text" => part["text"].as_str(),
                    _ => None,
                })
                .collect::<Option<String>>()?,
        };
        match message["role"].as_str()? {
            "system" => system = Some(content),
            "user" => turns.push(Message { role: Role::User, content }),
            "assistant" => turns.push(Message { role: Role::Assistant, content }),
            _ => return None,
        }
    }
    (asks == (turns.len() % 2 == 1)).then_some((system, turns))
}

/// Runs `show` on a one-row data set beside the tiny model; the arguments follow `show demo:0`.
fn show(folder: &Path, more: &[&str]) -> std::process::Output {
    let info = r#"{"demo": {"file_name": "demo.json", "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "user", "assistant_tag": "assistant"}}}"#;
    let rows = r#"[{"conversations": [{"from": "user", "value": "<image>What is it?"},
        {"from": "assistant", "value": "A CT.\u001b[2J"}], "images": ["02_640x480_RGB.png"]}]"#;
    std::fs::write(folder.join("dataset_info.json"), info).unwrap();
    std::fs::write(folder.join("demo.json"), rows).unwrap();
    std::process::Command::new(env!("CARGO_BIN_EXE_lorascope"))
        .args(["show", "demo:0", "--data"])
        .arg(folder)
        .arg(format!("media_dir={}", golden("images").display()))
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn show_prints_tokens_as_one_object_and_text_without_escapes() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("models/tiny-dense");
    let model = model.to_str().unwrap();
    let out = show(folder.path(), &["--tokens", "--json", "--model", model, "image_max_pixels=65536"]);
    let object: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(object["image_grid_thw"], serde_json::json!([[1, 14, 20]]));
    let ids = object["input_ids"].as_array().unwrap();
    assert_eq!(ids.len(), object["labels"].as_array().unwrap().len());
    assert_eq!(ids.iter().filter(|id| **id == 3058).count(), 70);

    let text = String::from_utf8(show(folder.path(), &["--tokens", "--model", model]).stdout).unwrap();
    assert!(text.contains("<|image_pad|>×300") && text.contains("⟦A CT.[2J<|im_end|>"), "{text}");
    let text = String::from_utf8(show(folder.path(), &[]).stdout).unwrap();
    assert!(text.contains("640 x 480") && text.contains("A CT.[2J"), "{text}");

    let refused = show(folder.path(), &["--tokens"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--model"));
}

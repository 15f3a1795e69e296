//! The screens in Chinese: every pane and state of data, parameters, training and runs, looked over for words that were
//! left in English. A text that a pane says in plain English fails here.
#![allow(clippy::unwrap_used)]

use crate::left_over::{Cut, left_over};
use crate::screens::{Screen, sample, start_training, step};
use crate::screens_runs::{comparison, runs};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lorascope::config::{TrainConfig, fields};
use lorascope::data::overlay::Applied;
use lorascope::data::patches::{PixelLimits, Processor};
use lorascope::engine::watch::{Controls, Heard};
use lorascope::error::Error;
use lorascope::job::{Event, Finding, GpuUse, Level, Outcome, Phase, StepRow, TargetRow, TimeSplit};
use lorascope::runs::Status;
use lorascope::runs::delete::Doomed;
use lorascope::tui::Msg;
use lorascope::tui::browse::trained::{Fate, Resizing, Trained};
use lorascope::tui::browse::{self, Changed, Row};
use lorascope::tui::effects::Loaded;
use lorascope::tui::run_worker;
use lorascope::tui::settings_worker::{self, Estimate};
use lorascope::tui::state::run::Run;
use lorascope::tui::words::{Language, Words};
use unicode_width::UnicodeWidthStr;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Names in the table of parameters: values, methods and their papers, kinds of model.
const OF_PARAMETERS: &[&str] = &[
    "true",
    "false",
    "null",
    "all",
    "alpha",
    "arXiv",
    "auto",
    "bitsandbytes",
    "dropout",
    "loss",
    "over",
    "under",
    "power",
    "seed",
    "sqrt",
    "packing",
    "no",
    "steps",
    "cosine",
    "check",
    "checkpoint-N",
    "AdamW",
    "DeepSpeed",
    "ZeRO",
    "Hugging",
    "Face",
    "data",
    "JSONL",
    "DoRA",
    "QLoRA",
    "Instruct",
    "Thinking",
    "BLEU",
    "ROUGE",
    "rouge-l",
    "MedTrinity",
    "issue",
];

/// Draws a screen and looks it over.
fn look(what: &str, screen: &mut Screen, allowed: &[&str]) -> String {
    let text = screen.text();
    let left = left_over(&text, allowed, Cut::Passes);
    assert!(left.is_empty(), "{what}: {left:?}\n{text}");
    let columns = usize::from(screen.terminal.backend().buffer().area.width);
    assert!(text.lines().all(|l| l.width() <= columns), "{what}: wider than {columns}\n{text}");
    text
}

fn ctrl(screen: &mut Screen, c: char) {
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)));
}

fn empty(width: u16, height: u16) -> Screen {
    let mut screen = Screen::new(width, height);
    screen.app.set_pictures(None, "set by LORASCOPE_PICTURES".into());
    screen.app.state.words = Words { language: Language::Chinese };
    screen.app.state.zoomed = true;
    screen
}

fn config() -> TrainConfig {
    TrainConfig {
        model_name_or_path: "/home/me/lungs/Qwen3-VL-4B".into(),
        dataset: vec!["mllm_train_data".into()],
        dataset_dir: "/home/me/lungs/data".into(),
        output_dir: "/home/me/lungs/runs/run-1".into(),
        ..TrainConfig::default()
    }
}

fn finding(level: Level, code: &str, message: &str, fix: &str) -> Finding {
    let (message, fix) = (message.into(), fix.into());
    Finding { level, code: code.into(), message, count: 2, rows: vec![7, 9], fix }
}

/// A workspace with data and a model, the pane in focus large.
fn data(width: u16, height: u16) -> Screen {
    let mut screen = empty(width, height);
    screen.feed(Msg::Loaded(Loaded::Config(Box::new(config()))));
    let names = ["mllm_train_data", "mllm_val_data"].map(String::from).to_vec();
    screen.feed(Msg::Loaded(Loaded::Registry(Ok(names))));
    let samples = (0..30).map(|row| sample(row, "右肺上叶见结节，边缘光滑，未见毛刺征。")).collect();
    let long =
        "more tokens than cutoff_len: the end is cut (row 7 id scan-0007; a.parquet row 9 id scan-0009)";
    let findings = vec![
        finding(Level::Warning, "over_cutoff", long, "raise cutoff_len, or lower image_max_pixels"),
        finding(Level::Error, "broken_picture", "a picture does not open", ""),
        finding(Level::Info, "duplicate_id", "the id of an earlier row", "give each row its own id, or none"),
    ];
    screen.open(samples, findings);
    screen.effects.clear();
    screen
}

fn target(family: &str, trainable: u64) -> TargetRow {
    TargetRow { family: family.into(), matrices: 28, parameters: 2_400_000, trainable, note: String::new() }
}

fn started() -> Event {
    Event::Started {
        run_dir: "/home/me/lungs/runs/run-1".into(),
        device: "CPU, 2 threads".into(),
        total_steps: 400,
        trainable: 120_000,
        parameters: 6_000_000,
        targets: vec![
            target("q_proj", 60_000),
            target("vision merger (projector)", 0),
            target("embedding and head", 0),
            target("text norms", 0),
            target("router", 0),
        ],
    }
}

/// Lines as the trainer writes them.
const LOG: [&str; 10] = [
    "resumed from /home/me/lungs/runs/run-1/checkpoint-4 at step 4",
    "plan: fits: 1.0 GiB of 8.0 GiB, all activations kept · about 4 min",
    "plan: does not fit: 9.0 GiB of 8.0 GiB, layers computed again",
    "an update takes 1.2 s (median of the first 3, planned 1.0 s): about 4 min left",
    "worst micro-batch, 512 tokens: 1.2 s, 3.0 GiB so far; 3.5 GiB expected at most (planned 3.1 GiB) of 8.0 GiB",
    "the loss became NaN at step 7: nothing is learned from this batch. Samples: scan-0001",
    "learning_rate is 1e-4 from step 8 on (it was 2e-4)",
    "checkpoint not saved, training goes on: cannot write /x/1: the disk is full; tried again at step 9",
    "ended early at step 9: 3 evaluations without a better one",
    "no GPU is used: the driver knows no GPU (9); computing on the CPU",
];

fn training(width: u16, height: u16) -> (Screen, u64) {
    let mut screen = data(width, height);
    let id = start_training(&mut screen);
    screen.event(id, started());
    let split = TimeSplit { data: 0.1, forward: 0.2, backward: 0.4, optimizer: 0.05, ..TimeSplit::default() };
    let gpu = Some(GpuUse { percent: Some(87), memory: 12 << 30, total: 80 << 30 });
    for n in 1..=60 {
        screen.event(id, Event::Step(StepRow { split, gpu, ..step(n) }));
    }
    screen.event(id, Event::Score { name: "eval_loss".into(), value: 0.61, step: Some(50) });
    screen.event(id, Event::Saved { step: 50, path: "/home/me/lungs/runs/run-1/checkpoint-50".into() });
    (screen, id)
}

fn told(screen: &mut Screen, told: run_worker::Told) {
    screen.feed(Msg::Loaded(Loaded::Runs(told)));
}

fn with_runs(width: u16, height: u16) -> Screen {
    let mut screen = data(width, height);
    screen.keys("5");
    screen.draw();
    told(&mut screen, run_worker::Told::Listed(Ok(runs())));
    screen.effects.clear();
    screen
}

/// Names of runs, and short names of settings behind them.
const OF_RUNS: &[&str] = &["tutorial-one", "tutorial-two", "lr", "ep", "cosine"];

#[test]
fn an_empty_workspace_is_chinese() {
    let allowed = [of_choices(), vec!["word", "two", "words", "any"]].concat();
    for (width, height) in SIZES {
        for pane in ["1", "2", "3", "5"] {
            let mut screen = empty(width, height);
            screen.keys(pane);
            look(pane, &mut screen, &allowed);
            screen.keys("t");
            let text = look("a start without a model", &mut screen, &allowed);
            assert!(text.contains("没有设置模型文件夹"), "{text}");
            screen.press(KeyCode::Esc);
            screen.keys("?");
            look("help", &mut screen, &allowed);
        }
        let mut screen = empty(width, height);
        screen.app.start();
        screen.keys("t");
        look("the settings are on their way", &mut screen, &[]);
    }
}

#[test]
fn the_data_pane_is_chinese() {
    for (width, height) in SIZES.into_iter().chain([(120, 140)]) {
        let mut screen = data(width, height);
        screen.keys("jj");
        look("list", &mut screen, &[]);
        screen.keys("f");
        look("findings", &mut screen, &[]);
        screen.press(KeyCode::Esc);
        screen.keys("/没有这个");
        look("nothing matches", &mut screen, &[]);
        ctrl(&mut screen, 'u');
        let fields =
            ["caption", "question", "row", "finding", "tokens", "length", "pictures", "excluded", "edited"];
        for wrong in ["foo:1", "tokens:x", "edited:x"] {
            screen.keys(wrong);
            look(wrong, &mut screen, &[&fields[..], &["usable", "yes", "no", "foo"]].concat());
            ctrl(&mut screen, 'u');
        }
        screen.press(KeyCode::Esc);
        for editor in ["e", "E"] {
            screen.keys(editor);
            look("editor", &mut screen, &["image"]);
            screen.press(KeyCode::Esc);
        }
        screen.keys("o");
        look("picture", &mut screen, &[]);
        screen.keys("+b");
        look("picture, zoomed and brighter", &mut screen, &[]);
        screen.keys("a");
        look("picture, auto level", &mut screen, &[]);
        screen.press(KeyCode::Esc);
        screen.keys("?");
        look("help", &mut screen, &["word", "two", "words", "any"]);
    }
}

fn trained(cut: usize, picture_cut: bool) -> Trained {
    let processor = Processor {
        patch_size: 16,
        temporal_patch_size: 2,
        merge_size: 2,
        shortest_edge: 1024,
        longest_edge: 1 << 20,
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let limits = PixelLimits { max_pixels: 1 << 20, min_pixels: 1024 };
    Trained {
        pieces: vec![(Fate::Prompt, "图片中有什么?".into()), (Fate::Target, "右肺结节".into())],
        pictures: vec![(256, 320, 80)],
        tokens: 120,
        targets: 30,
        picture_tokens: 80,
        cut,
        picture_cut,
        cutoff_len: 128,
        template: "qwen3_vl_nothink".into(),
        resizing: Resizing { processor, limits }.into(),
    }
}

#[test]
fn samples_as_trained_broken_rows_and_changes_are_chinese() {
    for (width, height) in SIZES {
        let mut screen = data(width, height);
        let set = screen.app.state.data.set;
        let tell = |screen: &mut Screen, told| screen.feed(Msg::Loaded(Loaded::Browse(told)));
        screen.keys("v");
        look("as trained, on its way", &mut screen, &[]);
        for (cut, picture_cut) in [(0, false), (3, false), (3, true)] {
            let found = Ok(Box::new(trained(cut, picture_cut)));
            tell(&mut screen, browse::Told::Trained { set, row: 0, found });
            look("as trained", &mut screen, &[]);
        }
        let error = Error::usage("tokens are counted with a model's tokenizer")
            .hint("set model_name_or_path in the parameters to a model folder");
        tell(&mut screen, browse::Told::Trained { set, row: 0, found: Err(error) });
        look("not as trained", &mut screen, &[]);
        screen.keys("v");
        let fault = "row 1 cannot be used: a picture's file does not exist: /x/1.png";
        let broken = Error::input(fault)
            .hint("put the file there, or set media_dir to the folder the paths start from");
        let applied = Applied { edited: true, excluded: true, stale: true };
        let caption = "右肺结节。";
        let rows =
            vec![Row::new(0, Ok(sample(0, caption)), applied), Row::new(1, Err(broken), Applied::default())];
        tell(&mut screen, browse::Told::Rows { set, rows });
        look("changed rows", &mut screen, &[]);
        screen.keys("j");
        let text = look("a broken row", &mut screen, &[]);
        assert!(text.contains("图片文件不存在"), "{text}");
        screen.keys("n");
        look("no search", &mut screen, &[]);
        for what in ["row 3 is excluded from training", "row 3: the last change is taken back"] {
            let done = Ok(Changed { row: 3, what: what.into(), undone: None, changed: 1 });
            tell(&mut screen, browse::Told::Changed { set, done });
            look(what, &mut screen, &[]);
        }
        screen.keys("]");
        look("loading", &mut screen, &[]);
        let set = screen.app.state.data.set;
        tell(&mut screen, browse::Told::Opening { set, done: 1 << 20, total: 4 << 20 });
        look("finding the rows", &mut screen, &[]);
        let found = Err(Error::input("cannot read /x/1.json: no such file or folder")
            .hint("check the path for a typing error"));
        tell(&mut screen, browse::Told::Opened { set, found });
        look("an unreadable set", &mut screen, &[]);
    }
}

/// The names that a choice may have.
fn of_choices() -> Vec<&'static str> {
    let choices = fields::all().iter().filter_map(|f| match f.kind {
        fields::Kind::Choice(names) => Some(names),
        _ => None,
    });
    choices.flatten().copied().chain(OF_PARAMETERS.iter().copied()).collect()
}

#[test]
fn every_row_of_the_parameters_is_chinese() {
    let allowed = of_choices();
    for (width, height) in [(80, 24), (200, 60)] {
        let mut screen = data(width, height);
        screen.keys("2");
        for field in fields::all() {
            look(field.key, &mut screen, &allowed);
            screen.keys("j");
        }
    }
}

#[test]
fn editing_comparing_and_loading_parameters_is_chinese() {
    let allowed =
        [of_choices(), vec!["fast", "zzz", "demo", "default", "tutorial-one", "tutorial-two"]].concat();
    for (width, height) in SIZES {
        let mut screen = data(width, height);
        screen.keys("2");
        for (key, typed) in
            [("learning_rate", "fast"), ("lora_rank", "0"), ("image_min_pixels", "9999999"), ("bf16", "x")]
        {
            screen.keys("/");
            screen.keys(key);
            look("search", &mut screen, &allowed);
            screen.press(KeyCode::Enter);
            screen.press(KeyCode::Enter);
            look("editor", &mut screen, &allowed);
            ctrl(&mut screen, 'u');
            screen.keys(typed);
            look(key, &mut screen, &allowed);
            screen.press(KeyCode::Esc);
            screen.press(KeyCode::Esc);
        }
        screen.keys("/zzz");
        look("nothing is found", &mut screen, &allowed);
        screen.press(KeyCode::Esc);
        screen.keys("m");
        look("nothing differs", &mut screen, &allowed);
        screen.keys("m");
        for question in ["w", "o", "D"] {
            screen.keys(question);
            look(question, &mut screen, &allowed);
            screen.press(KeyCode::Esc);
        }
        for key in ['u', 'x'] {
            screen.press(KeyCode::Char(key));
            look("undo, reset", &mut screen, &allowed);
        }
        ctrl(&mut screen, 'r');
        look("redo", &mut screen, &allowed);
        let tell = |screen: &mut Screen, told| screen.feed(Msg::Loaded(Loaded::Settings(told)));
        for peak in [1 << 30, 9 << 30] {
            let found =
                Some(Estimate { trainable: 5_900_000, peak, available: 2 << 30, seconds: Some(4000.0) });
            let config = Box::new(screen.app.state.config.clone());
            tell(&mut screen, settings_worker::Told::Estimate { config, found });
            look("estimate", &mut screen, &allowed);
        }
        let other = TrainConfig { lora_rank: 32, val_size: 1.0, ..config() };
        let name = "other.yaml".to_string();
        tell(&mut screen, settings_worker::Told::Other { name, found: Ok(Box::new(other.clone())) });
        look("compared", &mut screen, &allowed);
        screen.press(KeyCode::Esc);
        let note = "no effect here: plot_loss (the loss curve is drawn live and kept in the run folder; nothing is \
                    sent anywhere)";
        let found = Ok((Box::new(other), vec![note.to_string()]));
        tell(&mut screen, settings_worker::Told::Loaded { name: "tutorial-two".into(), found });
        look("loaded, with a problem", &mut screen, &allowed);
        tell(&mut screen, settings_worker::Told::Saved(Ok("/x/1.yaml".into())));
        look("saved", &mut screen, &allowed);
        let error = Error::usage("/x/1.txt is not a name for settings").hint("end it in .yaml");
        tell(&mut screen, settings_worker::Told::Saved(Err(error)));
        look("not saved", &mut screen, &allowed);
    }
}

#[test]
fn a_run_that_begins_and_ends_is_chinese() {
    for (width, height) in SIZES {
        let mut screen = data(width, height);
        screen.keys("3");
        look("before a run", &mut screen, &[]);
        screen.keys("pS");
        look("nothing runs", &mut screen, &[]);
        let id = start_training(&mut screen);
        look("submitted", &mut screen, &[]);
        screen.event(id, started());
        let phases = [
            Phase::Loading,
            Phase::Encoding,
            Phase::Vision,
            Phase::WarmingUp,
            Phase::Evaluating,
            Phase::Saving,
        ];
        for phase in phases {
            screen.event(id, Event::Progress { phase, done: 3, total: 9 });
            look(phase.name(), &mut screen, &[]);
        }
        let error = Error::input("the loss became NaN at step 7; the state before this batch is in /x/1. Samples: scan-1")
            .hint("look at these samples with `show`, lower the learning rate, or set skip_bad_batch: true to go on past them");
        screen.event(id, Event::Finished(Outcome::Failed { error }));
        look("failed", &mut screen, &["show", "true"]);
        for outcome in [
            Outcome::Done { summary: serde_json::json!({}) },
            Outcome::Stopped { summary: serde_json::json!({}) },
        ] {
            let (mut screen, id) = training(width, height);
            screen.event(id, Event::Finished(outcome));
            look("ended", &mut screen, &[]);
            screen.keys("v");
            look("the log of a run that has ended", &mut screen, &[]);
        }
        let (mut screen, id) = training(width, height);
        screen.feed(Msg::Link { id, heard: Heard::Control(Controls { yours: false, watching: 3 }) });
        screen.keys("p");
        look("only watching", &mut screen, &[]);
        let refused = "you are only watching: take the controls first".to_string();
        screen.feed(Msg::Link { id, heard: Heard::Refused(refused) });
        look("refused", &mut screen, &[]);
        screen.feed(Msg::Link { id, heard: Heard::Gone });
        look("gone", &mut screen, &[]);
    }
}

#[test]
fn a_run_that_goes_on_is_chinese() {
    for (width, height) in SIZES {
        let (mut screen, id) = training(width, height);
        let text = look("charts", &mut screen, &[]);
        assert!(text.replace('\u{a0}', " ").contains("GPU 87 %, 12.0/80.0 GiB"), "{text}");
        for key in ["n", "n", "n", "n", "n", "n", "n", "n", "a", "a", "a", "y", "i", "e", "?"] {
            screen.keys(key);
            look(key, &mut screen, &[]);
        }
        screen.press(KeyCode::Esc);
        for axis in ["", "a", "a"] {
            screen.keys(axis);
            screen.press(KeyCode::Left);
            look("cursor", &mut screen, &[]);
        }
        screen.keys("n");
        look("cursor on another curve", &mut screen, &[]);
        for line in LOG {
            screen.event(id, Event::Log { level: Level::Warning, line: line.into() });
        }
        screen.keys("v");
        look("log", &mut screen, &[]);
        for _ in 0..4 {
            screen.keys("f");
            look("level", &mut screen, &[]);
        }
        screen.keys("/已保存");
        let text = look("filter", &mut screen, &[]);
        assert!(text.contains("第 50 步已保存") && !text.contains("提前结束"), "{text}");
        screen.press(KeyCode::Esc);
        screen.press(KeyCode::Esc);
        screen.keys("S");
        look("change", &mut screen, &[]);
        screen.press(KeyCode::Down);
        screen.keys("0");
        look("a wrong change", &mut screen, &[]);
        ctrl(&mut screen, 'u');
        screen.keys("5");
        screen.press(KeyCode::Enter);
        look("changed", &mut screen, &[]);
        screen.press(KeyCode::Esc);
        for key in ["E", "X", "q", ":"] {
            screen.keys(key);
            look(key, &mut screen, &["watch", "corrected"]);
            screen.press(KeyCode::Esc);
        }
        for key in ["p", "w", "t", "x"] {
            screen.keys(key);
            look(key, &mut screen, &[]);
        }
        screen.event(id, Event::Paused(true));
        screen.keys("p");
        look("paused", &mut screen, &[]);
    }
}

#[test]
fn the_runs_pane_is_chinese() {
    use run_worker::Told;
    for (width, height) in SIZES {
        let mut screen = data(width, height);
        screen.keys("5");
        look("looking", &mut screen, &[]);
        told(&mut screen, Told::Listed(Ok(Vec::new())));
        look("none", &mut screen, &[]);
        screen.keys("R");
        look("no run is there", &mut screen, &[]);
        let mut screen = with_runs(width, height);
        for status in [Status::Running, Status::Failed, Status::Interrupted, Status::Finished] {
            let mut list = runs();
            (list[0].info.status, list[1].complete) = (status, false);
            told(&mut screen, Told::Listed(Ok(list)));
            look(status.name(), &mut screen, OF_RUNS);
            screen.keys("j");
        }
        screen.keys("gm");
        look("marked", &mut screen, OF_RUNS);
        screen.press(KeyCode::Esc);
        screen.keys("gR");
        look("no checkpoint", &mut screen, OF_RUNS);
        for key in ["I", "E", "/"] {
            screen.keys(key);
            look(key, &mut screen, OF_RUNS);
            screen.press(KeyCode::Esc);
        }
        screen.keys("?");
        look("help", &mut screen, OF_RUNS);
        screen.press(KeyCode::Esc);
        let doomed = Doomed { path: "/x/run-1".into(), files: 12, bytes: 3 << 20, checkpoints: 2 };
        for n in [1, 9] {
            told(&mut screen, Told::Doomed(Ok(vec![doomed.clone(); n])));
            look("delete", &mut screen, OF_RUNS);
            screen.press(KeyCode::Esc);
        }
        let refused =
            Error::usage("/x/run-1 is not deleted: a process works in it").hint("stop that run first");
        for said in [
            Told::Deleted(Ok(2)),
            Told::Deleted(Err(refused)),
            Told::Imported(Ok("/x/run-2".into())),
            Told::Exported(Ok("/x/1.png".into())),
        ] {
            told(&mut screen, said);
            look("notice", &mut screen, OF_RUNS);
        }
        told(&mut screen, Told::Compared(Ok(Box::new(comparison()))));
        look("compared", &mut screen, OF_RUNS);
        for key in ["h", "e", "n", "a", "h", "a", "h", "y"] {
            screen.keys(key);
            look("compared, a cursor", &mut screen, OF_RUNS);
        }
        let same = lorascope::runs::Comparison { settings: Vec::new(), ..comparison() };
        told(&mut screen, Told::Compared(Ok(Box::new(same))));
        look("the same settings", &mut screen, OF_RUNS);
        let mut opened = Run::of_folder("/home/me/lungs/runs/run-2".into(), Status::Interrupted);
        opened.on_event(started());
        (1..=30).for_each(|n| opened.on_event(Event::Step(step(n))));
        told(&mut screen, Told::Opened(Ok(Box::new(opened))));
        let text = look("opened", &mut screen, &[]);
        assert!(text.contains("已打开：run-2 · 已中断"), "{text}");
    }
}

/// Whole screens, to be looked at.
#[test]
fn chinese_snapshots() {
    type Make = fn(u16, u16) -> Screen;
    let states: [(&str, Make); 7] = [
        ("zh_data", |w, h| {
            let mut screen = data(w, h);
            screen.keys("jj");
            screen
        }),
        ("zh_parameters", |w, h| {
            let mut screen = data(w, h);
            screen.keys("2");
            screen.press(KeyCode::PageDown);
            screen
        }),
        ("zh_before_training", |w, h| {
            let mut screen = data(w, h);
            screen.keys("3");
            screen
        }),
        ("zh_training", |w, h| training(w, h).0),
        ("zh_log", |w, h| {
            let (mut screen, id) = training(w, h);
            for line in LOG {
                screen.event(id, Event::Log { level: Level::Info, line: line.into() });
            }
            screen.keys("v");
            screen
        }),
        ("zh_runs", with_runs),
        ("zh_compared", |w, h| {
            let mut screen = with_runs(w, h);
            told(&mut screen, run_worker::Told::Compared(Ok(Box::new(comparison()))));
            screen.press(KeyCode::Left);
            screen.press(KeyCode::Left);
            screen
        }),
    ];
    for (name, make) in states {
        for (width, height) in SIZES {
            insta::assert_snapshot!(format!("{name}_{width}x{height}"), make(width, height).text());
        }
    }
}

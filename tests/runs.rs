//! The run directory: files equal LLaMA-Factory's, logs survive crashes and resumes, runs are found.
#![allow(clippy::unwrap_used)]

use lorascope::config::{TrainConfig, steps};
use lorascope::error::Error;
use lorascope::job::{
    Answer, Event, Finding, GpuUse, Level, Odds, Outcome, Phase, Prediction, ScoreRow, SlotRow, StepRow,
};
use lorascope::runs::results::TrainTotals;
use lorascope::runs::{
    Curve, EventLog, RunInfo, RunLock, Status, TrainerLog, TrainerState, events, list, lock, results, smooth,
};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Logged by LLaMA-Factory 0.9.5: 22 samples, batch 3, accumulation 2, 3 epochs.
const TRAINER_LOG: &str = include_str!("fixtures/runs/trainer_log.jsonl");
/// The log history of the same run in the frame that transformers 5.6 writes around it.
const TRAINER_STATE: &str = include_str!("fixtures/runs/trainer_state.json");
const ALL_RESULTS: &str = include_str!("fixtures/runs/all_results.json");

/// The rows of the logged run. Times are those of the log, plus half a second that its format cuts off.
fn rows() -> Vec<StepRow> {
    let state: Value = serde_json::from_str(TRAINER_STATE).unwrap();
    let history = state["log_history"].as_array().unwrap();
    let seconds = |v: &Value| v.as_str().unwrap().rsplit(':').next().unwrap().parse::<f64>().unwrap() + 0.5;
    let row = |(line, entry): (&str, &Value)| {
        let line: Value = serde_json::from_str(line).unwrap();
        StepRow {
            step: entry["step"].as_u64().unwrap() as usize,
            total_steps: 12,
            epoch: entry["epoch"].as_f64().unwrap(),
            loss: entry["loss"].as_f64().unwrap(),
            lr: entry["learning_rate"].as_f64().unwrap(),
            grad_norm: entry["grad_norm"].as_f64().unwrap(),
            elapsed: seconds(&line["elapsed_time"]),
            remaining: seconds(&line["remaining_time"]),
            ..StepRow::default()
        }
    };
    TRAINER_LOG.lines().zip(history).take(12).map(row).collect()
}

fn totals() -> TrainTotals {
    let train_runtime = 2.024;
    TrainTotals {
        epoch: 3.0,
        total_flos: 25_719_174_144.0,
        train_loss: 7.464901566505432,
        train_runtime,
        samples: 66.0,
        steps: 12,
    }
}

fn row(step: usize, loss: f64) -> StepRow {
    StepRow { step, total_steps: 10, loss, ..StepRow::default() }
}

#[test]
fn the_trainer_log_is_llama_factorys_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = TrainerLog::open(dir.path(), 0).unwrap();
    for row in rows() {
        log.step(&row).unwrap();
    }
    log.end(&rows()[11], 2.024).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("trainer_log.jsonl")).unwrap(), TRAINER_LOG);
}

#[test]
fn an_evaluation_line_has_no_loss_and_no_lr() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = TrainerLog::open(dir.path(), 0).unwrap();
    log.evaluated(&row(5, 1.0), Some(0.25), Default::default()).unwrap();
    let scores = json!({ "eval_bleu-4": 12.5, "eval_rouge-l": 40.0 });
    log.evaluated(&row(5, 1.0), Some(0.25), scores.as_object().unwrap().clone()).unwrap();
    log.changed(&row(5, 1.0), "learning_rate", "1e-5").unwrap();
    let line = |what: &str| {
        format!(
            "{{\"current_steps\": 5, \"total_steps\": 10, {what}, \"epoch\": 0.0, \"percentage\": 50.0, \
             \"elapsed_time\": \"0:00:00\", \"remaining_time\": \"0:00:00\"}}\n"
        )
    };
    let more = "\"eval_loss\": 0.25, \"eval_bleu-4\": 12.5, \"eval_rouge-l\": 40.0";
    let lines = [line("\"eval_loss\": 0.25"), line(more), line("\"changed\": {\"learning_rate\": 1e-05}")];
    assert_eq!(fs::read_to_string(dir.path().join("trainer_log.jsonl")).unwrap(), lines.concat());
}

#[test]
fn a_resumed_run_drops_the_lines_after_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trainer_log.jsonl");
    fs::write(&path, format!("{TRAINER_LOG}{{\"current_steps\": 1")).unwrap();
    let mut log = TrainerLog::open(dir.path(), 4).unwrap();
    log.step(&rows()[4]).unwrap();
    let expected: String = TRAINER_LOG.lines().take(5).map(|line| format!("{line}\n")).collect();
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    drop(TrainerLog::open(dir.path(), 0).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn the_trainer_state_is_transformers() {
    let config = TrainConfig {
        per_device_train_batch_size: 3,
        gradient_accumulation_steps: 2,
        logging_steps: 1,
        ..TrainConfig::default()
    };
    let mut state = TrainerState::new(&config, &steps::steps(&config, 22, 1));
    for row in rows() {
        state.step(&row);
    }
    state.end(&totals());
    let dir = tempfile::tempdir().unwrap();
    state.write(dir.path()).unwrap();
    let mut expected: Value = serde_json::from_str(TRAINER_STATE).unwrap();
    // The peer's rates were taken from a runtime with more digits than it wrote down.
    for key in ["train_samples_per_second", "train_steps_per_second"] {
        let ours = state.log_history[12][key].as_f64().unwrap();
        let theirs = expected["log_history"][12][key].as_f64().unwrap();
        assert!((ours - theirs).abs() / theirs < 1e-3, "{key}: {ours} {theirs}");
        expected["log_history"][12][key] = ours.into();
    }
    let text = fs::read_to_string(dir.path().join("trainer_state.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    assert_eq!(TrainerState::read(dir.path()).unwrap(), state);

    // Byte for byte where no rate is involved.
    let theirs: TrainerState = serde_json::from_str(TRAINER_STATE).unwrap();
    theirs.write(dir.path()).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("trainer_state.json")).unwrap(), TRAINER_STATE);
}

#[test]
fn results_are_written_and_merged_as_transformers_does() {
    let dir = tempfile::tempdir().unwrap();
    let theirs: Value = serde_json::from_str(ALL_RESULTS).unwrap();
    results::write(dir.path(), "train", theirs.as_object().unwrap()).unwrap();
    for file in ["train_results.json", "all_results.json"] {
        assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), ALL_RESULTS);
    }
    assert_eq!(
        totals().metrics().keys().collect::<Vec<_>>(),
        theirs.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    results::write(dir.path(), "predict", json!({ "predict_bleu-4": 59.5284 }).as_object().unwrap()).unwrap();
    let all = results::read(dir.path());
    assert_eq!((all.len(), &all["predict_bleu-4"]), (7, &json!(59.5284)));
    assert!(
        fs::read_to_string(dir.path().join("predict_results.json")).unwrap().starts_with("{\n    \"predict")
    );
}

#[test]
fn smoothing_is_llama_factorys() {
    assert_eq!(smooth::smooth(&[]), Vec::<f64>::new());
    assert_eq!(smooth::smooth(&[4.0]), [4.0]);
    let losses: Vec<f64> = rows().iter().map(|r| r.loss).collect();
    let ours = smooth::smooth(&losses);
    // `extras/ploting.py` on the same losses.
    let theirs = SMOOTHED;
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-12), "{ours:?}");
}

const SMOOTHED: [f64; 12] = [
    8.254274368286133,
    8.273195916447362,
    7.979786544701589,
    7.69810368149977,
    7.481959408070334,
    7.350356055708322,
    7.292965206932923,
    7.228302369497556,
    7.110677280321779,
    7.089199736530442,
    7.111527105006425,
    7.113751908070197,
];

#[test]
fn events_come_back_and_a_torn_line_does_not_harm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut log = EventLog::open(dir.path()).unwrap();
    log.push(&Event::Step(row(1, 2.5))).unwrap();
    log.push(&Event::Log { level: Level::Info, line: "肺".into() }).unwrap();
    drop(log);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"event\":\"step\",\"st")).unwrap();
    assert_eq!(events::read(dir.path()).len(), 2);

    let mut log = EventLog::open(dir.path()).unwrap();
    log.push(&Event::Step(row(2, 2.0))).unwrap();
    let back = events::read(dir.path());
    assert_eq!(back.len(), 3);
    assert!(matches!(&back[0], Event::Step(r) if *r == row(1, 2.5)));
    assert!(matches!(&back[1], Event::Log { line, .. } if line == "肺"));
    assert!(matches!(&back[2], Event::Step(r) if r.step == 2));

    fs::write(&path, "no line end").unwrap();
    EventLog::open(dir.path()).unwrap().push(&Event::Paused(true)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"event\":\"paused\",\"paused\":true}\n");
}

#[test]
fn every_event_is_written_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let finding = Finding {
        level: Level::Warning,
        code: "broken_picture".into(),
        message: "m".into(),
        count: 1,
        rows: vec![3],
        fix: "f".into(),
    };
    let all = vec![
        started(dir.path()),
        Event::Progress { phase: Phase::Loading, done: 1, total: 2 },
        Event::Step(StepRow { lr: 0.00047745751406263163, ..row(1, 0.9981769323348999) }),
        Event::Rows { kept: 5, skipped: 1 },
        Event::Score { name: "eval_loss".into(), value: 0.1, step: Some(3) },
        Event::Finding(finding),
        Event::Token { id: 7, text: "肺\n".into(), done: true },
        Event::Odds {
            id: 7,
            odds: Odds { token: "肺".into(), logprob: -0.5, top: vec![("肺".into(), -0.5)] },
        },
        Event::Answered { id: 7, answer: Some(Answer::default()), error: None },
        Event::Scores {
            done: 1,
            total: 2,
            remaining: 0.5,
            rows: vec![ScoreRow::default()],
            slots: vec![SlotRow { slot: "side".into(), not_stated: Some(0.25), ..SlotRow::default() }],
        },
        Event::Predicted(Prediction {
            predict: "p".into(),
            scores: vec![("bleu-4".into(), 1.5)],
            ..Default::default()
        }),
        Event::Saved { step: 4, path: "p".into() },
        Event::Paused(true),
        Event::Log { level: Level::Error, line: "x".into() },
        Event::Finished(Outcome::Done { summary: json!({ "a": 1 }) }),
        Event::Finished(Outcome::Failed { error: Error::input("x").hint("y") }),
    ];
    let mut log = EventLog::open(dir.path()).unwrap();
    for event in &all {
        log.push(event).unwrap();
    }
    assert_eq!(format!("{:?}", events::read(dir.path())), format!("{all:?}"));
}

#[test]
fn a_llama_factory_run_reads_as_a_curve() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Curve::read(dir.path()).unwrap_err().message.contains("is not a run folder"));
    fs::write(dir.path().join("trainer_log.jsonl"), TRAINER_LOG).unwrap();
    let without_norms = Curve::read(dir.path()).unwrap();
    assert!(without_norms.steps.iter().all(|r| r.grad_norm == 0.0));
    fs::write(dir.path().join("trainer_state.json"), TRAINER_STATE).unwrap();
    let curve = Curve::read(dir.path()).unwrap();
    let whole_seconds =
        rows().into_iter().map(|r| StepRow { elapsed: r.elapsed - 0.5, remaining: r.remaining - 0.5, ..r });
    assert_eq!(curve.steps, whole_seconds.collect::<Vec<_>>());
    assert_eq!(curve.total_steps, 12);

    fs::remove_file(dir.path().join("trainer_log.jsonl")).unwrap();
    assert_eq!(Curve::read(dir.path()).unwrap().losses(), curve.losses());
}

#[test]
fn pythons_nan_days_and_torn_lines_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{\"current_steps\": 1, \"total_steps\": 4, \"loss\": NaN, \"lr\": 0.1, \"elapsed_time\": \"1 day, \
                2:03:04\"}\n{\"current_steps\": 2, \"total_steps\": 4, \"eval_loss\": Infinity}\nnonsense\n{\"curr";
    fs::write(dir.path().join("trainer_log.jsonl"), text).unwrap();
    let curve = Curve::read(dir.path()).unwrap();
    assert!(curve.steps.len() == 1 && curve.steps[0].loss.is_nan());
    assert_eq!(curve.steps[0].elapsed, 86_400.0 + 7384.0);
    assert_eq!((curve.evals[0].step, curve.evals[0].value), (2, f64::INFINITY));
}

#[test]
fn steps_that_were_done_again_count_once() {
    let score = |step, value| Event::Score { name: "eval_loss".into(), value, step: Some(step) };
    let events = vec![
        Event::Step(row(5, 3.0)),
        score(5, 3.1),
        score(10, 2.1),
        Event::Step(row(10, 2.0)),
        Event::Step(row(6, 2.9)),
        score(6, 2.8),
        Event::Score { name: "predict_rouge-l".into(), value: 50.0, step: None },
    ];
    let curve = Curve::from_events(events);
    assert_eq!(curve.steps.iter().map(|r| (r.step, r.loss)).collect::<Vec<_>>(), [(5, 3.0), (6, 2.9)]);
    assert_eq!(curve.evals.iter().map(|e| (e.step, e.value)).collect::<Vec<_>>(), [(5, 3.1), (6, 2.8)]);
}

fn started(dir: &Path) -> Event {
    Event::Started {
        run_dir: dir.to_path_buf(),
        device: "cpu".into(),
        total_steps: 10,
        trainable: 1,
        parameters: 2,
        targets: Vec::new(),
    }
}

fn run_that_ended(dir: &Path, outcome: Option<Outcome>) {
    let mut log = EventLog::open(dir).unwrap();
    log.push(&started(dir)).unwrap();
    TrainerLog::open(dir, 0).unwrap().step(&row(5, 1.5)).unwrap();
    if let Some(outcome) = outcome {
        log.push(&Event::Finished(outcome)).unwrap();
    }
}

#[test]
fn runs_are_listed_with_how_they_ended() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    run_that_ended(&at("done"), Some(Outcome::Done { summary: json!({}) }));
    run_that_ended(&at("deep/er/stopped"), Some(Outcome::Stopped { summary: json!({}) }));
    run_that_ended(&at("failed"), Some(Outcome::Failed { error: Error::input("x") }));
    run_that_ended(&at("killed"), None);
    run_that_ended(&at("again"), Some(Outcome::Done { summary: json!({}) }));
    run_that_ended(&at("again"), None);
    fs::create_dir_all(at("done/checkpoint-5")).unwrap();
    fs::write(at("done/checkpoint-5/trainer_state.json"), TRAINER_STATE).unwrap();
    fs::create_dir_all(at("theirs")).unwrap();
    fs::write(at("theirs/trainer_log.jsonl"), TRAINER_LOG).unwrap();
    fs::create_dir_all(at("no run")).unwrap();

    let mut runs = list::list(root.path()).unwrap();
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = runs.iter().map(|r| (r.name.as_str(), r.status)).collect();
    assert_eq!(
        found,
        [
            ("again", Status::Interrupted),
            ("deep/er/stopped", Status::Stopped),
            ("done", Status::Finished),
            ("failed", Status::Failed),
            ("killed", Status::Interrupted),
            ("theirs", Status::Unknown),
        ]
    );
    let of = |r: &RunInfo| (r.step, r.total_steps, r.loss);
    assert_eq!(of(&runs[2]), (5, 10, Some(1.5)));
    assert_eq!(of(&runs[5]), (12, 12, Some(7.114542484283447)));
    fs::write(at("theirs/all_results.json"), ALL_RESULTS).unwrap();
    assert_eq!(list::look(root.path(), &at("theirs")).unwrap().status, Status::Finished);
    assert!(list::list(&at("nowhere")).is_err());
}

#[test]
fn a_running_run_holds_its_folder_alone() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("run");
    let held = RunLock::acquire(&dir).unwrap();
    assert!(lock::is_held(&dir));
    assert_eq!(list::list(root.path()).unwrap()[0].status, Status::Running);
    let e = RunLock::acquire(&dir).err().unwrap();
    assert!(e.message.ends_with(&format!("is in use by process {}", std::process::id())), "{}", e.message);
    drop(held);
    assert!(!lock::is_held(&dir) && !lock::is_there(&dir));

    // A process that was killed leaves the file, but not the lock.
    fs::write(dir.join("run.lock"), "1\n").unwrap();
    assert!(!lock::is_held(&dir));
    assert_eq!(list::look(root.path(), &dir).unwrap().status, Status::Interrupted);
    drop(RunLock::acquire(&dir).unwrap());
}

#[test]
fn a_step_of_an_older_log_has_no_gpu_and_the_use_of_one_is_kept() {
    let old = r#"{"event":"step","step":3,"total_steps":9,"epoch":1.0,"loss":0.5,"lr":0.1,"grad_norm":1.0,
        "samples":1,"tokens":2,"label_tokens":1,"seconds":1.0,"data_wait":0.0,"elapsed":3.0,"remaining":6.0,"memory":7}"#;
    let read = |text: &str| match serde_json::from_str(text) {
        Ok(Event::Step(row)) => row,
        other => panic!("{other:?}"),
    };
    let row = read(old);
    assert_eq!((row.step, row.gpu), (3, None));
    let written = |row: StepRow| serde_json::to_string(&Event::Step(row)).unwrap();
    assert!(!written(row.clone()).contains("gpu"), "on the CPU nothing is written");
    for percent in [Some(87), None] {
        let gpu = Some(GpuUse { percent, memory: 12 << 30, total: 80 << 30 });
        assert_eq!(read(&written(StepRow { gpu, ..row.clone() })).gpu, gpu);
    }
    let gpu = |percent| GpuUse { percent, memory: 12 << 30, total: 80 << 30 }.to_string();
    assert_eq!([gpu(Some(87)), gpu(None)], ["GPU 87 %, 12.0/80.0 GiB", "GPU 12.0/80.0 GiB"]);
}

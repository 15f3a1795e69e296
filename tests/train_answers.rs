//! Answers that are scored at the evaluations of a training run: they cost time and change nothing.
#![allow(clippy::unwrap_used)]

use crate::train_loop::{Run, adapter, at_step, evaluated, log, state, stop, stopped, train};
use lorascope::config::TrainConfig;
use lorascope::job::{Event, Phase};
use lorascope::runs::Curve;
use serde_json::Value;
use std::fs;
use std::path::Path;

const NAMES: [&str; 4] = ["eval_bleu-4", "eval_rouge-1", "eval_rouge-2", "eval_rouge-l"];

/// Three of the four evaluation samples are answered, drawn with the settings' seed.
fn answered(out: &Path) -> TrainConfig {
    TrainConfig { eval_generate_samples: 3, max_new_tokens: 12, ..evaluated(out) }
}

/// Step and value of a metric at each evaluation.
fn metric(run: &Run, name: &str) -> Vec<(usize, f64)> {
    let score = |e: &Event| match e {
        Event::Score { name: known, value, step: Some(step) } if known == name => Some((*step, *value)),
        _ => None,
    };
    run.events.iter().filter_map(score).collect()
}

fn steps(found: &[(usize, f64)]) -> Vec<usize> {
    found.iter().map(|f| f.0).collect()
}

#[test]
fn scores_of_answers_are_logged_and_the_training_does_not_notice() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, scored) = (evaluated(&dir.path().join("plain")), answered(&dir.path().join("scored")));
    let (before, run) = (train(&plain, |_, _| {}), train(&scored, |_, _| {}));
    before.result.as_ref().unwrap();
    run.result.as_ref().unwrap();
    assert_eq!(before.exact(), run.exact());
    assert_eq!(metric(&before, "eval_loss"), metric(&run, "eval_loss"));
    assert!(adapter(&plain.output_dir) == adapter(&scored.output_dir), "the adapters differ");
    assert!(metric(&before, NAMES[0]).is_empty(), "off unless it is asked for");
    let out = &scored.output_dir;
    let results: Value = serde_json::from_slice(&fs::read(out.join("eval_results.json")).unwrap()).unwrap();
    let (state, curve) = (state(out), Curve::read(out).unwrap());
    let lines = log(out);
    for name in NAMES {
        let found = metric(&run, name);
        assert_eq!(steps(&found), [2, 4, 6, 7], "{name}");
        assert!(found.iter().all(|f| (0.0..=100.0).contains(&f.1)), "{name}: {found:?}");
        assert_eq!(results[name].as_f64(), Some(found[3].1));
        let of = |entries: &[Value], step: &str| -> Vec<(usize, f64)> {
            let value = |e: &Value| Some((e[step].as_u64()? as usize, e[name].as_f64()?));
            entries.iter().filter_map(value).collect()
        };
        assert_eq!(of(&lines, "current_steps"), found, "{name} in trainer_log.jsonl");
        assert_eq!(
            of(state["log_history"].as_array().unwrap(), "step"),
            found,
            "{name} in trainer_state.json"
        );
        let points = curve.evals.iter().filter(|p| p.name == name).map(|p| (p.step, p.value));
        assert_eq!(points.collect::<Vec<_>>(), found, "{name} as a curve");
    }
    // As transformers: one entry has the loss and the scores.
    let history = state["log_history"].as_array().unwrap();
    let entry = history.iter().find(|e| e["eval_bleu-4"].is_f64()).unwrap();
    assert!(entry["eval_loss"].is_f64(), "{entry}");
}

/// Stopped between two rounds of answers, and elsewhere: the run goes on as if it had not been.
#[test]
fn a_run_that_is_stopped_while_it_answers_is_the_same_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let whole = answered(&dir.path().join("whole"));
    let run = train(&whole, |_, _| {});
    run.result.as_ref().unwrap();
    let parts = answered(&dir.path().join("parts"));
    let first = train(&parts, |e, say| {
        if matches!(e, Event::Progress { phase: Phase::Evaluating, done: 2, total: 3 }) {
            stop(say, true);
        }
    });
    stopped(first.result.clone());
    assert!(first.scores().is_empty() && first.steps().len() == 2, "the evaluation is done again");
    let second = train(&parts, |e, say| {
        if at_step(e, 5) {
            stop(say, true);
        }
    });
    stopped(second.result.clone());
    let third = train(&parts, |_, _| {});
    third.result.as_ref().unwrap();
    assert_eq!([first.exact(), second.exact(), third.exact()].concat(), run.exact());
    assert_eq!([second.scores(), third.scores()].concat(), run.scores());
    assert_eq!(log(&whole.output_dir), log(&parts.output_dir));
    assert!(adapter(&whole.output_dir) == adapter(&parts.output_dir), "the adapters differ");
}

#[test]
fn the_best_adapter_can_be_the_one_with_the_best_answers() {
    let dir = tempfile::tempdir().unwrap();
    for greater in [None, Some(false)] {
        let config = TrainConfig {
            metric_for_best_model: Some("rouge-1".into()),
            greater_is_better: greater,
            load_best_model_at_end: true,
            learning_rate: 0.3,
            ..answered(&dir.path().join(format!("{greater:?}")))
        };
        let run = train(&config, |_, _| {});
        run.result.as_ref().unwrap();
        let found = metric(&run, "eval_rouge-1");
        let better = |a: f64, b: f64| if greater.is_none() { a > b } else { a < b };
        // Of equals the first one.
        let best = found.iter().fold(found[0], |best, f| if better(f.1, best.1) { *f } else { best });
        let state = state(&config.output_dir);
        assert_eq!(state["best_metric"].as_f64(), Some(best.1), "{found:?}");
        assert_eq!(state["best_global_step"].as_u64(), Some(best.0 as u64), "{found:?}");
        let checkpoint = config.output_dir.join(format!("checkpoint-{}", best.0));
        assert!(adapter(&config.output_dir) == adapter(&checkpoint), "the result is the best adapter");
    }
}

#[test]
fn a_metric_that_is_not_computed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str, samples: usize| TrainConfig {
        metric_for_best_model: Some(name.into()),
        eval_generate_samples: samples,
        max_steps: 1,
        ..answered(&dir.path().join(format!("{name}{samples}")))
    };
    for config in [of("bleu-4", 0), of("meteor", 2)] {
        let error = train(&config, |_, _| {}).result.unwrap_err();
        assert!(error.message.contains("is not computed while training"), "{error}");
    }
    train(&of("eval_bleu-4", 1), |_, _| {}).result.unwrap();
}

//! Scores against LLaMA-Factory's, slot accuracy, prediction files and `score`.
#![allow(clippy::unwrap_used)]

use lorascope::eval::slots::Labels;
use lorascope::eval::slots::drawn::{self, SlotLabel};
use lorascope::eval::{Scores, scores, words};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(name)
}

fn golden_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}

#[test]
fn every_row_scores_as_llama_factory() {
    let rows = golden_json("metrics.json");
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 208);
    for row in rows {
        let (predict, label) = (row["predict"].as_str().unwrap(), row["label"].as_str().unwrap());
        for (name, value) in scores::score(predict, label).named() {
            assert_eq!(value, row[name].as_f64().unwrap(), "{name} of {predict:?} against {label:?}");
        }
    }
}
/// Odd text: decimals, hyphens, dots, rare Han, sentence ends before line ends. Made with jieba 0.42.1,
/// rouge_chinese 1.0.3 and nltk 3.10.4, called as LLaMA-Factory's metric.py does.
#[test]
fn odd_text_is_cut_and_scored_as_in_python() {
    let rows = golden_json("metrics_hard.json");
    for row in rows.as_array().unwrap() {
        let (predict, label) = (row["predict"].as_str().unwrap(), row["label"].as_str().unwrap());
        assert_eq!(words::cut(predict).join("|"), row["cut"].as_str().unwrap());
        for (name, value) in scores::score(predict, label).named() {
            assert_eq!(value, row[name].as_f64().unwrap(), "{name} of {predict:?} against {label:?}");
        }
    }
}

#[test]
fn means_and_order_of_many() {
    let pairs = [("abc", "abc"), ("", "abc"), ("abc", "xyz")];
    let all = scores::score_all(&pairs);
    assert_eq!(all[0], scores::score("abc", "abc"));
    assert_eq!(all[1], Scores::default());
    let mean = scores::mean(&all);
    assert!((mean.bleu_4 - 84.0896 / 3.0).abs() < 1e-9 && (mean.rouge_l - 100.0 / 3.0).abs() < 1e-9);
    assert_eq!(scores::mean(&[]), Scores::default());
}

fn json_lines<T: serde::de::DeserializeOwned>(name: &str) -> Vec<T> {
    let text = std::fs::read_to_string(golden(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn slots_are_counted_as_the_drawing_scripts_scorer_does() {
    let labels = Labels::read(&golden("slots.labels.jsonl")).unwrap();
    assert_eq!((labels.ids().len(), labels.left_out().len()), (48, 0));
    let predictions: Vec<Value> = json_lines("slots.predictions.jsonl");
    let text = |v: &Value, key: &str| v[key].as_str().unwrap().to_string();
    let predictions = predictions.iter().map(|p| (text(p, "id"), text(p, "text"))).collect();
    let report = labels.score(&predictions);
    assert_eq!(report.to_json(), golden_json("slots.scores.json"));
    for row in &report.rows[..drawn::SLOTS.len()] {
        let whole = row.accuracy + row.not_stated.unwrap() + row.other_stated.unwrap();
        assert!((whole - 1.0).abs() < 1e-12, "{row:?}");
    }
}

#[test]
fn every_caption_parses_back_to_what_was_drawn() {
    for label in json_lines::<SlotLabel>("slots.labels.jsonl") {
        assert_eq!(drawn::parse(&label.caption), label.slots(), "{}", label.caption);
    }
    assert_eq!(drawn::parse("the liver is unremarkable, small"), [const { None }; 7]);
    let none = Labels::of_drawn("none".as_ref(), Vec::new());
    assert_eq!(none.score(&HashMap::new()).all().unwrap().n, 0);
}

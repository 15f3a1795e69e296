//! The order of several data sets, against `datasets.interleave_datasets` 4.0.0 and numpy 2.4.

use lorascope::config::MixStrategy;
use lorascope::data::numpy::RandomState;
use lorascope::data::selection::mix;
use serde_json::Value;
use std::path::Path;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/registry/mixing.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

#[test]
fn interleaved_as_the_datasets_library_does() {
    let golden = golden();
    let cases = golden["interleave"].as_array().unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let how = match case["strategy"].as_str().unwrap() {
            "first_exhausted" => MixStrategy::InterleaveUnder,
            _ => MixStrategy::InterleaveOver,
        };
        let probs: Option<Vec<f64>> =
            case["probs"].as_array().map(|p| p.iter().map(|p| p.as_f64().unwrap()).collect());
        let seed = case["seed"].as_u64().unwrap();
        let order = mix(&numbers(&case["lengths"]), how, probs.as_deref(), seed).unwrap();
        let at = format!("{} {} {:?}", case["lengths"], case["strategy"], probs);
        assert_eq!(order.len() as u64, case["n"].as_u64().unwrap(), "{at}");
        let (head, tail) = (numbers(&case["head"]), numbers(&case["tail"]));
        assert!(order.starts_with(&head) && order.ends_with(&tail), "{at}");
        let sum = order.iter().enumerate().map(|(i, v)| (i + 1) * v).sum::<usize>() % 1_000_003;
        assert_eq!(sum as u64, case["sum"].as_u64().unwrap(), "{at}");
    }
    assert!(mix(&[3, 0], MixStrategy::InterleaveOver, None, 0).is_err());
}

#[test]
fn one_after_another_by_default() {
    assert_eq!(mix(&[2, 3], MixStrategy::Concat, None, 0).unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(mix(&[2], MixStrategy::InterleaveUnder, None, 0).unwrap(), [0, 1]);
}

#[test]
fn numpys_legacy_draws() {
    for case in golden()["num_samples"].as_array().unwrap() {
        let of = |key: &str| case[key].as_u64().unwrap();
        let (n, target) = (of("n") as usize, of("target") as usize);
        let mut state = RandomState::new(of("seed"));
        for (key, n) in [("first", n), ("second", n + 3)] {
            let mut drawn = state.permutation(n);
            drawn.truncate(target);
            drawn.extend(state.choice(n, target - drawn.len()));
            let shown: Vec<usize> =
                drawn.iter().take(12).chain(&drawn[drawn.len().saturating_sub(4)..]).copied().collect();
            assert_eq!(shown, numbers(&case[key]), "{key} of {n}");
        }
    }
}

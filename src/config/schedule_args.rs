//! `lr_scheduler_kwargs`: what transformers' schedules take besides learning rate and warmup.

use super::LrScheduler;
use serde::{Deserialize, Serialize};

/// The arguments that are given, as text in a setting: `{"num_cycles": 2}`. Names and defaults are transformers'
/// (`optimization.py`) and, for `reduce_lr_on_plateau`, torch's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScheduleArgs {
    numbers: Vec<(&'static str, f64)>,
    words: Vec<(&'static str, &'static str)>,
}

/// A number's name, its smallest and largest value.
const NUMBERS: &[(&str, f64, f64)] = &[
    ("num_cycles", 0.0, 1e6),
    ("power", 0.0, 1e3),
    ("lr_end", 0.0, 1.0),
    ("timescale", 1.0, 1e9),
    ("min_lr", 0.0, 1.0),
    ("min_lr_rate", 0.0, 1.0),
    ("warmup_lr_rate", 0.0, 1.0),
    ("num_decay_steps", 0.0, 1e9),
    ("num_stable_steps", 0.0, 1e9),
    ("min_lr_ratio", 0.0, 1.0),
    ("factor", 1e-9, 0.999_999),
    ("patience", 0.0, 1e9),
    ("threshold", 0.0, 1e9),
    ("cooldown", 0.0, 1e9),
    ("eps", 0.0, 1.0),
];

/// A word's name and the words it may be.
const WORDS: &[(&str, &[&str])] =
    &[("warmup_type", CURVES), ("decay_type", CURVES), ("threshold_mode", &["rel", "abs"])];

const CURVES: &[&str] = &["linear", "cosine", "1-sqrt"];

impl ScheduleArgs {
    /// The number `name`, if it is given.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|(n, _)| *n == name).map(|(_, x)| *x)
    }

    /// The word `name`, if it is given.
    pub fn word(&self, name: &str) -> Option<&'static str> {
        self.words.iter().find(|(n, _)| *n == name).map(|(_, w)| *w)
    }

    /// The names that are given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.numbers.iter().map(|(n, _)| *n).chain(self.words.iter().map(|(n, _)| *n))
    }

    fn put(&mut self, name: &str, value: &serde_yaml_ng::Value) -> Result<(), String> {
        if value.is_null() {
            return Ok(());
        }
        if let Some((name, min, max)) = NUMBERS.iter().find(|(n, ..)| *n == name) {
            let x = value.as_f64().or_else(|| value.as_str()?.parse().ok());
            let x = x.filter(|x| (*min..=*max).contains(x));
            let x = x.ok_or_else(|| format!("{name} must be a number, {min:e} to {max:e}"))?;
            self.numbers.push((name, x));
        } else if let Some((name, words)) = WORDS.iter().find(|(n, _)| *n == name) {
            let word = words.iter().find(|w| value.as_str() == Some(w));
            self.words
                .push((name, word.ok_or_else(|| format!("{name} must be one of {}", words.join(", ")))?));
        } else {
            let known: Vec<_> = NUMBERS.iter().map(|n| n.0).chain(WORDS.iter().map(|w| w.0)).collect();
            return Err(format!("{name} is not known; there are {}", known.join(", ")));
        }
        Ok(())
    }
}

impl TryFrom<String> for ScheduleArgs {
    type Error = String;

    /// Reads JSON, or YAML's braces.
    fn try_from(text: String) -> Result<Self, String> {
        let mut args = Self::default();
        if text.trim().is_empty() {
            return Ok(args);
        }
        let map: serde_yaml_ng::Mapping =
            serde_yaml_ng::from_str(&text).map_err(|_| "write {name: value}".to_string())?;
        for (name, value) in &map {
            args.put(name.as_str().unwrap_or_default(), value)?;
        }
        Ok(args)
    }
}

impl From<ScheduleArgs> for String {
    fn from(args: ScheduleArgs) -> String {
        let mut map = serde_json::Map::new();
        map.extend(args.numbers.iter().map(|(n, x)| (n.to_string(), whole_or_not(*x))));
        map.extend(args.words.iter().map(|(n, w)| (n.to_string(), (*w).into())));
        if map.is_empty() { String::new() } else { serde_json::Value::from(map).to_string() }
    }
}

/// transformers wants `patience` and the like as whole numbers.
fn whole_or_not(x: f64) -> serde_json::Value {
    if x.fract() == 0.0 { (x as i64).into() } else { x.into() }
}

/// The arguments that a schedule takes; others are an error, as in transformers.
pub fn taken_by(kind: LrScheduler) -> &'static [&'static str] {
    use LrScheduler as S;
    match kind {
        S::Linear | S::Constant | S::ConstantWithWarmup => &[],
        S::Cosine | S::CosineWithRestarts => &["num_cycles"],
        S::Polynomial => &["power", "lr_end"],
        S::InverseSqrt => &["timescale"],
        S::CosineWithMinLr => &["num_cycles", "min_lr", "min_lr_rate"],
        S::CosineWarmupWithMinLr => &["num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"],
        S::WarmupStableDecay => &[
            "num_decay_steps",
            "num_stable_steps",
            "warmup_type",
            "decay_type",
            "min_lr_ratio",
            "num_cycles",
        ],
        S::ReduceLrOnPlateau => {
            &["factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps"]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back() {
        let args = ScheduleArgs::try_from("{num_cycles: 2, decay_type: 1-sqrt, min_lr: 1e-6}".to_string());
        let args = args.unwrap_or_default();
        assert_eq!((args.number("num_cycles"), args.number("min_lr")), (Some(2.0), Some(1e-6)));
        assert_eq!(args.word("decay_type"), Some("1-sqrt"));
        let text = String::from(args.clone());
        assert_eq!(text, r#"{"num_cycles":2,"min_lr":1e-6,"decay_type":"1-sqrt"}"#);
        assert_eq!(ScheduleArgs::try_from(text), Ok(args));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let error = |text: &str| ScheduleArgs::try_from(text.to_string()).err().unwrap_or_default();
        assert!(error("{cycles: 2}").starts_with("cycles is not known"));
        assert!(error("{power: -1}").starts_with("power must be a number"));
        assert!(error("{decay_type: steep}").contains("linear, cosine, 1-sqrt"));
        assert!(error("[1]").contains("{name: value}"));
    }

    #[test]
    fn every_name_is_taken_by_a_schedule() {
        use LrScheduler as S;
        let kinds = [
            S::Cosine,
            S::Polynomial,
            S::InverseSqrt,
            S::CosineWarmupWithMinLr,
            S::WarmupStableDecay,
            S::ReduceLrOnPlateau,
        ];
        let taken: Vec<&str> = kinds.iter().flat_map(|k| taken_by(*k)).copied().collect();
        for name in NUMBERS.iter().map(|n| n.0).chain(WORDS.iter().map(|w| w.0)) {
            assert!(taken.contains(&name), "{name}");
        }
        assert!(taken.iter().all(|t| NUMBERS.iter().any(|n| n.0 == *t) || WORDS.iter().any(|w| w.0 == *t)));
    }
}

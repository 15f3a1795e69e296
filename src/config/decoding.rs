//! How answers are decoded: between the settings and the rule that a question brings.

use super::TrainConfig;
use crate::job::Sampling;

/// Settings that may differ from question to question of a talk, in the order they are shown.
pub const LIVE: [&str; 9] = [
    "do_sample",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "max_new_tokens",
    "seed",
    "stop_strings",
];

impl TrainConfig {
    /// The decoding rule of evaluation.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: if self.do_sample { self.temperature as f32 } else { 0.0 },
            top_p: self.top_p as f32,
            top_k: self.top_k,
            min_p: self.min_p as f32,
            repetition_penalty: self.repetition_penalty as f32,
            max_new_tokens: self.max_new_tokens,
            seed: self.seed,
            stop: self.stop_strings.clone(),
            guesses: self.prompt_lookup_num_tokens,
        }
    }

    /// Takes the settings of a rule. Those that only draws need stay where it is greedy.
    pub fn set_sampling(&mut self, rule: &Sampling) {
        self.do_sample = rule.temperature > 0.0;
        if self.do_sample {
            self.temperature = exact(rule.temperature);
        }
        self.top_p = exact(rule.top_p);
        self.top_k = rule.top_k;
        self.min_p = exact(rule.min_p);
        self.repetition_penalty = exact(rule.repetition_penalty);
        self.max_new_tokens = rule.max_new_tokens;
        self.seed = rule.seed;
        self.stop_strings.clone_from(&rule.stop);
        self.prompt_lookup_num_tokens = rule.guesses;
    }
}

/// The shortest number that is this one in single precision: 0.7, not 0.699999988.
fn exact(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_goes_through_the_settings_unchanged() {
        let drawn = Sampling {
            temperature: 0.7,
            top_p: 0.9,
            top_k: 40,
            min_p: 0.05,
            repetition_penalty: 1.1,
            max_new_tokens: 77,
            seed: 5,
            stop: vec!["。".into()],
            guesses: 3,
        };
        for rule in [drawn, Sampling::default()] {
            let mut config = TrainConfig::default();
            config.set_sampling(&rule);
            assert_eq!(config.sampling(), rule);
        }
        let mut config = TrainConfig::default();
        config.set_sampling(&Sampling { temperature: 0.7, ..Sampling::default() });
        assert_eq!(config.temperature, 0.7);
    }
}

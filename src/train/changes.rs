//! Settings changed while a run goes on: what may change, and a list that a resumed run follows again.

use crate::config::{TrainConfig, fields, live};
use crate::error::Result;
use crate::files;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The list in the run folder.
pub const CHANGES: &str = "changes.json";

/// One change: in force from the update on that follows `step` updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub step: usize,
    pub key: String,
    pub value: String,
    pub was: String,
}

impl Change {
    /// The change of `key` to `value` after `step` updates: a value, or a factor of the present one (`x0.5`).
    ///
    /// Errors: a setting that cannot change, a value out of range, a rule across settings that would be broken.
    pub fn new(config: &TrainConfig, step: usize, key: &str, value: &str) -> Result<Self> {
        let value = live::value(config, key, value)?;
        Ok(Self { step, key: key.into(), value, was: fields::get(config, key) })
    }

    /// Makes the change. `false` when the setting is not what it was: it has been edited since, and that counts.
    pub fn apply(&self, config: &mut TrainConfig) -> bool {
        fields::get(config, &self.key) == self.was && fields::set(config, &self.key, &self.value).is_ok()
    }
}

/// The list of a run folder; `None` if there is none that reads.
pub fn read(run_dir: &Path) -> Option<Vec<Change>> {
    serde_json::from_slice(&std::fs::read(run_dir.join(CHANGES)).ok()?).ok()
}

/// Writes the list.
pub fn write(run_dir: &Path, changes: &[Change]) -> Result<()> {
    files::write_json(&run_dir.join(CHANGES), &changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_value_or_a_factor_and_keeps_the_range() {
        let config = TrainConfig { learning_rate: 2e-4, ..TrainConfig::default() };
        let change = |key, value| Change::new(&config, 7, key, value);
        let halved = change("learning_rate", "x0.5").map(|c| (c.value, c.was, c.step));
        assert_eq!(halved.ok(), Some(("1e-4".into(), "2e-4".into(), 7)));
        assert_eq!(change("save_steps", "20").map(|c| c.value).ok(), Some("20".into()));
        for (key, value) in
            [("learning_rate", "2"), ("logging_steps", "0"), ("lora_rank", "16"), ("learning_rate", "x")]
        {
            assert!(change(key, value).is_err(), "{key} {value}");
        }
    }

    #[test]
    fn an_edited_setting_counts_more_than_the_list() {
        let mut config = TrainConfig { logging_steps: 5, ..TrainConfig::default() };
        let change = Change { step: 1, key: "logging_steps".into(), value: "2".into(), was: "5".into() };
        assert!(change.apply(&mut config) && config.logging_steps == 2);
        config.logging_steps = 10;
        assert!(!change.apply(&mut config) && config.logging_steps == 10);
    }
}

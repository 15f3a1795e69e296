//! Settings that may take another value while a run goes on.

use super::{TrainConfig, fields, validate};
use crate::error::{Error, Result};

/// Settings that take another value between two updates.
pub const CHANGEABLE: [&str; 5] =
    ["learning_rate", "logging_steps", "save_steps", "save_total_limit", "eval_steps"];

/// The value that `text` gives `key` of a running job, as [`fields::get`] shows it: a value, or a factor of the
/// present one (`x0.5`).
///
/// Errors: a setting that cannot change, a value out of range, a rule across settings that would be broken.
pub fn value(config: &TrainConfig, key: &str, text: &str) -> Result<String> {
    if !CHANGEABLE.contains(&key) {
        return Err(Error::usage(format!("{key} cannot be changed while training"))
            .hint(format!("these can: {}", CHANGEABLE.join(", "))));
    }
    let was = fields::get(config, key);
    let value = match (text.trim().strip_prefix(['x', '*']), was.parse::<f64>()) {
        (Some(factor), Ok(old)) => {
            let factor: f64 = factor.parse().map_err(|_| Error::usage(format!("not a factor: {text}")))?;
            fields::number(old * factor)
        }
        _ => text.trim().to_string(),
    };
    let mut changed = config.clone();
    fields::set(&mut changed, key, &value)?;
    let broken = |c: &TrainConfig| validate::problems(c).into_iter().find(|p| p.fatal);
    if let (None, Some(problem)) = (broken(config), broken(&changed)) {
        return Err(Error::usage(format!("{key} cannot become {value}: {}", problem.message)));
    }
    Ok(fields::get(&changed, key))
}

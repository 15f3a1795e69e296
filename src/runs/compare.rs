//! Two or more runs side by side: which settings differ, how the metrics came out.

use super::read::Curve;
use super::{Columns, Detail, smooth};
use crate::config::fields;
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Settings that say where a run lies and how it was started, not how it trains.
const OWN: [&str; 4] = ["output_dir", "overwrite_output_dir", "resume_from_checkpoint", "run_name"];

/// A setting that is not the same in all runs. `None`: not known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingRow {
    pub key: String,
    pub values: Vec<Option<String>>,
}

/// A metric of each run that has it, and which run is best where one direction is better.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricRow {
    pub name: String,
    pub values: Vec<Option<f64>>,
    pub best: Option<usize>,
}

/// Runs side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub runs: Vec<Detail>,
    pub settings: Vec<SettingRow>,
    pub metrics: Vec<MetricRow>,
    #[serde(skip)]
    pub curves: Vec<Columns>,
}

impl Comparison {
    /// Reads the runs. `root` is what their names are below.
    ///
    /// Errors: fewer than two; a folder that is no run.
    pub fn read(root: &Path, dirs: &[PathBuf]) -> Result<Self> {
        if dirs.len() < 2 {
            return Err(Error::usage("a comparison needs two runs or more").hint("name their folders"));
        }
        let mut runs = Vec::new();
        let mut curves = Vec::new();
        for dir in dirs {
            let curve = Curve::read(dir)?;
            let run = Detail::look(root, dir);
            runs.push(run.ok_or_else(|| Error::input(format!("{} is not a run folder", dir.display())))?);
            curves.push(curve);
        }
        let metrics = metrics(&runs, &curves);
        let curves = curves.iter().map(Columns::of).collect();
        Ok(Self { settings: settings(&runs), metrics, runs, curves })
    }
}

/// The settings that differ, in the order of the table.
fn settings(runs: &[Detail]) -> Vec<SettingRow> {
    let mut keys: Vec<&str> = fields::all().iter().map(|f| f.key).collect();
    for key in runs.iter().flat_map(|r| r.settings.keys()) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    keys.retain(|key| !OWN.contains(key));
    let row = |key: &str| {
        let default = fields::field(key).map(fields::Field::default_text);
        let value = |run: &Detail| {
            let known = run.settings.get(key).and_then(Value::as_str).map(str::to_string);
            known.or_else(|| default.clone().filter(|_| run.complete))
        };
        let values: Vec<_> = runs.iter().map(value).collect();
        let mut known = values.iter().flatten();
        let first = known.next()?;
        let differs = known.any(|v| v != first);
        // Where some do not tell, a default is no news.
        let told = values.iter().any(Option::is_none) && Some(first) != default.as_ref();
        (differs || told).then(|| SettingRow { key: key.to_string(), values })
    };
    keys.into_iter().filter_map(row).collect()
}

/// What the curves say first, then what the results say.
fn metrics(runs: &[Detail], curves: &[Curve]) -> Vec<MetricRow> {
    let mut rows = Vec::new();
    let mut put = |name: &str, values: Vec<Option<f64>>| {
        if values.iter().any(Option::is_some) {
            rows.push(MetricRow { name: name.into(), best: best(name, &values), values });
        }
    };
    let each = |of: &dyn Fn(&Curve) -> Option<f64>| curves.iter().map(of).collect::<Vec<_>>();
    put("steps", each(&|c| c.steps.last().map(|r| r.step as f64)));
    put("final_loss", each(&|c| c.steps.last().map(|r| r.loss)));
    put("smoothed_loss", each(&|c| smooth::smooth(&c.losses()).last().copied()));
    let lowest = |losses: Vec<f64>| losses.into_iter().filter(|l| l.is_finite()).min_by(f64::total_cmp);
    put("lowest_loss", each(&|c| lowest(c.losses())));
    let evals = |c: &Curve| c.evals.iter().filter(|p| p.name == "eval_loss").map(|p| p.value).collect();
    put("lowest_eval_loss", each(&|c| lowest(evals(c))));
    let mut names: Vec<&String> = Vec::new();
    for name in runs.iter().flat_map(|r| r.metrics.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        put(name, runs.iter().map(|r| r.metric(name)).collect());
    }
    rows
}

/// The run with the best value, where it is known which way is better and they are not all the same.
fn best(name: &str, values: &[Option<f64>]) -> Option<usize> {
    let lower = ["loss", "perplexity", "runtime"].iter().any(|w| name.contains(w));
    let higher = ["bleu", "rouge", "accuracy", "per_second", "f1"].iter().any(|w| name.contains(w));
    if !lower && !higher {
        return None;
    }
    let finite = |(i, v): (usize, &Option<f64>)| v.filter(|v| v.is_finite()).map(|v| (i, v));
    let known: Vec<(usize, f64)> = values.iter().enumerate().filter_map(finite).collect();
    let by = |a: &&(usize, f64), b: &&(usize, f64)| {
        if lower { a.1.total_cmp(&b.1) } else { b.1.total_cmp(&a.1) }
    };
    let first = known.iter().min_by(by)?;
    let tied = known.iter().filter(|(_, v)| *v == first.1).count() > 1;
    (known.len() > 1 && !tied).then_some(first.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_direction_is_known_by_name() {
        let two = |a, b| [Some(a), Some(b)];
        assert_eq!(best("eval_loss", &two(0.5, 0.4)), Some(1));
        assert_eq!(best("predict_bleu-4", &two(30.0, 20.0)), Some(0));
        assert_eq!(best("epoch", &two(3.0, 2.0)), None);
        assert_eq!(best("train_loss", &two(0.5, 0.5)), None);
        assert_eq!(best("train_loss", &[Some(0.5), None]), None);
        assert_eq!(best("train_loss", &[Some(f64::NAN), Some(2.0), Some(3.0)]), Some(1));
    }
}

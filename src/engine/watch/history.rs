//! The past of a run as one stream of events, whatever was stopped, resumed and done again on the way.

use crate::error::Result;
use crate::job::Event;
use crate::runs::{Curve, EVENTS, events};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Events of a run that goes on: of its first `bytes` bytes of `events.jsonl`. Ends of earlier parts are left out.
pub fn past(run_dir: &Path, bytes: u64) -> Vec<Event> {
    let Ok(file) = File::open(run_dir.join(EVENTS)) else { return Vec::new() };
    let lines = BufReader::new(file.take(bytes)).split(b'\n').map_while(std::result::Result::ok);
    let mut all = once(lines.filter_map(|line| serde_json::from_slice(&line).ok()));
    all.retain(|event| !matches!(event, Event::Finished(_)));
    all
}

/// Events of a run that nobody works on, its end with it if it has one.
///
/// # Errors
/// The folder is none of a run.
pub fn history(run_dir: &Path) -> Result<Vec<Event>> {
    let mut all = once(events::read(run_dir));
    if all.is_empty() {
        let curve = Curve::read(run_dir)?;
        let score = |p: crate::runs::read::EvalPoint| Event::Score {
            name: p.name,
            value: p.value,
            step: Some(p.step),
        };
        all.extend(curve.steps.into_iter().map(Event::Step));
        all.extend(curve.evals.into_iter().map(score));
        return Ok(all);
    }
    let last = all.len() - 1;
    let mut at = 0..;
    all.retain(|event| at.next() == Some(last) || !matches!(event, Event::Finished(_)));
    Ok(all)
}

/// A run that went on from a checkpoint does steps again: the later row counts.
fn once(events: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    let mut reached = 0;
    for event in events {
        if let Event::Step(row) = &event {
            if row.step <= reached {
                all.retain(|old| step_of(old).is_none_or(|step| step < row.step));
            }
            reached = row.step;
        }
        all.push(event);
    }
    all
}

fn step_of(event: &Event) -> Option<usize> {
    match event {
        Event::Step(row) => Some(row.step),
        Event::Score { step, .. } => *step,
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::job::{Outcome, StepRow};

    fn write(dir: &Path, events: &[Event]) -> u64 {
        let text: String = events.iter().map(|e| serde_json::to_string(e).unwrap() + "\n").collect();
        std::fs::write(dir.join(EVENTS), &text).unwrap();
        text.len() as u64
    }

    fn step(step: usize) -> Event {
        Event::Step(StepRow { step, ..StepRow::default() })
    }

    fn stopped() -> Event {
        Event::Finished(Outcome::Stopped { summary: serde_json::Value::Null })
    }

    fn words(events: &[Event]) -> Vec<String> {
        let word = |e: &Event| match e {
            Event::Step(row) => row.step.to_string(),
            Event::Finished(_) => "end".into(),
            Event::Score { step, .. } => format!("score {}", step.unwrap_or(0)),
            _ => "other".into(),
        };
        events.iter().map(word).collect()
    }

    #[test]
    fn steps_that_were_done_again_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let score = Event::Score { name: "eval_loss".into(), value: 1.0, step: Some(3) };
        let all = [step(1), step(2), step(3), score, stopped(), step(2), step(3), stopped()];
        let bytes = write(dir.path(), &all);
        assert_eq!(words(&past(dir.path(), bytes)), ["1", "2", "3"]);
        assert_eq!(words(&history(dir.path()).unwrap()), ["1", "2", "3", "end"]);
        let first = serde_json::to_string(&step(1)).unwrap().len() as u64 + 1;
        assert_eq!(words(&past(dir.path(), first + 5)), ["1"], "a part of a line is none");
    }

    #[test]
    fn a_run_of_another_program_has_a_past_too() {
        let dir = tempfile::tempdir().unwrap();
        let log = include_str!("../../../tests/fixtures/runs/trainer_log.jsonl");
        std::fs::write(dir.path().join("trainer_log.jsonl"), log).unwrap();
        assert!(words(&history(dir.path()).unwrap()).contains(&"12".to_string()));
        assert!(history(tempfile::tempdir().unwrap().path()).is_err());
    }
}

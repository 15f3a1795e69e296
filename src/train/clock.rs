//! Where the time of training goes, and what is being done at the moment.

use crate::job::TimeSplit;
use std::time::{Duration, Instant};

/// A part of the work that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Vision,
    Forward,
    Head,
    Backward,
    Optimizer,
    Evaluation,
    Saving,
}

impl Part {
    const ALL: [Part; 7] = [
        Part::Vision,
        Part::Forward,
        Part::Head,
        Part::Backward,
        Part::Optimizer,
        Part::Evaluation,
        Part::Saving,
    ];

    /// As people read it, after "while".
    pub fn name(self) -> &'static str {
        match self {
            Part::Vision => "computing picture features",
            Part::Forward => "computing the forward pass",
            Part::Head => "computing logits and loss",
            Part::Backward => "computing the backward pass",
            Part::Optimizer => "updating the adapter",
            Part::Evaluation => "evaluating",
            Part::Saving => "saving",
        }
    }
}

/// Adds up seconds per part. `Default` starts at nothing.
#[derive(Debug, Default)]
pub struct Clock {
    spent: [Duration; Part::ALL.len()],
    now: Option<(Part, Instant)>,
}

impl Clock {
    /// Runs `work` as the part `part`.
    pub fn time<T>(&mut self, part: Part, work: impl FnOnce() -> T) -> T {
        self.start(part);
        let result = work();
        self.stop();
        result
    }

    /// From here on it is `part`; what was timed before ends here.
    pub fn start(&mut self, part: Part) {
        self.stop();
        self.now = Some((part, Instant::now()));
    }

    /// Ends the part that is being timed.
    pub fn stop(&mut self) {
        if let Some((part, since)) = self.now.take() {
            self.spent[part as usize] += since.elapsed();
        }
    }

    /// What is being done: after a panic, where it came from.
    pub fn now(&self) -> Option<Part> {
        self.now.map(|(part, _)| part)
    }

    /// The seconds since the last call. `data` of them were spent on pictures, within the time of `Part::Vision`.
    pub fn take(&mut self, data: f64) -> TimeSplit {
        let spent = std::mem::take(&mut self.spent);
        let of = |part: Part| spent[part as usize].as_secs_f64();
        TimeSplit {
            data,
            vision: (of(Part::Vision) - data).max(0.0),
            forward: of(Part::Forward),
            head: of(Part::Head),
            backward: of(Part::Backward),
            optimizer: of(Part::Optimizer),
            evaluation: of(Part::Evaluation),
            saving: of(Part::Saving),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_place() {
        for (i, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, i);
            let mut clock = Clock::default();
            clock.spent[i] = Duration::from_secs(2);
            let split = serde_json::to_value(clock.take(0.5)).unwrap_or_default();
            let seconds: Vec<f64> =
                split.as_object().into_iter().flatten().filter_map(|v| v.1.as_f64()).collect();
            assert_eq!(seconds.iter().sum::<f64>(), if part == Part::Vision { 2.0 } else { 2.5 }, "{part:?}");
        }
    }

    #[test]
    fn a_part_ends_where_the_next_begins_and_a_panic_leaves_its_name() {
        let mut clock = Clock::default();
        clock.start(Part::Forward);
        clock.start(Part::Head);
        assert_eq!(clock.now(), Some(Part::Head));
        clock.stop();
        assert_eq!(clock.now(), None);
        let broken = std::panic::AssertUnwindSafe(|| clock.time(Part::Backward, || panic!("out of memory")));
        assert!(std::panic::catch_unwind(broken).is_err());
        assert_eq!(clock.now(), Some(Part::Backward));
    }
}

//! What a run logs, as curves: which number of a row, over which axis.

use super::column::Column;
use super::read::Curve;
use crate::job::StepRow;
use serde::Serialize;

/// A number that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Loss,
    LearningRate,
    GradNorm,
    SamplesPerSecond,
    TokensPerSecond,
    DataWait,
    Memory,
    /// Of the answers at the last evaluation.
    Bleu4,
    RougeL,
    GpuUse,
}

impl Metric {
    pub const ALL: [Metric; 10] = [
        Metric::Loss,
        Metric::LearningRate,
        Metric::GradNorm,
        Metric::SamplesPerSecond,
        Metric::TokensPerSecond,
        Metric::DataWait,
        Metric::Memory,
        Metric::Bleu4,
        Metric::RougeL,
        Metric::GpuUse,
    ];

    /// The one `by` places further, and so on around, until one that `has` values; this one where none has.
    pub fn next(self, by: usize, has: impl Fn(Metric) -> bool) -> Self {
        let all = Self::ALL.len();
        let mut others = (1..=all).map(|n| Self::ALL[(self as usize + n * by) % all]);
        others.find(|metric| has(*metric)).unwrap_or(self)
    }

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Loss => "loss",
            Metric::LearningRate => "learning_rate",
            Metric::GradNorm => "grad_norm",
            Metric::SamplesPerSecond => "samples_per_second",
            Metric::TokensPerSecond => "tokens_per_second",
            Metric::DataWait => "data_wait",
            Metric::Memory => "memory",
            Metric::Bleu4 => "eval_bleu-4",
            Metric::RougeL => "eval_rouge-l",
            Metric::GpuUse => "gpu_use",
        }
    }

    /// As people read it, with its unit.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Loss => "loss",
            Metric::LearningRate => "learning rate",
            Metric::GradNorm => "gradient norm",
            Metric::SamplesPerSecond => "samples/s",
            Metric::TokensPerSecond => "tokens/s",
            Metric::DataWait => "data wait %",
            Metric::Memory => "memory GiB",
            Metric::Bleu4 => "BLEU-4",
            Metric::RougeL => "ROUGE-L",
            Metric::GpuUse => "GPU use %",
        }
    }

    /// Its value in a row; NaN where the row does not have it.
    pub fn of(self, row: &StepRow) -> f64 {
        let known = |v: f64| if v > 0.0 { v } else { f64::NAN };
        let per_second = |n: usize| if row.seconds > 0.0 { n as f64 / row.seconds } else { f64::NAN };
        match self {
            Metric::Loss => row.loss,
            Metric::LearningRate => row.lr,
            Metric::GradNorm => known(row.grad_norm),
            Metric::SamplesPerSecond => per_second(row.samples),
            Metric::TokensPerSecond => per_second(row.tokens),
            Metric::DataWait => 100.0 * row.data_wait / known(row.seconds),
            Metric::Memory => known(row.memory as f64 / f64::from(1 << 30)),
            // No row has them: an evaluation tells them.
            Metric::Bleu4 | Metric::RougeL => f64::NAN,
            // An idle GPU is a number, no GPU is none.
            Metric::GpuUse => row.gpu.and_then(|gpu| gpu.percent).map_or(f64::NAN, f64::from),
        }
    }
}

/// The metrics that an evaluation tells.
const SCORES: [Metric; 2] = [Metric::Bleu4, Metric::RougeL];

/// What stands along the bottom of a plot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    #[default]
    Step,
    Epoch,
    /// Seconds of training, over all parts of a resumed run.
    Time,
}

impl Axis {
    pub const ALL: [Axis; 3] = [Axis::Step, Axis::Epoch, Axis::Time];

    pub fn name(self) -> &'static str {
        match self {
            Axis::Step => "step",
            Axis::Epoch => "epoch",
            Axis::Time => "time",
        }
    }

    /// The next one, around.
    pub fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// The curves of a run as columns, one item per logged row.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    metrics: [Column; Metric::ALL.len()],
    axes: [Column; Axis::ALL.len()],
    /// The loss as LLaMA-Factory smooths it; brought up to date by [`Columns::smooth`].
    pub smooth: Column,
    /// Losses of evaluations, and where they belong on each axis.
    pub evals: Column,
    eval_axes: [Column; Axis::ALL.len()],
    /// The newest scores of answers: they stand at each row until there are newer ones.
    scores: [Option<f64>; SCORES.len()],
    /// `elapsed` of the last row, and what came before it in earlier processes.
    elapsed: f64,
    before: f64,
}

impl Columns {
    /// The columns of a curve that was read, smoothed.
    pub fn of(curve: &Curve) -> Self {
        let mut columns = Self::default();
        let mut scores = curve.evals.iter().peekable();
        for row in &curve.steps {
            while let Some(point) = scores.next_if(|point| point.step < row.step) {
                columns.push_score(&point.name, point.value);
            }
            columns.push(row);
        }
        scores.for_each(|point| columns.push_score(&point.name, point.value));
        for point in curve.evals.iter().filter(|p| p.name == "eval_loss") {
            columns.push_eval(point.step, point.value);
        }
        columns.smooth();
        columns
    }

    pub fn len(&self) -> usize {
        self.axis(Axis::Step).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn metric(&self, metric: Metric) -> &Column {
        &self.metrics[metric as usize]
    }

    /// Whether there is a value of a metric.
    pub fn has(&self, metric: Metric) -> bool {
        let column = self.metric(metric);
        column.extremes(0..column.len()).span(false).is_some()
    }

    pub fn axis(&self, axis: Axis) -> &Column {
        &self.axes[axis as usize]
    }

    pub fn eval_axis(&self, axis: Axis) -> &Column {
        &self.eval_axes[axis as usize]
    }

    /// Adds a row. A run that went on from a checkpoint does steps again: the later row counts.
    pub fn push(&mut self, row: &StepRow) {
        let step = row.step as f64;
        if self.axis(Axis::Step).last().is_some_and(|last| step <= last) {
            self.keep_before(step);
        }
        for metric in Metric::ALL {
            let score = SCORES.iter().position(|m| *m == metric).and_then(|at| self.scores[at]);
            self.metrics[metric as usize].push(score.unwrap_or_else(|| metric.of(row)));
        }
        let time = self.time(row);
        for (axis, x) in Axis::ALL.into_iter().zip([step, row.epoch, time]) {
            // An axis never goes back, so that a place on it can be looked up.
            let column = &mut self.axes[axis as usize];
            let last = column.last().unwrap_or(0.0);
            column.push(if x.is_finite() { x.max(last) } else { last });
        }
    }

    /// Seconds of training up to a row. `elapsed` starts again in each process.
    fn time(&mut self, row: &StepRow) -> f64 {
        let last = self.axis(Axis::Time).last().unwrap_or(0.0);
        if row.elapsed < self.elapsed {
            self.before = last;
        }
        self.elapsed = row.elapsed;
        self.before + row.elapsed
    }

    fn keep_before(&mut self, step: f64) {
        let rows = self.axis(Axis::Step).values().partition_point(|s| *s < step);
        self.metrics.iter_mut().chain(&mut self.axes).for_each(|c| c.truncate(rows));
        self.smooth.truncate(rows);
        let evals = self.eval_axis(Axis::Step).values().partition_point(|s| *s < step);
        self.eval_axes.iter_mut().for_each(|c| c.truncate(evals));
        self.evals.truncate(evals);
        self.scores = SCORES.map(|m| self.metric(m).last().filter(|score| score.is_finite()));
    }

    /// Takes a score of an evaluation after the last row; names that are no curve are passed over.
    pub fn push_score(&mut self, name: &str, value: f64) {
        let Some(at) = SCORES.iter().position(|metric| metric.name() == name) else { return };
        self.scores[at] = Some(value);
        let column = &mut self.metrics[SCORES[at] as usize];
        if let Some(last) = column.len().checked_sub(1) {
            column.truncate(last);
            column.push(value);
        }
    }

    /// Adds the loss of an evaluation after `step` updates.
    pub fn push_eval(&mut self, step: usize, loss: f64) {
        let step = step as f64;
        let Some(row) = self.len().checked_sub(1) else { return };
        let rows = self.axis(Axis::Step).values();
        let row = rows.partition_point(|s| *s < step).min(row);
        let at = Axis::ALL.map(|axis| self.axis(axis).values()[row]);
        for (axis, x) in Axis::ALL.into_iter().zip(at) {
            let last = self.eval_axis(axis).last().unwrap_or(0.0);
            let x = if axis == Axis::Step { step } else { x };
            self.eval_axes[axis as usize].push(x.max(last));
        }
        self.evals.push(loss);
    }

    /// Brings the smoothed loss up to date.
    pub fn smooth(&mut self) {
        super::smooth::extend(&mut self.smooth, self.metrics[Metric::Loss as usize].values());
    }

    /// The row nearest to a place on an axis.
    pub fn nearest(&self, axis: Axis, x: f64) -> Option<usize> {
        let xs = self.axis(axis).values();
        let last = xs.len().checked_sub(1)?;
        let after = xs.partition_point(|v| *v < x).min(last);
        let before = after.saturating_sub(1);
        Some(if (x - xs[before]).abs() <= (xs[after] - x).abs() { before } else { after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::read::EvalPoint;

    fn row(step: usize, elapsed: f64) -> StepRow {
        StepRow { step, loss: step as f64, epoch: step as f64 / 10.0, elapsed, ..StepRow::default() }
    }

    #[test]
    fn a_resumed_run_draws_its_later_rows_over_a_time_that_goes_on() {
        let mut columns = Columns::default();
        for (step, elapsed) in [(1, 10.0), (2, 20.0), (3, 30.0), (2, 4.0), (3, 9.0)] {
            columns.push(&row(step, elapsed));
        }
        assert_eq!(columns.axis(Axis::Step).values(), [1.0, 2.0, 3.0]);
        assert_eq!(columns.axis(Axis::Time).values(), [10.0, 14.0, 19.0]);
        assert_eq!(columns.nearest(Axis::Time, 13.0), Some(1));
        assert_eq!(columns.nearest(Axis::Step, 99.0), Some(2));
    }

    #[test]
    fn an_evaluation_stands_where_its_step_stands() {
        let mut columns = Columns::default();
        (1..=5).for_each(|n| columns.push(&row(n * 2, n as f64)));
        columns.push_eval(6, 0.5);
        let at = Axis::ALL.map(|axis| columns.eval_axis(axis).values()[0]);
        assert_eq!(at, [6.0, 0.6, 3.0]);
        columns.push(&row(6, 9.0));
        assert!(columns.evals.is_empty(), "it is done again after the checkpoint");
    }

    #[test]
    fn a_metric_that_is_not_there_is_a_gap_and_no_zero() {
        let foreign = StepRow { loss: 2.0, lr: 1e-4, ..row(1, 0.0) };
        let all = Metric::ALL.map(|m| m.of(&foreign));
        assert_eq!(all.map(f64::is_nan), [false, false, true, true, true, true, true, true, true, true]);
    }

    #[test]
    fn a_score_stands_until_the_next_and_is_forgotten_where_a_run_goes_on_before_it() {
        let mut columns = Columns::default();
        columns.push(&row(1, 1.0));
        columns.push(&row(2, 2.0));
        columns.push_score("eval_bleu-4", 10.0);
        columns.push_score("eval_words", 1.0);
        columns.push(&row(3, 3.0));
        columns.push(&row(4, 4.0));
        columns.push_score("eval_bleu-4", 20.0);
        let bleu = |columns: &Columns| columns.metric(Metric::Bleu4).values()[1..].to_vec();
        assert!(columns.metric(Metric::Bleu4).values()[0].is_nan());
        assert_eq!(bleu(&columns), [10.0, 10.0, 20.0]);
        columns.push(&row(4, 5.0));
        assert_eq!(bleu(&columns), [10.0, 10.0, 10.0]);
        assert!(columns.metric(Metric::RougeL).values().iter().all(|v| v.is_nan()));
        let point = |step, value| EvalPoint { step, name: "eval_bleu-4".into(), value };
        let curve = Curve {
            steps: (1..=4).map(|n| row(n, n as f64)).collect(),
            evals: vec![point(2, 10.0), point(4, 20.0)],
            total_steps: 4,
        };
        assert_eq!(bleu(&Columns::of(&curve)), [10.0, 10.0, 20.0], "read from a folder it is the same");
    }
}

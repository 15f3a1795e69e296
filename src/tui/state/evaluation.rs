//! Evaluations as they go on and as they lie on disk: scores of both models, and their samples in an order.

use super::{JobId, PaneId, State};
use crate::config::TrainConfig;
use crate::error::Error;
use crate::job::{Command, Event, Job, Level, Outcome, Prediction, ScoreRow, SlotRow};
use crate::tui::effects::{Effect, Load};
use crate::tui::talk_worker::{Ask, BASE, Side};
use std::collections::BTreeMap;
use std::collections::btree_map::Values;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

/// The score that samples are sorted by.
pub const SORTED_BY: &str = "rouge-l";

/// What a model said, and how good that was.
#[derive(Default)]
pub struct Judged {
    pub samples: BTreeMap<usize, Prediction>,
    pub scores: Vec<ScoreRow>,
    /// Facts told right, where a label file is given; all together last.
    pub slots: Vec<SlotRow>,
    pub total: usize,
    /// Estimate of the seconds left.
    pub remaining: f64,
    job: Option<JobId>,
}

impl Judged {
    pub fn running(&self) -> bool {
        self.job.is_some()
    }

    /// A score of a sample.
    pub fn score(&self, index: usize) -> Option<f64> {
        self.samples.get(&index)?.score(SORTED_BY)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Predicted(prediction) => drop(self.samples.insert(prediction.index, prediction)),
            Event::Scores { total, remaining, rows, slots, .. } => {
                (self.total, self.remaining, self.scores, self.slots) = (total, remaining, rows, slots);
            }
            Event::Finished(outcome) => {
                (self.job, self.remaining) = (None, 0.0);
                // Where all was predicted before, no scores came while it went on.
                if let Outcome::Done { summary } = outcome {
                    let slots = serde_json::from_value(summary["evaluation"]["slots"]["rows"].clone());
                    self.slots = slots.unwrap_or(std::mem::take(&mut self.slots));
                }
            }
            _ => {}
        }
    }

    fn load(&mut self, side: Side) {
        self.total = side.samples.len();
        self.samples = side.samples.into_iter().map(|p| (p.index, p)).collect();
        (self.scores, self.slots) = (side.scores, side.slots);
    }
}

/// In which order samples are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    AsAsked,
    WorstFirst,
    BestFirst,
    /// Those that tuning changed most for the better.
    GainFirst,
}

impl Order {
    pub fn name(self) -> &'static str {
        match self {
            Order::AsAsked => "in order",
            Order::WorstFirst => "worst first",
            Order::BestFirst => "best first",
            Order::GainFirst => "gain first",
        }
    }

    fn next(self) -> Self {
        match self {
            Order::AsAsked => Order::WorstFirst,
            Order::WorstFirst => Order::BestFirst,
            Order::BestFirst => Order::GainFirst,
            Order::GainFirst => Order::AsAsked,
        }
    }
}

/// Both models on one data set.
#[derive(Default)]
pub struct Evaluation {
    pub dir: Option<PathBuf>,
    pub tuned: Judged,
    pub base: Judged,
    pub order: Order,
    /// Place among the samples as sorted.
    pub selected: usize,
    /// Why the last one did not end well.
    pub trouble: Option<String>,
    asked: bool,
    /// Samples of either model with what they are sorted by, in that order: kept, for there may be many.
    places: Vec<(f64, usize)>,
}

impl Evaluation {
    /// How many samples there are of either model.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The sample at a place of the chosen order.
    pub fn at(&self, place: usize) -> Option<usize> {
        self.places.get(place).map(|p| p.1)
    }

    /// What a sample with these scores is sorted by, the least first.
    fn rank(&self, tuned: Option<f64>, base: Option<f64>) -> f64 {
        let score = tuned.or(base).unwrap_or_default();
        match self.order {
            Order::AsAsked => 0.0,
            Order::WorstFirst => score,
            Order::BestFirst => -score,
            Order::GainFirst => tuned.zip(base).map_or(0.0, |(tuned, base)| base - tuned),
        }
    }

    /// Puts all samples in order. Both sides are walked side by side: to look each sample up takes longer than to sort.
    fn arrange(&mut self) {
        let (mut tuned, mut base) =
            (self.tuned.samples.values().peekable(), self.base.samples.values().peekable());
        let mut places = Vec::with_capacity(self.tuned.samples.len().max(self.base.samples.len()));
        let next = |side: &mut Peekable<Values<usize, Prediction>>| side.peek().map(|p| p.index);
        while let Some(index) = next(&mut tuned).into_iter().chain(next(&mut base)).min() {
            let score = |p: &Prediction| p.score(SORTED_BY);
            let tuned = tuned.next_if(|p| p.index == index).and_then(score);
            let base = base.next_if(|p| p.index == index).and_then(score);
            places.push((self.rank(tuned, base), index));
        }
        if self.order != Order::AsAsked {
            places.sort_unstable_by(before);
        }
        self.places = places;
    }

    /// Puts a sample that is new, or has another score, at its place.
    fn arrange_one(&mut self, index: usize) {
        let place = (self.rank(self.tuned.score(index), self.base.score(index)), index);
        self.places.retain(|p| p.1 != index);
        let at = self.places.partition_point(|p| before(p, &place).is_lt());
        self.places.insert(at, place);
    }

    /// How much better the tuned model is on a sample.
    pub fn gain(&self, index: usize) -> Option<f64> {
        Some(self.tuned.score(index)? - self.base.score(index)?)
    }

    /// The selected sample's number.
    pub fn current(&self) -> Option<usize> {
        self.at(self.selected)
    }

    /// The model that is being evaluated, by the name of its column: the base model comes first.
    pub fn current_side(&self) -> Option<(&'static str, &Judged)> {
        [("eval.base", &self.base), ("eval.tuned", &self.tuned)].into_iter().find(|(_, side)| side.running())
    }

    /// Moves the selection.
    pub fn step(&mut self, by: isize) {
        let last = self.places.len().saturating_sub(1) as isize;
        self.selected = (self.selected as isize).saturating_add(by).clamp(0, last) as usize;
    }

    /// Another order, the same sample selected.
    pub fn sort(&mut self) {
        let current = self.current();
        self.order = self.order.next();
        self.arrange();
        let place = current.and_then(|c| self.places.iter().position(|p| p.1 == c));
        self.selected = place.unwrap_or(0);
    }

    /// Takes in what lies on disk, unless it is being made anew.
    pub fn loaded(&mut self, dir: &Path, sides: [Option<Side>; 2]) {
        if self.dir.as_deref() != Some(dir) || self.tuned.running() || self.base.running() {
            return;
        }
        let [tuned, base] = sides;
        tuned.into_iter().for_each(|side| self.tuned.load(side));
        base.into_iter().for_each(|side| self.base.load(side));
        self.arrange();
    }
}

/// By rank, then as they were asked.
fn before(a: &(f64, usize), b: &(f64, usize)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

impl State {
    /// Where the evaluation of the adapter lies, or of the base model where there is none.
    fn own_evaluation_dir(&self) -> PathBuf {
        let adapter = self.adapter.clone().or_else(|| self.config.adapter_name_or_path.clone());
        adapter.unwrap_or_else(|| self.config.output_dir.clone()).join("evaluation")
    }

    /// Reads the evaluation on disk where it is looked at for the first time, or of another adapter: the one that was
    /// opened, else that of the adapter.
    pub fn wanted_evaluation(&mut self) -> Option<Effect> {
        let dir = self.runs.evaluation.clone().unwrap_or_else(|| self.own_evaluation_dir());
        let busy = self.evaluation.tuned.running() || self.evaluation.base.running();
        let known = self.evaluation.asked && self.evaluation.dir.as_ref() == Some(&dir);
        if self.focus != PaneId::Evaluation || busy || known {
            return None;
        }
        let order = self.evaluation.order;
        self.evaluation = Evaluation { dir: Some(dir.clone()), order, asked: true, ..Evaluation::default() };
        Some(Effect::Load(Load::Talk(Ask::Evaluation(dir))))
    }

    /// Evaluates the base model, then the adapter.
    pub fn start_evaluation(&mut self) -> Vec<Effect> {
        if self.training() {
            self.notify(Level::Warning, self.words.get("eval.training"));
            return Vec::new();
        }
        if self.evaluation.tuned.running() || self.evaluation.base.running() {
            return Vec::new();
        }
        if self.config.evaluated().is_empty() {
            let hint = self.words.get("eval.set_data");
            self.fail(&Error::usage(self.words.get("eval.nothing")).hint(hint));
            return Vec::new();
        }
        self.runs.evaluation = None;
        let dir = self.own_evaluation_dir();
        let adapter = self.adapter.clone().or_else(|| self.config.adapter_name_or_path.clone());
        let config = |adapter: Option<PathBuf>, output_dir: PathBuf| TrainConfig {
            adapter_name_or_path: adapter,
            output_dir,
            ..self.config.clone()
        };
        let (base, tuned) = match adapter {
            Some(adapter) => (Some(config(None, dir.join(BASE))), config(Some(adapter), dir.clone())),
            None => (None, config(None, dir.clone())),
        };
        let mut evaluation =
            Evaluation { dir: Some(dir), order: self.evaluation.order, asked: true, ..Evaluation::default() };
        let mut effects = Vec::new();
        if let Some(base) = base {
            let (job, effect) = self.submit(Job::Evaluate(Box::new(base)));
            evaluation.base.job = Some(job);
            effects.push(effect);
        }
        let (job, effect) = self.submit(Job::Evaluate(Box::new(tuned)));
        evaluation.tuned.job = Some(job);
        effects.push(effect);
        (self.evaluation, self.focus) = (evaluation, PaneId::Evaluation);
        effects
    }

    /// Stops both; what is predicted is kept.
    pub fn stop_evaluation(&mut self) -> Vec<Effect> {
        let jobs = [self.evaluation.base.job, self.evaluation.tuned.job];
        let stop = |id| Effect::Send { id, command: Command::Stop { save: true } };
        jobs.into_iter().flatten().map(stop).collect()
    }

    /// Takes in an event of an evaluation; says whether it was one.
    pub fn on_evaluation(&mut self, id: JobId, event: &Event) -> bool {
        let Evaluation { tuned, base, .. } = &mut self.evaluation;
        let Some(side) = [tuned, base].into_iter().find(|side| side.job == Some(id)) else { return false };
        side.on_event(event.clone());
        if let Event::Predicted(prediction) = event {
            self.evaluation.arrange_one(prediction.index);
        }
        // Such as rows of the label file that are left out.
        if let Event::Log { level: Level::Warning, line } = event {
            self.notify(Level::Warning, line.as_str());
        }
        if let Event::Finished(outcome) = event {
            match outcome {
                Outcome::Failed { error } => {
                    self.evaluation.trouble = Some(crate::data::clean::for_terminal(&error.message));
                    self.fail(error);
                }
                Outcome::Stopped { .. } => self.notify(Level::Warning, self.words.get("eval.stopped")),
                Outcome::Done { summary } => {
                    let report = summary["report"].as_str().unwrap_or_default();
                    self.notify(Level::Info, self.words.fill("eval.report", &[("path", report)]));
                }
            }
        }
        true
    }
}

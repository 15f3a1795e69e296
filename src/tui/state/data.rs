//! The open data set: samples, the filter, the selected row.

use crate::data::clean;
use crate::data::{ImageRef, Role, Sample};
use crate::job::Finding;
use std::path::PathBuf;

/// The registered data sets of a folder and the open one.
#[derive(Default)]
pub struct Data {
    pub dir: PathBuf,
    pub names: Vec<String>,
    pub open: usize,
    pub samples: Vec<Sample>,
    pub findings: Vec<Finding>,
    /// Number of samples of each set that was opened, by its name.
    pub counts: Vec<(String, usize)>,
    pub loading: bool,
    pub error: Option<String>,
    pub filter: String,
    /// Indices of `samples` that match the filter.
    pub visible: Vec<usize>,
    /// Index into `visible`.
    pub selected: usize,
}

impl Data {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, ..Self::default() }
    }

    /// The name of the open set.
    pub fn name(&self) -> Option<&str> {
        self.names.get(self.open).map(String::as_str)
    }

    /// Takes in a loaded set, if it is still the one that is open.
    pub fn loaded(&mut self, name: &str, samples: Vec<Sample>, findings: Vec<Finding>) {
        self.counts.retain(|c| c.0 != name);
        self.counts.push((name.to_string(), samples.len()));
        if self.name() == Some(name) {
            (self.samples, self.findings) = (samples, findings);
            (self.loading, self.error) = (false, None);
            self.apply_filter();
        }
    }

    /// Samples of a set that was opened before.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.counts.iter().find(|c| c.0 == name).map(|c| c.1)
    }

    /// The selected sample.
    pub fn sample(&self) -> Option<&Sample> {
        self.samples.get(*self.visible.get(self.selected)?)
    }

    /// The first picture of the selected sample.
    pub fn picture(&self) -> Option<&ImageRef> {
        self.sample()?.images.first()
    }

    /// Moves the selection to `index`, as near as there is a row.
    pub fn select(&mut self, index: isize) {
        self.selected = index.clamp(0, self.visible.len().saturating_sub(1) as isize) as usize;
    }

    /// Moves the selection by `rows`.
    pub fn step(&mut self, rows: isize) {
        self.select((self.selected as isize).saturating_add(rows));
    }

    /// Shows the rows whose id or text contains `filter`, whatever the case.
    pub fn set_filter(&mut self, filter: &str) {
        self.filter = filter.to_string();
        self.apply_filter();
    }

    fn apply_filter(&mut self) {
        let kept = self.visible.get(self.selected).copied();
        let wanted = self.filter.to_lowercase();
        let matches = |s: &Sample| {
            wanted.is_empty()
                || s.id.to_lowercase().contains(&wanted)
                || s.messages.iter().any(|m| m.content.to_lowercase().contains(&wanted))
        };
        self.visible = (0..self.samples.len()).filter(|i| matches(&self.samples[*i])).collect();
        self.selected = kept.and_then(|k| self.visible.iter().position(|i| *i == k)).unwrap_or(0);
    }
}

/// The question of a sample without its picture marks, made harmless.
pub fn question(sample: &Sample) -> String {
    said_by(sample, Role::User).replace("<image>", "")
}

/// The caption: what the assistant says, made harmless.
pub fn caption(sample: &Sample) -> String {
    said_by(sample, Role::Assistant)
}

fn said_by(sample: &Sample, role: Role) -> String {
    // More than this is never on a screen.
    const LONGEST: usize = 20_000;
    let mut text = String::new();
    for message in sample.messages.iter().filter(|m| m.role == role) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.extend(message.content.chars().take(LONGEST));
    }
    clean::for_terminal_lines(&text)
}

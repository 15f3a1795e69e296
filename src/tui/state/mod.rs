//! All that the workbench knows; panes read and change it, nothing here touches a thread, file or terminal.

pub mod browse;
pub mod data;
pub mod evaluation;
pub mod look;
mod looks;
pub mod run;
pub mod runs;
pub mod search;
pub mod settings;
pub mod talk;
pub mod watch;

use super::action::Keymap;
use super::effects::{Effect, Load};
use super::pictures::Pictures;
use super::theme::Theme;
use super::widgets::popup::Popup;
use super::words::{Language, Words};
use crate::config::TrainConfig;
use crate::data::clean;
use crate::error::Error;
use crate::job::{ConvertJob, Event, Job, Level, Outcome};
use data::Data;
use evaluation::Evaluation;
use run::Run;
use runs::Runs;
use settings::{Settings, Settled};
use std::collections::VecDeque;
use std::path::PathBuf;
use talk::Talk;

/// The number of a submitted job.
pub type JobId = u64;

/// The panes, in the order of their number keys. Runs and evaluation have the whole screen when they are focused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaneId {
    Data,
    Parameters,
    Training,
    Chat,
    Runs,
    Evaluation,
}

impl PaneId {
    pub const ALL: [PaneId; 6] =
        [PaneId::Data, PaneId::Parameters, PaneId::Training, PaneId::Chat, PaneId::Runs, PaneId::Evaluation];

    /// The pane `by` places further, around.
    pub fn next(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()]
    }
}

/// A short message over the hints; goes with the next key.
pub struct Notice {
    pub level: Level,
    pub text: String,
}

/// Work besides training that the user waits for: unpacking, converting.
pub struct Busy {
    pub job: Option<JobId>,
    /// The key of its text.
    pub what: &'static str,
    pub done: usize,
    pub total: usize,
}

/// Looks that were chosen in the workbench.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chosen {
    pub theme: bool,
    pub language: bool,
}

/// The line to the terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Low-bandwidth mode.
    pub slow: bool,
    /// Bytes a second.
    pub rate: f64,
}

/// Everything the panes show.
pub struct State {
    pub workspace: PathBuf,
    pub config: Settled,
    /// What `config` started from: differences are marked, "reset" goes back to it.
    pub preset: Settled,
    pub data: Data,
    pub run: Option<Run>,
    pub runs: Runs,
    pub settings: Settings,
    pub talk: Talk,
    pub evaluation: Evaluation,
    pub pictures: Pictures,
    pub busy: Option<Busy>,
    /// Conversions that wait for the running one.
    conversions: VecDeque<ConvertJob>,
    /// The newest trained adapter.
    pub adapter: Option<PathBuf>,
    pub focus: PaneId,
    pub zoomed: bool,
    /// Shares of the left column and the upper row, in percent.
    pub split: (u16, u16),
    pub popup: Option<Popup>,
    pub notice: Option<Notice>,
    pub keys: Keymap,
    pub theme: Theme,
    pub words: Words,
    /// What was chosen by a key, and so is remembered.
    pub chosen: Chosen,
    /// The line to the terminal.
    pub line: Line,
    /// Draw nothing but ASCII.
    pub ascii: bool,
    /// The user wants to leave as soon as the running job has ended.
    pub quit_after_job: bool,
    /// The workspace is still being read: its settings may come.
    pub reading: bool,
    /// Training was asked for before the workspace was read.
    train_then: bool,
    next_job: JobId,
}

impl State {
    pub fn new(workspace: PathBuf, config: TrainConfig, theme: Theme) -> Self {
        Self {
            data: Data::new(workspace.join("data")),
            preset: config.clone().into(),
            config: config.into(),
            run: None,
            runs: Runs::new(crate::runs::of_workspace(&workspace)),
            settings: Settings::default(),
            talk: Talk::default(),
            evaluation: Evaluation::default(),
            pictures: Pictures::default(),
            busy: None,
            conversions: VecDeque::new(),
            adapter: None,
            focus: PaneId::Data,
            zoomed: false,
            split: (50, 50),
            popup: None,
            notice: None,
            keys: Keymap::embedded(),
            theme,
            words: Words { language: Language::English },
            chosen: Chosen::default(),
            line: Line::default(),
            ascii: false,
            quit_after_job: false,
            reading: false,
            train_then: false,
            next_job: 1,
            workspace,
        }
    }

    pub fn notify(&mut self, level: Level, text: impl Into<String>) {
        // What a worker or a run says comes in English.
        let text = self.words.said(&text.into()).into_owned();
        self.notice = Some(Notice { level, text: clean::for_terminal(&text) });
    }

    /// Shows an error with its hint.
    pub fn fail(&mut self, error: &Error) {
        let text = self.told(error);
        self.notify(Level::Error, text);
    }

    /// An error with its hint, on one line.
    pub fn told(&self, error: &Error) -> String {
        let hint = error.hint.as_ref().map(|h| format!(" · {}", self.words.said(h))).unwrap_or_default();
        format!("{}{hint}", self.words.said(&error.message))
    }

    /// A job to submit, under a new number.
    pub fn submit(&mut self, job: Job) -> (JobId, Effect) {
        let id = self.new_job();
        (id, Effect::Submit { id, job })
    }

    fn new_job(&mut self) -> JobId {
        self.next_job += 1;
        self.next_job - 1
    }

    /// Whether a training job is alive.
    pub fn training(&self) -> bool {
        self.run.as_ref().is_some_and(Run::alive)
    }

    /// Unpacks the demo; conversion follows when it is there.
    pub fn start_demo(&mut self) -> Vec<Effect> {
        if self.busy.is_some() || self.training() {
            self.notify(Level::Warning, self.words.get("notice.something_runs"));
            return Vec::new();
        }
        self.busy = Some(Busy { job: None, what: "busy.unpacking", done: 0, total: 0 });
        vec![Effect::Load(Load::Demo(self.workspace.clone()))]
    }

    /// Converts parquet files into the workspace's data folder and registers them, one job after another.
    pub fn start_conversions(&mut self, jobs: VecDeque<ConvertJob>) -> Vec<Effect> {
        self.conversions = jobs;
        self.next_conversion()
    }

    fn next_conversion(&mut self) -> Vec<Effect> {
        let Some(job) = self.conversions.pop_front() else { return Vec::new() };
        self.data.dir = job.out.clone();
        let (id, effect) = self.submit(Job::Convert(Box::new(job)));
        self.busy = Some(Busy { job: Some(id), what: "busy.converting", done: 0, total: 0 });
        vec![effect]
    }

    /// The workspace has been read: what it holds is known, and training begins if it was asked for.
    pub fn workspace_read(&mut self) -> Vec<Effect> {
        self.reading = false;
        if std::mem::take(&mut self.train_then) { self.start_training() } else { Vec::new() }
    }

    /// Training as the parameters say, in a run folder that is free; once the workspace's own parameters are there.
    pub fn start_training(&mut self) -> Vec<Effect> {
        if self.reading {
            self.train_then = true;
            self.notify(Level::Info, self.words.get("notice.settings_come"));
            return Vec::new();
        }
        if self.training() {
            self.notify(Level::Warning, self.words.get("notice.training_runs"));
            return Vec::new();
        }
        let fatal: Vec<_> = self.config.problems().iter().filter(|p| p.fatal).collect();
        if !fatal.is_empty() {
            let lines = fatal.iter().map(|p| format!("{}: {}", p.key, self.words.said(&p.message))).collect();
            self.popup = Some(Popup::text(self.words.get("notice.cannot_start"), lines));
            return Vec::new();
        }
        self.focus = PaneId::Training;
        vec![Effect::Load(Load::FreeRunDir(Box::new(self.config.clone())))]
    }

    /// The second half of [`State::start_training`]: `config` has a free `output_dir`.
    pub fn submit_training(&mut self, config: TrainConfig) -> Vec<Effect> {
        let (id, effect) = self.submit(Job::Train(Box::new(config.clone())));
        let mut run = Run::new(id, config.output_dir.clone());
        run.config = Some(Box::new(config));
        (self.run, self.runs.opened) = (Some(run), None);
        vec![effect]
    }

    /// What a job said.
    pub fn on_event(&mut self, id: JobId, event: Event) -> Vec<Effect> {
        let of_talk = self.talk.on_event(id, &event);
        let mut effects = if of_talk { self.keep_talk() } else { Vec::new() };
        let ends = matches!(event, Event::Finished(_));
        if self.on_evaluation(id, &event) || (of_talk && !ends) {
            return effects;
        }
        if self.busy.as_ref().is_some_and(|b| b.job == Some(id)) {
            return self.on_convert(event);
        }
        let Some(run) = self.run.as_mut().filter(|r| r.job == id) else { return effects };
        run.on_event(event);
        if !ends {
            return effects;
        }
        self.runs.stale = true;
        let error = run.error().cloned();
        if let Some(error) = error {
            self.fail(&error);
        }
        effects.push(match (self.quit_after_job, self.workspace.clone()) {
            (true, _) => Effect::Quit,
            (false, workspace) => Effect::Load(Load::Adapter(workspace)),
        });
        effects
    }

    fn on_convert(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Progress { phase, done, total } => {
                if let Some(busy) = &mut self.busy {
                    (busy.what, busy.done, busy.total) = (phase.name(), done, total);
                }
                Vec::new()
            }
            Event::Finished(outcome) => {
                self.busy = None;
                match outcome {
                    Outcome::Done { .. } if !self.conversions.is_empty() => return self.next_conversion(),
                    Outcome::Done { .. } => self.notify(Level::Info, self.words.get("notice.converted")),
                    Outcome::Failed { error } => self.fail(&error),
                    Outcome::Stopped { .. } => {
                        self.notify(Level::Warning, self.words.get("notice.conversion_stopped"))
                    }
                }
                self.conversions.clear();
                vec![Effect::Load(Load::Registry(self.data.dir.clone()))]
            }
            _ => Vec::new(),
        }
    }
}

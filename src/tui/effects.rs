//! What the workbench wants done outside of itself, and who does it: engine, workers.

use super::browse::{Ask, Browser, Told};
use super::picture_worker::Wanted;
use super::pictures::{PictureKey, Shown};
use super::state::JobId;
use super::{Msg, run_worker, settings_worker, talk_worker, worker};
use crate::config::TrainConfig;
use crate::demo::DemoPaths;
use crate::engine::launch::{self, Remote};
use crate::engine::watch::{Heard, Take};
use crate::engine::{Engine, JobHandle};
use crate::error::{Error, Result};
use crate::job::{Command, Event, Job};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

/// Something to do.
#[derive(Clone, Debug)]
pub enum Effect {
    Submit {
        id: JobId,
        job: Job,
    },
    Send {
        id: JobId,
        command: Command,
    },
    /// Follow the run in this folder, with the controls or without.
    Watch {
        id: JobId,
        dir: PathBuf,
        take: Option<Take>,
    },
    /// Take or leave the controls of a run.
    Control {
        id: JobId,
        take: Take,
    },
    Load(Load),
    Browse(Ask),
    /// All pictures wanted now.
    Pictures(Wanted),
    /// To the clipboard.
    Copy {
        what: String,
        text: String,
    },
    /// Draw the whole screen again.
    Repaint,
    Quit,
}

/// Something to read from disk on a worker thread.
#[derive(Clone, Debug)]
pub enum Load {
    /// What is in a workspace: its data sets, its settings, its newest adapter.
    Workspace(PathBuf),
    Registry(PathBuf),
    Adapter(PathBuf),
    /// Unpack the demo here.
    Demo(PathBuf),
    /// Paths and globs a user typed, as files that exist.
    Files(String),
    /// The same settings with an `output_dir` that holds no run yet.
    FreeRunDir(Box<TrainConfig>),
    Runs(run_worker::Ask),
    Talk(talk_worker::Ask),
    Settings(settings_worker::Ask),
}

/// What a worker found.
pub enum Loaded {
    /// The settings of a workspace, if it has its own.
    Config(Box<TrainConfig>),
    /// Something of the workspace cannot be read.
    Trouble(Error),
    /// All of the workspace was read.
    Workspace,
    Registry(Result<Vec<String>>),
    Adapter(Option<PathBuf>),
    /// A run of the workspace that a process works on.
    Running(PathBuf),
    Demo(Result<(DemoPaths, Box<TrainConfig>)>),
    Files(Result<Vec<PathBuf>>),
    FreeRunDir(Result<Box<TrainConfig>>),
    Browse(Told),
    Runs(run_worker::Told),
    Talk(talk_worker::Told),
    Settings(settings_worker::Told),
    /// The answers are numbered from 1.
    Picture {
        number: u64,
        key: PictureKey,
        found: Result<Box<Shown>>,
    },
}

/// The way to a job.
enum Way {
    Here(JobHandle),
    Remote(Remote),
}

/// Runs effects; what comes of them arrives as messages.
pub struct Runner {
    engine: Engine,
    jobs: HashMap<JobId, Way>,
    loads: Sender<Load>,
    browser: Browser,
    /// Set when the terminal's way to show pictures is known.
    pub pictures: Option<Sender<Wanted>>,
    out: Sender<Msg>,
}

impl Runner {
    pub fn start(out: Sender<Msg>) -> Self {
        let loads = worker::start(out.clone());
        let browser = Browser::start(out.clone());
        Self { engine: Engine::start(), jobs: HashMap::new(), loads, browser, pictures: None, out }
    }

    /// Does one thing. `Quit`, `Copy` and `Repaint` belong to the caller.
    pub fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Submit { id, job } => self.submit(id, job),
            Effect::Watch { id, dir, take } => {
                let heard = self.heard(id);
                self.jobs.insert(id, Way::Remote(launch::watch(&dir, take, heard)));
            }
            Effect::Send { id, command } => match self.jobs.get(&id) {
                Some(Way::Here(job)) => drop(job.send(command)),
                Some(Way::Remote(run)) => drop(run.send(command)),
                None => {}
            },
            Effect::Control { id, take } => {
                if let Some(Way::Remote(run)) = self.jobs.get(&id) {
                    run.control(take);
                }
            }
            Effect::Load(load) => {
                let _ = self.loads.send(load);
            }
            Effect::Browse(ask) => self.browser.ask(ask),
            Effect::Pictures(wanted) => {
                if let Some(pictures) = &self.pictures {
                    let _ = pictures.send(wanted);
                }
            }
            Effect::Copy { .. } | Effect::Repaint | Effect::Quit => {}
        }
    }

    /// Training has a process of its own, which outlives this one; other jobs run here.
    fn submit(&mut self, id: JobId, job: Job) {
        let way = match job {
            Job::Train(config) => {
                // The model for questions makes room for the one that trains.
                self.engine = Engine::start();
                Way::Remote(launch::train(&config, self.heard(id)))
            }
            job => {
                let out = self.out.clone();
                Way::Here(self.engine.submit(job, move |event: Event| {
                    // A closed workbench is not the end of a job.
                    let _ = out.send(Msg::Job { id, event });
                }))
            }
        };
        self.jobs.insert(id, way);
    }

    fn heard(&self, id: JobId) -> impl Fn(Heard) + Send + 'static {
        let out = self.out.clone();
        move |heard| {
            let msg = match heard {
                Heard::Event(event) => Msg::Job { id, event },
                heard => Msg::Link { id, heard },
            };
            let _ = out.send(msg);
        }
    }

    /// Forgets a job that has ended.
    pub fn ended(&mut self, id: JobId) {
        self.jobs.remove(&id);
    }
}

//! What the workbench wants done outside of itself, and who does it: engine, workers.

use super::pictures::{PictureKey, Shown};
use super::state::JobId;
use super::{Msg, worker};
use crate::config::TrainConfig;
use crate::data::Sample;
use crate::demo::DemoPaths;
use crate::engine::{Engine, JobHandle};
use crate::error::Result;
use crate::job::{Command, Event, Finding, Job};
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
    Load(Load),
    Picture(PictureKey),
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
    Dataset {
        dir: PathBuf,
        name: String,
        media_dir: Option<PathBuf>,
    },
    Adapter(PathBuf),
    /// Unpack the demo here.
    Demo(PathBuf),
    /// Paths and globs a user typed, as files that exist.
    Files(String),
    /// The same settings with an `output_dir` that holds no run yet.
    FreeRunDir(Box<TrainConfig>),
}

/// What a worker found.
pub enum Loaded {
    /// The settings of a workspace, if it has its own.
    Config(Box<TrainConfig>),
    Registry(Result<Vec<String>>),
    Dataset {
        name: String,
        found: Result<(Vec<Sample>, Vec<Finding>)>,
    },
    Adapter(Option<PathBuf>),
    Demo(Result<(DemoPaths, Box<TrainConfig>)>),
    Files(Result<Vec<PathBuf>>),
    FreeRunDir(Result<Box<TrainConfig>>),
    /// `None`: the request was passed over for newer ones.
    Picture(PictureKey, Option<Result<Box<Shown>>>),
}

/// Runs effects; what comes of them arrives as messages.
pub struct Runner {
    engine: Engine,
    jobs: HashMap<JobId, JobHandle>,
    loads: Sender<Load>,
    /// Set when the terminal's way to show pictures is known.
    pub pictures: Option<Sender<PictureKey>>,
    out: Sender<Msg>,
}

impl Runner {
    pub fn start(out: Sender<Msg>) -> Self {
        let loads = worker::start(out.clone());
        Self { engine: Engine::start(), jobs: HashMap::new(), loads, pictures: None, out }
    }

    /// Does one thing. `Quit` and `Repaint` belong to the caller.
    pub fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Submit { id, job } => {
                let out = self.out.clone();
                let handle = self.engine.submit(job, move |event: Event| {
                    // A closed workbench is not the end of a job.
                    let _ = out.send(Msg::Job { id, event });
                });
                self.jobs.insert(id, handle);
            }
            Effect::Send { id, command } => {
                if let Some(handle) = self.jobs.get(&id) {
                    handle.send(command);
                }
            }
            Effect::Load(load) => {
                let _ = self.loads.send(load);
            }
            Effect::Picture(key) => {
                if let Some(pictures) = &self.pictures {
                    let _ = pictures.send(key);
                }
            }
            Effect::Repaint | Effect::Quit => {}
        }
    }

    /// Forgets a job that has ended.
    pub fn ended(&mut self, id: JobId) {
        self.jobs.remove(&id);
    }
}

//! The runs of the workspace: the list, what is marked, the run that was opened, the runs that are compared.

use super::run::Run;
use super::{PaneId, State};
use crate::data::clean;
use crate::engine::watch::Take;
use crate::job::Level;
use crate::runs::delete::Doomed;
use crate::runs::{Comparison, Detail, Status};
use crate::tui::effects::{Effect, Load};
use crate::tui::run_worker::{Ask, Told};
use crate::tui::text;
use crate::tui::widgets::popup::{Answer, Popup};
use crate::tui::words::Words;
use std::path::{Path, PathBuf};

/// All runs below a folder.
pub struct Runs {
    pub root: PathBuf,
    /// The latest first.
    pub list: Vec<Detail>,
    pub selected: usize,
    /// In the order they were marked.
    pub marked: Vec<PathBuf>,
    /// The list is to be read again when it is looked at.
    pub stale: bool,
    pub loading: bool,
    /// It was read once.
    pub known: bool,
    pub compared: Option<Box<Comparison>>,
    pub opened: Option<Box<Run>>,
    /// The folder of an evaluation that was opened.
    pub evaluation: Option<PathBuf>,
}

impl Runs {
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            list: Vec::new(),
            selected: 0,
            marked: Vec::new(),
            stale: true,
            loading: false,
            known: false,
            compared: None,
            opened: None,
            evaluation: None,
        }
    }

    pub fn is_marked(&self, dir: &Path) -> bool {
        self.marked.iter().any(|m| m == dir)
    }

    /// Marks a run, or takes the mark away.
    pub fn mark(&mut self, dir: &Path) {
        if self.is_marked(dir) {
            self.marked.retain(|m| m != dir);
        } else {
            self.marked.push(dir.to_path_buf());
        }
    }

    fn listed(&mut self, list: Vec<Detail>) {
        let selected = self.list.get(self.selected).map(|r| r.info.path.clone());
        let place = selected.and_then(|path| list.iter().position(|r| r.info.path == path));
        self.selected = place.unwrap_or(self.selected).min(list.len().saturating_sub(1));
        self.marked.retain(|m| list.iter().any(|r| r.info.path == *m));
        (self.list, self.known) = (list, true);
    }
}

impl State {
    /// Asks for the list of runs where it is looked at and old.
    pub fn wanted_runs(&mut self) -> Option<Effect> {
        let runs = &mut self.runs;
        if self.focus != PaneId::Runs || !runs.stale || runs.loading {
            return None;
        }
        (runs.stale, runs.loading) = (false, true);
        Some(Effect::Load(Load::Runs(Ask::List(runs.root.clone()))))
    }

    /// Takes in what the worker did.
    pub fn on_runs(&mut self, told: Told) -> Vec<Effect> {
        match told {
            Told::Listed(found) => {
                self.runs.loading = false;
                self.take(found, |state, list| state.runs.listed(list));
            }
            Told::Opened(Ok(run)) => return self.open_run(run),
            Told::Opened(Err(error)) => self.fail(&error),
            Told::Compared(found) => self.take(found, |state, compared| {
                (state.runs.compared, state.focus) = (Some(compared), PaneId::Runs);
            }),
            Told::Doomed(found) => {
                self.take(found, |state, doomed| state.popup = Some(ask_delete(state.words, &doomed)))
            }
            Told::Deleted(found) => {
                self.runs.stale = true;
                self.take(found, |state, n| {
                    state.runs.marked.clear();
                    state.notify(Level::Info, state.words.count("runs.deleted", n));
                });
                return vec![Effect::Load(Load::Adapter(self.workspace.clone()))];
            }
            Told::Imported(found) => self.take(found, |state, path| {
                state.runs.stale = true;
                let path = path.display().to_string();
                state.notify(Level::Info, state.words.fill("runs.imported", &[("path", &path)]));
            }),
            Told::Exported(found) => {
                self.take(found, |state, path| {
                    let path = path.display().to_string();
                    state.notify(Level::Info, state.words.fill("runs.wrote", &[("path", &path)]));
                });
            }
            Told::Resumed(Ok(config)) => {
                if self.training() {
                    self.notify(Level::Warning, self.words.get("notice.training_runs"));
                    return Vec::new();
                }
                self.focus = PaneId::Training;
                return self.submit_training(*config);
            }
            Told::Resumed(Err(error)) => self.fail(&error),
        }
        Vec::new()
    }

    /// Shows a run of a folder: its samples if it is an evaluation, else its curves; one that goes on is followed, unless another one goes on here.
    fn open_run(&mut self, run: Box<Run>) -> Vec<Effect> {
        if run.evaluation {
            (self.runs.evaluation, self.focus) = (Some(run.run_dir), PaneId::Evaluation);
            return Vec::new();
        }
        self.runs.evaluation = None;
        let here = self.run.as_ref().is_some_and(|r| r.alive() && r.run_dir == run.run_dir);
        let goes_on = run.opened == Some(Status::Running);
        self.focus = PaneId::Training;
        if here {
            self.runs.opened = None;
        } else if goes_on && !self.training() {
            self.runs.opened = None;
            return self.watch(run.run_dir.clone(), Some(Take::IfFree));
        } else {
            self.runs.opened = Some(run);
        }
        Vec::new()
    }

    fn take<T>(&mut self, found: crate::error::Result<T>, then: impl FnOnce(&mut Self, T)) {
        match found {
            Ok(found) => then(self, found),
            Err(error) => self.fail(&error),
        }
    }
}

/// Asks before runs are deleted, with what would go.
fn ask_delete(words: Words, doomed: &[Doomed]) -> Popup {
    const SHOWN: usize = 8;
    let line = |d: &Doomed| {
        let name = clean::for_terminal(&d.path.file_name().unwrap_or_default().to_string_lossy());
        let (bytes, files, n) = (text::bytes(d.bytes), d.files.to_string(), d.checkpoints.to_string());
        let parts = [("name", name.as_str()), ("bytes", &bytes), ("files", &files), ("n", &n)];
        words.fill("runs.doomed", &parts)
    };
    let mut lines: Vec<String> = doomed.iter().take(SHOWN).map(line).collect();
    if doomed.len() > SHOWN {
        lines.push(words.count("runs.and_more", doomed.len() - SHOWN));
    }
    lines.push(words.get("runs.no_undo").into());
    let paths = doomed.iter().map(|d| d.path.clone()).collect();
    let title = match doomed.len() {
        1 => words.get("runs.delete_one").to_string(),
        n => words.count("runs.delete_many", n),
    };
    let delete = Answer::Load(Load::Runs(Ask::Delete(paths)));
    Popup::Ask { title, lines, choices: vec![('x', words.get("delete").into(), delete)] }
}

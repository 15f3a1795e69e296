//! Runs of other processes: following them, who has the controls, and what is said to a run.

use super::State;
use super::run::Run;
use crate::engine::watch::{Heard, Take};
use crate::error::{Error, Kind};
use crate::job::{Command, Event, Level, Outcome};
use crate::tui::action::Action;
use crate::tui::effects::Effect;
use crate::tui::state::{JobId, PaneId};
use std::path::PathBuf;

impl State {
    /// Follows the run in a folder: its past, and what comes if a process works on it.
    pub fn watch(&mut self, dir: PathBuf, take: Option<Take>) -> Vec<Effect> {
        let id = self.new_job();
        (self.run, self.runs.opened) = (Some(Run::watched(id, dir.clone())), None);
        self.focus = PaneId::Training;
        vec![Effect::Watch { id, dir, take }]
    }

    /// Says something to the run, if this screen has its controls.
    pub fn tell(&mut self, command: Command) -> Vec<Effect> {
        if !self.may_command() {
            return Vec::new();
        }
        let Some(run) = self.run.as_mut().filter(|r| r.alive()) else { return Vec::new() };
        if matches!(command, Command::Stop { .. }) {
            run.status = super::run::Status::Stopping;
        }
        vec![Effect::Send { id: run.job, command }]
    }

    /// Whether this screen may command the run that goes on; says so if not.
    pub fn may_command(&mut self) -> bool {
        let watched = self.run.as_ref().is_some_and(|r| r.alive() && !r.controls.yours);
        if watched {
            let words = self.words.get("watch.only").replace("{key}", &self.keys.hint(Action::TakeControls));
            self.notify(Level::Warning, words);
        }
        !watched
    }

    /// Takes the controls of the run, or leaves them.
    pub fn take_controls(&mut self) -> Vec<Effect> {
        let Some(run) = self.run.as_ref().filter(|r| r.alive()) else { return Vec::new() };
        let take = if run.controls.yours { Take::Leave } else { Take::Take };
        vec![Effect::Control { id: run.job, take }]
    }

    /// What the connection to a run says about itself.
    pub fn on_link(&mut self, id: JobId, heard: Heard) -> Vec<Effect> {
        let Some(run) = self.run.as_mut().filter(|r| r.job == id) else { return Vec::new() };
        match heard {
            Heard::Control(controls) => {
                let lost = run.controls.yours && !controls.yours && controls.watching > 1;
                run.controls = controls;
                if lost {
                    let key = self.keys.hint(Action::TakeControls);
                    self.notify(Level::Warning, self.words.get("watch.lost").replace("{key}", &key));
                }
            }
            Heard::Refused(why) => {
                self.talk.refused(id, &why);
                self.notify(Level::Warning, why);
            }
            Heard::Gone if run.alive() => {
                let error = Error::new(Kind::Stopped, self.words.get("watch.gone"))
                    .hint(self.words.get("watch.gone_hint").replace("{key}", &self.keys.hint(Action::Train)));
                return self.on_event(id, Event::Finished(Outcome::Failed { error }));
            }
            Heard::Gone | Heard::Event(_) => {}
        }
        Vec::new()
    }

    /// The run that goes on when this screen is closed.
    pub fn left_running(&self) -> Option<PathBuf> {
        self.run.as_ref().filter(|r| r.alive()).map(|r| r.run_dir.clone())
    }
}

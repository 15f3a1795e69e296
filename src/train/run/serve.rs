//! Commands that are served between two micro-steps, and settings that change while the run goes on.

use super::{Trainer, log};
use crate::generate::ask::Who;
use crate::job::{Command, Event, Level};
use crate::train::changes::{self, Change};
use crate::train::commands::Control;

impl Trainer<'_> {
    /// Serves what was said since the last look; waits while paused.
    pub(super) fn serve(&mut self) -> Control {
        self.serve_but(|_| false)
    }

    /// While an evaluation goes on, changes wait for its end, so that a resumed run makes them at the same place.
    pub(super) fn serve_evaluating(&mut self) -> Control {
        self.serve_but(|command| matches!(command, Command::Set { .. }))
    }

    fn serve_but(&mut self, later: impl Fn(&Command) -> bool) -> Control {
        let mut kept = Vec::new();
        let control = loop {
            match self.inbox.next(self.emit) {
                None => break Control::GoOn,
                Some(command) if later(&command) => kept.push(command),
                Some(Command::Stop { save }) => break Control::Stop { save },
                Some(Command::SaveNow) => self.save_or_warn(),
                Some(Command::Set { key, value }) => self.set(&key, &value),
                Some(Command::Ask { id, turn }) => {
                    let (model, encoder, adapter) = (&*self.model, self.encoder, Some(&self.adapter));
                    self.inbox.answer(Who { model, encoder, adapter }, id, &turn, self.emit);
                }
                Some(Command::Pause | Command::Resume | Command::CancelAsk { .. }) => {}
            }
        };
        self.inbox.put_back(kept);
        control
    }

    /// Changes a setting from the next update on.
    fn set(&mut self, key: &str, value: &str) {
        match Change::new(&self.config, self.position.step, key, value) {
            Ok(change) => {
                self.make(change, true);
                let all = [self.position.changes.as_slice(), &self.to_come].concat();
                let written = changes::write(&self.config.output_dir, &all);
                self.log_or_warn(written);
            }
            Err(e) => {
                let hint = e.hint.map(|h| format!(" ({h})")).unwrap_or_default();
                log(self.emit, Level::Error, format!("nothing was changed: {}{hint}", e.message));
            }
        }
    }

    /// Makes the changes of an earlier part of the run again, where it made them.
    pub(super) fn make_changes(&mut self) {
        let step = self.position.step;
        let (now, later) = self.to_come.drain(..).partition(|change| change.step <= step);
        self.to_come = later;
        let now: Vec<Change> = now;
        for change in now {
            // Those before the checkpoint are in the log already.
            let told = change.step > self.first_step;
            self.make(change, told);
        }
    }

    fn make(&mut self, change: Change, tell: bool) {
        if !change.apply(&mut self.config) {
            let line =
                format!("{} was edited since it was changed to {}: it stays", change.key, change.value);
            log(self.emit, Level::Info, line);
            return;
        }
        if change.key == "learning_rate" {
            self.position.plateau.set(self.config.learning_rate);
        }
        if tell {
            let (now, Change { step, key, value, was }) = (self.now(), change.clone());
            let written = self.output.changed(&now, &key, &value);
            self.log_or_warn(written);
            log(self.emit, Level::Info, format!("{key} is {value} from step {} on (it was {was})", step + 1));
            (self.emit)(Event::Changed { step, key, value, was });
        }
        self.position.changes.push(change);
    }
}

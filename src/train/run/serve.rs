//! Commands that are served between two micro-steps.

use super::Trainer;
use crate::error::Result;
use crate::generate::ask::Who;
use crate::job::Command;
use crate::train::commands::Control;

impl Trainer<'_> {
    /// Serves what was said since the last look; waits while paused.
    pub(super) fn serve(&mut self) -> Result<Control> {
        loop {
            match self.inbox.next(self.emit) {
                None => return Ok(Control::GoOn),
                Some(Command::Stop { save }) => return Ok(Control::Stop { save }),
                Some(Command::SaveNow) => self.save_or_warn(),
                Some(Command::Ask { id, turn }) => {
                    let who = Who { model: self.model, encoder: self.encoder, adapter: Some(&self.adapter) };
                    self.inbox.answer(who, id, &turn, self.emit);
                }
                Some(Command::Pause | Command::Resume | Command::CancelAsk { .. }) => {}
            }
        }
    }
}

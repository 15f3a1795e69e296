//! What the workbench does with the open data set: opening, changing, copying, answers of the browser's threads.

use super::State;
use super::look::Level as Brightness;
use crate::data::{ImageRef, picture};
use crate::job::Level;
use crate::tui::browse::{Ask, Changed, Edit, Told};
use crate::tui::effects::Effect;
use crate::tui::state::data::{AsTrained, caption};

/// What can be copied of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    Caption,
    Path,
    Id,
}

impl State {
    /// Opens the data set `step` places further in the list, around the ends.
    pub fn open_dataset(&mut self, step: isize) -> Vec<Effect> {
        let n = self.data.names.len() as isize;
        if n == 0 {
            return Vec::new();
        }
        self.data.open = (self.data.open as isize + step).rem_euclid(n) as usize;
        self.data.begin();
        let data = &self.data;
        let media_dir = self.config.media_dir.clone();
        let name = data.names[data.open].clone();
        vec![Effect::Browse(Ask::Open { set: data.set, dir: data.dir.clone(), name, media_dir })]
    }

    /// Changes the selected row.
    pub fn change(&mut self, row: usize, edit: Edit) -> Vec<Effect> {
        if !matches!(edit, Edit::Again(_)) {
            self.data.undone.clear();
        }
        vec![Effect::Browse(Ask::Change { set: self.data.set, row, edit })]
    }

    /// Takes the last change back.
    pub fn undo_change(&mut self) -> Vec<Effect> {
        vec![Effect::Browse(Ask::Undo { set: self.data.set })]
    }

    /// Makes the change again that was taken back last.
    pub fn redo_change(&mut self) -> Vec<Effect> {
        match self.data.undone.pop() {
            Some(change) => self.change(change.row, Edit::Again(change)),
            None => {
                self.notify(Level::Info, self.words.get("data.nothing_undone"));
                Vec::new()
            }
        }
    }

    /// Copies something of the selected sample to the clipboard.
    pub fn copy(&mut self, what: Copied) -> Vec<Effect> {
        let Some(sample) = self.data.sample() else { return Vec::new() };
        let image = sample.images.get(self.data.look.picture);
        let (name, text) = match (what, image) {
            (Copied::Caption, _) => ("caption", caption(sample)),
            (Copied::Id, _) => ("id", sample.id.clone()),
            (Copied::Path, Some(image @ ImageRef::Path(_))) => ("path", picture::name(image)),
            (Copied::Path, _) => {
                self.notify(Level::Warning, self.words.get("data.no_file"));
                return Vec::new();
            }
        };
        vec![Effect::Copy { what: name.into(), text }]
    }

    /// Asks for the selected sample as trained, if that is looked at and not known yet.
    pub fn wanted_trained(&mut self) -> Option<Effect> {
        let row = self.data.row().filter(|_| self.data.look.trained && !self.data.loading)?;
        if self.data.trained.as_ref().is_some_and(|t| t.row == row && t.config == *self.config) {
            return None;
        }
        self.data.trained = Some(AsTrained { row, config: self.config.clone(), found: None });
        Some(Effect::Browse(Ask::Trained { set: self.data.set, row, config: Box::new(self.config.clone()) }))
    }

    /// The window that auto-level found for the picture looked at, as far as it is known.
    pub fn auto_window(&self) -> Option<crate::data::window::Window> {
        if self.data.look.level != Brightness::Auto {
            return None;
        }
        let image = self.data.sample()?.images.get(self.data.look.picture)?;
        self.pictures.window_of(image)
    }

    /// Takes in what the browser's threads tell.
    pub fn on_told(&mut self, told: Told) -> Vec<Effect> {
        let data = &mut self.data;
        match told {
            Told::Opening { set, done, total } if set == data.set => data.progress = Some((done, total)),
            Told::Opened { set, found: Ok(opened) } if set == data.set => {
                data.opened(opened);
                if !data.search.text.is_empty() {
                    let text = data.search.text.clone();
                    return data.set_search(&text, &self.config);
                }
            }
            Told::Opened { set, found: Err(error) } if set == data.set => {
                data.loading = false;
                data.error = Some(crate::data::clean::for_terminal(&error.message));
                self.fail(&error);
            }
            Told::Rows { set, rows } if set == data.set => data.take_rows(rows),
            Told::Trained { set, row, found } if set == data.set => {
                if let Some(trained) = data.trained.as_mut().filter(|t| t.row == row) {
                    trained.found = Some(found);
                }
            }
            Told::Found { search, rows, looked, end } => data.take_found(search, rows, looked, end),
            Told::Changed { set, done: Ok(changed) } if set == data.set => self.changed(changed),
            Told::Changed { set, done: Err(error) } if set == data.set => self.fail(&error),
            _ => {}
        }
        Vec::new()
    }

    fn changed(&mut self, changed: Changed) {
        self.data.forget(changed.row);
        self.data.changed = changed.changed;
        self.data.undone.extend(changed.undone);
        self.notify(Level::Info, changed.what);
    }
}

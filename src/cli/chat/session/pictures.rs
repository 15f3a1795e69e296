//! The pictures of a chat: those to come, those that were asked about, the window they are seen through.

use super::{Next, Session};
use crate::cli::ask;
use crate::data::windowed::Levels;
use crate::data::{ImageRef, picture};
use crate::error::Result;
use std::path::PathBuf;

impl Session<'_> {
    /// Pictures of the next question. One that does not open would stand in the way of every later question.
    pub fn add_pictures(&mut self, paths: &[PathBuf], levels: Option<Levels>) -> Result<Next> {
        let images = ask::pictures(paths, levels.or(self.levels))?;
        for image in &images {
            picture::open(&ImageRef::named(image.clone())?)?;
        }
        self.fresh += images.len();
        self.named.extend_from_slice(paths);
        self.talk.images.extend(images);
        let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        if !names.is_empty() {
            self.out.note(format!("with the next question: {}", names.join(", ")));
        }
        Ok(Next::GoOn)
    }

    /// All pictures of the talk, and those to come, are seen through a window; `None`: as stored.
    pub(super) fn window(&mut self, levels: Option<Levels>) -> Result<()> {
        self.talk.images = ask::pictures(&self.named, levels)?;
        self.levels = levels;
        let said = match levels {
            Some(Levels::Auto) => "window and level are found for each picture".to_string(),
            Some(Levels::Set { window, level }) => format!("window {window}, level {level}"),
            None => "as stored".to_string(),
        };
        self.out.note(format!("the model sees {} pictures: {said}", self.named.len()));
        Ok(())
    }
}

//! The pictures of a chat: those to come, those that were asked about, the window they are seen through.

use super::{MARK, Next, Session};
use crate::cli::ask;
use crate::data::dropped::{self, Named};
use crate::data::windowed::Levels;
use crate::data::{ImageRef, picture};
use crate::error::{Error, Result};
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

    /// Adds those of the files that are there, and says which are not.
    pub(super) fn add_dropped(&mut self, named: &Named) -> Result<Next> {
        for path in &named.lost {
            self.out.note(dropped::not_found(path).message);
        }
        self.add_pictures(&named.files, None)
    }

    /// Takes a picture away again, by its number from 1; the last one without a number. Where it was asked about, the
    /// question loses its mark.
    pub(super) fn drop_picture(&mut self, number: Option<usize>) -> Result<()> {
        let all = self.talk.images.len();
        let at = number.unwrap_or(all).checked_sub(1).filter(|at| *at < all).ok_or_else(|| {
            Error::usage(format!("the talk has no such picture: it has {all}"))
                .hint("/drop takes the last one away, /drop 1 the first")
        })?;
        let shown = all - self.fresh;
        if at >= shown {
            self.fresh -= 1;
        } else {
            let marks: usize = self.talk.turns.iter().map(|(q, _)| q.matches(MARK).count()).sum();
            // Pictures without a mark come first.
            let mark = at.checked_sub(shown.saturating_sub(marks));
            mark.into_iter().for_each(|nth| unmark(&mut self.talk.turns, nth));
        }
        self.talk.images.remove(at);
        let gone = self.named.remove(at);
        self.out.note(format!("taken away: {}; {} left", gone.display(), all - 1));
        Ok(())
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

/// Takes the mark of this number, from 0, out of the questions.
fn unmark(turns: &mut [(String, String)], mut nth: usize) {
    for (question, _) in turns {
        let places: Vec<usize> = question.match_indices(MARK).map(|(at, _)| at).collect();
        match places.get(nth) {
            Some(at) => return question.replace_range(*at..at + MARK.len(), ""),
            None => nth -= places.len(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::chat::ChatArgs;
    use crate::cli::output::Out;
    use crate::config::TrainConfig;

    #[test]
    fn a_picture_is_taken_away_again_whether_it_was_asked_about_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a.png", "b.png", "c.png"].map(|name| dir.path().join(name));
        for path in [&a, &b, &c] {
            image::GrayImage::new(4, 4).save(path).unwrap();
        }
        let who = ask::Answerer { model: "m".into(), adapter: None };
        let args = ChatArgs { who, image: Vec::new(), dataset_dir: "data".into(), overrides: Vec::new() };
        let out = Out::new(false, true);
        let mut session = Session::new(&args, TrainConfig::default(), &out);
        session.add_pictures(&[a.clone(), b.clone()], None).unwrap();
        session.talk.turns.push(("<image><image>Which side?".into(), "left".into()));
        session.fresh = 0;
        session.add_pictures(&[c], None).unwrap();
        session.drop_picture(None).unwrap();
        assert_eq!((session.talk.images.clone(), session.fresh), (vec![a, b.clone()], 0));
        session.drop_picture(Some(1)).unwrap();
        assert_eq!((&session.talk.images, &session.named), (&vec![b.clone()], &vec![b]));
        assert_eq!(session.talk.turns[0].0, "<image>Which side?");
        assert!(session.drop_picture(Some(2)).is_err() && session.drop_picture(Some(0)).is_err());
        session.drop_picture(None).unwrap();
        assert_eq!((session.talk.turns[0].0.as_str(), session.talk.images.len()), ("Which side?", 0));
        assert!(session.drop_picture(None).is_err());
    }
}

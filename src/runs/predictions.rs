//! Evaluated samples as they are kept: line by line while an evaluation goes on, sorted at its end.

use super::append::Appender;
use super::{EVALUATED, EVALUATED_SO_FAR};
use crate::error::{At, Error, Result};
use crate::files;
use crate::job::Prediction;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The first line of the growing file: what the predictions are of.
#[derive(Serialize, Deserialize)]
struct Head {
    of: String,
}

/// The predictions of an evaluation that goes on.
pub struct Growing {
    pub done: BTreeMap<usize, Prediction>,
    /// Predictions of other settings were there, and are gone.
    pub dropped: usize,
    /// What they were made with.
    pub of: String,
    path: PathBuf,
    file: Appender,
}

impl Growing {
    /// Opens the file in `dir` for predictions made with what `of` names, and takes what is there; of a torn line
    /// nothing is left.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn open(dir: &Path, of: &str) -> Result<Self> {
        let path = dir.join(EVALUATED_SO_FAR);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e).at("read", &path),
        };
        let mut lines = text.lines();
        let head = lines.next().and_then(|l| serde_json::from_str::<Head>(l).ok());
        let all = lines.filter_map(|l| serde_json::from_str::<Prediction>(l).ok());
        let mut done: BTreeMap<usize, Prediction> = all.map(|p| (p.index, p)).collect();
        let mut dropped = 0;
        if head.is_none_or(|head| head.of != of) {
            dropped = done.len();
            done.clear();
        }
        let head = Head { of: of.into() };
        write_lines(&path, Some(&head), done.values())?;
        let file = Appender::open(path.clone())?;
        Ok(Self { done, dropped, of: head.of, path, file })
    }

    /// Adds a prediction: one write.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn push(&mut self, prediction: Prediction) -> Result<()> {
        let mut line = serde_json::to_string(&prediction).expect("plain data serialises");
        line.push('\n');
        self.file.push(&line)?;
        self.done.insert(prediction.index, prediction);
        Ok(())
    }

    /// Writes the sorted file and removes the growing one.
    ///
    /// # Errors
    /// One of the two cannot be done.
    pub fn finish(self, dir: &Path) -> Result<Vec<Prediction>> {
        let all: Vec<Prediction> = self.done.into_values().collect();
        write_lines(&dir.join(EVALUATED), None, all.iter())?;
        drop(self.file);
        fs::remove_file(&self.path).at("remove", &self.path)?;
        Ok(all)
    }
}

fn write_lines<'a>(
    path: &Path,
    head: Option<&Head>,
    all: impl Iterator<Item = &'a Prediction>,
) -> Result<()> {
    files::write_with(path, |w| {
        if let Some(head) = head {
            serde_json::to_writer(&mut *w, head)?;
            w.write_all(b"\n")?;
        }
        for prediction in all {
            serde_json::to_writer(&mut *w, prediction)?;
            w.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// The evaluated samples of a folder, also of an evaluation that has not ended.
///
/// # Errors
/// There are none.
pub fn read(dir: &Path) -> Result<Vec<Prediction>> {
    let found = [EVALUATED_SO_FAR, EVALUATED].map(|name| dir.join(name)).into_iter().find(|p| p.exists());
    let Some(path) = found else {
        return Err(Error::input(format!("{} holds no evaluation", dir.display()))
            .hint("name the output_dir of `lorascope eval`"));
    };
    let bytes = fs::read(&path).at("read", &path)?;
    let text = String::from_utf8_lossy(&bytes);
    let all = text.lines().filter_map(|l| serde_json::from_str::<Prediction>(l).ok());
    let mut all: Vec<Prediction> =
        all.map(|p| (p.index, p)).collect::<BTreeMap<_, _>>().into_values().collect();
    all.sort_by_key(|p| p.index);
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn prediction(index: usize) -> Prediction {
        Prediction { index, id: format!("s{index}"), predict: "肺".into(), ..Prediction::default() }
    }

    #[test]
    fn a_torn_line_is_predicted_again_and_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = Growing::open(dir.path(), "a").unwrap();
        file.push(prediction(3)).unwrap();
        file.push(prediction(1)).unwrap();
        drop(file);
        let path = dir.path().join(EVALUATED_SO_FAR);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 5);
        fs::write(&path, &bytes).unwrap();
        let mut file = Growing::open(dir.path(), "a").unwrap();
        assert_eq!(file.done.keys().copied().collect::<Vec<_>>(), [3]);
        file.push(prediction(0)).unwrap();
        assert_eq!(read(dir.path()).unwrap().iter().map(|p| p.index).collect::<Vec<_>>(), [0, 3]);
        let all = file.finish(dir.path()).unwrap();
        assert_eq!(all, read(dir.path()).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn predictions_of_other_settings_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        Growing::open(dir.path(), "a").unwrap().push(prediction(0)).unwrap();
        let other = Growing::open(dir.path(), "b").unwrap();
        assert_eq!((other.done.len(), other.dropped), (0, 1));
    }
}

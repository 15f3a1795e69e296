//! Changes to a data set, kept in `NAME.overlay.jsonl` beside it: edited turns, rows left out. The source stays as it is.

mod tally;

use super::sample::{Role, Sample};
use super::special;
use crate::error::{At, Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(super) use tally::Tally;

/// One change: a line of the file. A later line about the same turn, or about leaving out, wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Row in the source, from 0.
    pub row: usize,
    /// The [`fingerprint`] of the row that was changed: another one there now is not changed.
    pub of: String,
    #[serde(flatten)]
    pub what: What,
}

/// What is changed about a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum What {
    /// The text of a turn, counted from 0; `None`: the source's again.
    Turn { turn: usize, text: Option<String> },
    /// Whether the row is left out of training.
    Excluded { excluded: bool },
}

/// What the overlay does to a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub edited: bool,
    pub excluded: bool,
    /// There are changes, but the row is not the one they were made for.
    pub stale: bool,
}

/// What all changes made for one version of a row come to.
#[derive(Clone, Debug, Default)]
struct Changed {
    turns: BTreeMap<usize, String>,
    excluded: bool,
}

/// All changes of one data set.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    path: PathBuf,
    changes: Vec<Change>,
    /// By row, then by fingerprint.
    rows: HashMap<usize, BTreeMap<String, Changed>>,
}

impl Overlay {
    /// Reads the changes of the data set `name` in `dir`; without a file there are none.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no change (with its number).
    pub fn open(dir: &Path, name: &str) -> Result<Self> {
        let mut overlay = Self { path: path(dir, name), ..Self::default() };
        overlay.read()?;
        Ok(overlay)
    }

    /// Where the changes are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All changes, oldest first.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether there is a change to a row.
    pub fn touches(&self, row: usize) -> bool {
        self.rows.contains_key(&row)
    }

    /// Rows with a change that still counts, in order.
    pub fn rows(&self) -> Vec<usize> {
        let counts = |c: &Changed| c.excluded || !c.turns.is_empty();
        let mut rows: Vec<_> =
            self.rows.iter().filter(|(_, versions)| versions.values().any(counts)).map(|r| *r.0).collect();
        rows.sort_unstable();
        rows
    }

    /// Puts the edited turns into a sample as the source has it, and says what was done.
    pub fn apply(&self, sample: &mut Sample) -> Applied {
        let Some(versions) = self.rows.get(&sample.row) else { return Applied::default() };
        let of = fingerprint(sample);
        let mut applied = Applied::default();
        for (version, changed) in versions {
            if *version != of {
                applied.stale |= changed.excluded || !changed.turns.is_empty();
                continue;
            }
            applied.excluded = changed.excluded;
            let fits = |(turn, text): &(&usize, &String)| check(sample, **turn, text).is_ok();
            let (good, bad): (Vec<_>, Vec<_>) = changed.turns.iter().partition(fits);
            applied.stale |= !bad.is_empty();
            applied.edited = !good.is_empty();
            for (turn, text) in good {
                sample.messages[*turn].content.clone_from(text);
            }
        }
        applied
    }

    /// Adds changes to the file. What another program has added meanwhile stays.
    pub fn push(&mut self, change: Change) -> Result<()> {
        self.read()?;
        self.take(change);
        self.write()
    }

    /// Takes the last change back, and gives it.
    pub fn undo(&mut self) -> Result<Option<Change>> {
        self.read()?;
        let last = self.changes.pop();
        if last.is_some() {
            self.index();
            self.write()?;
        }
        Ok(last)
    }

    fn take(&mut self, change: Change) {
        let changed = self.rows.entry(change.row).or_default().entry(change.of.clone()).or_default();
        match &change.what {
            What::Turn { turn, text: Some(text) } => drop(changed.turns.insert(*turn, text.clone())),
            What::Turn { turn, text: None } => drop(changed.turns.remove(turn)),
            What::Excluded { excluded } => changed.excluded = *excluded,
        }
        self.changes.push(change);
    }

    fn index(&mut self) {
        self.rows.clear();
        for change in std::mem::take(&mut self.changes) {
            self.take(change);
        }
    }

    fn read(&mut self) -> Result<()> {
        self.changes.clear();
        if self.path.exists() {
            let text = std::fs::read_to_string(&self.path).at("read", &self.path)?;
            for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                self.changes.push(serde_json::from_str(line).map_err(|e| {
                    Error::input(format!("{}, line {}: not a change: {e}", self.path.display(), i + 1))
                        .hint("take the line out, or move the file away to use the data as they are")
                })?);
            }
        }
        self.index();
        Ok(())
    }

    fn write(&self) -> Result<()> {
        files::write_with(&self.path, |w| {
            for change in &self.changes {
                serde_json::to_writer(&mut *w, change)?;
                w.write_all(b"\n")?;
            }
            Ok(())
        })
    }
}

impl Change {
    /// Another text for a turn of `sample`, which is as the source has it; the source's own text restores it.
    /// A text without `<image>` gets the turn's marks in front.
    ///
    /// # Errors
    /// There is no such turn; the marks would not be as many as the turn's pictures.
    pub fn turn(sample: &Sample, turn: usize, text: &str) -> Result<Self> {
        let marks = sample.messages.get(turn).map_or(0, |m| marks(&m.content));
        let text = match self::marks(text) {
            0 => format!("{}{text}", special::IMAGE.repeat(marks)),
            _ => text.to_string(),
        };
        check(sample, turn, &text)?;
        let text = Some(text).filter(|t| *t != sample.messages[turn].content);
        Ok(Self { row: sample.row, of: fingerprint(sample), what: What::Turn { turn, text } })
    }

    /// Leaves `sample`, which is as the source has it, out of training, or takes it in again.
    pub fn exclude(sample: &Sample, excluded: bool) -> Self {
        Self { row: sample.row, of: fingerprint(sample), what: What::Excluded { excluded } }
    }

    /// What it does, for people.
    pub fn describe(&self) -> String {
        match &self.what {
            What::Turn { turn, text: Some(text) } => format!("row {}, turn {turn}: {text}", self.row),
            What::Turn { turn, text: None } => format!("row {}, turn {turn}: as in the source", self.row),
            What::Excluded { excluded: true } => format!("row {}: excluded", self.row),
            What::Excluded { excluded: false } => format!("row {}: included again", self.row),
        }
    }
}

/// The turn that holds the caption: the assistant's last.
pub fn caption_turn(sample: &Sample) -> Option<usize> {
    sample.messages.iter().rposition(|m| m.role == Role::Assistant)
}

/// The turn that holds the question: the user's first.
pub fn question_turn(sample: &Sample) -> Option<usize> {
    sample.messages.iter().position(|m| m.role == Role::User)
}

/// 16 hexadecimal digits that change with the id, the turns or the pictures' file names of a row. Folders do not
/// count: a data set that was moved is the same.
pub fn fingerprint(sample: &Sample) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    add(&sample.id);
    add(sample.system.as_deref().unwrap_or_default());
    for message in &sample.messages {
        add(&format!("{:?}", message.role));
        add(&message.content);
    }
    for image in &sample.images {
        match image {
            super::ImageRef::Path(path) => add(&path.file_name().unwrap_or_default().to_string_lossy()),
            super::ImageRef::Bytes(bytes) => add(blake3::hash(bytes).to_hex().as_str()),
            super::ImageRef::Embedded(picture) => add(&picture.name()),
        }
    }
    hasher.finalize().to_hex()[..16].to_string()
}

/// `NAME.overlay.jsonl` in `dir`; characters that could lead elsewhere become `_`.
fn path(dir: &Path, name: &str) -> PathBuf {
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    dir.join(format!("{}.overlay.jsonl", name.chars().map(safe).collect::<String>()))
}

fn marks(text: &str) -> usize {
    text.matches(special::IMAGE).count()
}

/// Whether a turn of a sample can have this text.
fn check(sample: &Sample, turn: usize, text: &str) -> Result<()> {
    let Some(message) = sample.messages.get(turn) else {
        return Err(Error::usage(format!("row {} has no turn {turn}", sample.row))
            .hint("turns are counted from 0, the question first"));
    };
    let (had, has) = (marks(&message.content), marks(text));
    if had != has {
        return Err(Error::usage(format!(
            "the turn needs {had} × <image>, as many as its pictures; the text has {has}"
        ))
        .hint("write the marks where the pictures belong, or none: then they stand in front"));
    }
    if special::other_media_marks(text) > 0 {
        return Err(Error::usage("the text holds a <video> or <audio> mark, and there is no such file")
            .hint("take the mark out"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::{ImageRef, Message};

    fn sample(caption: &str) -> Sample {
        let say = |role, text: &str| Message { role, content: text.into() };
        Sample {
            row: 3,
            id: "a".into(),
            system: None,
            messages: vec![say(Role::User, "<image>what?"), say(Role::Assistant, caption)],
            images: vec![ImageRef::Path("/data/a.png".into())],
        }
    }

    #[test]
    fn changes_are_kept_applied_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let source = sample("a nodule");
        let mut overlay = Overlay::open(dir.path(), "set").unwrap();
        overlay.push(Change::turn(&source, 1, "二结节\n\"quoted\"").unwrap()).unwrap();
        overlay.push(Change::turn(&source, 0, "where?").unwrap()).unwrap();
        overlay.push(Change::exclude(&source, true)).unwrap();

        let mut overlay = Overlay::open(dir.path(), "set").unwrap();
        let mut now = source.clone();
        assert_eq!(overlay.apply(&mut now), Applied { edited: true, excluded: true, stale: false });
        assert_eq!(now.messages[0].content, "<image>where?", "the picture's mark is kept");
        assert_eq!(now.messages[1].content, "二结节\n\"quoted\"");
        assert_eq!(overlay.undo().unwrap().unwrap().what, What::Excluded { excluded: true });
        overlay.push(Change::turn(&source, 0, "<image>what?").unwrap()).unwrap();
        overlay.push(Change::turn(&source, 1, "a nodule").unwrap()).unwrap();
        let mut now = source.clone();
        assert_eq!(overlay.apply(&mut now), Applied::default(), "the source's own text restores it");
        assert_eq!((now, overlay.rows()), (source, Vec::new()));
    }

    #[test]
    fn a_changed_source_is_noticed_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut overlay = Overlay::open(dir.path(), "set").unwrap();
        overlay.push(Change::turn(&sample("old"), 1, "mine").unwrap()).unwrap();
        let mut other = sample("new");
        assert_eq!(overlay.apply(&mut other), Applied { stale: true, ..Applied::default() });
        assert_eq!(other, sample("new"));
        let mut moved = sample("old");
        moved.images = vec![ImageRef::Path("/elsewhere/a.png".into())];
        assert!(overlay.apply(&mut moved).edited, "a moved data set is the same");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let source = sample("x");
        assert!(Change::turn(&source, 0, "<image><image>two").unwrap_err().message.contains("1 × <image>"));
        assert!(Change::turn(&source, 1, "an <image> here").is_err());
        assert!(Change::turn(&source, 2, "no turn").is_err());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("a_b.overlay.jsonl"),
            "{\"row\":1,\"of\":\"x\",\"turn\":0}\n\nhello\n",
        )
        .unwrap();
        let error = Overlay::open(dir.path(), "a/b").unwrap_err();
        assert!(error.message.contains("line 3") && error.hint.is_some(), "{}", error.message);
    }
}

//! The open data set: its reader, the changes to it, what was found about its rows.

use super::{Changed, Edit, Opened, Part, Row};
use crate::data::Sample;
use crate::data::check::{self, RowFindings};
use crate::data::overlay::{self, Applied, Change, Overlay};
use crate::data::query::Query;
use crate::data::reader::Reader;
use crate::error::{Error, Result};
use crate::job::Finding;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;

pub(super) struct Set {
    reader: Reader,
    overlay: RwLock<Overlay>,
    codes: Vec<String>,
    flags: Vec<(u32, u16)>,
}

impl Set {
    /// Opens a set and says what is known of it.
    pub fn open(
        dir: &Path,
        name: &str,
        media: Option<&Path>,
        progress: &dyn Fn(u64, u64),
        stop: &AtomicBool,
    ) -> Result<(Self, Opened)> {
        let reader = Reader::open_with(dir, name, media, progress, stop)?;
        let (findings, codes, flags) = findings(dir, name);
        let overlay = reader.overlay.clone();
        let opened = Opened {
            name: name.into(),
            rows: reader.len(),
            findings,
            codes: codes.clone(),
            flags: flags.clone(),
            changed: overlay.rows().len(),
        };
        Ok((Self { reader, overlay: RwLock::new(overlay), codes, flags }, opened))
    }

    pub fn len(&self) -> usize {
        self.reader.len()
    }

    pub fn row(&self, row: usize) -> Row {
        if row >= self.reader.len() {
            return Row::new(row, Err(Error::input(format!("there is no row {row}"))), Applied::default());
        }
        match self.original(row) {
            Ok(mut sample) => {
                let applied = self.overlay.read().expect("no panic while it is held").apply(&mut sample);
                Row::new(row, Ok(sample), applied)
            }
            Err(error) => Row::new(row, Err(error), Applied::default()),
        }
    }

    /// Whether a row may match, without building its sample.
    pub fn may_match(&self, row: usize, query: &Query) -> bool {
        let changed = self.overlay.read().expect("no panic while it is held").touches(row);
        query.may_match(row, &self.codes(row), changed, || self.reader.text_of(row).ok())
    }

    /// Codes of the findings about a row.
    pub fn codes(&self, row: usize) -> Vec<&str> {
        let first = self.flags.partition_point(|f| (f.0 as usize) < row);
        let here = self.flags[first..].iter().take_while(|f| f.0 as usize == row);
        here.map(|f| self.codes[usize::from(f.1)].as_str()).collect()
    }

    /// A panic on a strange row is that row's error.
    fn original(&self, row: usize) -> Result<Sample> {
        super::guarded(&format!("row {row}"), || self.reader.original(row))
    }

    pub fn change(&self, row: usize, edit: Edit) -> Result<Changed> {
        let original = self.reader.original(row)?;
        let (change, what) = match edit {
            Edit::Text(part, text) => {
                let turn = match part {
                    Part::Caption => overlay::caption_turn(&original),
                    Part::Question => overlay::question_turn(&original),
                };
                let turn = turn.ok_or_else(|| Error::usage(format!("row {row} has no such turn")))?;
                (
                    Change::turn(&original, turn, &text)?,
                    format!("row {row}: the change is kept beside the data"),
                )
            }
            Edit::Exclude(true) => {
                (Change::exclude(&original, true), format!("row {row} is excluded from training"))
            }
            Edit::Exclude(false) => {
                (Change::exclude(&original, false), format!("row {row} is included again"))
            }
            Edit::Again(change) => (change, format!("row {row}: changed again")),
        };
        let mut overlay = self.overlay.write().expect("no panic while it is held");
        overlay.push(change)?;
        Ok(Changed { row, what, undone: None, changed: overlay.rows().len() })
    }

    pub fn undo(&self) -> Result<Changed> {
        let mut overlay = self.overlay.write().expect("no panic while it is held");
        let undone = overlay.undo()?;
        let change = undone.ok_or_else(|| Error::usage("there is no change to take back"))?;
        let what = format!("row {}: the last change is taken back", change.row);
        Ok(Changed { row: change.row, what, undone: Some(change), changed: overlay.rows().len() })
    }
}

type Flagged = (Vec<Finding>, Vec<String>, Vec<(u32, u16)>);

/// What the last check of the data set found, as findings and row by row.
fn findings(dir: &Path, name: &str) -> Flagged {
    let saved = check::saved_findings(dir, name).map(|saved| saved.findings).unwrap_or_default();
    let flags = |(code, found): (usize, &RowFindings)| {
        found.rows.iter().map(|row| (*row as u32, code as u16)).collect::<Vec<_>>()
    };
    let mut flags: Vec<_> = saved.iter().enumerate().flat_map(flags).collect();
    flags.sort_unstable();
    let codes = saved.iter().map(|f| f.code.clone()).collect();
    let findings = saved.into_iter().map(|f| Finding {
        level: f.level,
        code: f.code,
        message: f.message,
        count: f.rows.len(),
        rows: f.rows,
        fix: f.fix,
    });
    (findings.collect(), codes, flags)
}

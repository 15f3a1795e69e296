//! What became of each row, a line each, in a file that outlives a killed conversion and from which the results are made.

use super::batches::Position;
use super::row_notes::{Notice, Reason};
use crate::error::{At, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::PathBuf;

/// The first line says what the conversion is of; then, in the order of the rows:
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Kept(KeptRow),
    Skipped(SkippedRow),
    /// Everything before, pictures included, is on the disk.
    Synced,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptRow {
    pub file: usize,
    pub row: usize,
    /// As the row has it.
    pub id: Option<String>,
    pub caption: String,
    /// The picture's path in the output folder.
    pub image: String,
    /// The picture file's size and fingerprint, and the fingerprint of the bytes that it was made from.
    pub bytes: u64,
    pub written: u64,
    pub source: u64,
    pub group: Option<u64>,
    pub notices: Vec<Notice>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SkippedRow {
    pub file: usize,
    pub row: usize,
    /// Rows from this one on.
    pub count: usize,
    pub id: Option<String>,
    pub reason: Reason,
    pub detail: String,
}

impl Line {
    /// The position behind the row.
    pub fn next(&self) -> Option<Position> {
        match self {
            Line::Kept(row) => Some((row.file, row.row + 1)),
            Line::Skipped(row) => Some((row.file, row.row + 1)),
            Line::Synced => None,
        }
    }
}

/// The growing file.
pub(super) struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
    /// Where the first line after the header begins.
    start: u64,
}

impl Journal {
    /// Starts a file with a header.
    pub fn create(path: PathBuf, header: &str) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let mut file = BufWriter::new(file.at("create", &path)?);
        writeln!(file, "{header}").and_then(|()| file.flush()).at("write", &path)?;
        Ok(Self { path, file, start: header.len() as u64 + 1 })
    }

    /// Opens what an earlier process left; `None` if there is nothing with this header.
    pub fn reopen(path: PathBuf, header: &str) -> Result<Option<Self>> {
        let file = match File::options().read(true).write(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.at("open", &path)?,
        };
        let mut first = Vec::new();
        BufReader::new(&file).read_until(b'\n', &mut first).at("read", &path)?;
        let same = first.strip_suffix(b"\n") == Some(header.as_bytes());
        Ok(same.then(|| Self { path, file: BufWriter::new(file), start: first.len() as u64 }))
    }

    /// The lines that an earlier process left, up to the first that is not whole: each with whether it is known to be on the
    /// disk, and where it ends. They count after [`Journal::cut`] only.
    pub fn earlier(&self) -> Result<impl Iterator<Item = io::Result<(Line, bool, u64)>> + use<>> {
        let (synced, mut end) = (self.last_sync()?, self.start);
        let mut reader = self.reader()?;
        let mut text = Vec::new();
        Ok(std::iter::from_fn(move || {
            text.clear();
            match reader.read_until(b'\n', &mut text) {
                Ok(read) => {
                    let line = text.strip_suffix(b"\n").and_then(|text| serde_json::from_slice(text).ok());
                    let known = end < synced;
                    end += read as u64;
                    line.map(|line| Ok((line, known, end)))
                }
                Err(e) => Some(Err(e)),
            }
        }))
    }

    /// Forgets everything behind `end`, and grows on from there.
    pub fn cut(&mut self, end: Option<u64>) -> Result<()> {
        let end = end.unwrap_or(self.start);
        self.file.get_ref().set_len(end).at("write", &self.path)?;
        self.file.seek(io::SeekFrom::Start(end)).at("write", &self.path).map(|_| ())
    }

    /// Where the last mark that everything is on the disk begins.
    fn last_sync(&self) -> Result<u64> {
        let mark = serde_json::to_vec(&Line::Synced).expect("plain data serialises");
        let (mut at, mut last) = (self.start, 0);
        let mut reader = self.reader()?;
        let mut text = Vec::new();
        while reader.read_until(b'\n', &mut text).at("read", &self.path)? > 0 {
            if text.strip_suffix(b"\n") == Some(&mark) {
                last = at;
            }
            at += text.len() as u64;
            text.clear();
        }
        Ok(last)
    }

    fn reader(&self) -> Result<BufReader<File>> {
        let mut file = File::open(&self.path).at("read", &self.path)?;
        file.seek(io::SeekFrom::Start(self.start)).at("read", &self.path)?;
        Ok(BufReader::with_capacity(256 << 10, file))
    }

    pub fn push(&mut self, line: &Line) -> Result<()> {
        serde_json::to_writer(&mut self.file, line)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .at("write", &self.path)
    }

    /// Hands the lines to the system: they outlive this process, though not a power failure.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().at("write", &self.path)
    }

    /// Marks that everything before is on the disk, once it is.
    pub fn mark_synced(&mut self) -> Result<()> {
        self.push(&Line::Synced)?;
        self.flush()?;
        self.file.get_ref().sync_data().at("write", &self.path)
    }

    /// The lines of rows, in order.
    pub fn lines(&self) -> Result<impl Iterator<Item = io::Result<Line>> + use<>> {
        let lines = self.reader()?.lines().map(|line| Ok(serde_json::from_str(&line?)?));
        Ok(lines.filter(|line| !matches!(line, Ok(Line::Synced))))
    }

    /// The lines of kept rows, in order.
    pub fn kept(&self) -> Result<impl Iterator<Item = io::Result<KeptRow>> + use<>> {
        Ok(self.lines()?.filter_map(|line| match line {
            Ok(Line::Kept(row)) => Some(Ok(row)),
            Ok(_) => None,
            Err(e) => Some(Err(e)),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn skipped(row: usize) -> Line {
        let detail = "肺".repeat(row);
        Line::Skipped(SkippedRow { file: 0, row, count: 1, id: None, reason: Reason::MediaMark, detail })
    }

    fn rows(journal: &mut Journal) -> Vec<(usize, bool)> {
        let (mut rows, mut last) = (Vec::new(), None);
        for line in journal.earlier().unwrap() {
            let (line, synced, end) = line.unwrap();
            rows.extend(line.next().map(|(_, row)| (row - 1, synced)));
            last = Some(end);
        }
        journal.cut(last).unwrap();
        rows
    }

    #[test]
    fn cut_anywhere_it_gives_the_whole_lines_and_grows_on() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("j");
        let mut journal = Journal::create(path.clone(), "head").unwrap();
        for row in 0..4 {
            journal.push(&skipped(row)).unwrap();
            if row == 1 {
                journal.mark_synced().unwrap();
            }
        }
        journal.flush().unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(rows(&mut journal), [(0, true), (1, true), (2, false), (3, false)]);
        for cut in 5..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::reopen(path.clone(), "head").unwrap().unwrap();
            let n = rows(&mut journal).len();
            journal.push(&skipped(9)).unwrap();
            journal.flush().unwrap();
            let expected: Vec<usize> = (0..n).chain([9]).collect();
            let read: Vec<usize> =
                journal.lines().unwrap().map(|l| l.unwrap().next().unwrap().1 - 1).collect();
            assert_eq!(read, expected, "cut at {cut}");
        }
    }

    #[test]
    fn another_header_or_none_is_another_conversion() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("j");
        assert!(Journal::reopen(path.clone(), "head").unwrap().is_none());
        for text in ["", "head", "hea\n", "header\n", "\0\0\0\0\0"] {
            std::fs::write(&path, text).unwrap();
            assert!(Journal::reopen(path.clone(), "head").unwrap().is_none(), "{text:?}");
        }
    }
}

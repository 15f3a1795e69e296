//! A file of JSON rows: a list, or values one after another (as in JSONL).

use super::index::{Index, Spans, Stamp};
use super::scan::{Fault, Scanner};
use super::text;
use crate::error::{At, Error, Result};
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at a time while rows are looked for.
const WINDOW: usize = 1 << 20;
/// The rows of a file below this size are found again each time, in milliseconds, and no index is left beside it.
const WORTH_AN_INDEX: u64 = 4 << 20;

/// An open file whose rows were found. Rows are read from the file as it was when it was opened, even if another takes
/// its place.
#[derive(Debug)]
pub(super) struct JsonFile {
    path: PathBuf,
    file: File,
    index: Index,
}

impl JsonFile {
    /// Opens `path`, with the index at `kept` if that is still right, else finds the rows and keeps them there.
    /// `tell` hears how many bytes were looked at, and may end the search.
    pub fn open(path: &Path, kept: &Path, tell: &dyn Fn(u64) -> Result<()>) -> Result<Self> {
        let file = File::open(path).at("read", path)?;
        let stamp = Stamp::of(&file).at("read", path)?;
        let big = file.metadata().at("read", path)?.len() >= WORTH_AN_INDEX;
        let index = match Index::load(kept, &stamp).filter(|_| big) {
            Some(index) => index,
            None => {
                let spans = find_rows(path, &file, tell)?;
                if big { Index::keep(spans, kept, &stamp) } else { Index::in_memory(spans) }
            }
        };
        Ok(Self { path: path.to_path_buf(), file, index })
    }

    pub fn len(&self) -> usize {
        self.index.rows()
    }

    pub fn value(&self, row: usize) -> Result<Value> {
        let bytes = self.bytes(row)?;
        serde_json::from_slice(&bytes).map_err(|e| self.malformed(row, &e))
    }

    pub fn text(&self, row: usize, but: Option<&str>) -> Result<String> {
        let bytes = self.bytes(row)?;
        text::strings(&bytes, but).map_err(|e| self.malformed(row, &e))
    }

    fn bytes(&self, row: usize) -> Result<Vec<u8>> {
        let (offset, length) = self.index.span(row)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).at("read", &self.path)?;
        Ok(bytes)
    }

    fn malformed(&self, row: usize, e: &serde_json::Error) -> Error {
        let place = self.index.span(row).and_then(|(offset, _)| position(&self.file, &self.path, offset));
        let (line, column) = match place {
            Ok((line, column)) if e.line() <= 1 => (line, column + e.column() as u64 - 1),
            Ok((line, _)) => (line + e.line() as u64 - 1, e.column() as u64),
            Err(error) => return error,
        };
        malformed(&self.path, "malformed JSON", line, column, &e.to_string())
    }
}

fn find_rows(path: &Path, file: &File, tell: &dyn Fn(u64) -> Result<()>) -> Result<Spans> {
    let fail = |fault: Fault| match fault {
        Fault::Io(e) => Error::io("read", path, &e),
        Fault::NotUtf8(offset) => not_utf8(path, file, offset).unwrap_or_else(|e| e),
        Fault::Malformed(offset) => explain(path, file, offset).unwrap_or_else(|e| e),
    };
    let mut scanner = Scanner::new(At0 { file, at: 0 }, WINDOW).map_err(fail)?;
    let (mut spans, mut told) = (Spans::default(), 0);
    loop {
        let (offset, length) = match scanner.next().map_err(fail)? {
            None => return Ok(spans),
            Some((offset, row)) => (offset, row.len()),
        };
        spans.push(offset, length)?;
        if offset - told >= WINDOW as u64 {
            told = offset;
            tell(told)?;
        }
    }
}

/// Reads a file from its start by place, whatever its own cursor does.
struct At0<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At0<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let got = self.file.read_at(into, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

fn not_utf8(path: &Path, file: &File, offset: u64) -> Result<Error> {
    let (line, column) = position(file, path, offset)?;
    Ok(malformed(path, "not UTF-8 text", line, column, "the bytes there are no character"))
}

/// What is wrong with a file that the scan refused near `offset`: the parser reads it again and says it better.
fn explain(path: &Path, file: &File, offset: u64) -> Result<Error> {
    let mut from = BufReader::new(At0 { file, at: 0 });
    if from.fill_buf().at("read", path)?.starts_with(b"\xEF\xBB\xBF") {
        from.consume(3);
    }
    let what = "malformed JSON";
    match parse_all(from) {
        Err(e) => Ok(malformed(path, what, e.line() as u64, e.column() as u64, &e.to_string())),
        Ok(()) => {
            let (line, column) = position(file, path, offset)?;
            Ok(malformed(path, what, line, column, "the row does not end"))
        }
    }
}

/// Parses a list or a stream of values for the error in it, keeping none.
fn parse_all(mut from: impl BufRead) -> serde_json::Result<()> {
    let mut blanks = Vec::new();
    let list = loop {
        match from.fill_buf().map_err(serde_json::Error::io)?.first() {
            Some(blank @ (b' ' | b'\t' | b'\r' | b'\n')) => blanks.push(*blank),
            first => break first == Some(&b'['),
        }
        from.consume(1);
    };
    // The blanks are given back, so that lines and columns are counted from the start.
    let mut from = serde_json::Deserializer::from_reader(Cursor::new(blanks).chain(from));
    match list {
        true => from.deserialize_seq(Each).and_then(|()| from.end()),
        false => from.into_iter::<Value>().try_for_each(|v| v.map(|_| ())),
    }
}

/// Takes the elements of a list one by one.
struct Each;

impl<'de> Visitor<'de> for Each {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<Value>()?.is_some() {}
        Ok(())
    }
}

/// Line and column, from 1, of a byte of a file.
fn position(file: &File, path: &Path, offset: u64) -> Result<(u64, u64)> {
    let mut from = BufReader::new(At0 { file, at: 0 }.take(offset));
    let (mut line, mut column) = (1, 1);
    loop {
        let piece = from.fill_buf().at("read", path)?;
        if piece.is_empty() {
            return Ok((line, column));
        }
        line += memchr::memchr_iter(b'\n', piece).count() as u64;
        column = match memchr::memrchr(b'\n', piece) {
            Some(last) => (piece.len() - last) as u64,
            None => column + piece.len() as u64,
        };
        let read = piece.len();
        from.consume(read);
    }
}

fn malformed(path: &Path, what: &str, line: u64, column: u64, why: &str) -> Error {
    // The parser's own message ends with the place, which is told in front.
    let why = why.split(" at line ").next().unwrap_or_default();
    Error::input(format!("{}: {what} at line {line}, column {column}: {why}", path.display()))
        .hint("mend the file there; was it written completely?")
}

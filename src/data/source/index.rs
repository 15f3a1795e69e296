//! The index of a data file: where each row starts and how long it is, kept on disk for big files.

use crate::error::{At, Error, Result};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Format and version of an index file.
const MAGIC: [u8; 8] = *b"LSINDEX1";
/// Bytes in front of the table: magic, stamp, number of rows.
const HEAD: usize = MAGIC.len() + STAMP + 8;
const STAMP: usize = 8 + 16 + 32;
/// Bytes of a row in the table: offset (u64) and length (u32), little-endian.
const SPAN: usize = 12;
/// Bytes at either end of a data file that go into its stamp.
const ENDS: u64 = 64 << 10;

/// What a data file looks like from outside: size, time of change in ns, and a hash of its head and tail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([u8; STAMP]);

impl Stamp {
    pub fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        let changed = facts.modified()?.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let (size, near) = (facts.len(), facts.len().min(ENDS));
        let mut hash = blake3::Hasher::new();
        let mut end = vec![0; near as usize];
        for offset in [0, size - near] {
            file.read_exact_at(&mut end, offset)?;
            hash.update(&end);
        }
        let mut stamp = [0; STAMP];
        stamp[..8].copy_from_slice(&size.to_le_bytes());
        stamp[8..24].copy_from_slice(&changed.to_le_bytes());
        stamp[24..].copy_from_slice(hash.finalize().as_bytes());
        Ok(Self(stamp))
    }
}

/// Where rows are. From disk it is read row by row and costs no memory.
#[derive(Debug)]
pub(super) struct Index {
    table: Table,
    rows: usize,
}

#[derive(Debug)]
enum Table {
    Memory(Vec<u8>),
    File(File, PathBuf),
}

impl Index {
    /// The index kept at `path` if it is whole and of the data file with this stamp.
    pub fn load(path: &Path, stamp: &Stamp) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let mut head = [0; HEAD];
        file.read_exact(&mut head).ok()?;
        let rows = u64::from_le_bytes(head[HEAD - 8..].try_into().ok()?);
        let whole = rows.checked_mul(SPAN as u64)?.checked_add(HEAD as u64)? == file.metadata().ok()?.len();
        let fits = head[..MAGIC.len()] == MAGIC && head[MAGIC.len()..HEAD - 8] == stamp.0;
        (whole && fits).then(|| Self { table: Table::File(file, path.to_path_buf()), rows: rows as usize })
    }

    /// Keeps `spans` at `path`; in memory where that folder cannot be written to.
    pub fn keep(spans: Spans, path: &Path, stamp: &Stamp) -> Self {
        let rows = spans.rows();
        let saved = crate::files::write_with(path, |w| {
            w.write_all(&MAGIC)?;
            w.write_all(&stamp.0)?;
            w.write_all(&(rows as u64).to_le_bytes())?;
            w.write_all(&spans.0)
        });
        saved.ok().and_then(|()| Self::load(path, stamp)).unwrap_or_else(|| Self::in_memory(spans))
    }

    pub fn in_memory(spans: Spans) -> Self {
        Self { rows: spans.rows(), table: Table::Memory(spans.0) }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Offset and length in bytes of row `row`.
    pub fn span(&self, row: usize) -> Result<(u64, usize)> {
        let mut span = [0; SPAN];
        match &self.table {
            Table::Memory(table) => span.copy_from_slice(&table[row * SPAN..(row + 1) * SPAN]),
            Table::File(file, path) => {
                file.read_exact_at(&mut span, (HEAD + row * SPAN) as u64).at("read", path)?;
            }
        }
        let (offset, length) = span.split_at(8);
        Ok((
            u64::from_le_bytes(offset.try_into().expect("8 bytes")),
            u32::from_le_bytes(length.try_into().expect("4 bytes")) as usize,
        ))
    }
}

/// The table of an index that is being made.
#[derive(Default)]
pub(super) struct Spans(Vec<u8>);

impl Spans {
    /// # Errors
    /// A row of 4 GiB or more.
    pub fn push(&mut self, offset: u64, length: usize) -> Result<()> {
        let length = u32::try_from(length)
            .map_err(|_| Error::input(format!("row {} is longer than 4 GiB", self.rows())))?;
        self.0.extend(offset.to_le_bytes());
        self.0.extend(length.to_le_bytes());
        Ok(())
    }

    fn rows(&self) -> usize {
        self.0.len() / SPAN
    }
}

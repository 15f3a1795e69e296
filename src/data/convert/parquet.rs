//! Rows of parquet files with pictures: columns by name, one row group at a time, every fault named.

use super::parquet_file;
use super::row_notes::Reason;
use crate::error::Result;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeBinaryArray, RecordBatch, StructArray, new_null_array};
use arrow_schema::{ArrowError, DataType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Bytes that a batch of rows should hold at most, and rows likewise.
const BATCH_BYTES: i64 = 32 << 20;
const BATCH_ROWS: i64 = 256;

/// What the three columns are called.
#[derive(Clone, Copy, Debug)]
pub struct ColumnNames<'a> {
    pub image: &'a str,
    /// `id` may be missing; another name was asked for and must be there.
    pub id: &'a str,
    pub caption: &'a str,
}

/// A row with everything that is needed. `row` counts from 0 over the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub row: usize,
    pub id: Id,
    pub image: Vec<u8>,
    pub caption: String,
}

/// A row's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    Text(String),
    Missing,
    /// Bytes that are not UTF-8.
    NotText,
}

impl Id {
    pub fn text(&self) -> Option<&str> {
        match self {
            Id::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What reading gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Row(Row),
    /// A row that cannot be used.
    Bad {
        row: usize,
        id: Id,
        reason: Reason,
        detail: String,
    },
    /// Rows `first..first + count` cannot be read at all.
    Lost {
        first: usize,
        count: usize,
        detail: String,
    },
}

/// An open parquet file whose columns were found and have types that are understood.
pub struct Shard {
    pub path: PathBuf,
    pub rows: usize,
    pub has_id: bool,
    columns: [String; 3],
    file: File,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
}

impl Shard {
    /// Opens a file and checks its columns; no row is read yet.
    ///
    /// # Errors
    /// Not a complete parquet file (and what it is instead), a missing column, a column of a type that is not understood.
    pub fn open(path: &Path, names: &ColumnNames) -> Result<Self> {
        let (file, metadata) = parquet_file::open(path, names)?;
        let found = parquet_file::find_columns(path, metadata.schema(), names)?;
        let projection = ProjectionMask::roots(metadata.parquet_schema(), found);
        let rows = metadata.metadata().file_metadata().num_rows().max(0) as usize;
        let has_id = metadata.schema().column_with_name(names.id).is_some();
        let columns = [names.image.to_string(), names.id.to_string(), names.caption.to_string()];
        Ok(Self { path: path.to_path_buf(), rows, has_id, columns, file, metadata, projection })
    }

    /// Reads the rows in order. A damaged row group loses its rows, not those of the others.
    pub fn rows(&self) -> Rows<'_> {
        Rows { shard: self, group: 0, reader: None, row: 0, group_end: 0, ready: VecDeque::new() }
    }

    fn group_rows(&self, group: usize) -> usize {
        self.metadata.metadata().row_group(group).num_rows().max(0) as usize
    }

    fn group_reader(&self, group: usize) -> Result<ParquetRecordBatchReader, String> {
        let facts = self.metadata.metadata().row_group(group);
        let row_bytes = (facts.total_byte_size() / facts.num_rows().max(1)).max(1);
        let batch = (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS) as usize;
        let file = self.file.try_clone().map_err(|e| e.to_string())?;
        guarded(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![group])
                .with_projection(self.projection.clone())
                .with_batch_size(batch)
                .build()
                .map_err(|e| e.to_string())
        })
    }
}

/// Iterates over a file's rows.
pub struct Rows<'a> {
    shard: &'a Shard,
    group: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// The next row, and the row behind the current group.
    row: usize,
    group_end: usize,
    ready: VecDeque<Item>,
}

impl Iterator for Rows<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.reader.is_none() {
                if self.group == self.shard.metadata.metadata().num_row_groups() {
                    return None;
                }
                self.open_group();
            } else {
                self.read_batch();
            }
        }
    }
}

impl Rows<'_> {
    fn open_group(&mut self) {
        self.group_end = self.row + self.shard.group_rows(self.group);
        match self.shard.group_reader(self.group) {
            Ok(reader) => self.reader = Some(reader),
            Err(detail) => self.end_group(&detail),
        }
    }

    fn read_batch(&mut self) {
        let Some(reader) = self.reader.as_mut() else { return };
        let first = self.row;
        let names = &self.shard.columns;
        let read = guarded(|| match reader.next() {
            None => Ok(None),
            Some(batch) => {
                let items = batch.and_then(|b| unpack(&b, first, names)).map_err(|e| e.to_string())?;
                Ok(Some(items))
            }
        });
        match read {
            Ok(Some(items)) => {
                self.row += items.len();
                self.ready.extend(items);
            }
            Ok(None) => self.end_group("the row group holds fewer rows than it says"),
            Err(detail) => self.end_group(&detail),
        }
    }

    /// Goes on to the next group; rows of this one that were not read are lost for the reason `detail`.
    fn end_group(&mut self, detail: &str) {
        if self.row < self.group_end {
            let (first, count) = (self.row, self.group_end - self.row);
            self.ready.push_back(Item::Lost { first, count, detail: detail.to_string() });
        }
        self.row = self.group_end;
        self.reader = None;
        self.group += 1;
    }
}

/// Turns a panic of the parquet reader on damaged data into an error.
pub(in crate::data) fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("the data is damaged".into()))
}

fn unpack(batch: &RecordBatch, first: usize, names: &[String; 3]) -> Result<Vec<Item>, ArrowError> {
    let [image, id, caption] = names;
    let column = |name: &str| batch.column_by_name(name);
    let missing = || new_null_array(&DataType::LargeBinary, batch.num_rows());
    let pictures = Pictures::of(column(image).unwrap_or(&missing()))?;
    let ids = text(column(id).unwrap_or(&missing()))?;
    let captions = text(column(caption).unwrap_or(&missing()))?;
    Ok((0..batch.num_rows())
        .map(|i| {
            let id = match value(&ids, i).map(std::str::from_utf8) {
                None | Some(Ok("")) => Id::Missing,
                Some(Ok(text)) => Id::Text(text.to_string()),
                Some(Err(_)) => Id::NotText,
            };
            item(first + i, id, pictures.bytes(i).ok_or_else(|| pictures.no_bytes(i)), value(&captions, i))
        })
        .collect())
}

fn item(row: usize, id: Id, image: Result<&[u8], String>, caption: Option<&[u8]>) -> Item {
    let bad = |id, reason: Reason, detail: &str| Item::Bad { row, id, reason, detail: detail.into() };
    let image = match image {
        Ok(image) => image,
        Err(detail) => return bad(id, Reason::NoImageBytes, &detail),
    };
    match caption.map(std::str::from_utf8) {
        None => bad(id, Reason::EmptyCaption, "the caption is null"),
        Some(Err(e)) => bad(id, Reason::CaptionNotText, &e.to_string()),
        Some(Ok(text)) if text.trim().is_empty() => bad(id, Reason::EmptyCaption, "the caption is empty"),
        Some(Ok(text)) => Item::Row(Row { row, id, image: image.to_vec(), caption: text.to_string() }),
    }
}

/// The picture column of a batch: plain bytes, or a struct with `bytes` and `path`.
struct Pictures {
    bytes: LargeBinaryArray,
    /// The struct itself, for its own nulls, and its paths.
    outer: Option<(StructArray, LargeBinaryArray)>,
}

impl Pictures {
    fn of(column: &ArrayRef) -> Result<Self, ArrowError> {
        let Some(outer) = column.as_struct_opt() else {
            return Ok(Self { bytes: binary(column)?, outer: None });
        };
        let field = |name: &str| match outer.column_by_name(name) {
            Some(field) => text(field),
            None => Ok(new_null_array(&DataType::LargeBinary, outer.len()).as_binary().clone()),
        };
        Ok(Self { bytes: field("bytes")?, outer: Some((outer.clone(), field("path")?)) })
    }

    /// The picture of a row; `None` when it is null or empty.
    fn bytes(&self, i: usize) -> Option<&[u8]> {
        let null = self.outer.as_ref().is_some_and(|(outer, _)| outer.is_null(i));
        value(&self.bytes, i).filter(|bytes| !null && !bytes.is_empty())
    }

    fn no_bytes(&self, i: usize) -> String {
        match self.outer.as_ref().and_then(|(_, paths)| value(paths, i)) {
            Some(path) if !path.is_empty() => {
                format!(
                    "no embedded bytes; the file it names is not opened: {}",
                    String::from_utf8_lossy(path)
                )
            }
            _ => "no embedded bytes".into(),
        }
    }
}

fn value(array: &LargeBinaryArray, i: usize) -> Option<&[u8]> {
    (!array.is_null(i)).then(|| array.value(i))
}

fn binary(column: &ArrayRef) -> Result<LargeBinaryArray, ArrowError> {
    if column.data_type() == &DataType::Null {
        return Ok(new_null_array(&DataType::LargeBinary, column.len()).as_binary().clone());
    }
    Ok(arrow_cast::cast(column, &DataType::LargeBinary)?.as_binary().clone())
}

/// Text or whole numbers as bytes, whatever the offsets or the encoding.
fn text(column: &ArrayRef) -> Result<LargeBinaryArray, ArrowError> {
    if column.data_type().is_integer() {
        return binary(&arrow_cast::cast(column, &DataType::LargeUtf8)?);
    }
    binary(column)
}

//! Rows of parquet files with pictures: columns by name, one row group at a time, every fault named.

use super::disk_map::fingerprint;
use super::parquet_file;
use super::row_notes::Reason;
use crate::error::{At, Result};
use crate::job::ConvertJob;
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
const BATCH_BYTES: i64 = 1 << 20;
const BATCH_ROWS: i64 = 128;

/// What the columns are called, and how they are read.
#[derive(Clone, Debug)]
pub struct Columns {
    pub image: String,
    /// `id` may be missing; another name was asked for and must be there.
    pub id: String,
    pub caption: String,
    pub group: Option<String>,
    /// Rows may hold a path instead of a picture.
    pub paths: bool,
}

impl Columns {
    pub fn of(job: &ConvertJob) -> Self {
        Self {
            image: job.image_column.clone(),
            id: job.id_column.clone(),
            caption: job.caption_column.clone(),
            group: job.group_column.clone(),
            paths: job.image_root.is_some(),
        }
    }

    fn texts(&self) -> Vec<&str> {
        [Some(&self.id), Some(&self.caption), self.group.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
    }
}

/// A row with everything that is needed. `row` counts from 0 over the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub row: usize,
    pub id: Id,
    pub image: Image,
    pub caption: String,
    /// Fingerprint of the value in the group column.
    pub group: Option<u64>,
}

/// A row's picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    Bytes(Vec<u8>),
    /// Not opened here.
    Path(String),
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

impl Item {
    /// The number of its first row.
    pub fn row(&self) -> usize {
        match self {
            Item::Row(row) => row.row,
            Item::Bad { row, .. } => *row,
            Item::Lost { first, .. } => *first,
        }
    }
}

/// A parquet file whose columns were found and have types that are understood. It is opened again to read rows: thousands
/// of files cannot be held open, nor their footers kept.
#[derive(Clone, Debug)]
pub struct Shard {
    pub path: PathBuf,
    pub rows: usize,
    pub has_id: bool,
    /// Size, time of change and the hash of the last bytes, in which the footer says where everything is.
    pub identity: String,
}

impl Shard {
    /// Opens a file and checks its columns; no row is read yet.
    ///
    /// # Errors
    /// Not a complete parquet file (and what it is instead), a missing column, a column of a type that is not understood.
    pub fn open(path: &Path, columns: &Columns) -> Result<Self> {
        let open = OpenShard::open(path, columns)?;
        let rows = open.groups().sum();
        let has_id = open.metadata.schema().column_with_name(&columns.id).is_some();
        let identity = parquet_file::identity(&open.file).at("read", path)?;
        Ok(Self { path: path.to_path_buf(), rows, has_id, identity })
    }
}

/// An open parquet file.
pub struct OpenShard<'a> {
    columns: &'a Columns,
    file: File,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
}

impl<'a> OpenShard<'a> {
    /// See [`Shard::open`].
    pub fn open(path: &Path, columns: &'a Columns) -> Result<Self> {
        let (file, metadata) = parquet_file::open(path, &columns.texts())?;
        let found = parquet_file::find_columns(path, metadata.schema(), columns)?;
        let projection = ProjectionMask::roots(metadata.parquet_schema(), found);
        Ok(Self { columns, file, metadata, projection })
    }

    /// The number of rows in each row group.
    pub fn groups(&self) -> impl Iterator<Item = usize> + use<'_, 'a> {
        self.metadata.metadata().row_groups().iter().map(|g| g.num_rows().max(0) as usize)
    }

    /// Reads the rows of a row group, the first of which is row `first` of the file. Damage loses what comes after it.
    pub fn rows(&self, group: usize, first: usize) -> Rows<'_> {
        let end = first + self.groups().nth(group).unwrap_or(0);
        let mut rows = Rows { columns: self.columns, reader: None, row: first, end, ready: VecDeque::new() };
        match self.group_reader(group) {
            Ok(reader) => rows.reader = Some(reader),
            Err(detail) => rows.stop(&detail),
        }
        rows
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

/// Iterates over the rows of a row group.
pub struct Rows<'a> {
    columns: &'a Columns,
    reader: Option<ParquetRecordBatchReader>,
    /// The next row, and the row behind the group.
    row: usize,
    end: usize,
    ready: VecDeque<Item>,
}

impl Iterator for Rows<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        while self.ready.is_empty() && self.reader.is_some() {
            self.read_batch();
        }
        self.ready.pop_front()
    }
}

impl Rows<'_> {
    fn read_batch(&mut self) {
        let Some(reader) = self.reader.as_mut() else { return };
        let (first, columns) = (self.row, self.columns);
        let read = guarded(|| match reader.next() {
            None => Ok(None),
            Some(batch) => {
                let items = batch.and_then(|b| unpack(&b, first, columns)).map_err(|e| e.to_string())?;
                Ok(Some(items))
            }
        });
        match read {
            // A damaged group can hold more rows than it says: they would take the numbers of the next one's.
            Ok(Some(items)) if self.row + items.len() <= self.end && !items.is_empty() => {
                self.row += items.len();
                self.ready.extend(items);
            }
            Ok(Some(_)) => self.stop("the row group holds other rows than it says"),
            Ok(None) => self.stop("the row group holds fewer rows than it says"),
            Err(detail) => self.stop(&detail),
        }
    }

    /// Ends the group; rows of it that were not read are lost for the reason `detail`.
    fn stop(&mut self, detail: &str) {
        if self.row < self.end {
            let (first, count) = (self.row, self.end - self.row);
            self.ready.push_back(Item::Lost { first, count, detail: detail.to_string() });
        }
        self.reader = None;
    }
}

/// Turns a panic of the parquet reader on damaged data into an error.
pub(in crate::data) fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("the data is damaged".into()))
}

fn unpack(batch: &RecordBatch, first: usize, columns: &Columns) -> Result<Vec<Item>, ArrowError> {
    let missing = || new_null_array(&DataType::LargeBinary, batch.num_rows());
    let column = |name: &str| batch.column_by_name(name).cloned().unwrap_or_else(missing);
    let pictures = Pictures::of(&column(&columns.image), columns.paths)?;
    let ids = text(&column(&columns.id))?;
    let captions = text(&column(&columns.caption))?;
    let groups = columns.group.as_ref().map(|name| text(&column(name))).transpose()?;
    Ok((0..batch.num_rows())
        .map(|i| {
            let id = match value(&ids, i).map(std::str::from_utf8) {
                None | Some(Ok("")) => Id::Missing,
                Some(Ok(text)) => Id::Text(text.to_string()),
                Some(Err(_)) => Id::NotText,
            };
            let group = groups.as_ref().and_then(|groups| value(groups, i)).map(fingerprint);
            item(first + i, (id, group), pictures.image(i), value(&captions, i))
        })
        .collect())
}

fn item(
    row: usize,
    (id, group): (Id, Option<u64>),
    image: Result<Image, String>,
    caption: Option<&[u8]>,
) -> Item {
    let bad = |id, reason: Reason, detail: &str| Item::Bad { row, id, reason, detail: detail.into() };
    let image = match image {
        Ok(image) => image,
        Err(detail) => return bad(id, Reason::NoImageBytes, &detail),
    };
    match caption.map(std::str::from_utf8) {
        None => bad(id, Reason::EmptyCaption, "the caption is null"),
        Some(Err(e)) => bad(id, Reason::CaptionNotText, &e.to_string()),
        Some(Ok(text)) if text.trim().is_empty() => bad(id, Reason::EmptyCaption, "the caption is empty"),
        Some(Ok(text)) => Item::Row(Row { row, id, image, caption: text.to_string(), group }),
    }
}

/// The picture column of a batch: plain bytes, paths, or a struct with `bytes` and `path`.
struct Pictures {
    bytes: Option<LargeBinaryArray>,
    paths: Option<LargeBinaryArray>,
    /// The struct itself, for its own nulls.
    outer: Option<StructArray>,
    use_paths: bool,
}

impl Pictures {
    fn of(column: &ArrayRef, use_paths: bool) -> Result<Self, ArrowError> {
        if let Some(outer) = column.as_struct_opt() {
            let field = |name: &str| outer.column_by_name(name).map(text).transpose();
            let (bytes, paths) = (field("bytes")?, field("path")?);
            return Ok(Self { bytes, paths, outer: Some(outer.clone()), use_paths });
        }
        let values = Some(binary(column)?);
        let (bytes, paths) =
            if parquet_file::is_string(column.data_type()) { (None, values) } else { (values, None) };
        Ok(Self { bytes, paths, outer: None, use_paths })
    }

    /// The picture of a row, or why there is none.
    fn image(&self, i: usize) -> Result<Image, String> {
        let null = self.outer.as_ref().is_some_and(|outer| outer.is_null(i));
        let of = |array: &Option<LargeBinaryArray>| {
            let found = array.as_ref().and_then(|array| value(array, i).map(<[u8]>::to_vec));
            found.filter(|bytes| !null && !bytes.is_empty())
        };
        if let Some(bytes) = of(&self.bytes) {
            return Ok(Image::Bytes(bytes));
        }
        match of(&self.paths).map(|path| String::from_utf8_lossy(&path).into_owned()) {
            None => Err("no embedded bytes".into()),
            Some(path) if self.use_paths => Ok(Image::Path(path)),
            Some(path) => Err(format!(
                "no embedded bytes; the file it names is not opened without --image-root: {path}"
            )),
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

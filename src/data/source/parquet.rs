//! A parquet file read row by row: texts and pictures apart, so that nobody decodes pictures to read a caption.

use super::cells::{self, Cell};
use super::window::Windows;
use crate::data::parquet::ColumnNames;
use crate::data::parquet_file;
use crate::data::registry::Entry;
use crate::error::{Error, Result};
use arrow_array::ArrayRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::RowGroupMetaData;
use serde_json::{Map, Value};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// An open file whose footer was read.
pub struct ParquetFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// The first row of each row group.
    starts: Vec<usize>,
    rows: usize,
    /// Every picture lies in this file: its statistics say so, and only the number of pictures is to be read.
    all_embedded: bool,
    /// Copies of a file handle share their place in the file, so one thread reads at a time.
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    file: File,
    texts: Windows,
    /// As much of the pictures' column as says how many there are, and the column itself.
    outlines: Option<Windows>,
    pictures: Option<Windows>,
}

impl ParquetFile {
    /// Opens `path` for the columns that `entry` names. No row is read.
    ///
    /// # Errors
    /// Not a complete parquet file, and what it is instead.
    pub fn open(path: &Path, entry: &Entry) -> Result<Self> {
        let (texts, picture) = entry.wanted();
        let names = match &entry.captions {
            Some(captions) => ColumnNames { image: &captions.image, id: &captions.id, caption: &captions.caption },
            None => ColumnNames { image: "", id: "id", caption: "" },
        };
        let (file, metadata) = parquet_file::open(path, &names)?;
        let schema = metadata.parquet_schema();
        let fields = metadata.schema().fields();
        let root = |name: &str| fields.iter().position(|f| f.name() == name);
        let picture = picture.filter(|name| {
            root(name).is_some_and(|i| cells::holds_pictures(fields[i].data_type()))
        });
        let texts = texts.iter().filter(|name| Some(**name) != picture).filter_map(|name| root(name));
        let texts = Windows::new(ProjectionMask::roots(schema, texts));
        let columns = |mask: ProjectionMask| Some(Windows::new(mask));
        let outline = picture.and_then(root).and_then(|i| outline(&metadata, i));
        let (outlines, pictures) = match picture.and_then(root) {
            None => (None, None),
            Some(i) => {
                let whole = ProjectionMask::roots(schema, [i]);
                (columns(outline.clone().unwrap_or_else(|| whole.clone())), columns(whole))
            }
        };
        let (mut starts, mut rows) = (Vec::new(), 0);
        for group in metadata.metadata().row_groups() {
            starts.push(rows);
            rows += group.num_rows().max(0) as usize;
        }
        let reading = Mutex::new(Reading { file, texts, outlines, pictures });
        let all_embedded = outline.is_some();
        Ok(Self { path: path.to_path_buf(), metadata, starts, rows, all_embedded, reading })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The columns of a row but its pictures.
    pub(super) fn value(&self, row: usize) -> Result<Value> {
        let reading = &mut *self.reading();
        let around = reading.texts.around(&reading.file, &self.metadata, self.group(row), row);
        let (rows, at) = around.map_err(|e| self.damaged(row, &e))?;
        let mut fields = Map::new();
        for (column, field) in rows.columns().iter().zip(rows.schema_ref().fields()) {
            let value = cells::value(column, at).map_err(|e| self.damaged(row, &e.to_string()))?;
            fields.insert(field.name().clone(), value);
        }
        Ok(Value::Object(fields))
    }

    /// The pictures of a row; `None` where no column holds any. Their bytes are not kept.
    pub(super) fn pictures(self: &Arc<Self>, row: usize) -> Result<Option<Vec<Picture>>> {
        let reading = &mut *self.reading();
        let Some(outlines) = &mut reading.outlines else { return Ok(None) };
        let around = outlines.around(&reading.file, &self.metadata, self.group(row), row);
        let (rows, at) = around.map_err(|e| self.damaged(row, &e))?;
        let found = rows.columns().first().map(|column| self.cells(column, at, row)).transpose()?;
        let embedded = |place| Picture::Embedded(Embedded { file: self.clone(), row, place });
        let picture = |(place, cell): (usize, Cell)| match cell {
            Cell::Bytes(_) => embedded(place),
            _ if self.all_embedded => embedded(place),
            Cell::Path(path) => Picture::Path(path.into()),
            Cell::Missing => Picture::Missing,
        };
        Ok(Some(found.unwrap_or_default().into_iter().enumerate().map(picture).collect()))
    }

    fn bytes(&self, row: usize, place: usize) -> Result<Arc<[u8]>> {
        let reading = &mut *self.reading();
        let gone = || self.damaged(row, "the picture is not there");
        let pictures = reading.pictures.as_mut().ok_or_else(gone)?;
        let around = pictures.around(&reading.file, &self.metadata, self.group(row), row);
        let (rows, at) = around.map_err(|e| self.damaged(row, &e))?;
        let cells = self.cells(rows.column(0), at, row)?;
        match cells.into_iter().nth(place) {
            Some(Cell::Bytes(bytes)) => Ok(bytes.into()),
            _ => Err(gone()),
        }
    }

    fn cells(&self, column: &ArrayRef, at: usize, row: usize) -> Result<Vec<Cell>> {
        cells::pictures(column, at).map_err(|e| self.damaged(row, &e.to_string()))
    }

    fn group(&self, row: usize) -> (usize, usize) {
        // The last group that starts here or before; empty ones in front of it start at the same row.
        let group = self.starts.partition_point(|start| *start <= row) - 1;
        (group, self.starts[group])
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        // What a panic could leave behind is a window too few.
        self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn damaged(&self, row: usize, why: &str) -> Error {
        Error::input(format!("{}: row {row} cannot be read: {why}", self.path.display()))
            .hint("download or write the file again")
    }
}

/// The columns that tell how many pictures each row of root column `root` has, where it is known that all of them lie in
/// the file: the paths beside the bytes.
fn outline(metadata: &ArrowReaderMetadata, root: usize) -> Option<ProjectionMask> {
    let schema = metadata.parquet_schema();
    let leaf = |name: &str| {
        (0..schema.num_columns())
            .find(|i| schema.get_column_root_idx(*i) == root && schema.column(*i).name() == name)
    };
    let (bytes, path) = (leaf("bytes")?, leaf("path")?);
    let groups = metadata.metadata().row_groups();
    let nulls = |group: &RowGroupMetaData| group.column(bytes).statistics().and_then(|s| s.null_count_opt());
    groups.iter().all(|group| nulls(group) == Some(0)).then(|| ProjectionMask::leaves(schema, [path]))
}

/// A picture as a row names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    Embedded(Embedded),
    Path(PathBuf),
    Missing,
}

/// A picture that lies in a parquet file; it is read when its bytes are asked for.
#[derive(Clone)]
pub struct Embedded {
    file: Arc<ParquetFile>,
    row: usize,
    /// Which of the row's pictures, from 0.
    place: usize,
}

impl Embedded {
    /// The picture's file as it lies there.
    ///
    /// # Errors
    /// The row cannot be read.
    pub fn bytes(&self) -> Result<Arc<[u8]>> {
        self.file.bytes(self.row, self.place)
    }

    /// The file and the row in it, as `scans.parquet#12`; with the place if it is not the first picture.
    pub fn name(&self) -> String {
        let place = if self.place > 0 { format!("[{}]", self.place) } else { String::new() };
        format!("{}#{}{place}", self.file.path.display(), self.row)
    }
}

impl PartialEq for Embedded {
    fn eq(&self, other: &Self) -> bool {
        (&self.file.path, self.row, self.place) == (&other.file.path, other.row, other.place)
    }
}

impl Eq for Embedded {}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ParquetFile({}, {} rows)", self.path.display(), self.rows)
    }
}

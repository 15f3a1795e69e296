//! A parquet file read row by row: texts and pictures apart, so that nobody decodes pictures to read a caption.

use super::cells::{self, Cell};
use super::window::Windows;
use crate::data::convert::parquet_file;
use crate::data::entry::Entry;
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
    /// The column of pictures; empty if none holds them.
    column: String,
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
        let (id, caption) = match &entry.captions {
            Some(captions) => (&*captions.id, &*captions.caption),
            None => ("id", ""),
        };
        Self::with_columns(path, &texts, picture, &[id, caption])
    }

    /// Columns that are not there are left out.
    fn with_columns(path: &Path, texts: &[&str], picture: Option<&str>, as_bytes: &[&str]) -> Result<Self> {
        let (file, metadata) = parquet_file::open(path, as_bytes)?;
        let schema = metadata.parquet_schema();
        let fields = metadata.schema().fields();
        let root = |name: &str| fields.iter().position(|f| f.name() == name);
        let picture =
            picture.filter(|name| root(name).is_some_and(|i| cells::holds_pictures(fields[i].data_type())));
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
        let column = picture.unwrap_or_default().to_string();
        Ok(Self { path: path.to_path_buf(), metadata, starts, rows, column, all_embedded, reading })
    }

    pub fn len(&self) -> usize {
        self.rows
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

    /// The values of one column, which need not be one that is read otherwise.
    pub(super) fn column(&self, name: &str) -> Result<Vec<Option<Value>>> {
        let file = Self::with_columns(&self.path, &[name], None, &[])?;
        (0..file.rows).map(|row| Ok(file.value(row)?.get(name).cloned())).collect()
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

/// The columns `texts` of the first row, if there is one.
pub(super) fn first_row(path: &Path, texts: &[&String]) -> Result<Option<Value>> {
    let texts: Vec<&str> = texts.iter().map(|t| t.as_str()).collect();
    let file = ParquetFile::with_columns(path, &texts, None, &[])?;
    (file.rows > 0).then(|| file.value(0)).transpose()
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

    /// The parquet file.
    pub fn file(&self) -> &Path {
        &self.file.path
    }

    /// The file's stem and the row in it, as `convert` calls a row without an id.
    pub fn stem(&self) -> String {
        format!("{}-{}", self.file.path.file_stem().unwrap_or_default().to_string_lossy(), self.row)
    }

    /// File, column and row, as `scans.parquet#image:12`; a second picture of the row is `scans.parquet#images:12.1`.
    pub fn name(&self) -> String {
        let place = if self.place > 0 { format!(".{}", self.place) } else { String::new() };
        format!("{}#{}:{}{place}", self.file.path.display(), self.file.column, self.row)
    }

    /// The picture that `name` names as [`Embedded::name`] does; `None` if it is no such name.
    ///
    /// # Errors
    /// The file cannot be read, or has no such column or row.
    pub fn find(name: &str) -> Result<Option<Self>> {
        let Some((path, column, row, place)) = parse(name) else { return Ok(None) };
        let file = ParquetFile::with_columns(Path::new(path), &[], Some(column), &[])?;
        if file.column.is_empty() || row >= file.rows {
            return Err(Error::input(format!("no such picture: {name}"))
                .hint(format!("{path} has {} rows; write FILE#COLUMN:ROW, rows from 0", file.rows)));
        }
        Ok(Some(Self { file: Arc::new(file), row, place }))
    }
}

/// File, column, row and place of `FILE.parquet#COLUMN:ROW.PLACE`.
fn parse(name: &str) -> Option<(&str, &str, usize, usize)> {
    let (path, inside) = name.rsplit_once('#').filter(|(path, _)| path.ends_with(".parquet"))?;
    let (column, place) = inside.rsplit_once(':')?;
    let (row, place) = place.split_once('.').unwrap_or((place, "0"));
    Some((path, column, row.parse().ok()?, place.parse().ok()?))
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

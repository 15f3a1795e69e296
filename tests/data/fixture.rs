//! Conversions in a temporary folder, and small parquet files made for a test.

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, StructArray};
use lorascope::data::convert as data_convert;
use lorascope::error::Result;
use lorascope::job::{ConvertJob, Event, Finding};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// A file of the collection of bad inputs.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bad").join(name)
}

pub fn job(input: &Path, out: &Path) -> ConvertJob {
    ConvertJob::new(vec![input.to_path_buf()], out.to_path_buf())
}

/// How a conversion ended, and what it said.
pub struct Converted {
    pub out: PathBuf,
    pub result: Result<Value>,
    pub events: Vec<Event>,
}

pub fn convert(input: &Path, out: &Path) -> Converted {
    convert_with(&job(input, out))
}

pub fn convert_with(job: &ConvertJob) -> Converted {
    let events = Mutex::new(Vec::new());
    let emit = |event: Event| events.lock().unwrap().push(event);
    let result = data_convert::run(job, &AtomicBool::new(false), &emit);
    Converted { out: job.out.clone(), result, events: events.into_inner().unwrap() }
}

impl Converted {
    pub fn finding(&self, code: &str) -> &Finding {
        let found = self.events.iter().find_map(|e| match e {
            Event::Finding(f) if f.code == code => Some(f),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no finding {code} in {:?}", self.events))
    }

    /// All records, training first.
    pub fn records(&self) -> Vec<Value> {
        let read = |set: &str| -> Vec<Value> {
            fs::read(self.out.join(set)).map(|b| serde_json::from_slice(&b).unwrap()).unwrap_or_default()
        };
        [read("mllm_train_data.json"), read("mllm_val_data.json")].concat()
    }

    /// The picture's path in the record of this id.
    pub fn picture_name(&self, id: &str) -> String {
        let record = self.records().into_iter().find(|r| r["id"] == id).unwrap();
        record["images"][0].as_str().unwrap().to_string()
    }

    pub fn picture_bytes(&self, id: &str) -> Vec<u8> {
        fs::read(self.out.join(self.picture_name(id))).unwrap()
    }
}

/// The files under `dir` that a user sees: not what an interrupted conversion left to go on from.
pub fn visible(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    tree(dir).into_iter().filter(|(path, _)| !path.to_string_lossy().starts_with(".lorascope")).collect()
}

/// Every file under `dir` with its content.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let below = tree(&path);
            files.extend(below.into_iter().map(|(p, b)| (Path::new(path.file_name().unwrap()).join(p), b)));
        } else {
            files.insert(path.file_name().unwrap().into(), fs::read(&path).unwrap());
        }
    }
    files
}

/// The picture's bytes in row `row` of a file of the collection.
pub fn image_of(name: &str, row: usize) -> Vec<u8> {
    let mut batches = ParquetRecordBatchReader::try_new(File::open(fixture(name)).unwrap(), 1024).unwrap();
    let batch = batches.next().unwrap().unwrap();
    let image = batch.column_by_name("image").unwrap().as_struct().column_by_name("bytes").unwrap().clone();
    image.as_binary::<i32>().value(row).to_vec()
}

/// A small grey picture; `n` makes it one of its own.
pub fn png(n: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = image::GrayImage::from_fn(36, 30, |x, y| image::Luma([(x * 9 + y * 5 + n * 3) as u8]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Id, picture, caption of a row.
pub type Row<'a> = (Option<&'a str>, Option<Vec<u8>>, Option<&'a str>);

/// Writes rows as Hugging Face does, `group` rows to a row group.
pub fn write_parquet(path: &Path, rows: &[Row], group: usize) {
    let mut images = BinaryBuilder::new();
    rows.iter().for_each(|(_, image, _)| images.append_option(image.as_ref()));
    let bytes: ArrayRef = Arc::new(images.finish());
    let paths: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; rows.len()]));
    let field =
        |name: &str, a: &ArrayRef| Arc::new(arrow_schema::Field::new(name, a.data_type().clone(), true));
    let image = StructArray::from(vec![
        (field("bytes", &bytes), bytes.clone()),
        (field("path", &paths), paths.clone()),
    ]);
    let ids: ArrayRef = Arc::new(rows.iter().map(|r| r.0).collect::<StringArray>());
    let captions: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<StringArray>());
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("image", Arc::new(image) as ArrayRef, true),
        ("id", ids, true),
        ("caption", captions, true),
    ])
    .unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// `n` good rows of different pictures with the ids `id0`, `id1`, ...
pub fn good_rows(path: &Path, n: u32, group: usize) {
    let ids: Vec<String> = (0..n).map(|i| format!("id{i}")).collect();
    let rows: Vec<Row> =
        (0..n).map(|i| (Some(ids[i as usize].as_str()), Some(png(i)), Some("A scan."))).collect();
    write_parquet(path, &rows, group);
}

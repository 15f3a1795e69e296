//! Rows read one by one: from JSON with and without an index on disk, and from parquet.

use super::fixture::{convert_with, job, png};
use arrow_array::builder::{BinaryBuilder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Fields};
use lorascope::data::reader::Reader;
use lorascope::data::registry::{self, Captions, Entry};
use lorascope::data::{ImageRef, Sample, dataset, picture};
use lorascope::error::Kind;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

const INDEX: &str = ".set.json.lorascope-index";

/// A data folder with the data set `set` in `set.json`.
fn folder(content: &[u8]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    registry::register(temp.path(), "set", &Entry::sharegpt("set.json")).unwrap();
    fs::write(temp.path().join("set.json"), content).unwrap();
    temp
}

fn row(i: usize) -> Value {
    let answer = format!("肺 \"quoted\" {{[ {i} {}", "x".repeat(i % 997 * 3));
    json!({"conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": answer}], "id": i})
}

/// Big enough for an index on disk.
fn big() -> Vec<Value> {
    (0..4000).map(row).collect()
}

fn open(dir: &Path) -> Reader {
    Reader::open(dir, "set", None).unwrap()
}

fn answers(reader: &Reader, rows: &[usize]) -> Vec<String> {
    rows.iter().map(|r| reader.sample(*r).unwrap().messages[1].content.clone()).collect()
}

#[test]
fn an_index_is_made_once_and_gives_the_same_rows() {
    let rows = big();
    let temp = folder(&serde_json::to_vec_pretty(&rows).unwrap());
    let told = Mutex::new(Vec::new());
    let progress = |done, total| told.lock().unwrap().push((done, total));
    let go = AtomicBool::new(false);
    let reader = Reader::open_with(temp.path(), "set", None, &progress, &go).unwrap();
    let size = fs::metadata(temp.path().join("set.json")).unwrap().len();
    let first = std::mem::take(&mut *told.lock().unwrap());
    assert!(first.len() > 3 && first.is_sorted() && first.last() == Some(&(size, size)));
    let again = Reader::open_with(temp.path(), "set", None, &progress, &go).unwrap();
    assert_eq!(told.lock().unwrap().len(), 1, "the second time nothing is searched");
    assert!(temp.path().join(INDEX).exists());
    let places = [0, 1, 2500, 3999];
    let expected: Vec<&str> =
        places.iter().map(|p| rows[*p]["conversations"][1]["value"].as_str().unwrap()).collect();
    for reader in [reader, again] {
        assert_eq!(reader.len(), 4000);
        assert!(answers(&reader, &places) == expected);
        assert_eq!(reader.sample(7).unwrap().id, "7");
    }
}

#[test]
fn an_index_is_not_believed_for_another_file() {
    let temp = folder(&serde_json::to_vec(&big()).unwrap());
    let path = temp.path().join("set.json");
    assert_eq!(open(temp.path()).len(), 4000);
    let when = fs::metadata(&path).unwrap().modified().unwrap();
    // The same size and time, another head.
    let mut text = fs::read_to_string(&path).unwrap();
    text = text.replacen("{[ 0 ", "{[ 9 ", 1);
    fs::write(&path, &text).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(when).unwrap();
    let before = fs::read(temp.path().join(INDEX)).unwrap();
    assert!(open(temp.path()).sample(0).unwrap().messages[1].content.contains("{[ 9"));
    assert!(fs::read(temp.path().join(INDEX)).unwrap() != before, "the index is made anew");
    // A torn or foreign index.
    for broken in [&before[..before.len() - 5], b"something else"] {
        fs::write(temp.path().join(INDEX), broken).unwrap();
        assert_eq!(open(temp.path()).len(), 4000);
    }
    // An index that cannot be written stays in memory.
    fs::remove_file(temp.path().join(INDEX)).unwrap();
    fs::create_dir(temp.path().join(INDEX)).unwrap();
    assert_eq!(open(temp.path()).sample(3999).unwrap().id, "3999");
}

#[test]
fn a_search_can_be_stopped() {
    let temp = folder(&serde_json::to_vec(&big()).unwrap());
    let error = Reader::open_with(temp.path(), "set", None, &|_, _| (), &AtomicBool::new(true)).unwrap_err();
    assert_eq!(error.kind, Kind::Stopped);
}

#[test]
fn malformed_files_are_told_with_line_and_column() {
    let cases: [(&[u8], &str); 6] = [
        (b"[{\"a\": 1},\n {\"b\": }]", "malformed JSON at line 2, column 8: expected value"),
        (b"[{\"a\": 1},\n", "malformed JSON at line 2, column 0: EOF while parsing a value"),
        (b"{\"a\": 1}\n{\"a\"\n", "malformed JSON at line 3, column 0: EOF while parsing an object"),
        (b"[{}] x", "malformed JSON at line 1, column 6: trailing characters"),
        (b"[{\"a\": 1}\n{\"b\": 2}]", "malformed JSON at line 2, column 1: expected `,` or `]`"),
        (b"[\n{\"a\": \"\xFF\"}]", "not UTF-8 text at line 2, column 8"),
    ];
    for (content, message) in cases {
        let temp = folder(content);
        let error = Reader::open(temp.path(), "set", None).unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }
    // Only the parser sees this; the row is named where it is.
    let temp = folder(b"[{},\n  {\"id\": \"\\ud800\"}]");
    let error = open(temp.path()).sample(1).unwrap_err();
    assert!(error.message.contains("malformed JSON at line 2, column"), "{error}");
}

#[test]
fn a_row_that_cannot_be_used_says_why() {
    let rows = json!([row(0), {"conversations": [{"from": "user", "value": "q"}]}, 3]);
    let temp = folder(rows.to_string().as_bytes());
    let reader = open(temp.path());
    let error = reader.sample(1).unwrap_err();
    assert_eq!(error.message, "row 1 cannot be used: the talk does not end with an answer: 1 turns");
    assert!(error.hint.is_some() && reader.sample(2).is_err());
}

#[test]
fn the_text_of_a_row_has_no_field_names_and_roles() {
    let line = r#"{"conversations": [{"from": "user", "value": "<image>wo?"}, {"from": "assistant", "value": "左肺\nA"}], "images": ["a.png"]}"#;
    let temp = folder(format!("[{line}]").as_bytes());
    assert_eq!(open(temp.path()).text_of(0).unwrap(), "<image>wo?\n左肺\nA\na.png");
}

/// Rows of pictures with captions in two files of small row groups.
fn captioned(dir: &Path) -> PathBuf {
    let folder = dir.join("scans");
    fs::create_dir(&folder).unwrap();
    for (file, from) in [("a.parquet", 0), ("b.parquet", 7)] {
        let mut image = StructBuilder::from_fields(picture_fields(), 7);
        let (mut id, mut caption) = (StringBuilder::new(), StringBuilder::new());
        for i in from..from + 7 {
            put(&mut image, Some(&png(i)), None);
            id.append_value(format!("case-{i}"));
            caption.append_value(format!("finding {i}"));
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("image", Arc::new(image.finish())),
            ("id", Arc::new(id.finish())),
            ("caption", Arc::new(caption.finish())),
        ];
        write(&folder.join(file), columns, 3);
    }
    folder
}

fn picture_fields() -> Fields {
    vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)].into()
}

fn put(image: &mut StructBuilder, bytes: Option<&[u8]>, path: Option<&str>) {
    image.field_builder::<BinaryBuilder>(0).unwrap().append_option(bytes);
    image.field_builder::<StringBuilder>(1).unwrap().append_option(path);
    image.append(true);
}

fn write<const N: usize>(path: &Path, columns: [(&str, ArrayRef); N], group: usize) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let options = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(options)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn bytes(sample: &Sample) -> Vec<u8> {
    sample.images[0].bytes().unwrap().to_vec()
}

#[test]
fn captions_in_parquet_are_what_their_conversion_is() {
    let temp = tempfile::tempdir().unwrap();
    let folder = captioned(temp.path());
    let mut conversion = job(&folder, &temp.path().join("converted"));
    conversion.question = "what is it?".into();
    convert_with(&conversion).result.unwrap();
    let captions = Captions { question: "what is it?".into(), ..Captions::default() };
    registry::register(temp.path(), "set", &Entry::captioned("scans", captions)).unwrap();
    let direct = dataset::load(temp.path(), "set", None).unwrap();
    assert_eq!((direct.rows, direct.samples.len(), direct.findings.len()), (14, 14, 0));
    let mut converted: Vec<Sample> = Vec::new();
    for name in ["mllm_train_data", "mllm_val_data"] {
        converted.extend(dataset::load(&temp.path().join("converted"), name, None).unwrap().samples);
    }
    for sample in &direct.samples {
        let same = converted.iter().find(|s| s.id == sample.id).unwrap();
        assert_eq!((&same.messages, &same.system), (&sample.messages, &sample.system));
        assert!(bytes(same) == bytes(sample), "{}", sample.id);
    }
    let reader = open(temp.path());
    assert_eq!(reader.text_of(9).unwrap(), "case-9\nfinding 9");
    // Backwards and from many threads: each gets its own picture.
    std::thread::scope(|scope| {
        for start in 0..4 {
            let (reader, direct) = (&reader, &direct);
            scope.spawn(move || {
                for row in (start..14).rev() {
                    assert!(bytes(&reader.sample(row).unwrap()) == bytes(&direct.samples[row]));
                    assert!(bytes(&direct.samples[row]) == png(row as u32));
                }
            });
        }
    });
}

#[test]
fn a_picture_in_parquet_has_a_name_by_which_it_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let folder = captioned(temp.path());
    registry::register(temp.path(), "set", &Entry::captioned("scans/*.parquet", Captions::default()))
        .unwrap();
    let image = open(temp.path()).sample(9).unwrap().images[0].clone();
    let name = picture::name(&image);
    assert_eq!(name, format!("{}#image:2", folder.join("b.parquet").display()));
    assert_eq!(ImageRef::named(name.into()).unwrap(), image);
    let gone = format!("{}#image:7", folder.join("b.parquet").display());
    assert!(ImageRef::named(gone.into()).unwrap_err().hint.unwrap().contains("7 rows"));
    assert_eq!(ImageRef::named("a#b.png".into()).unwrap(), ImageRef::Path("a#b.png".into()));
}

#[test]
fn bad_rows_of_captions_are_left_out_by_reason() {
    let temp = tempfile::tempdir().unwrap();
    let mut image = StructBuilder::from_fields(picture_fields(), 4);
    let mut caption = StringBuilder::new();
    for (bytes, path, text) in [
        (Some(png(1)), None, Some("good")),
        (None, None, Some("no picture")),
        (None, Some("gone.png"), Some("no file")),
        (Some(png(2)), None, None),
        (Some(png(2)), None, Some(" ")),
    ] {
        put(&mut image, bytes.as_deref(), path);
        caption.append_option(text);
    }
    let columns: [(&str, ArrayRef); 2] =
        [("image", Arc::new(image.finish())), ("caption", Arc::new(caption.finish()))];
    write(&temp.path().join("set.parquet"), columns, 2);
    registry::register(temp.path(), "set", &Entry::captioned("set.parquet", Captions::default())).unwrap();
    let set = dataset::load(temp.path(), "set", None).unwrap();
    assert_eq!(set.samples.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["set-0"]);
    let found: Vec<_> = set.findings.iter().map(|f| (f.code.as_str(), f.rows.clone())).collect();
    assert_eq!(found, [("no_caption", vec![3, 4]), ("no_picture", vec![1]), ("missing_picture", vec![2])]);
}

/// As the `datasets` library writes ShareGPT rows with pictures.
#[test]
fn sharegpt_parquet_with_pictures_inside() {
    let temp = tempfile::tempdir().unwrap();
    let turn: Fields =
        vec![Field::new("from", DataType::Utf8, true), Field::new("value", DataType::Utf8, true)].into();
    let mut talks = ListBuilder::new(StructBuilder::from_fields(turn, 8));
    let mut images = ListBuilder::new(StructBuilder::from_fields(picture_fields(), 8));
    for row in 0..5usize {
        for (from, value) in
            [("user", format!("{}which?", "<image>".repeat(row))), ("assistant", format!("a{row}"))]
        {
            let one = talks.values();
            one.field_builder::<StringBuilder>(0).unwrap().append_value(from);
            one.field_builder::<StringBuilder>(1).unwrap().append_value(value);
            one.append(true);
        }
        talks.append(true);
        (0..row).for_each(|place| put(images.values(), Some(&png((row * 10 + place) as u32)), Some("x.png")));
        images.append(true);
    }
    let columns: [(&str, ArrayRef); 2] =
        [("conversations", Arc::new(talks.finish())), ("images", Arc::new(images.finish()))];
    write(&temp.path().join("set.parquet"), columns, 2);
    registry::register(temp.path(), "set", &Entry::sharegpt("set.parquet")).unwrap();
    let set = dataset::load(temp.path(), "set", None).unwrap();
    assert_eq!((set.samples.len(), set.findings.len()), (5, 0), "{:?}", set.findings);
    for (row, sample) in set.samples.iter().enumerate() {
        assert_eq!((sample.images.len(), &*sample.messages[1].content), (row, &*format!("a{row}")));
        for (place, image) in sample.images.iter().enumerate() {
            assert!(*image.bytes().unwrap() == *png((row * 10 + place) as u32), "row {row}, picture {place}");
        }
    }
}

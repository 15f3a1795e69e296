//! What the options of a conversion do: names, rows taken, formats, sub-folders, columns, paths, groups.

use super::fixture::{Converted, Row, convert_with, good_rows, job, png, tree, write_parquet};
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use lorascope::data::{dataset, registry::Registry};
use lorascope::error::Kind;
use lorascope::job::{ConvertJob, RowFormat};
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `n` rows with the ids `id0`, ... whose pictures are number `from`, ...
fn rows_from(path: &Path, n: u32, from: u32) {
    let ids: Vec<String> = (0..n).map(|i| format!("id{i}")).collect();
    let rows: Vec<Row> =
        (0..n).map(|i| (Some(ids[i as usize].as_str()), Some(png(from + i)), Some("x"))).collect();
    write_parquet(path, &rows, 4);
}

fn named(input: &Path, out: &Path, name: &str) -> ConvertJob {
    ConvertJob { names: [name.into(), format!("{name}_val")], val_ratio: 0.0, ..job(input, out) }
}

/// Each record's id and the bytes of its picture.
fn pictures(out: &Path, name: &str) -> BTreeMap<String, Vec<u8>> {
    let records: Vec<Value> =
        serde_json::from_slice(&fs::read(out.join(format!("{name}.json"))).unwrap()).unwrap();
    let picture = |r: &Value| fs::read(out.join(r["images"][0].as_str().unwrap())).unwrap();
    records.iter().map(|r| (r["id"].as_str().unwrap().into(), picture(r))).collect()
}

#[test]
fn conversions_under_other_names_never_take_each_others_pictures() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let (a, b) = (temp.path().join("a.parquet"), temp.path().join("b.parquet"));
    rows_from(&a, 6, 0);
    rows_from(&b, 6, 100);
    assert!(convert_with(&named(&a, &out, "a")).result.is_ok());
    let first = pictures(&out, "a");
    let done = convert_with(&named(&b, &out, "b")).result.unwrap();
    assert_eq!(done["notices"]["taken_name"], 6);
    assert_eq!(pictures(&out, "a"), first);
    let second = pictures(&out, "b");
    assert!((0..6).all(|i| second[&format!("id{i}")] == png(100 + i)));

    // Again, in any order: nothing changes, no second numbers.
    let before = tree(&out);
    for (input, name) in [(&a, "a"), (&b, "b"), (&a, "a")] {
        convert_with(&named(input, &out, name)).result.unwrap();
        let after = tree(&out);
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        assert!(after == before, "{name}");
    }

    // Other pictures under the same ids replace a's own, and not b's.
    rows_from(&a, 3, 50);
    let done = convert_with(&named(&a, &out, "a"));
    assert!(pictures(&out, "a")["id2"] == png(52) && pictures(&out, "b") == second);
    assert_eq!(done.finding("orphan_pictures").count, 3);
    let pruned = ConvertJob { prune: true, ..named(&a, &out, "a") };
    assert!(convert_with(&pruned).finding("orphan_pictures").message.contains("removed"));
    assert_eq!(fs::read_dir(out.join("mllm_data")).unwrap().count(), 9);
    assert!(pictures(&out, "b") == second);
}

#[test]
fn a_file_that_nobody_registered_is_not_overwritten() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    rows_from(&input, 2, 0);
    fs::create_dir(temp.path().join("mllm_data")).unwrap();
    fs::write(temp.path().join("mllm_data/id0.png"), b"mine").unwrap();
    fs::write(temp.path().join("mllm_data/id1.png"), png(1)).unwrap();
    let done = convert_with(&named(&input, temp.path(), "a")).result.unwrap();
    assert_eq!(done["notices"]["taken_name"], 1);
    assert_eq!(fs::read(temp.path().join("mllm_data/id0.png")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(temp.path().join("mllm_data")).unwrap().count(), 3);
}

fn ids(done: &Converted) -> Vec<String> {
    done.records().iter().map(|r| r["id"].as_str().unwrap().to_string()).collect()
}

#[test]
fn the_first_rows_or_drawn_ones() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    good_rows(&input, 60, 7);
    let with = |limit, sample, seed| {
        let out = temp.path().join(format!("{limit:?}{sample:?}{seed}"));
        convert_with(&ConvertJob { limit, sample, seed, val_ratio: 0.0, ..job(&input, &out) })
    };
    assert_eq!(ids(&with(Some(3), None, 1)), ["id0", "id1", "id2"]);
    assert_eq!(ids(&with(Some(99), None, 1)).len(), 60);
    let drawn = ids(&with(None, Some(9), 1));
    assert_eq!(drawn.len(), 9);
    assert_ne!(drawn, ids(&with(None, Some(9), 2)));
    let row = |id: &String| id[2..].parse::<u32>().unwrap();
    assert!(drawn.is_sorted_by_key(row) && drawn.iter().any(|id| row(id) > 20));
    assert_eq!(with(Some(1), Some(1), 1).result.unwrap_err().kind, Kind::Usage);
    assert_eq!(with(Some(0), None, 1).result.unwrap_err().kind, Kind::Usage);
}

#[test]
fn json_lines_replace_the_array_and_back() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    good_rows(&input, 10, 7);
    let with = |format| convert_with(&ConvertJob { format, ..job(&input, temp.path()) }).result.unwrap();
    with(RowFormat::Json);
    let array = pictures(temp.path(), "mllm_train_data");
    with(RowFormat::Jsonl);
    assert!(!temp.path().join("mllm_train_data.json").exists());
    let text = fs::read_to_string(temp.path().join("mllm_train_data.jsonl")).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() == 8 && rows.iter().all(|row| array.contains_key(row["id"].as_str().unwrap())));
    let set = dataset::load(temp.path(), "mllm_train_data", None).unwrap();
    assert_eq!((set.samples.len(), set.findings.len()), (8, 0));
    with(RowFormat::Json);
    assert!(!temp.path().join("mllm_train_data.jsonl").exists());
    assert_eq!(pictures(temp.path(), "mllm_train_data"), array);
}

#[test]
fn sub_folders_hold_so_many_pictures_and_no_more() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    good_rows(&input, 23, 7);
    let job = ConvertJob { shard_pictures: Some(10), ..job(&input, temp.path()) };
    let done = convert_with(&job);
    assert!(done.result.is_ok());
    let counts: Vec<usize> = (0..3)
        .map(|i| temp.path().join(format!("mllm_data/mllm_train_data-{i:05}")))
        .map(|dir| fs::read_dir(dir).unwrap().count())
        .collect();
    assert_eq!(counts, [10, 10, 3]);
    assert_eq!(done.picture_name("id11"), "mllm_data/mllm_train_data-00001/id11.png");
    assert_eq!(done.picture_bytes("id11"), png(11));
    let before = tree(temp.path());
    convert_with(&job).result.unwrap();
    assert!(tree(temp.path()) == before);
}

#[test]
fn a_picture_above_the_limit_is_refused_by_its_header() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    // A header that claims 60,000 x 60,000 pixels; the pixels are not there.
    let mut huge = png(0);
    huge[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    huge[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let crc = crc(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.to_be_bytes());
    write_parquet(&input, &[(None, Some(png(1)), Some("x")), (None, Some(huge), Some("x"))], 10);
    let done = convert_with(&job(&input, &temp.path().join("out"))).result.unwrap();
    assert_eq!(done["skipped"], serde_json::json!({ "total": 1, "picture_too_large": 1 }));
    let strict = ConvertJob { max_pixels: 16 * 12 - 1, ..job(&input, &temp.path().join("none")) };
    let error = convert_with(&strict).result.unwrap_err();
    assert!(error.message.contains("2 × the picture is too large"), "{error}");
}

/// CRC-32 as PNG has it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn write(path: &Path, image: ArrayRef, more: &[(&str, ArrayRef)]) {
    let captions: ArrayRef = Arc::new(StringArray::from(vec!["x"; image.len()]));
    let mut columns = vec![("image", image), ("caption", captions)];
    columns.extend(more.iter().map(|(name, array)| (*name, array.clone())));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn every_type_that_holds_bytes_is_read() {
    let temp = tempfile::tempdir().unwrap();
    let bytes: Vec<Vec<u8>> = (0..3).map(png).collect();
    let plain: ArrayRef = Arc::new(BinaryArray::from_iter_values(&bytes));
    let cast = |to: DataType| arrow_cast::cast(&plain, &to).unwrap();
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary));
    let structs = StructArray::from(vec![(
        Arc::new(Field::new("bytes", DataType::LargeBinary, true)),
        cast(DataType::LargeBinary),
    )]);
    let arrays: [(&str, ArrayRef); 5] = [
        ("binary", plain.clone()),
        ("large", cast(DataType::LargeBinary)),
        ("view", cast(DataType::BinaryView)),
        ("dictionary", cast(dictionary)),
        ("struct", Arc::new(structs)),
    ];
    for (name, array) in arrays {
        let dir = temp.path().join(name);
        fs::create_dir(&dir).unwrap();
        write(&dir.join("in.parquet"), array, &[]);
        let done = convert_with(&job(&dir.join("in.parquet"), &dir.join("out")));
        assert_eq!(done.result.as_ref().unwrap()["kept"], 3, "{name}");
        assert_eq!(done.picture_bytes("in-1"), bytes[1], "{name}");
    }
}

/// Paths: inside, inside by a detour, outside, by a link, a folder, nothing there, empty, absolute.
#[cfg(unix)]
#[test]
fn paths_lead_to_pictures_below_the_named_folder_only() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir_all(root.join("deep")).unwrap();
    fs::write(root.join("deep/a.png"), png(0)).unwrap();
    fs::write(root.join("b.png"), png(1)).unwrap();
    fs::write(root.join("empty.png"), b"").unwrap();
    fs::write(temp.path().join("secret.png"), png(2)).unwrap();
    std::os::unix::fs::symlink(temp.path().join("secret.png"), root.join("link.png")).unwrap();
    let absolute = root.join("b.png").to_str().unwrap().to_string();
    let outside = temp.path().join("secret.png").to_str().unwrap().to_string();
    let paths = [
        "deep/a.png",
        "deep/../b.png",
        &absolute,
        "../secret.png",
        &outside,
        "link.png",
        "deep",
        "none.png",
        "empty.png",
        "a\0b",
    ];
    let texts: ArrayRef = Arc::new(StringArray::from(paths.to_vec()));
    let structs =
        StructArray::from(vec![(Arc::new(Field::new("path", DataType::Utf8, true)), texts.clone())]);
    for (name, array) in [("text", texts), ("struct", Arc::new(structs) as ArrayRef)] {
        let input = temp.path().join(format!("{name}.parquet"));
        write(&input, array, &[]);
        let out = temp.path().join(name);
        let without = convert_with(&job(&input, &out));
        assert_eq!(without.result.unwrap_err().kind, Kind::Input);
        let with = ConvertJob { image_root: Some(root.clone()), ..job(&input, &out) };
        let done = convert_with(&with);
        let summary = done.result.as_ref().unwrap();
        let skipped = serde_json::json!({ "total": 7, "no_image_bytes": 1, "path_outside": 6 });
        assert_eq!((&summary["kept"], &summary["skipped"]), (&3.into(), &skipped), "{name}");
        assert_eq!(done.picture_bytes(&format!("{name}-2")), png(1));
    }
}

#[test]
fn groups_stay_on_one_side() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    let rows = 60u32;
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..rows).map(png)));
    let patient = |i: u32| i % 9;
    let patients: ArrayRef =
        Arc::new(arrow_array::Int64Array::from_iter_values((0..rows).map(|i| i64::from(patient(i)))));
    write(&input, images, &[("patient", patients)]);
    for seed in 0..5 {
        let out = temp.path().join(seed.to_string());
        let group_column = Some("patient".into());
        let done = convert_with(&ConvertJob { seed, group_column, val_ratio: 0.3, ..job(&input, &out) });
        assert!((1..=18).contains(&done.result.as_ref().unwrap()["val"].as_u64().unwrap()));
        let side = |set: &str| -> Vec<u32> {
            let row = |id: &String| patient(id.trim_start_matches("in-").parse().unwrap());
            pictures(&out, set).keys().map(row).collect()
        };
        let (train, val) = (side("mllm_train_data"), side("mllm_val_data"));
        assert!(!val.is_empty() && val.iter().all(|patient| !train.contains(patient)), "{seed}");
    }
    let bad = ConvertJob { group_column: Some("none".into()), ..job(&input, &temp.path().join("x")) };
    let error = convert_with(&bad).result.unwrap_err();
    assert!(error.hint.unwrap().contains("--group-column NAME"));
}

#[test]
fn repeated_pictures_are_told_and_on_one_side() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    let rows: Vec<Row> = (0..40).map(|i| (None, Some(png(i % 11)), Some("x"))).collect();
    write_parquet(&input, &rows, 7);
    let done = convert_with(&job(&input, &temp.path().join("out")));
    let leakage = serde_json::json!({ "repeated_pictures": 29, "on_both_sides": 0 });
    assert_eq!(done.result.as_ref().unwrap()["leakage"], leakage);
    assert_eq!(done.finding("duplicate_picture").count, 29);
    let bytes = |set: &str| pictures(&done.out, set).into_values().collect::<Vec<_>>();
    let (train, val) = (bytes("mllm_train_data"), bytes("mllm_val_data"));
    assert!(!val.is_empty() && val.iter().all(|picture| !train.contains(picture)));
}

/// More files than a process may have open.
#[test]
fn thousands_of_files_are_read_one_after_another() {
    let temp = tempfile::tempdir().unwrap();
    let shards = temp.path().join("shards");
    fs::create_dir(&shards).unwrap();
    good_rows(&shards.join("00000.parquet"), 1, 1);
    let first = fs::read(shards.join("00000.parquet")).unwrap();
    for i in 1..1500 {
        fs::write(shards.join(format!("{i:05}.parquet")), &first).unwrap();
    }
    let pattern: PathBuf = shards.join("0[01]*.parquet");
    let done = convert_with(&ConvertJob { val_ratio: 0.0, ..job(&pattern, &temp.path().join("out")) });
    let summary = done.result.unwrap();
    assert_eq!((&summary["kept"], &summary["notices"]["duplicate_id"]), (&1500.into(), &1499.into()));
    assert_eq!(Registry::open(&temp.path().join("out")).unwrap().names(), ["mllm_train_data"]);
}

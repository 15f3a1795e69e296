//! Conversions that meet hostile ids, damaged shards, links, a stop, or an earlier conversion.

use super::fixture::{Row, convert, convert_with, fixture, good_rows, job, png, tree, write_parquet};
use lorascope::data::registry::Registry;
use lorascope::error::Kind;
use lorascope::job::Level;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

#[test]
fn hostile_ids_stay_inside_the_folder_and_overwrite_nothing() {
    let long = "x".repeat(300);
    let ids = [
        "../../escape",
        "/etc/passwd",
        "a\0b",
        "a\nb",
        "con",
        "COM1",
        ".hidden",
        "..",
        ".",
        "",
        " ",
        &long,
        "same",
        "same",
        "SAME",
        "same-2",
        "café",
        "cafe\u{301}",
        "\u{202E}gnp.exe",
        "-rf",
        "a/../../b",
        "C:\\x",
        "~root",
    ];
    let temp = tempfile::tempdir().unwrap();
    let (input, out) = (temp.path().join("in.parquet"), temp.path().join("deep/out"));
    let rows: Vec<Row> =
        ids.iter().enumerate().map(|(i, id)| (Some(*id), Some(png(i as u32)), Some("x"))).collect();
    write_parquet(&input, &rows, 100);
    let done = convert(&input, &out);
    assert_eq!(done.result.as_ref().unwrap()["kept"], ids.len());
    let written = tree(temp.path());
    assert!(written.keys().all(|p| p == Path::new("in.parquet") || p.starts_with("deep/out")));
    let pictures: Vec<_> = written.keys().filter(|p| p.starts_with("deep/out/mllm_data")).collect();
    assert_eq!(pictures.len(), ids.len());
    for path in pictures {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(path.components().count() == 4 && name.len() < 140, "{name}");
        assert!(
            !name.starts_with(['.', '-', ' ']) && !name.contains(['\\', ':', '\0', '\n', '\u{202E}']),
            "{name:?}"
        );
    }
    // Each record has its own picture, and the original id.
    for (i, id) in ids.iter().enumerate() {
        let wanted = if id.is_empty() { format!("in-{i}") } else { (*id).to_string() };
        let mine = done.records().into_iter().filter(|r| r["id"] == wanted.as_str());
        assert!(
            mine.map(|r| fs::read(out.join(r["images"][0].as_str().unwrap())).unwrap())
                .any(|b| b == png(i as u32))
        );
    }
}

#[test]
fn a_second_run_changes_nothing_and_the_seed_decides_the_split() {
    let temp = tempfile::tempdir().unwrap();
    let input = fixture("thousand_rows.parquet");
    let first = convert(&input, temp.path());
    assert_eq!(first.result.unwrap()["val"], 200);
    let before = tree(temp.path());
    convert(&input, temp.path()).result.unwrap();
    assert_eq!(tree(temp.path()), before);

    let mut other = job(&input, temp.path());
    other.seed = 7;
    convert_with(&other).result.unwrap();
    assert_ne!(tree(temp.path())[Path::new("mllm_val_data.json")], before[Path::new("mllm_val_data.json")]);
}

#[test]
fn a_validation_set_that_is_no_longer_wanted_goes() {
    let temp = tempfile::tempdir().unwrap();
    let mut job = job(&fixture("many_row_groups.parquet"), temp.path());
    assert_eq!(convert_with(&job).result.unwrap()["val"], 2);
    job.val_ratio = 0.0;
    let summary = convert_with(&job).result.unwrap();
    assert_eq!(
        (&summary["train"], &summary["val"], &summary["files"]["val"]),
        (&13.into(), &0.into(), &().into())
    );
    assert!(!temp.path().join("mllm_val_data.json").exists());
    assert_eq!(Registry::open(temp.path()).unwrap().names(), ["mllm_train_data"]);
}

#[test]
fn identical_pictures_are_on_one_side() {
    let temp = tempfile::tempdir().unwrap();
    let done = convert(&fixture("thousand_rows.parquet"), temp.path());
    let pictures = |set: &str| -> std::collections::HashSet<Vec<u8>> {
        let records: Vec<serde_json::Value> =
            serde_json::from_slice(&fs::read(done.out.join(set)).unwrap()).unwrap();
        records.iter().map(|r| fs::read(done.out.join(r["images"][0].as_str().unwrap())).unwrap()).collect()
    };
    let (train, val) = (pictures("mllm_train_data.json"), pictures("mllm_val_data.json"));
    assert_eq!((train.len() + val.len(), train.intersection(&val).count()), (20, 0));
}

#[test]
fn a_broken_shard_is_reported_loudly_and_spoils_no_other() {
    let temp = tempfile::tempdir().unwrap();
    let shards = temp.path().join("shards");
    fs::create_dir(&shards).unwrap();
    good_rows(&shards.join("a.parquet"), 3, 10);
    fs::copy(fixture("truncated_file.parquet"), shards.join("b.parquet")).unwrap();
    good_rows(&shards.join("c.parquet"), 4, 10);
    let done = convert(&shards, &temp.path().join("out"));
    let summary = done.result.as_ref().unwrap();
    assert_eq!((&summary["rows"], &summary["kept"]), (&7.into(), &7.into()));
    assert!(summary["broken_files"][0]["file"].as_str().unwrap().ends_with("b.parquet"));
    let finding = done.finding("broken_file");
    assert!(finding.level == Level::Error && finding.message.contains("1 of 3 files cannot be read"));

    let mut strict = job(&shards, &temp.path().join("strict"));
    strict.strict = true;
    assert_eq!(convert_with(&strict).result.unwrap_err().kind, Kind::Check);
    assert!(!temp.path().join("strict").exists());

    fs::remove_file(shards.join("a.parquet")).unwrap();
    fs::copy(fixture("zero_bytes.parquet"), shards.join("c.parquet")).unwrap();
    let error = convert(&shards, &temp.path().join("out2")).result.unwrap_err();
    assert!(error.message.contains("none of the 2 files can be read"), "{error}");
}

#[test]
fn a_damaged_row_group_loses_its_own_rows_only() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    good_rows(&input, 12, 4);
    let reader = SerializedFileReader::new(File::open(&input).unwrap()).unwrap();
    assert_eq!(reader.num_row_groups(), 3);
    let (start, length) = reader.metadata().row_group(1).column(0).byte_range();
    let mut bytes = fs::read(&input).unwrap();
    bytes[start as usize..(start + length) as usize].fill(0xFF);
    fs::write(&input, bytes).unwrap();

    let done = convert(&input, &temp.path().join("out"));
    let summary = done.result.as_ref().unwrap();
    assert_eq!((&summary["rows"], &summary["kept"]), (&12.into(), &8.into()));
    assert_eq!(summary["skipped"]["unreadable_rows"], 4);
    let finding = done.finding("unreadable_rows");
    assert_eq!((finding.level, &finding.rows[..]), (Level::Error, &[4, 5, 6, 7][..]));
    let mut ids: Vec<String> = done.records().iter().map(|r| r["id"].as_str().unwrap().into()).collect();
    ids.sort();
    assert_eq!(ids, ["id0", "id1", "id10", "id11", "id2", "id3", "id8", "id9"]);
}

/// A text column may hold bytes that are no text: that row is bad, not its whole batch.
#[test]
fn one_caption_that_is_not_utf8_is_one_bad_row() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    let schema =
        "message m { required binary image; required binary id (UTF8); required binary caption (UTF8); }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(&input).unwrap(), schema, Default::default()).unwrap();
    let columns: [Vec<Vec<u8>>; 3] = [
        (0..4).map(png).collect(),
        vec![b"a".to_vec(), b"b".to_vec(), b"\xFFc".to_vec(), b"d".to_vec()],
        vec![b"one".to_vec(), b"\xC3\x28".to_vec(), b"three".to_vec(), b"  \n".to_vec()],
    ];
    let mut group = writer.next_row_group().unwrap();
    for values in columns {
        let values: Vec<ByteArray> = values.into_iter().map(ByteArray::from).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();

    let done = convert(&input, &temp.path().join("out"));
    let summary = done.result.as_ref().unwrap();
    assert_eq!(
        summary["skipped"],
        serde_json::json!({ "total": 2, "empty_caption": 1, "caption_not_text": 1 })
    );
    assert_eq!(summary["notices"], serde_json::json!({ "id_not_text": 1 }));
    assert!(done.records().iter().any(|r| r["id"] == "in-2"));
}

#[test]
fn captions_that_would_count_as_pictures_are_skipped_and_control_tokens_told() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    let rows = ["fine", "an <image> of", "ends <|im_end|> here", "<video>"];
    let rows: Vec<Row> = rows.iter().zip(0..).map(|(c, i)| (None, Some(png(i)), Some(*c))).collect();
    write_parquet(&input, &rows, 10);
    let done = convert(&input, &temp.path().join("out"));
    let summary = done.result.as_ref().unwrap();
    assert_eq!(summary["skipped"]["media_mark_in_caption"], 2);
    assert_eq!(summary["notices"]["special_token"], 1);
}

#[test]
fn strict_refuses_a_bad_row_and_writes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let mut job = job(&fixture("truncated_jpeg.parquet"), &temp.path().join("out"));
    job.strict = true;
    let error = convert_with(&job).result.unwrap_err();
    assert!(error.kind == Kind::Check && error.message.contains("3 of 5 rows are bad"), "{error}");
    assert!(!job.out.exists());
    job.inputs = vec![fixture("many_row_groups.parquet")];
    assert_eq!(convert_with(&job).result.unwrap()["kept"], 13);
}

#[cfg(unix)]
#[test]
fn links_in_the_folder_are_not_followed_out_of_it() {
    use std::os::unix::fs::symlink;
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside");
    let out = temp.path().join("out");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(&out).unwrap();
    symlink(&outside, out.join("mllm_data")).unwrap();
    let input = temp.path().join("in.parquet");
    good_rows(&input, 3, 10);
    let error = convert(&input, &out).result.unwrap_err();
    assert!(error.message.contains("leads out of the output folder"), "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

    fs::remove_file(out.join("mllm_data")).unwrap();
    fs::create_dir(out.join("mllm_data")).unwrap();
    fs::write(outside.join("precious"), b"precious").unwrap();
    symlink(outside.join("precious"), out.join("mllm_data/id0.png")).unwrap();
    symlink(outside.join("precious"), out.join("mllm_train_data.json")).unwrap();
    convert(&input, &out).result.unwrap();
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"precious");
    assert_eq!(fs::read(out.join("mllm_data/id0.png")).unwrap(), png(0));
}

#[test]
fn wrong_settings_are_refused_before_anything_is_read() {
    let temp = tempfile::tempdir().unwrap();
    let good = job(&fixture("many_row_groups.parquet"), &temp.path().join("out"));
    for ratio in [-0.1, 1.0, f64::NAN] {
        let bad = lorascope::job::ConvertJob { val_ratio: ratio, ..good.clone() };
        assert_eq!(convert_with(&bad).result.unwrap_err().kind, Kind::Usage);
    }
    for names in [["../x", "y"], ["x", "x"], ["", "y"], [".x", "y"]] {
        let bad = lorascope::job::ConvertJob { names: names.map(String::from), ..good.clone() };
        assert_eq!(convert_with(&bad).result.unwrap_err().kind, Kind::Usage, "{names:?}");
    }
    let bad = lorascope::job::ConvertJob { question: "<image><image>".into(), ..good.clone() };
    assert_eq!(convert_with(&bad).result.unwrap_err().kind, Kind::Usage);
    for input in ["no/such.parquet", "no/*.parquet"] {
        let bad = lorascope::job::ConvertJob { inputs: vec![input.into()], ..good.clone() };
        assert!(convert_with(&bad).result.unwrap_err().message.contains(input));
    }
    assert!(!good.out.exists());
}

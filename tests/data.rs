//! From parquet to a registered, checked data set: every bad file of the collection, hostile ids, splits, the registry.
#![allow(clippy::unwrap_used)]

mod checks;
mod fixture;
mod mixing;
mod mutated;
mod options;
mod pictures;
mod resume;
mod robust;
mod sets;
mod source;

use fixture::{Converted, convert, convert_with, fixture, job, tree};
use lorascope::data::convert::picture_file;
use lorascope::data::convert::row_notes::Reason;
use lorascope::error::Kind;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;

/// Every entry of the collection: kept and skipped rows as its manifest says; nothing written where nothing is good.
#[test]
fn every_bad_file_is_handled_as_the_manifest_says() {
    let manifest: Vec<Value> = serde_json::from_slice(&fs::read(fixture("MANIFEST.json")).unwrap()).unwrap();
    assert_eq!(manifest.len(), 32);
    for entry in manifest {
        let name = entry["file"].as_str().unwrap();
        let (rows, good) = (entry["rows"].as_u64().unwrap(), entry["good_rows"].as_u64().unwrap());
        let temp = tempfile::tempdir().unwrap();
        let out = temp.path().join("out");
        let result = convert(&fixture(name), &out);
        if good == 0 {
            let error = result.result.unwrap_err();
            assert_eq!(error.kind, Kind::Input, "{name}: {error}");
            assert!(error.message.contains(name) && error.hint.is_some(), "{name}: {error}");
            assert!(!out.exists(), "{name}: something was written");
            continue;
        }
        let summary = result.result.unwrap();
        assert_eq!((&summary["rows"], &summary["kept"]), (&rows.into(), &good.into()), "{name}");
        assert_eq!(summary["skipped"]["total"], rows - good, "{name}");
        assert_sound(&out, good as usize, name);
    }
}

/// Both files parse, name each picture once, and every picture is 8-bit grey or RGB under its real extension.
fn assert_sound(out: &std::path::Path, kept: usize, name: &str) {
    let mut images = HashSet::new();
    for set in ["mllm_train_data", "mllm_val_data"] {
        let records: Vec<Value> =
            serde_json::from_slice(&fs::read(out.join(format!("{set}.json"))).unwrap()).unwrap();
        assert!(!records.is_empty(), "{name}: {set} is empty");
        for record in &records {
            let turns = record["conversations"].as_array().unwrap();
            assert_eq!(turns[0]["value"], "<image>图片中的诊断结果是怎样?");
            assert_eq!((&turns[0]["from"], &turns[1]["from"]), (&"user".into(), &"assistant".into()));
            assert!(!record["id"].as_str().unwrap().is_empty());
            assert!(
                images.insert(record["images"][0].as_str().unwrap().to_string()),
                "{name}: a picture twice"
            );
        }
    }
    assert_eq!(images.len(), kept, "{name}");
    assert_eq!(fs::read_dir(out.join("mllm_data")).unwrap().count(), kept, "{name}");
    for image in images {
        let bytes = fs::read(out.join(&image)).unwrap();
        let picture = picture_file::normalise(bytes.clone()).unwrap();
        assert!(image.ends_with(&format!(".{}", picture.extension)), "{name}: {image}");
        assert!(
            picture.bytes == bytes && picture.notices.is_empty(),
            "{name}: {image} is not in its final form"
        );
        let color = image::load_from_memory(&bytes).unwrap().color();
        assert!(
            matches!(color, image::ColorType::L8 | image::ColorType::Rgb8),
            "{name}: {image} is {color:?}"
        );
    }
}

#[test]
fn skipped_rows_are_counted_by_reason_and_listed() {
    let cases: [(&str, &[(usize, Reason)]); 3] = [
        ("null_image.parquet", &[(1, Reason::NoImageBytes), (2, Reason::NoImageBytes)]),
        (
            "truncated_jpeg.parquet",
            &[(1, Reason::TruncatedPicture), (2, Reason::TruncatedPicture), (3, Reason::TruncatedPicture)],
        ),
        ("bad_png_crc_and_trailing.parquet", &[(1, Reason::BrokenPicture), (3, Reason::UnknownFormat)]),
    ];
    for (name, expected) in cases {
        let temp = tempfile::tempdir().unwrap();
        let done = convert(&fixture(name), temp.path());
        let summary = done.result.as_ref().unwrap();
        let report: Value =
            serde_json::from_slice(&fs::read(temp.path().join("convert_report.json")).unwrap()).unwrap();
        let results = report["results"].as_array().unwrap();
        assert_eq!(results.len(), expected.len(), "{name}");
        for (result, (row, reason)) in results.iter().zip(expected) {
            assert_eq!(
                (&result["row"], &result["skipped"]),
                (&(*row).into(), &reason.code().into()),
                "{name}"
            );
            assert_eq!(result["id"], format!("row-{row:04}"));
            let count = expected.iter().filter(|(_, r)| r == reason).count();
            assert_eq!(summary["skipped"][reason.code()], count);
            let finding = done.finding(reason.code());
            assert_eq!(finding.count, count);
            assert!(finding.rows.contains(row) && finding.message.contains("skipped"), "{}", finding.message);
        }
    }
}

#[test]
fn faults_of_a_file_say_what_it_is_and_what_to_do() {
    let cases = [
        ("truncated_file.parquet", "not a complete parquet file (no footer)"),
        ("not_parquet.parquet", "a Git LFS pointer, not the data"),
        ("html_login_page.parquet", "HTML, not parquet (gated data set?)"),
        ("zero_bytes.parquet", "empty file (0 bytes)"),
        ("empty.parquet", "0 rows in"),
        ("missing_caption.parquet", "missing column `caption`; found: image, id"),
        ("wrong_columns.parquet", "missing columns `image`, `caption`; found: img, uid, text"),
        ("int_id_list_caption.parquet", "column `caption` has type List(Utf8"),
        ("image_path_only.parquet", "none of the 2 rows can be used: 2 × no embedded bytes"),
    ];
    for (name, part) in cases {
        let temp = tempfile::tempdir().unwrap();
        let error = convert(&fixture(name), &temp.path().join("out")).result.unwrap_err();
        assert!(error.message.contains(part), "{name}: {error}");
    }
    let temp = tempfile::tempdir().unwrap();
    let error = convert(&fixture("wrong_columns.parquet"), temp.path()).result.unwrap_err();
    assert_eq!(error.hint.unwrap(), "say which columns to take: --image-column NAME --caption-column NAME");
}

#[test]
fn columns_can_be_mapped() {
    let temp = tempfile::tempdir().unwrap();
    let mut job = job(&fixture("wrong_columns.parquet"), temp.path());
    (job.image_column, job.id_column, job.caption_column) = ("img".into(), "uid".into(), "text".into());
    assert_eq!(convert_with(&job).result.unwrap()["kept"], 2);
    job.id_column = "nothing".into();
    assert!(convert_with(&job).result.unwrap_err().message.contains("missing column `nothing`"));
}

#[test]
fn every_compression_gives_the_same_output() {
    let codecs = ["none", "snappy", "gzip", "zstd", "brotli", "lz4"];
    let trees: Vec<_> = codecs
        .iter()
        .map(|codec| {
            let temp = tempfile::tempdir().unwrap();
            convert(&fixture(&format!("compression_{codec}.parquet")), temp.path()).result.unwrap();
            tree(temp.path())
        })
        .collect();
    assert!(trees.iter().all(|t| t == &trees[0]));
}

/// The picture of row `n` as converted.
fn picture(done: &Converted, n: usize) -> image::DynamicImage {
    image::load_from_memory(&done.picture_bytes(&format!("row-{n:04}"))).unwrap()
}

#[test]
fn pixel_formats_follow_the_rules() {
    let temp = tempfile::tempdir().unwrap();
    let done = convert(&fixture("pixel_formats.parquet"), temp.path());
    let notices = done.result.as_ref().unwrap()["notices"].clone();
    let expected = serde_json::json!(
        { "sixteen_bit": 2, "stretched": 1, "alpha": 3, "palette": 2, "orientation": 2 }
    );
    assert_eq!(notices, expected);
    // Full-range data is scaled by 65535, 12-bit data by its own maximum: neither white nor black.
    for n in [3, 4] {
        let stored =
            image::load_from_memory(&fixture::image_of("pixel_formats.parquet", n)).unwrap().to_luma16();
        let most = *stored.iter().max().unwrap();
        let by = if n == 3 { 65_535.0 } else { f64::from(most) };
        assert_eq!(most < 4096, n == 4, "row {n} holds up to {most}");
        let expected: Vec<u8> = stored.iter().map(|v| (f64::from(*v) * 255.0 / by).round() as u8).collect();
        assert_eq!(picture(&done, n).to_luma8().into_raw(), expected, "row {n}");
    }
    assert!(
        !picture(&done, 0).color().has_color() && !picture(&done, 3).color().has_color(),
        "grey stays grey"
    );
    assert!(done.picture_name("row-0008").ends_with(".png"), "an oriented JPEG is written upright");
}

#[test]
fn orientation_turns_and_mirrors_the_pixels() {
    let stored = |n: usize| {
        let bytes = fixture::image_of("pixel_formats.parquet", n);
        image::load_from_memory(&bytes).unwrap()
    };
    let temp = tempfile::tempdir().unwrap();
    let done = convert(&fixture("pixel_formats.parquet"), temp.path());
    assert_eq!(picture(&done, 8), stored(8).rotate90());
    assert_eq!(picture(&done, 9), stored(9).fliph());
}

#[test]
fn formats_are_told_by_content_and_no_picture_is_silently_black() {
    let temp = tempfile::tempdir().unwrap();
    let done = convert(&fixture("other_formats.parquet"), temp.path());
    let notices = done.result.as_ref().unwrap()["notices"].clone();
    assert_eq!(notices, serde_json::json!({ "reencoded": 5, "stretched": 1, "first_frame": 1 }));
    for n in 0..7 {
        let grey = picture(&done, n).to_luma8();
        assert!(grey.iter().max().unwrap() - grey.iter().min().unwrap() > 50, "row {n} has no contrast");
    }
    assert!(
        done.picture_name("row-0005").ends_with(".png") && done.picture_name("row-0006").ends_with(".jpg")
    );
    // What is sound and plain is not touched.
    for n in [5, 6] {
        let written = done.picture_bytes(&format!("row-{n:04}"));
        assert_eq!(written, fixture::image_of("other_formats.parquet", n));
    }
}

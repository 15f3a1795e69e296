//! Odd pictures made by Pillow: what is written looks as Pillow shows the original, by the rules of `picture_file`.

#![allow(clippy::print_stderr)]

use super::fixture::{convert, fixture};
use lorascope::data::convert::picture_file::normalise;
use lorascope::data::convert::row_notes::{Notice, Reason};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn bytes(name: &str) -> Vec<u8> {
    fs::read(fixture("../pictures").join(name)).unwrap()
}

/// The mean colour of each quarter.
fn quarters(picture: &image::RgbImage) -> Vec<[f64; 3]> {
    let (w, h) = picture.dimensions();
    let mean = |x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
        let count = f64::from(x.len() as u32 * y.len() as u32);
        let mut sum = [0.0; 3];
        for at in y.flat_map(|y| x.clone().map(move |x| (x, y))) {
            for (sum, v) in sum.iter_mut().zip(picture.get_pixel(at.0, at.1).0) {
                *sum += f64::from(v);
            }
        }
        sum.map(|s| s / count)
    };
    let (left, right, top, bottom) = (0..w / 2, w / 2..w, 0..h / 2, h / 2..h);
    vec![
        mean(left.clone(), top.clone()),
        mean(right.clone(), top),
        mean(left, bottom.clone()),
        mean(right, bottom),
    ]
}

/// `expected.json` was made with Pillow 11 and NumPy.
#[test]
fn what_is_written_looks_as_pillow_shows_the_original() {
    let expected: Value = serde_json::from_slice(&bytes("expected.json")).unwrap();
    let expected = expected.as_object().unwrap();
    assert!(expected.len() > 30);
    for (name, facts) in expected {
        let original = bytes(name);
        let picture = normalise(original.clone());
        if name == "tiff_p.tif" {
            assert_eq!(picture.unwrap_err().0, Reason::UnsupportedPicture, "palette TIFF");
            continue;
        }
        let picture = picture.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(!picture.changed, facts["kept"], "{name}");
        assert_eq!(picture.changed, picture.bytes != original, "{name}");
        assert_eq!(
            (facts["width"].as_u64(), facts["height"].as_u64()),
            (Some(picture.width.into()), Some(picture.height.into())),
            "{name}"
        );
        let shown = quarters(&image::load_from_memory(&picture.bytes).unwrap().to_rgb8());
        let wanted: Vec<[f64; 3]> = serde_json::from_value(facts["quarters"].clone()).unwrap();
        for (shown, wanted) in shown.iter().flatten().zip(wanted.iter().flatten()) {
            assert!((shown - wanted).abs() < 2.5, "{name}: {shown} where Pillow shows {wanted}");
        }
        let again = normalise(picture.bytes).unwrap();
        assert!(!again.changed && again.notices.is_empty(), "{name} is not in its final form");
    }
}

/// A JPEG whose data ends early with an end marker looks whole to decoders: they fill it with grey.
#[test]
fn a_jpeg_with_missing_or_damaged_data_is_refused() {
    for name in
        ["noise.jpg", "restart_jpeg.jpg", "odd_1.jpg", "grey_jpeg.jpg", "optimized.jpg", "cmyk_jpeg.jpg"]
    {
        let whole = bytes(name);
        assert!(normalise(whole.clone()).is_ok(), "{name}");
        let scan = whole.windows(2).rposition(|w| w == [0xFF, 0xDA]).unwrap() + 14;
        for keep in [scan + (whole.len() - scan) / 2, whole.len() - 12] {
            let mut cut = whole[..keep].to_vec();
            cut.extend([0xFF, 0xD9]);
            let (reason, why) = normalise(cut).unwrap_err();
            assert!(reason == Reason::BrokenPicture && why.contains("block group"), "{name}: {why}");
        }
    }
    let mut damaged = bytes("noise.jpg");
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].fill(0x55);
    damaged[middle + 8..middle + 40].fill(0xFE);
    assert_eq!(normalise(damaged).unwrap_err().0, Reason::BrokenPicture);
}

/// Pillow refuses a PNG with more than 1 MiB of text behind a few packed bytes.
#[test]
fn metadata_that_pillow_refuses_is_left_out() {
    for (name, count) in [("png_bigicc.png", 1), ("png_rgb.png", 0)] {
        let picture = normalise(bytes(name)).unwrap();
        assert_eq!(picture.notices.iter().filter(|n| **n == Notice::Irregular).count(), count, "{name}");
    }
}

/// What `open_pictures.py` prints; `None` where Python or Pillow is missing.
fn pillow(argument: &Path) -> Option<Value> {
    let script = fixture("../../peer/open_pictures.py");
    let run = Command::new("python3").arg(script).arg(argument).output().ok()?;
    String::from_utf8(run.stdout).unwrap().lines().last().and_then(|line| serde_json::from_str(line).ok())
}

/// All that is written of odd, of bad and of damaged pictures opens where a trainer in Python opens it.
#[test]
fn pillow_opens_every_picture_that_is_written() {
    if pillow(Path::new("version")).is_none() {
        eprintln!("skipped: Pillow is not installed");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("")).unwrap().map(|e| e.unwrap().path()) {
        let _ = convert(&entry, &temp.path().join(entry.file_stem().unwrap()));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut kept = 0;
    for entry in fs::read_dir(fixture("../pictures")).unwrap().map(|e| e.unwrap().path()) {
        let original = fs::read(&entry).unwrap();
        for damage in 0..40 {
            let mut bytes = original.clone();
            for _ in 0..damage.min(3) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            if let Ok(picture) = normalise(bytes) {
                let name = format!("{}-{damage}.{}", entry.file_stem().unwrap().display(), picture.extension);
                fs::write(temp.path().join(name), picture.bytes).unwrap();
                kept += 1;
            }
        }
    }
    assert!(kept > 300, "{kept}");
    let told = pillow(temp.path()).expect("Pillow was there before");
    assert!(told["opened"].as_u64() > Some(kept) && told["failed"] == Value::from(vec![0; 0]), "{told}");
}

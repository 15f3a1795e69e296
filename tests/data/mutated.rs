//! Damaged input of every kind: no panic, no endless loop, nothing kept that is not whole. `LORASCOPE_FUZZ_CASES` sets how many.

use super::fixture::{convert, fixture, tree};
use lorascope::data::convert::picture_file;
use lorascope::error::Kind;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("LORASCOPE_FUZZ_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases.unwrap_or(default)) }
}

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, u8),
    Remove(prop::sample::Index, u8),
    Word(prop::sample::Index, u32),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(i, b)| Change::Set(i, b)),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(i, n)| Change::Repeat(i, n)),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(i, n)| Change::Remove(i, n)),
        1 => (any::<prop::sample::Index>(), prop_oneof![Just(0), Just(u32::MAX), any::<u32>()])
            .prop_map(|(i, w)| Change::Word(i, w)),
    ]
}

fn changed(original: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for change in changes.iter().filter(|_| !original.is_empty()) {
        if bytes.is_empty() {
            break;
        }
        match change {
            Change::Set(i, byte) => *i.get_mut(&mut bytes) = *byte,
            Change::Cut(i) => bytes.truncate(i.index(bytes.len())),
            Change::Repeat(i, n) => {
                let at = i.index(bytes.len());
                let part = bytes[at..bytes.len().min(at + usize::from(*n))].to_vec();
                bytes.splice(at..at, part);
            }
            Change::Remove(i, n) => {
                let at = i.index(bytes.len());
                bytes.drain(at..bytes.len().min(at + usize::from(*n)));
            }
            Change::Word(i, word) => {
                let at = i.index(bytes.len());
                bytes.iter_mut().skip(at).zip(word.to_be_bytes()).for_each(|(b, w)| *b = w);
            }
        }
    }
    bytes
}

/// One picture of each kind.
static PICTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut files: Vec<_> =
        fs::read_dir(fixture("../pictures")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
});

static PARQUETS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let names = [
        "many_row_groups",
        "dictionary_captions",
        "page_v2_no_arrow_schema",
        "compression_zstd",
        "large_types",
    ];
    names.iter().map(|name| fs::read(fixture(&format!("{name}.parquet"))).unwrap()).collect()
});

fn is_plain(bytes: &[u8]) -> bool {
    let decoded = image::load_from_memory(bytes).unwrap();
    matches!(decoded.color(), image::ColorType::L8 | image::ColorType::Rgb8)
}

proptest! {
    #![proptest_config(cases(400))]

    /// Whatever is kept decodes to plain 8-bit pixels, and is in its final form.
    #[test]
    fn mutated_pictures(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..5),
    ) {
        let original: &Vec<u8> = which.get(&PICTURES);
        let bytes = changed(original, &changes);
        if let Ok(picture) = picture_file::normalise_up_to(bytes, 1_000_000) {
            prop_assert!(is_plain(&picture.bytes));
            let again = picture_file::normalise_up_to(picture.bytes.clone(), 1_000_000).unwrap();
            prop_assert!(!again.changed && again.bytes == picture.bytes && again.extension == picture.extension);
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// A damaged parquet file converts or is refused; in both cases with an answer, and nothing outside the folder.
    #[test]
    fn mutated_parquet_files(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let temp = tempfile::tempdir().unwrap();
        let input = temp.path().join("in.parquet");
        let original: &Vec<u8> = which.get(&PARQUETS);
        fs::write(&input, changed(original, &changes)).unwrap();
        let out = temp.path().join("out");
        let done = convert(&input, &out);
        match &done.result {
            Ok(summary) => prop_assert_eq!(summary["kept"].as_u64(), Some(done.records().len() as u64)),
            Err(error) => {
                prop_assert_eq!(error.kind, Kind::Input, "{}", error);
                prop_assert!(!out.exists());
            }
        }
        prop_assert!(tree(temp.path()).keys().all(|p| p == Path::new("in.parquet") || p.starts_with("out")));
    }
}

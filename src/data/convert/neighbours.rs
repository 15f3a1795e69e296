//! The pictures that are in the output folder already, and which data sets they belong to.

use super::super::registry::{FILE_NAME, Registry};
use super::disk_map::{DiskMap, fingerprint};
use super::file_names::FileNames;
use super::staging::PICTURES;
use crate::error::{At, Result};
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What the registered data sets of a folder say about its pictures.
pub(super) struct Neighbours {
    out: PathBuf,
    /// Pictures of the sets that are replaced by this conversion.
    own: DiskMap,
    /// Changes when another set changes.
    pub identity: String,
}

impl Neighbours {
    /// Reads the pictures of the registered sets; those of sets other than `replaced` get their names reserved.
    pub fn look(out: &Path, replaced: &[String; 2], scratch: &Path, names: &mut FileNames) -> Result<Self> {
        let mut own = DiskMap::new(scratch)?;
        let mut identity = String::new();
        for (name, path, column) in sets(out)? {
            let mine = replaced.contains(&name);
            if !mine {
                identity += &format!("{name} {}; ", stamp(&path));
            }
            pictures((out, &path), &column, &mut |picture: &str| {
                if mine {
                    own.get_or_insert(fingerprint(picture.as_bytes()), 0)?;
                } else if let Some(stem) = stem(picture) {
                    names.reserve(stem)?;
                }
                Ok(())
            })?;
        }
        Ok(Self { out: out.into(), own, identity })
    }

    /// Whether a file of this path is there that belongs to none of the sets that are replaced and has other content.
    pub fn is_foreign(&mut self, image: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.out.join(image);
        // A link is replaced, never followed.
        if !fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_file()) {
            return Ok(false);
        }
        if self.own.get(fingerprint(image.as_bytes()))?.is_some() {
            return Ok(false);
        }
        Ok(fs::read(&path).at("read", &path)? != bytes)
    }
}

/// Pictures in the output folder that no registered set names: how many, and the first few. With `remove` they are removed.
/// `None` when a set cannot be read, so that nobody can tell.
pub(super) fn orphans(out: &Path, scratch: &Path, remove: bool) -> Result<Option<(usize, Vec<String>)>> {
    let mut named = DiskMap::new(scratch)?;
    for (_, path, column) in sets(out)? {
        let mut note = |picture: &str| named.get_or_insert(fingerprint(picture.as_bytes()), 0).map(|_| ());
        if !pictures((out, &path), &column, &mut note)? {
            return Ok(None);
        }
    }
    let (mut count, mut first) = (0, Vec::new());
    search(&out.join(PICTURES), PICTURES, &mut |path, image| {
        if named.get(fingerprint(image.as_bytes()))?.is_none() {
            count += 1;
            if first.len() < 3 {
                first.push(image.to_string());
            }
            if remove {
                fs::remove_file(path).at("remove", path)?;
            }
        }
        Ok(())
    })?;
    Ok(Some((count, first)))
}

type OnFile<'a> = &'a mut dyn FnMut(&Path, &str) -> Result<()>;

/// Every file with a picture's extension below `dir`, with its path in the output folder. Links are not followed.
fn search(dir: &Path, name: &str, on_file: OnFile) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let entry = entry.at("read", dir)?;
        let (path, kind) = (entry.path(), entry.file_type().at("read", dir)?);
        let image = format!("{name}/{}", entry.file_name().to_string_lossy());
        if kind.is_dir() {
            search(&path, &image, on_file)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "jpg" || e == "png") {
            on_file(&path, &image)?;
        }
    }
    Ok(())
}

/// Name, file or folder, and picture column of each registered set that is here.
fn sets(out: &Path) -> Result<Vec<(String, PathBuf, String)>> {
    if !out.join(FILE_NAME).exists() {
        return Ok(Vec::new());
    }
    let registry = Registry::open(out)?;
    let mut sets = Vec::new();
    for name in registry.names() {
        let Ok(entry) = registry.entry(name) else { continue };
        let Ok(path) = entry.path(out, name) else { continue };
        if path.exists() {
            sets.push((name.to_string(), path, entry.columns.images.unwrap_or_else(|| "images".into())));
        }
    }
    Ok(sets)
}

/// Hands over each picture's path in the output folder that the rows of a JSON or JSON lines file name, row by row.
/// Returns whether the whole file could be read.
fn pictures(
    (out, path): (&Path, &Path),
    column: &str,
    take: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<bool> {
    let Ok(file) = File::open(path) else { return Ok(false) };
    if !file.metadata().is_ok_and(|facts| facts.is_file()) {
        return Ok(false);
    }
    let mut failed = None;
    let mut on_row = |row: Value| {
        let images = match &row[column] {
            Value::Array(images) => images.as_slice(),
            image => std::slice::from_ref(image),
        };
        for image in images.iter().filter_map(Value::as_str) {
            if failed.is_none() {
                failed = take(&inside(out, image)).err();
            }
        }
    };
    let reader = BufReader::with_capacity(256 << 10, file);
    let mut json = serde_json::Deserializer::from_reader(reader);
    let read = if path.extension().is_some_and(|e| e == "jsonl") {
        json.into_iter().try_for_each(|row| row.map(&mut on_row))
    } else {
        json.deserialize_seq(EachRow(&mut on_row)).and_then(|()| json.end())
    };
    failed.map_or(Ok(read.is_ok()), Err)
}

/// The path as it is written relative to the output folder.
fn inside(out: &Path, image: &str) -> String {
    let path = Path::new(image);
    let path = path.strip_prefix(out).unwrap_or(path);
    let parts =
        path.components().filter(|c| *c != Component::CurDir).map(|c| c.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// Reads an array element by element.
struct EachRow<'a>(&'a mut dyn FnMut(Value));

impl<'de> Visitor<'de> for EachRow<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element()? {
            (self.0)(row);
        }
        Ok(())
    }
}

fn stem(picture: &str) -> Option<&str> {
    Path::new(picture).file_stem()?.to_str()
}

/// Size and time of change.
fn stamp(path: &Path) -> String {
    let Ok(facts) = fs::metadata(path) else { return "unreadable".into() };
    let changed = facts.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{} {}", facts.len(), changed.as_nanos())
}

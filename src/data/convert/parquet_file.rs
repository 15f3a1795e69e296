//! Opening a parquet file: what it is if not one, and which of its columns are the ones wanted.

use super::parquet::{Columns, guarded};
use crate::error::{At, Error, Result};
use arrow_schema::{DataType, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as Physical;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Opens the file and reads its footer.
///
/// The text columns `texts` are read as bytes, to be checked row by row: the reader would refuse a whole batch for one bad row.
/// The writer's own Arrow schema is not asked, so every kind of string, binary and dictionary looks the same.
pub(in crate::data) fn open(path: &Path, texts: &[&str]) -> Result<(File, ArrowReaderMetadata)> {
    let mut file = File::open(path).at("open", path)?;
    if file.metadata().at("read", path)?.is_dir() {
        return Err(Error::input(format!("{} is a folder, not a parquet file", path.display())));
    }
    recognise(&mut file, path)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let load = |options: ArrowReaderOptions| {
        guarded(|| ArrowReaderMetadata::load(&file, options).map_err(|e| e.to_string())).map_err(|e| {
            Error::input(format!("{}: the parquet footer is damaged: {e}", path.display()))
                .hint("download or write the file again")
        })
    };
    let plain = load(options.clone())?;
    let metadata = match text_as_bytes(plain.parquet_schema(), texts) {
        Some(schema) => load(options.with_parquet_schema(Arc::new(schema)))?,
        None => plain,
    };
    Ok((file, metadata))
}

/// Names what a file is when it is not a complete parquet file.
fn recognise(file: &mut File, path: &Path) -> Result<()> {
    let at = path.display();
    let length = file.metadata().at("read", path)?.len();
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head).at("read", path)?;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(4))).at("read", path)?;
    file.read_to_end(&mut tail).at("read", path)?;
    let text = String::from_utf8_lossy(&head).trim_start().to_ascii_lowercase();
    let error = |what: &str, hint: &str| Err(Error::input(format!("{at}: {what}")).hint(hint));
    if length == 0 {
        return error("empty file (0 bytes)", "download it again");
    }
    if text.starts_with("version https://git-lfs") {
        return error("a Git LFS pointer, not the data", "fetch the data with `git lfs pull`");
    }
    if text.starts_with("<!doctype") || text.starts_with("<html") {
        return error(
            "HTML, not parquet (gated data set?)",
            "log in, accept the data set's terms, and download the file itself",
        );
    }
    if tail == b"PARE" {
        return error("encrypted parquet, which is not supported", "write it again without encryption");
    }
    if !head.starts_with(b"PAR1") {
        let what = super::super::picture_header::other_format(&head).or(match head.as_slice() {
            [b'{' | b'[', ..] => Some("JSON"),
            [b'P', b'K', 3, 4, ..] => Some("a ZIP archive"),
            h if h.starts_with(b"ARROW1") => Some("an Arrow IPC file"),
            _ => None,
        });
        let what = what.map_or("not a parquet file".into(), |w| format!("{w}, not a parquet file"));
        return error(&what, "name the data set's .parquet files");
    }
    if length < 12 || tail != b"PAR1" {
        return error("not a complete parquet file (no footer)", "a broken download? download it again");
    }
    Ok(())
}

/// The file's schema with the text marks of the columns `texts` taken off; `None` if there are none.
fn text_as_bytes(schema: &SchemaDescriptor, texts: &[&str]) -> Option<SchemaDescriptor> {
    let mut changed = false;
    let root = schema.root_schema();
    let fields: Vec<TypePtr> = root
        .get_fields()
        .iter()
        .map(|field| {
            let wanted = texts.contains(&field.name());
            let text = field.is_primitive() && field.get_physical_type() == Physical::BYTE_ARRAY;
            let bytes = (wanted && text).then(|| as_bytes(field)).flatten();
            changed |= bytes.is_some();
            bytes.unwrap_or_else(|| field.clone())
        })
        .collect();
    let root = Type::group_type_builder(root.name()).with_fields(fields).build().ok()?;
    changed.then(|| SchemaDescriptor::new(Arc::new(root)))
}

fn as_bytes(field: &Type) -> Option<TypePtr> {
    let info = field.get_basic_info();
    let builder = Type::primitive_type_builder(field.name(), Physical::BYTE_ARRAY)
        .with_repetition(info.repetition())
        .with_id(info.has_id().then(|| info.id()));
    builder.build().ok().map(Arc::new)
}

/// The indices of the columns wanted; the id's is left out if there is none.
pub(super) fn find_columns(path: &Path, schema: &Schema, columns: &Columns) -> Result<Vec<usize>> {
    let found: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let index = |name: &str| found.iter().position(|f| *f == name);
    let id_needed = columns.id != "id";
    let mut wanted = vec![
        (columns.image.as_str(), "--image-column", true),
        (&columns.id, "--id-column", id_needed),
        (&columns.caption, "--caption-column", true),
    ];
    wanted.extend(columns.group.as_deref().map(|name| (name, "--group-column", true)));
    let missing: Vec<_> =
        wanted.iter().filter(|(name, _, needed)| *needed && index(name).is_none()).collect();
    if !missing.is_empty() {
        let list = missing.iter().map(|(name, ..)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let options =
            missing.iter().map(|(_, option, _)| format!("{option} NAME")).collect::<Vec<_>>().join(" ");
        return Err(Error::input(format!(
            "{}: missing column{} {list}; found: {}",
            path.display(),
            if missing.len() > 1 { "s" } else { "" },
            found.join(", ")
        ))
        .hint(format!("say which columns to take: {options}")));
    }
    check_types(path, schema, columns)?;
    Ok(wanted.iter().filter_map(|(name, ..)| index(name)).collect())
}

fn check_types(path: &Path, schema: &Schema, columns: &Columns) -> Result<()> {
    let type_of = |name: &str| schema.field_with_name(name).ok().map(|f| f.data_type());
    let refuse = |name: &str, needed: &str, option: &str| {
        let found = type_of(name).map(ToString::to_string).unwrap_or_default();
        Err(Error::input(format!(
            "{}: column `{name}` has type {found}, but {needed} is needed",
            path.display()
        ))
        .hint(format!("name another column with {option} NAME, or write this one in the type needed")))
    };
    let image = type_of(&columns.image);
    if columns.paths && !image.is_some_and(|t| is_picture(t) || is_path(t)) {
        return refuse(&columns.image, "a struct with `bytes` or `path`, binary, or text", "--image-column");
    }
    if !columns.paths && !image.is_some_and(is_picture) {
        return refuse(&columns.image, "a struct with binary `bytes`, or binary", "--image-column");
    }
    let plain = |name: &str| type_of(name).is_none_or(|t| is_text(t) || t.is_integer());
    if !plain(&columns.id) {
        return refuse(&columns.id, "text or a whole number", "--id-column");
    }
    if let Some(group) = columns.group.as_ref().filter(|name| !plain(name)) {
        return refuse(group, "text or a whole number", "--group-column");
    }
    if !type_of(&columns.caption).is_some_and(is_text) {
        return refuse(&columns.caption, "text", "--caption-column");
    }
    Ok(())
}

/// Tells a file from others and from itself after a change: its size, its time, and the hash of its last 64 KiB.
pub(super) fn identity(file: &File) -> std::io::Result<String> {
    let facts = file.metadata()?;
    let mut tail = Vec::new();
    let mut reader = file;
    reader.seek(SeekFrom::Start(facts.len().saturating_sub(64 << 10)))?;
    reader.read_to_end(&mut tail)?;
    let changed = facts.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{} {} {}", facts.len(), changed.as_nanos(), blake3::hash(&tail).to_hex()))
}

fn is_picture(found: &DataType) -> bool {
    match found {
        DataType::Struct(fields) => fields
            .iter()
            .any(|f| f.name() == "bytes" && (is_binary(f.data_type()) || f.data_type() == &DataType::Null)),
        other => is_binary(other),
    }
}

/// Text, or a struct with text in `path`.
fn is_path(found: &DataType) -> bool {
    match found {
        DataType::Struct(fields) => fields.iter().any(|f| f.name() == "path" && is_text(f.data_type())),
        other => is_string(other),
    }
}

pub(super) fn is_string(found: &DataType) -> bool {
    match found {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_string(value),
        _ => false,
    }
}

fn is_binary(found: &DataType) -> bool {
    use DataType as T;
    match found {
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => true,
        T::Dictionary(_, value) => is_binary(value),
        _ => false,
    }
}

fn is_text(found: &DataType) -> bool {
    use DataType as T;
    match found {
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null => true,
        T::Dictionary(_, value) => is_text(value),
        other => is_binary(other),
    }
}

//! Cells of Arrow columns as JSON values, and the pictures in them.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, LargeBinaryArray, StructArray};
use arrow_schema::{ArrowError, DataType};
use serde_json::{Map, Value, json};

/// A cell as JSON: lists and structs by their parts, bytes as the text they must be (else null), anything that JSON
/// does not know as Arrow writes it.
pub(super) fn value(column: &ArrayRef, i: usize) -> Result<Value, ArrowError> {
    if column.is_null(i) {
        return Ok(Value::Null);
    }
    let cast = |to: &DataType| arrow_cast::cast(&column.slice(i, 1), to);
    Ok(match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => json!(column.as_boolean().value(i)),
        kind if kind.is_signed_integer() => {
            json!(cast(&DataType::Int64)?.as_primitive::<Int64Type>().value(0))
        }
        kind if kind.is_unsigned_integer() => {
            json!(cast(&DataType::UInt64)?.as_primitive::<UInt64Type>().value(0))
        }
        kind if kind.is_floating() => json!(cast(&DataType::Float64)?.as_primitive::<Float64Type>().value(0)),
        DataType::Struct(_) => fields(column.as_struct(), i)?,
        kind if is_list(kind) => match elements(column, i)? {
            Some(list) => (0..list.len()).map(|at| value(&list, at)).collect::<Result<_, _>>()?,
            None => Value::Null,
        },
        kind if is_bytes(kind) => bytes(column, i)?
            .and_then(|found| String::from_utf8(found).ok())
            .map_or(Value::Null, Value::String),
        _ => json!(cast(&DataType::Utf8)?.as_string::<i32>().value(0)),
    })
}

fn fields(row: &StructArray, i: usize) -> Result<Value, ArrowError> {
    let named = row.column_names().into_iter().zip(row.columns());
    let all: Result<Map<_, _>, _> =
        named.map(|(name, column)| Ok((name.to_string(), value(column, i)?))).collect();
    all.map(Value::Object)
}

/// A picture as its cell has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Bytes(Vec<u8>),
    Path(String),
    Missing,
}

/// The pictures of a row: bytes, a struct of `bytes` and `path`, or a list of either.
pub(super) fn pictures(column: &ArrayRef, i: usize) -> Result<Vec<Cell>, ArrowError> {
    if column.is_null(i) {
        return Ok(Vec::new());
    }
    match is_list(column.data_type()) {
        false => Ok(vec![picture(column, i)?]),
        true => match elements(column, i)? {
            Some(list) => (0..list.len()).map(|at| picture(&list, at)).collect(),
            None => Ok(Vec::new()),
        },
    }
}

fn picture(column: &ArrayRef, i: usize) -> Result<Cell, ArrowError> {
    if column.is_null(i) {
        return Ok(Cell::Missing);
    }
    let Some(parts) = column.as_struct_opt() else {
        return Ok(bytes(column, i)?.filter(|b| !b.is_empty()).map_or(Cell::Missing, Cell::Bytes));
    };
    let part = |name: &str| match parts.column_by_name(name) {
        Some(column) if !column.is_null(i) => bytes(column, i),
        _ => Ok(None),
    };
    if let Some(found) = part("bytes")?.filter(|b| !b.is_empty()) {
        return Ok(Cell::Bytes(found));
    }
    let path = part("path")?.and_then(|p| String::from_utf8(p).ok()).filter(|p| !p.is_empty());
    Ok(path.map_or(Cell::Missing, Cell::Path))
}

/// Whether a column of this type can hold pictures themselves, not only their paths.
pub(super) fn holds_pictures(kind: &DataType) -> bool {
    use DataType as T;
    match kind {
        T::List(inner) | T::LargeList(inner) | T::FixedSizeList(inner, _) => {
            holds_pictures(inner.data_type())
        }
        T::Struct(fields) => fields.iter().any(|f| f.name() == "bytes"),
        T::Dictionary(_, inner) => holds_pictures(inner),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => true,
        _ => false,
    }
}

/// As [`holds_pictures`], of a column that nobody named: bytes could be text, a struct with `bytes` is a picture.
pub(super) fn holds_embedded(kind: &DataType) -> bool {
    use DataType as T;
    match kind {
        T::List(inner) | T::LargeList(inner) | T::FixedSizeList(inner, _) => {
            holds_embedded(inner.data_type())
        }
        T::Struct(fields) => fields.iter().any(|f| f.name() == "bytes"),
        T::Binary | T::LargeBinary => true,
        _ => false,
    }
}

fn is_list(kind: &DataType) -> bool {
    matches!(kind, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

fn elements(column: &ArrayRef, i: usize) -> Result<Option<ArrayRef>, ArrowError> {
    Ok(match column.data_type() {
        _ if column.is_null(i) => None,
        DataType::List(_) => Some(column.as_list::<i32>().value(i)),
        DataType::LargeList(_) => Some(column.as_list::<i64>().value(i)),
        _ => Some(column.as_fixed_size_list().value(i)),
    })
}

fn is_bytes(kind: &DataType) -> bool {
    use DataType as T;
    match kind {
        T::Utf8 | T::LargeUtf8 | T::Utf8View => true,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => true,
        T::Dictionary(_, inner) => is_bytes(inner),
        _ => false,
    }
}

/// The bytes of a text or binary cell, whatever the offsets or the encoding.
fn bytes(column: &ArrayRef, i: usize) -> Result<Option<Vec<u8>>, ArrowError> {
    let own = |array: &dyn Array, get: &dyn Fn() -> Vec<u8>| (!array.is_null(i)).then(get);
    Ok(match column.data_type() {
        DataType::Null => None,
        DataType::Utf8 => own(column, &|| column.as_string::<i32>().value(i).into()),
        DataType::Binary => {
            let array: &BinaryArray = column.as_binary();
            own(array, &|| array.value(i).to_vec())
        }
        _ => {
            let one = arrow_cast::cast(&column.slice(i, 1), &DataType::LargeBinary)?;
            let one: &LargeBinaryArray = one.as_binary();
            (!one.is_null(0)).then(|| one.value(0).to_vec())
        }
    })
}

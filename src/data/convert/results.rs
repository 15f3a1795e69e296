//! What a conversion leaves: the rows of both sets, the report, the summary.

use super::journal::{Journal, KeptRow, Line};
use super::split::Sides;
use crate::error::{At, Error, Result};
use crate::job::RowFormat;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The side of each kept row, in order: a bit each, for several to read at the same time.
pub(super) struct KeptSides(Vec<u8>);

impl KeptSides {
    /// Of `kept` rows.
    pub fn read(sides: &Sides, kept: usize) -> Result<Self> {
        let mut bits = vec![0; kept.div_ceil(8)];
        for (i, held_out) in sides.held_out(kept)?.enumerate() {
            bits[i / 8] |= u8::from(held_out.at("read", "the split")?) << (i % 8);
        }
        Ok(Self(bits))
    }

    fn held_out(&self, row: usize) -> bool {
        self.0.get(row / 8).is_some_and(|bits| bits >> (row % 8) & 1 == 1)
    }
}

/// What the JSON files are made from.
pub(super) struct Results<'a> {
    pub journal: &'a Journal,
    pub sides: KeptSides,
    /// The user's turn.
    pub prompt: &'a str,
    /// The input files.
    pub files: Vec<PathBuf>,
}

impl Results<'_> {
    /// Writes the rows of one side: a JSON array with an indent of two spaces, or a line each.
    pub fn write_set(&self, path: &Path, format: RowFormat, held_out: bool) -> Result<()> {
        let rows = self.journal.kept()?.enumerate();
        crate::files::write_with(path, |w| {
            let mut separator = "[\n  ";
            for (i, row) in rows {
                if self.sides.held_out(i) != held_out {
                    continue;
                }
                let record = self.record(row?);
                if format == RowFormat::Jsonl {
                    writeln!(w, "{record}")?;
                } else {
                    // A line end inside a JSON text is always layout: in strings it is escaped.
                    let text = serde_json::to_string_pretty(&record)?.replace('\n', "\n  ");
                    write!(w, "{separator}{text}")?;
                    separator = ",\n  ";
                }
            }
            match format {
                RowFormat::Jsonl => Ok(()),
                RowFormat::Json if separator.starts_with('[') => w.write_all(b"[]\n"),
                RowFormat::Json => w.write_all(b"\n]\n"),
            }
        })
        .map_err(|e| Error { message: format!("{}: {}", path.display(), e.message), ..e })
    }

    fn record(&self, row: KeptRow) -> Value {
        let id = row.id.unwrap_or_else(|| made_id(&self.files[row.file], row.row));
        json!({
            "conversations": [
                { "from": "user", "value": self.prompt },
                { "from": "assistant", "value": row.caption },
            ],
            "images": [row.image],
            "id": id,
        })
    }

    /// The summary, and a line for each row that was skipped or changed.
    pub fn write_report(&self, path: &Path, summary: &Value) -> Result<()> {
        let lines = self.journal.lines()?;
        let text = serde_json::to_string_pretty(summary).expect("plain data serialises");
        let head = text.strip_suffix("\n}").expect("an object with fields").to_string();
        crate::files::write_with(path, |w| {
            write!(w, "{head},\n  \"results\": [")?;
            let mut separator = "";
            for line in lines {
                if let Some(result) = self.result(line?) {
                    write!(w, "{separator}\n    {result}")?;
                    separator = ",";
                }
            }
            w.write_all(b"\n  ]\n}\n")
        })
    }

    /// What the report says of a row; nothing if it was kept as it is.
    fn result(&self, line: Line) -> Option<Value> {
        match line {
            Line::Kept(row) if !row.notices.is_empty() => {
                let file = self.file_name(row.file);
                let (id, image, notices) = (row.id, row.image, row.notices);
                Some(json!({ "file": file, "row": row.row, "id": id, "image": image, "notices": notices }))
            }
            Line::Skipped(row) => {
                let file = self.file_name(row.file);
                let (id, reason, detail) = (row.id, row.reason, row.detail);
                let mut result =
                    json!({ "file": file, "row": row.row, "id": id, "skipped": reason, "detail": detail });
                if row.count > 1 {
                    result["rows"] = json!(row.count);
                }
                Some(result)
            }
            _ => None,
        }
    }

    fn file_name(&self, file: usize) -> String {
        file_name(&self.files[file])
    }
}

/// The id of a row that has none.
pub(super) fn made_id(file: &Path, row: usize) -> String {
    format!("{}-{row}", file.file_stem().unwrap_or_default().to_string_lossy())
}

/// How a file is called in messages and in the report.
pub(super) fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

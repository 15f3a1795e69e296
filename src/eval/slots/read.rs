//! A label file line by line: which rows can be used, and which of their fields are slots.

use super::drawn::SlotLabel;
use super::stated::{self, Vocabulary};
use super::{ALL_SLOTS, Labelled, Labels, LeftOut, NoSlot, Slot};
use crate::data::clean;
use crate::error::{At, Error, Result};
use crate::eval::groups;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Fields that say something about a picture, but nothing that an answer states; so do those that begin with `_`.
const NOT_FACTS: [&str; 6] = ["id", "caption", "width", "height", "lang", ALL_SLOTS];
/// More different values than this are free text, and so are more than a few if most rows have one of their own.
const MOST_VALUES: usize = 50;
const FEW_VALUES: usize = 10;

/// A row that can be read.
struct Row {
    line: usize,
    id: String,
    fields: Map<String, Value>,
}

/// A value as a slot sees it.
enum Cell {
    /// Not stated.
    None,
    /// Words or a whole number, to be compared.
    Words(String),
    /// True or false.
    Truth,
    Fraction,
    Nested(&'static str),
}

/// See [`Labels::read`].
pub(super) fn read(path: &Path) -> Result<Labels> {
    let bytes = std::fs::read(path).at("read", path)?;
    let (mut rows, mut left_out) = rows(clean::without_bom(&bytes));
    if let Some(labels) = drawn(&rows) {
        return Ok(Labels { left_out, ..Labels::of_drawn(path, labels) });
    }
    let fields = fields(&rows);
    for row in &rows {
        let truth = fields.iter().find(|field| matches!(cell(row, field), Cell::Truth));
        if let Some(field) = truth.map(|field| clean::for_terminal(field)) {
            let what = format!("{}, line {}: {field} is true or false", path.display(), row.line);
            return Err(Error::input(what).hint(format!(
                "an answer states words: write them, as in \"{field}\" and \"no {field}\", or call the field _{field}"
            )));
        }
    }
    leave_out_nested(&fields, &mut rows, &mut left_out);
    let (slots, no_slots) = slots(&fields, &rows);
    if slots.is_empty() {
        let bad = left_out.first().map(|left| format!(": line {}: {}", left.line, left.why));
        let none = || no_slots.first().map(|none| format!(": {}: {}", none.field, none.why));
        let why = clean::for_terminal(&bad.or_else(none).unwrap_or_default());
        let what = format!("{} holds no facts{why}", path.display());
        return Err(Error::input(what).hint(
            "each line is an object with the id of a sample and its facts: {\"id\": \"7\", \"side\": \"left\"}",
        ));
    }
    let rows = rows.into_iter().map(|row| labelled(row, &slots)).collect();
    Ok(Labels { no_slots, left_out, ..Labels::of(path, slots, rows) })
}

/// The lines that are objects with an id of their own, and why others are not.
fn rows(bytes: &[u8]) -> (Vec<Row>, Vec<LeftOut>) {
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    let mut lines: HashMap<String, usize> = HashMap::new();
    let all = bytes.split(|b| *b == b'\n').enumerate().map(|(i, text)| (i + 1, text));
    for (line, text) in all.filter(|(_, text)| !text.trim_ascii().is_empty()) {
        let row = serde_json::from_slice::<Value>(text).map_err(|e| broken(&e)).and_then(|value| {
            let Value::Object(fields) = value else { return Err("it is no object".to_string()) };
            let id = fields.get("id").and_then(groups::text).ok_or("it has no id")?;
            match lines.get(&id) {
                Some(first) => Err(format!("line {first} has the id {id} too")),
                None => Ok(Row { line, id, fields }),
            }
        });
        match row {
            Ok(row) => {
                lines.insert(row.id.clone(), line);
                rows.push(row);
            }
            Err(why) => left_out.push(LeftOut { line, why }),
        }
    }
    (rows, left_out)
}

/// What is wrong with a line, without its number as a text of its own.
fn broken(error: &serde_json::Error) -> String {
    error.to_string().split(" at line ").next().unwrap_or_default().into()
}

/// The labels of drawn scans, if all of them are.
fn drawn(rows: &[Row]) -> Option<Vec<SlotLabel>> {
    let label = |row: &Row| {
        let mut fields = row.fields.clone();
        fields.insert("id".into(), row.id.clone().into());
        serde_json::from_value::<SlotLabel>(fields.into()).ok().filter(SlotLabel::is_drawn)
    };
    (!rows.is_empty()).then(|| rows.iter().map(label).collect()).flatten()
}

/// The names that could be slots, in the order they come.
fn fields(rows: &[Row]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = rows.iter().flat_map(|row| row.fields.keys());
    let facts = names.filter(|name| !NOT_FACTS.contains(&name.as_str()) && !name.starts_with('_'));
    facts.filter(|name| seen.insert(name.as_str())).cloned().collect()
}

fn cell(row: &Row, field: &str) -> Cell {
    match row.fields.get(field) {
        None | Some(Value::Null) => Cell::None,
        Some(Value::Bool(_)) => Cell::Truth,
        Some(Value::Array(_)) => Cell::Nested("a list"),
        Some(Value::Object(_)) => Cell::Nested("an object"),
        Some(Value::String(text)) => match stated::normal(text) {
            empty if empty.is_empty() => Cell::None,
            words => Cell::Words(words),
        },
        Some(Value::Number(number)) => match number.as_f64() {
            _ if !number.is_f64() => Cell::Words(number.to_string()),
            // Tables with gaps have 2.0 for 2.
            Some(x) if x.fract() == 0.0 && x.abs() < 1e15 => Cell::Words((x as i64).to_string()),
            _ => Cell::Fraction,
        },
    }
}

/// A list among words is a mistake in its row; a field of nothing but lists is only no slot.
fn leave_out_nested(fields: &[String], rows: &mut Vec<Row>, left_out: &mut Vec<LeftOut>) {
    let has_words = |field: &&String| rows.iter().any(|row| matches!(cell(row, field), Cell::Words(_)));
    let fields: Vec<&String> = fields.iter().filter(has_words).collect();
    let nested = |row: &Row| {
        fields.iter().find_map(|field| match cell(row, field) {
            Cell::Nested(what) => Some(format!("{field} is {what}")),
            _ => None,
        })
    };
    let mut more = Vec::new();
    rows.retain(|row| match nested(row) {
        Some(why) => {
            more.push(LeftOut { line: row.line, why });
            false
        }
        None => true,
    });
    left_out.append(&mut more);
    left_out.sort_by_key(|left| left.line);
}

/// The fields that are slots, and why others are not.
fn slots(fields: &[String], rows: &[Row]) -> (Vec<Slot>, Vec<NoSlot>) {
    let (mut slots, mut no_slots) = (Vec::new(), Vec::new());
    for field in fields {
        match values(field, rows) {
            Ok(values) => {
                let vocabulary = Vocabulary::of(values.iter().map(String::as_str));
                slots.push(Slot { name: field.clone(), vocabulary });
            }
            Err(why) => no_slots.push(NoSlot { field: field.clone(), why }),
        }
    }
    (slots, no_slots)
}

/// The different values of a field, or why it is no slot.
fn values(field: &str, rows: &[Row]) -> Result<BTreeSet<String>, String> {
    let (mut values, mut stated) = (BTreeSet::new(), 0);
    for row in rows {
        match cell(row, field) {
            Cell::None => {}
            Cell::Words(words) => {
                stated += 1;
                values.insert(words);
            }
            Cell::Fraction => return Err("numbers with a fraction".into()),
            Cell::Nested(what) => return Err(what.into()),
            Cell::Truth => return Err("true and false".into()),
        }
    }
    let n = values.len();
    if n == 0 {
        return Err("never stated".into());
    }
    if n > MOST_VALUES || (n > FEW_VALUES && 2 * n > stated) {
        return Err(format!("free text: {n} different values"));
    }
    Ok(values)
}

fn labelled(row: Row, slots: &[Slot]) -> Labelled {
    let value = |slot: &Slot| match cell(&row, &slot.name) {
        Cell::Words(words) => Some(words),
        _ => None,
    };
    let values: Vec<Option<String>> = slots.iter().map(value).collect();
    let is_slot = slots.iter().any(|slot| slot.name == "modality");
    let modality = row.fields.get("modality").filter(|_| is_slot).and_then(groups::text);
    // No value has a line end in it.
    let whole = values.iter().map(|v| v.as_deref().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    Labelled { id: row.id, values, whole, modality }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn labels(text: &str) -> Result<Labels> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn names(labels: &Labels) -> Vec<&str> {
        labels.slots.iter().map(|slot| slot.name.as_str()).collect()
    }

    #[test]
    fn any_fields_of_words_and_whole_numbers_are_slots() {
        let text = concat!(
            "\u{feff}{\"id\": 7, \"organ\": \"lung\", \"count\": 2, \"boxes\": [[1, 2]], \"size\": 2.5, \"_by\": true}\n",
            "\n",
            "{\"id\": \"b\", \"organ\": \"Liver\", \"count\": 2.0, \"boxes\": [], \"size\": 1, \"caption\": \"x\"}\n",
            "{\"id\": \"c\", \"organ\": \" \", \"count\": null, \"rest\": null}",
        );
        let labels = labels(text).unwrap();
        assert_eq!(labels.ids().collect::<Vec<_>>(), ["7", "b", "c"]);
        let mut slots = names(&labels);
        slots.sort_unstable();
        assert_eq!(slots, ["count", "organ"]);
        let why: HashMap<&str, &str> =
            labels.no_slots.iter().map(|none| (none.field.as_str(), none.why.as_str())).collect();
        let want = [("boxes", "a list"), ("size", "numbers with a fraction"), ("rest", "never stated")];
        assert_eq!(why, HashMap::from(want));
        let said = [("7", "A lung, 2 nodules."), ("b", "liver and lung: two"), ("c", "nothing")];
        let said = said.map(|(id, text)| (id.to_string(), text.to_string()));
        let report = labels.score(&HashMap::from(said));
        let row = |name: &str| report.rows.iter().find(|row| row.slot == name).unwrap();
        assert_eq!((row("organ").n, row("count").n), (2, 2), "what a label does not state is not asked for");
        assert_eq!((row("organ").accuracy, row("organ").other_stated), (0.5, Some(0.5)));
        assert_eq!((row("count").accuracy, row("count").blind), (1.0, 1.0));
        let all = report.all().unwrap();
        assert_eq!((all.n, all.accuracy, all.blind), (2, 0.5, 0.5));
    }

    #[test]
    fn bad_rows_are_left_out_with_line_and_reason() {
        let text = concat!(
            "{\"id\": \"a\", \"side\": \"left\"}\n",
            "{ broken\n",
            "[1]\n",
            "{\"side\": \"left\"}\n",
            "{\"id\": \"e\", \"side\": [\"left\", \"right\"]}\n",
            "{\"id\": \"a\", \"side\": \"right\"}\n",
        );
        let labels = labels(text).unwrap();
        let left: Vec<(usize, &str)> = labels.left_out().iter().map(|l| (l.line, l.why.as_str())).collect();
        assert_eq!(left.len(), 5, "{left:?}");
        assert_eq!(left[0].0, 2);
        assert_eq!(
            left[1..],
            [
                (3, "it is no object"),
                (4, "it has no id"),
                (5, "side is a list"),
                (6, "line 1 has the id a too")
            ]
        );
        assert_eq!(labels.ids().len(), 1);
        let error = labels.strictly().unwrap_err();
        assert!(error.kind.exit_code() == 4 && error.message.contains("line 2"), "{error:?}");
        assert_eq!(labels.notes().len(), 6, "the slots, and each row");
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let truth =
            labels("{\"id\": \"a\", \"effusion\": \"no\"}\n{\"id\": \"b\", \"effusion\": true}").unwrap_err();
        assert!(truth.message.ends_with("line 2: effusion is true or false"), "{}", truth.message);
        assert!(labels("").unwrap_err().message.ends_with("holds no facts"));
        let text: String =
            (0..60).map(|i| format!("{{\"id\": {i}, \"text\": \"finding number {i}\"}}\n")).collect();
        let alone = labels(&text).unwrap_err().message;
        assert!(alone.ends_with("holds no facts: text: free text: 60 different values"), "{alone}");
        let with: String = text.lines().map(|l| l.replace('}', ", \"side\": \"left\"}\n")).collect();
        let labels = labels(&with).unwrap();
        assert_eq!(
            (names(&labels), labels.no_slots[0].why.as_str()),
            (vec!["side"], "free text: 60 different values")
        );
        assert_eq!(
            labels.notes().iter().filter(|(_, line)| line.contains("free text")).count(),
            1,
            "said once"
        );
    }

    /// Facts of drawn scans are read from their captions; with another value they are facts as any others.
    #[test]
    fn drawn_scans_are_told_by_their_facts() {
        let drawn = concat!(
            "{\"id\": \"a\", \"modality\": \"CT\", \"side\": \"left\", \"shape\": \"round\", \"count\": 0, \"size\": null, ",
            "\"tone\": null, \"part\": null, \"lang\": \"en\", \"lesions\": [], \"caption\": \"x\"}\n",
        );
        assert!(labels(drawn).unwrap().drawn);
        let more = [
            drawn.replace("\"CT\"", "\"X-ray\""),
            drawn.replace("\"lang\"", "\"grade\""),
            drawn.replace("\"size\": null", "\"size\": \"small\""),
            format!("{drawn}{{\"id\": \"b\", \"side\": \"left\"}}"),
        ];
        for text in more {
            assert!(!labels(&text).unwrap().drawn, "{text}");
        }
    }
}

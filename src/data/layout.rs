//! One row of a ShareGPT or Alpaca file to a sample, by the rules of LLaMA-Factory 0.9.5 (`data/converter.py`).

use super::registry::{Columns, Entry, Formatting, Tags};
use super::sample::{ImageRef, Message, Role, Sample};
use super::source::Row;
use super::special;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Why a row cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    NotAnObject,
    MissingColumn,
    BadTurn,
    BadRole,
    OddTurns,
    MarkMismatch,
    BadImages,
    MissingPicture,
}

impl Fault {
    /// The code of the finding, what it says, and what to do.
    pub fn describe(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Fault::NotAnObject => {
                ("not_an_object", "the row is not a JSON object", "write one object for each row")
            }
            Fault::MissingColumn => (
                "missing_column",
                "a column that the registry names is missing",
                "mend `columns` in dataset_info.json",
            ),
            Fault::BadTurn => ("bad_turn", "a turn has no text", "give every turn its role and its text"),
            Fault::BadRole => (
                "bad_role",
                "a turn has a role that does not belong there",
                "user and assistant take turns, the user first; the names are `tags` in dataset_info.json",
            ),
            Fault::OddTurns => {
                ("odd_turns", "the talk does not end with an answer", "add the answer, or take the turn out")
            }
            Fault::MarkMismatch => (
                "placeholder_mismatch",
                "marks and pictures do not match",
                "write one <image> for each picture, and no <video> or <audio>",
            ),
            Fault::BadImages => {
                ("bad_images", "the pictures are not a path or a list of paths", "write a list of paths")
            }
            Fault::MissingPicture => (
                "missing_picture",
                "a picture's file does not exist",
                "put the file there, or set media_dir to the folder the paths start from",
            ),
        }
    }
}

/// The fault and its detail.
pub(super) type Refused = (Fault, String);

/// Builds the sample of a row.
pub(super) fn sample(row: usize, from: &Row, entry: &Entry, media: &Path) -> Result<Sample, Refused> {
    let fields = from.value.as_object().ok_or((Fault::NotAnObject, String::new()))?;
    let (system, messages) = match entry.formatting {
        Formatting::Sharegpt => sharegpt(fields, &entry.columns, &entry.tags)?,
        Formatting::Alpaca => alpaca(fields, &entry.columns)?,
    };
    let images = images(fields, &entry.columns)?;
    let marks: usize = messages.iter().map(|m| m.content.matches(special::IMAGE).count()).sum();
    let other: usize = messages.iter().map(|m| special::other_media_marks(&m.content)).sum();
    if marks != images.len() || other > 0 {
        let others = if other > 0 { format!(", {other} video or audio marks") } else { String::new() };
        return Err((Fault::MarkMismatch, format!("{marks} × <image>{others}, {} pictures", images.len())));
    }
    let id = id(row, fields, &images);
    let images = images.into_iter().map(|p| resolve(&p, media)).collect::<Result<_, _>>()?;
    Ok(Sample { row, id, system, messages, images })
}

/// The row's own id if it has one, else the first picture's file stem, else `row N`.
pub(super) fn id(row: usize, fields: &Map<String, Value>, images: &[PathBuf]) -> String {
    match fields.get("id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => match images.first().and_then(|p| p.file_stem()) {
            Some(stem) => stem.to_string_lossy().into_owned(),
            None => format!("row {row}"),
        },
    }
}

fn column<'a>(fields: &'a Map<String, Value>, name: Option<&String>) -> Option<&'a Value> {
    name.and_then(|name| fields.get(name)).filter(|v| !v.is_null())
}

fn text<'a>(fields: &'a Map<String, Value>, name: Option<&String>) -> Option<&'a str> {
    column(fields, name).and_then(Value::as_str)
}

type Talk = (Option<String>, Vec<Message>);

fn sharegpt(fields: &Map<String, Value>, columns: &Columns, tags: &Tags) -> Result<Talk, Refused> {
    let name = columns.messages.as_ref();
    let turns = column(fields, name)
        .and_then(Value::as_array)
        .ok_or_else(|| (Fault::MissingColumn, format!("no list `{}`", name.map_or("messages", |n| n))))?;
    let mut turns: Vec<(&str, &str)> = turns.iter().map(|t| turn(t, tags)).collect::<Result<_, _>>()?;
    let mut system = text(fields, columns.system.as_ref()).map(str::to_string);
    if let Some((role, content)) = turns.first()
        && tags.system.as_deref() == Some(role)
    {
        system = Some((*content).to_string());
        turns.remove(0);
    }
    let mut messages = Vec::with_capacity(turns.len());
    for (i, (role, content)) in turns.into_iter().enumerate() {
        let role = role_at(i, role, tags).ok_or_else(|| (Fault::BadRole, format!("turn {i} is `{role}`")))?;
        messages.push(Message { role, content: content.to_string() });
    }
    if messages.is_empty() || messages.len() % 2 == 1 {
        return Err((Fault::OddTurns, format!("{} turns", messages.len())));
    }
    Ok((system.filter(|s| !s.is_empty()), messages))
}

/// A turn's role and text.
fn turn<'a>(turn: &'a Value, tags: &Tags) -> Result<(&'a str, &'a str), Refused> {
    let field = |name: &Option<String>| name.as_ref().and_then(|name| turn.get(name)).and_then(Value::as_str);
    match (field(&tags.role), field(&tags.content)) {
        (Some(role), Some(content)) => Ok((role, content)),
        (None, _) => {
            Err((Fault::BadTurn, format!("no text under `{}`", tags.role.as_deref().unwrap_or("role_tag"))))
        }
        (_, None) => Err((
            Fault::BadTurn,
            format!("no text under `{}`", tags.content.as_deref().unwrap_or("content_tag")),
        )),
    }
}

/// The role if it may stand at turn `i`: questions on even places from 0, answers on odd ones.
fn role_at(i: usize, role: &str, tags: &Tags) -> Option<Role> {
    let is = |tag: &Option<String>| tag.as_deref() == Some(role);
    match i % 2 {
        0 if is(&tags.user) => Some(Role::User),
        0 if is(&tags.observation) => Some(Role::Observation),
        1 if is(&tags.assistant) => Some(Role::Assistant),
        1 if is(&tags.function) => Some(Role::Function),
        _ => None,
    }
}

fn alpaca(fields: &Map<String, Value>, columns: &Columns) -> Result<Talk, Refused> {
    let mut messages = Vec::new();
    let mut say = |role: Role, content: &str| messages.push(Message { role, content: content.to_string() });
    for pair in column(fields, columns.history.as_ref()).and_then(Value::as_array).into_iter().flatten() {
        let Some([Value::String(question), Value::String(answer)]) = pair.as_array().map(Vec::as_slice)
        else {
            return Err((Fault::BadTurn, "the history is not a list of [question, answer]".into()));
        };
        say(Role::User, question);
        say(Role::Assistant, answer);
    }
    let parts = [text(fields, columns.prompt.as_ref()), text(fields, columns.query.as_ref())];
    let question: Vec<&str> = parts.into_iter().flatten().filter(|p| !p.is_empty()).collect();
    say(Role::User, &question.join("\n"));
    let name = columns.response.as_ref();
    let answer = text(fields, name)
        .ok_or_else(|| (Fault::MissingColumn, format!("no text `{}`", name.map_or("output", |n| n))))?;
    say(Role::Assistant, answer);
    let system = text(fields, columns.system.as_ref()).filter(|s| !s.is_empty());
    Ok((system.map(str::to_string), messages))
}

/// The paths of the row's pictures: a string, a list, or objects with `path`.
fn images(fields: &Map<String, Value>, columns: &Columns) -> Result<Vec<PathBuf>, Refused> {
    let path = |value: &Value| match value {
        Value::String(path) => Ok(path.into()),
        Value::Object(image) => match image.get("path") {
            Some(Value::String(path)) => Ok(path.into()),
            _ => Err((Fault::BadImages, "an object without `path`".into())),
        },
        other => Err((Fault::BadImages, format!("found {other}"))),
    };
    match column(fields, columns.images.as_ref()) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(path).collect(),
        Some(one) => Ok(vec![path(one)?]),
    }
}

/// The picture's file: under `media` if it is there, else the path as it is written.
fn resolve(path: &Path, media: &Path) -> Result<ImageRef, Refused> {
    let inside = media.join(path);
    if inside.is_file() {
        return Ok(ImageRef::Path(inside));
    }
    if path.is_file() {
        return Ok(ImageRef::Path(path.to_path_buf()));
    }
    Err((Fault::MissingPicture, inside.display().to_string()))
}

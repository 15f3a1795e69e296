//! One row of a ShareGPT or Alpaca file to a sample, by the rules of LLaMA-Factory 0.9.5 (`data/converter.py`).

use super::entry::{Captions, Columns, Entry, Formatting, Tags};
use super::sample::{ImageRef, Message, Role, Sample};
use super::source::{Picture, Row};
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
    NoCaption,
    NoPicture,
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
            Fault::NoCaption => {
                ("no_caption", "the caption is missing, empty or not text", "write one, or take the row out")
            }
            Fault::NoPicture => {
                ("no_picture", "the row holds no picture", "put its bytes there, or the path of its file")
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
    let (system, messages) = match (&entry.captions, entry.formatting) {
        (Some(captions), _) => captioned(fields, captions)?,
        (None, Formatting::Sharegpt) => sharegpt(fields, &entry.columns, &entry.tags)?,
        (None, Formatting::Alpaca) => alpaca(fields, &entry.columns)?,
    };
    let pictures = match &from.pictures {
        Some(pictures) => pictures.clone(),
        None => images(fields, entry.wanted().1)?.into_iter().map(Picture::Path).collect(),
    };
    let marks: usize = messages.iter().map(|m| m.content.matches(special::IMAGE).count()).sum();
    let other: usize = messages.iter().map(|m| special::other_media_marks(&m.content)).sum();
    if marks != pictures.len() || other > 0 {
        let others = if other > 0 { format!(", {other} video or audio marks") } else { String::new() };
        return Err((Fault::MarkMismatch, format!("{marks} × <image>{others}, {} pictures", pictures.len())));
    }
    let id = id(row, fields, entry, pictures.first());
    let images = pictures.into_iter().map(|p| image(p, media)).collect::<Result<_, _>>()?;
    Ok(Sample { row, id, system, messages, images })
}

/// The row's own id if it has one, else the first picture's file stem (with its row in a parquet file), else `row N`.
pub(super) fn id(row: usize, fields: &Map<String, Value>, entry: &Entry, first: Option<&Picture>) -> String {
    let column = entry.captions.as_ref().map_or("id", |captions| &captions.id);
    match (fields.get(column), first) {
        (Some(Value::String(id)), _) if !id.is_empty() => id.clone(),
        (Some(Value::Number(id)), _) => id.to_string(),
        (_, Some(Picture::Embedded(picture))) => picture.stem(),
        (_, Some(Picture::Path(path))) if path.file_stem().is_some() => {
            path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        }
        _ => format!("row {row}"),
    }
}

fn column<'a>(fields: &'a Map<String, Value>, name: Option<&String>) -> Option<&'a Value> {
    name.and_then(|name| fields.get(name)).filter(|v| !v.is_null())
}

fn text<'a>(fields: &'a Map<String, Value>, name: Option<&String>) -> Option<&'a str> {
    column(fields, name).and_then(Value::as_str)
}

type Talk = (Option<String>, Vec<Message>);

/// A picture and its caption as the answer to one question.
fn captioned(fields: &Map<String, Value>, captions: &Captions) -> Result<Talk, Refused> {
    let caption = text(fields, Some(&captions.caption)).filter(|text| !text.trim().is_empty());
    let caption = caption.ok_or_else(|| (Fault::NoCaption, String::new()))?;
    let mark = if captions.question.contains(special::IMAGE) { "" } else { special::IMAGE };
    let say = |role, content: String| Message { role, content };
    let question = say(Role::User, format!("{mark}{}", captions.question));
    Ok((None, vec![question, say(Role::Assistant, caption.into())]))
}

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
fn images(fields: &Map<String, Value>, name: Option<&str>) -> Result<Vec<PathBuf>, Refused> {
    let path = |value: &Value| match value {
        Value::String(path) => Ok(path.into()),
        Value::Object(image) => match image.get("path") {
            Some(Value::String(path)) => Ok(path.into()),
            _ => Err((Fault::BadImages, "an object without `path`".into())),
        },
        other => Err((Fault::BadImages, format!("found {other}"))),
    };
    match name.and_then(|name| fields.get(name)).filter(|v| !v.is_null()) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(path).collect(),
        Some(one) => Ok(vec![path(one)?]),
    }
}

fn image(picture: Picture, media: &Path) -> Result<ImageRef, Refused> {
    match picture {
        Picture::Embedded(picture) => Ok(ImageRef::Embedded(picture)),
        Picture::Path(path) => resolve(&path, media),
        Picture::Missing => Err((Fault::NoPicture, String::new())),
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

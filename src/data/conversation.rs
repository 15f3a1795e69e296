//! A talk about pictures as a file (ShareGPT, as LLaMA-Factory reads it), and as a row of a data set.

use super::registry::{self, Entry, Formatting, Registry};
use super::sample::ImageRef;
use crate::error::{At, Error, Result};
use crate::files;
use crate::job::Sampling;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Largest JSON array that a row is added to; lines can be added to files of any size.
const LARGEST: u64 = 64 << 20;

/// System text, pictures and turns. A question says by `<image>` where its pictures stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    pub system: Option<String>,
    /// Files, pictures in parquet files, or `data:` URLs.
    pub images: Vec<PathBuf>,
    /// (question, answer)
    pub turns: Vec<(String, String)>,
    /// How its words were chosen, where that is not the usual way. LLaMA-Factory does not look at it.
    pub sampling: Option<Sampling>,
}

impl Conversation {
    /// The row as `convert` writes rows. Pictures without a mark are put in front.
    pub fn to_json(&self) -> Value {
        let marks: usize = self.turns.iter().map(|(q, _)| q.matches("<image>").count()).sum();
        let missing = "<image>".repeat(self.images.len().saturating_sub(marks));
        let say = |from: &str, value: &str| json!({ "from": from, "value": value });
        let mut said: Vec<Value> = self.system.iter().map(|text| say("system", text)).collect();
        for (i, (question, answer)) in self.turns.iter().enumerate() {
            let front = if i == 0 { missing.as_str() } else { "" };
            said.extend([say("user", &format!("{front}{question}")), say("assistant", answer)]);
        }
        let mut row = json!({ "conversations": said, "images": self.images });
        if let Some(sampling) = &self.sampling {
            row["lorascope"] = json!({ "sampling": sampling });
        }
        row
    }

    /// Reads a row: `conversations` of `from` and `value`, or `messages` of `role` and `content`.
    ///
    /// # Errors
    /// It has neither, or its turns do not alternate.
    pub fn parse(row: &Value) -> Result<Self> {
        let bad = |what: &str| {
            Error::input(format!("this is no conversation: {what}")).hint(
                "it needs \"conversations\" (from, value) or \"messages\" (role, content), and \"images\"",
            )
        };
        let said = row["conversations"].as_array().or(row["messages"].as_array());
        let mut all = Self::default();
        let mut question = None;
        for turn in said.ok_or_else(|| bad("there are no turns"))? {
            let part = |a: &str, b: &str| turn[a].as_str().or(turn[b].as_str());
            let text = part("value", "content").ok_or_else(|| bad("a turn has no text"))?.to_string();
            match (part("from", "role"), question.take()) {
                (Some("system"), None) => all.system = Some(text),
                (Some("user" | "human"), None) => question = Some(text),
                (Some("assistant" | "gpt"), Some(asked)) => all.turns.push((asked, text)),
                _ => return Err(bad("question and answer do not alternate")),
            }
        }
        let named = |v: &Value| v.as_str().map(PathBuf::from).ok_or_else(|| bad("a picture is no path"));
        all.images = match &row["images"] {
            Value::Array(images) => images.iter().map(named).collect::<Result<_>>()?,
            Value::Null => Vec::new(),
            one => vec![named(one)?],
        };
        all.sampling = serde_json::from_value(row["lorascope"]["sampling"].clone()).unwrap_or_default();
        Ok(all)
    }

    /// Writes the talk as an array of one row. Pictures that are no files, which LLaMA-Factory could not open, are
    /// written beside it.
    ///
    /// # Errors
    /// The file cannot be written, or a picture cannot be read.
    pub fn save(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let placed = |image: &PathBuf| match ImageRef::named(image.clone())? {
            // The file may lie, and be read, anywhere.
            ImageRef::Path(file) => std::path::absolute(&file).at("find", &file),
            picture => copy_to(folder, &stem, image, &picture),
        };
        let images = self.images.iter().map(placed).collect::<Result<_>>()?;
        files::write_json(path, &[Self { images, ..self.clone() }.to_json()])
    }

    /// Reads what [`Conversation::save`] wrote, or a row of any ShareGPT file, counted from 0; says how many there are. Pictures are looked for from the
    /// file's folder where they are not found from here.
    ///
    /// # Errors
    /// The file cannot be read, or the row is not there or no conversation.
    pub fn load(path: &Path, row: usize) -> Result<(Self, usize)> {
        let text = fs::read_to_string(path).at("read", path)?;
        let (value, rows) =
            row_of(&text, row).map_err(|e| Error::input(format!("{} is no JSON: {e}", path.display())))?;
        let none = || Error::usage(format!("{} has no row {row}: it has {rows}", path.display()));
        let mut all = Self::parse(&value.ok_or_else(|| none().hint("rows count from 0"))?)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for image in &mut all.images {
            let there = folder.join(&*image);
            if !image.exists() && there.exists() {
                *image = there;
            }
        }
        Ok((all, rows))
    }

    /// Only the last pair and its pictures: those marked in its question, and all where none is marked.
    pub fn last_pair(&self) -> Option<Self> {
        let (question, answer) = self.turns.last()?.clone();
        let own = question.matches("<image>").count();
        let from = if own == 0 { 0 } else { self.images.len().saturating_sub(own) };
        Some(Self {
            system: self.system.clone(),
            images: self.images[from..].to_vec(),
            turns: vec![(question, answer)],
            sampling: self.sampling.clone(),
        })
    }
}

/// A row of a JSON array, a lone object or JSON lines, and how many rows there are.
fn row_of(text: &str, row: usize) -> serde_json::Result<(Option<Value>, usize)> {
    match serde_json::from_str(text) {
        Ok(Value::Array(mut rows)) => {
            let all = rows.len();
            Ok(((row < all).then(|| rows.swap_remove(row)), all))
        }
        Ok(one) => Ok(((row == 0).then_some(one), 1)),
        Err(_) => {
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            let value = lines.get(row).map(|line| serde_json::from_str(line)).transpose()?;
            Ok((value, lines.len()))
        }
    }
}

/// Adds a talk to the data set `name` in `dir` as its last row; a name that is not registered becomes a new set of
/// lines. Pictures from elsewhere are copied into the folder. Gives the file.
///
/// # Errors
/// The set has another layout or is no JSON file, a picture cannot be read, or the folder cannot be written.
pub fn add_to(dir: &Path, name: &str, talk: &Conversation) -> Result<PathBuf> {
    check_name(name)?;
    let registered = dir.join(registry::FILE_NAME).exists() && Registry::open(dir)?.names().contains(&name);
    let entry = match registered {
        true => Registry::open(dir)?.entry(name)?,
        false => Entry::sharegpt(format!("{name}.jsonl")),
    };
    let path = entry.path(dir, name)?;
    let lines = path.extension().is_some_and(|e| e == "jsonl");
    let array = path.extension().is_some_and(|e| e == "json");
    if !fits(&entry) || !(lines || array) {
        return Err(Error::usage(format!("rows cannot be added to {name}: {}", path.display())).hint(
            "it must be a .json or .jsonl file in ShareGPT's layout; take a new name, and train on both",
        ));
    }
    let images = talk.images.iter().map(|image| place(dir, name, image)).collect::<Result<_>>()?;
    let row = row(&entry, &Conversation { images, ..talk.clone() });
    if lines {
        add_line(&path, &row)?
    } else {
        add_element(&path, &row)?
    }
    if !registered {
        registry::register(dir, name, &entry)?;
    }
    Ok(path)
}

fn check_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && !name.starts_with('.') && name.chars().all(fine) {
        true => Ok(()),
        false => Err(Error::usage(format!("{name:?} is no name of a data set"))
            .hint("letters, digits, - and _ are fine")),
    }
}

/// Whether a conversation can be a row of the set.
fn fits(entry: &Entry) -> bool {
    let t = &entry.tags;
    let named = [&t.role, &t.content, &t.user, &t.assistant].iter().all(|tag| tag.is_some());
    entry.formatting == Formatting::Sharegpt
        && entry.captions.is_none()
        && !entry.ranking
        && named
        && entry.columns.messages.is_some()
        && entry.columns.images.is_some()
}

/// The talk with the names that the set's entry has for everything.
fn row(entry: &Entry, talk: &Conversation) -> Value {
    let (tags, columns) = (&entry.tags, &entry.columns);
    let name = |tag: &Option<String>, other: &str| tag.clone().unwrap_or_else(|| other.into());
    let mut row = Map::new();
    let plain = talk.to_json();
    let says = |turn: &Value| {
        let from = match turn["from"].as_str() {
            Some("user") => name(&tags.user, "user"),
            Some("assistant") => name(&tags.assistant, "assistant"),
            _ => name(&tags.system, "system"),
        };
        json!({ name(&tags.role, "from"): from, name(&tags.content, "value"): turn["value"] })
    };
    // A column of its own for the system text, where the set has one.
    let own = columns.system.as_ref();
    let turns = plain["conversations"].as_array().into_iter().flatten();
    let turns = turns.filter(|t| own.is_none() || t["from"] != "system").map(says).collect();
    row.insert(name(&columns.messages, "conversations"), Value::Array(turns));
    row.insert(name(&columns.images, "images"), plain["images"].clone());
    if let Some(column) = own {
        row.insert(column.clone(), json!(talk.system.clone().unwrap_or_default()));
    }
    Value::Object(row)
}

/// The picture's path as a row of the data folder names it; one from elsewhere is copied there, named by its content.
fn place(dir: &Path, name: &str, image: &Path) -> Result<PathBuf> {
    let picture = ImageRef::named(image.to_path_buf())?;
    if let ImageRef::Path(path) = &picture {
        let whole = |p: &Path| p.canonicalize().at("read the picture", p);
        if let Ok(inside) = whole(path)?.strip_prefix(whole(dir).unwrap_or_else(|_| dir.into())) {
            return Ok(inside.to_path_buf());
        }
    }
    copy_to(dir, name, image, &picture)
}

/// Copies a picture below `dir`, named by its content; gives its path from there.
fn copy_to(dir: &Path, name: &str, image: &Path, picture: &ImageRef) -> Result<PathBuf> {
    let bytes = picture.bytes()?;
    let format =
        super::picture::header_of(&bytes, &image.display().to_string().chars().take(80).collect::<String>())?;
    let extension = format.format.extensions_str().first().copied().unwrap_or("png");
    let file = format!("{}.{extension}", &blake3::hash(&bytes).to_hex()[..24]);
    let inside = Path::new(&format!("{name}_pictures")).join(file);
    if !dir.join(&inside).exists() {
        files::write(&dir.join(&inside), &bytes)?;
    }
    Ok(inside)
}

fn add_line(path: &Path, row: &Value) -> Result<()> {
    let mut text = match path.exists() {
        true => fs::read(path).at("read", path)?,
        false => Vec::new(),
    };
    if text.last().is_some_and(|c| *c != b'\n') {
        text.push(b'\n');
    }
    text.extend(row.to_string().as_bytes());
    text.push(b'\n');
    files::write(path, &text)
}

fn add_element(path: &Path, row: &Value) -> Result<()> {
    if fs::metadata(path).at("read", path)?.len() > LARGEST {
        return Err(Error::usage(format!("{} is too large to add a row to", path.display()))
            .hint("take a new name: the set becomes a file of lines, and training takes both"));
    }
    let text = fs::read(path).at("read", path)?;
    let broken = |e: serde_json::Error| Error::input(format!("{} is no array: {e}", path.display()));
    let mut rows: Vec<Value> = serde_json::from_slice(&text).map_err(broken)?;
    rows.push(row.clone());
    files::write_json(path, &rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::dataset;
    use crate::data::sample::Role;

    fn talk(image: &Path) -> Conversation {
        Conversation {
            system: Some("Be brief.".into()),
            images: vec![image.into()],
            turns: vec![("<image>What?".into(), "This.".into()), ("Sure?".into(), "Yes.".into())],
            sampling: None,
        }
    }

    fn picture(dir: &Path) -> PathBuf {
        let path = dir.join("p.png");
        image::GrayImage::new(8, 8).save(&path).unwrap();
        path
    }

    #[test]
    fn a_saved_talk_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let talk = talk(&picture(dir.path()));
        let file = dir.path().join("talk.json");
        talk.save(&file).unwrap();
        assert_eq!(Conversation::load(&file, 0).unwrap().0, talk);
        // A picture through a window is a file again, and so is how words were chosen.
        let seen = crate::data::windowed::seen(&talk.images[0], crate::job::Brightness::Auto).unwrap();
        let sampling = Some(Sampling { temperature: 0.7, ..Sampling::default() });
        Conversation { images: vec![seen.clone()], sampling: sampling.clone(), ..talk }.save(&file).unwrap();
        let found = Conversation::load(&file, 0).unwrap().0;
        assert_eq!(found.sampling, sampling);
        assert_eq!(
            std::fs::read(&found.images[0]).unwrap(),
            *ImageRef::named(seen).unwrap().bytes().unwrap()
        );
        let messages =
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
        assert_eq!(Conversation::parse(&messages).unwrap().turns, [("a".into(), "b".into())]);
        for bad in [json!({}), json!({"conversations": [{"from": "gpt", "value": "x"}]})] {
            assert!(Conversation::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_row_of_a_data_set_is_loaded_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let rows = ["a", "b", "c"].map(|answer| {
            Conversation { turns: vec![("What?".into(), answer.into())], ..Conversation::default() }.to_json()
        });
        let [array, lines] = ["set.json", "set.jsonl"].map(|name| dir.path().join(name));
        std::fs::write(&array, serde_json::to_string_pretty(&rows).unwrap()).unwrap();
        std::fs::write(&lines, rows.map(|row| format!("{row}\n")).join("\n")).unwrap();
        for file in [array, lines] {
            let (talk, all) = Conversation::load(&file, 1).unwrap();
            assert_eq!((talk.turns[0].1.as_str(), all), ("b", 3));
            assert_eq!(Conversation::load(&file, 0).unwrap().0.turns[0].1, "a");
            let none = Conversation::load(&file, 3).unwrap_err();
            assert!(none.message.ends_with("has no row 3: it has 3"), "{}", none.message);
        }
    }

    #[test]
    fn the_pictures_of_a_saved_talk_are_found_from_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("talk.json");
        talk(Path::new("assets/screenshot.png")).save(&file).unwrap();
        let found = Conversation::load(&file, 0).unwrap().0;
        assert!(found.images[0].is_absolute() && found.images[0].ends_with("assets/screenshot.png"));
    }

    #[test]
    fn a_new_set_is_registered_and_grows() {
        let (elsewhere, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let talk = talk(&picture(elsewhere.path()));
        for _ in 0..2 {
            add_to(data.path(), "corrected", &talk.last_pair().unwrap()).unwrap();
        }
        let set = dataset::load(data.path(), "corrected", None).unwrap();
        assert_eq!(set.samples.len(), 2);
        let sample = &set.samples[1];
        assert_eq!(sample.system.as_deref(), Some("Be brief."));
        assert_eq!(
            (sample.messages[0].role, sample.messages[0].content.as_str()),
            (Role::User, "<image>Sure?")
        );
        assert!(sample.images[0].bytes().is_ok(), "the picture was copied");
        assert!(add_to(data.path(), "../x", &talk).is_err());
    }

    #[test]
    fn an_array_keeps_its_rows() {
        let data = tempfile::tempdir().unwrap();
        let talk = talk(&picture(data.path()));
        talk.save(&data.path().join("old.json")).unwrap();
        registry::register(data.path(), "old", &Entry::sharegpt("old.json")).unwrap();
        add_to(data.path(), "old", &talk).unwrap();
        let set = dataset::load(data.path(), "old", None).unwrap();
        assert_eq!(set.samples.len(), 2);
        assert!(!data.path().join("old_pictures").exists(), "its picture was there already");
    }
}

//! Many questions from a file: answered several at a time, printed in the file's order.

use super::ask;
use super::output::{self, Out};
use super::talk::Talk;
use crate::data::conversation::Conversation;
use crate::data::windowed::Levels;
use crate::data::{ImageRef, clean};
use crate::error::{At, Error, Kind, Result};
use crate::job::{Event, Odds, Turn};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A line of the file: its id, and what is asked or why it cannot be.
pub struct Question {
    id: Option<Value>,
    turn: Result<Turn>,
}

/// Reads the questions; what a line does not say is as in `turn`. Their pictures are looked for from here, then from the
/// file's folder.
///
/// # Errors
/// The file cannot be read, or holds no question.
pub fn read(file: &Path, turn: &Turn, window: Option<Levels>) -> Result<Vec<Question>> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).at("read", "standard input")?;
        bytes
    } else {
        std::fs::read(file).at("read", file)?
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let lines = clean::without_bom(&bytes).split(|b| *b == b'\n').enumerate();
    let all: Vec<Question> = lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(i, line)| match serde_json::from_slice::<Map<String, Value>>(line) {
            Ok(map) => Question { id: map.get("id").cloned(), turn: question(&map, turn, (folder, window)) },
            Err(e) => {
                let what = format!("{}, line {}: {e}", file.display(), i + 1);
                Question { id: None, turn: Err(Error::input(clean::for_terminal(&what))) }
            }
        })
        .collect();
    match all.is_empty() {
        true => Err(Error::input(format!("{} holds no questions", file.display()))
            .hint("each line is an object with \"question\" and \"image\" or \"images\"")),
        false => Ok(all),
    }
}

/// The pictures of a line as a turn names them.
fn pictures(images: Vec<PathBuf>, (folder, window): (&Path, Option<Levels>)) -> Result<Vec<PathBuf>> {
    let there = |path: &Path| match ImageRef::named(path.into()) {
        Ok(ImageRef::Path(path)) => path.exists(),
        found => found.is_ok(),
    };
    let placed = |image: PathBuf| {
        let beside = folder.join(&image);
        if !there(&image) && there(&beside) { beside } else { image }
    };
    ask::pictures(&images.into_iter().map(placed).collect::<Vec<_>>(), window)
}

fn question(map: &Map<String, Value>, like: &Turn, from: (&Path, Option<Levels>)) -> Result<Turn> {
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_string);
    // A row of a data set asks its last question.
    if map.contains_key("conversations") || map.contains_key("messages") {
        let mut talk = Conversation::parse(&without_open_answer(map))?;
        let (question, _) =
            talk.turns.pop().ok_or_else(|| Error::input("the conversation has no question"))?;
        let images = pictures(talk.images, from)?;
        return Ok(Turn { system: talk.system, images, history: talk.turns, question, ..like.clone() });
    }
    let mut images: Vec<PathBuf> = text("image").into_iter().map(PathBuf::from).collect();
    for image in map.get("images").and_then(Value::as_array).into_iter().flatten() {
        images.push(image.as_str().ok_or_else(|| Error::input("a picture is no path"))?.into());
    }
    let question = text("question").or_else(|| text("prompt"));
    let question = question.ok_or_else(|| Error::input("the line has no \"question\""))?;
    let images = if images.is_empty() { like.images.clone() } else { pictures(images, from)? };
    Ok(Turn { system: text("system").or_else(|| like.system.clone()), images, question, ..like.clone() })
}

/// A row whose last turn is a question gets an empty answer, so that it reads as pairs.
fn without_open_answer(map: &Map<String, Value>) -> Value {
    let mut row = Value::Object(map.clone());
    for (key, from, value) in [("conversations", "from", "value"), ("messages", "role", "content")] {
        let Some(turns) = row[key].as_array_mut() else { continue };
        if turns.last().is_some_and(|t| ["user", "human"].iter().any(|u| t[from] == *u)) {
            turns.push(json!({ from: "assistant", value: "" }));
        }
    }
    row
}

/// Asks all of them, at most a few more than `slots` at a time. A question without an answer has an `error`; then the
/// exit code is that of bad input.
pub fn run(
    mut talk: Talk,
    questions: Vec<Question>,
    slots: usize,
    stop: &AtomicBool,
    out: &Out,
) -> Result<()> {
    let total = questions.len();
    let mut left = questions.into_iter().enumerate();
    let mut asked: HashMap<u64, (usize, Option<Value>, Vec<Odds>)> = HashMap::new();
    let mut done: BTreeMap<usize, Value> = BTreeMap::new();
    let (mut printed, mut failed) = (0, 0);
    while printed < total {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Stopped, format!("stopped after {printed} of {total} answers")));
        }
        while asked.len() < slots * 2
            && let Some((row, question)) = left.next()
        {
            match question.turn {
                Ok(turn) => drop(asked.insert(talk.ask(turn), (row, question.id, Vec::new()))),
                Err(error) => drop(done.insert(row, object(row, question.id, json!({ "error": error })))),
            }
        }
        match if asked.is_empty() { None } else { talk.next(Duration::from_millis(100))? } {
            Some(Event::Odds { id, odds }) => {
                asked.entry(id).and_modify(|a| a.2.push(odds));
            }
            Some(Event::Answered { id, answer, error }) => {
                let Some((row, name, odds)) = asked.remove(&id) else { continue };
                let mut value = answer.map_or_else(|| json!({ "error": error }), answer_json);
                if !odds.is_empty() {
                    value["odds"] = json!(odds);
                }
                done.insert(row, object(row, name, value));
            }
            _ => {}
        }
        while let Some(value) = done.remove(&printed) {
            failed += usize::from(value.get("error").is_some());
            out.raw(&value.to_string());
            output::written()?;
            printed += 1;
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(Error::input(format!("{n} of {total} questions have no answer"))
            .hint("see \"error\" in their lines")),
    }
}

fn answer_json(answer: crate::job::Answer) -> Value {
    json!({
        "answer": answer.text, "finish": answer.finish, "prompt_tokens": answer.prompt_tokens,
        "new_tokens": answer.new_tokens,
    })
}

fn object(row: usize, id: Option<Value>, rest: Value) -> Value {
    let mut map = Map::from_iter([("row".to_string(), json!(row))]);
    map.extend(id.map(|id| ("id".to_string(), id)));
    if let Value::Object(rest) = rest {
        map.extend(rest);
    }
    Value::Object(map)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Turn> {
        let like = Turn { images: vec!["data:,".into()], system: Some("S".into()), ..Turn::default() };
        question(&serde_json::from_str(line).unwrap(), &like, (Path::new(""), None))
    }

    #[test]
    fn lines_say_what_differs() {
        let plain = parse(r#"{"question": "What?"}"#);
        assert!(plain.is_ok_and(|t| t.images.len() == 1 && t.system.as_deref() == Some("S")));
        let row = r#"{"conversations": [{"from": "user", "value": "a"}, {"from": "assistant", "value": "b"},
                      {"from": "user", "value": "c"}]}"#;
        let row = parse(row).unwrap();
        assert_eq!((row.history, row.question), (vec![("a".into(), "b".into())], "c".into()));
        assert!(parse(r#"{"image": "no/such.png", "question": "x"}"#).is_err());
        assert!(parse("{}").unwrap_err().message.contains("question"));
    }

    #[test]
    fn pictures_are_looked_for_from_here_and_then_beside_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let here = "assets/screenshot.png";
        std::fs::create_dir(dir.path().join("assets")).unwrap();
        ["scan.png", here].iter().for_each(|name| std::fs::write(dir.path().join(name), "x").unwrap());
        let lines = [
            json!({ "image": "scan.png", "question": "a" }),
            json!({ "images": [here], "question": "b" }),
            json!({ "messages": [{ "role": "user", "content": "c" }], "images": ["scan.png"] }),
            json!({ "image": "gone.png", "question": "d" }),
        ];
        let file = dir.path().join("q.jsonl");
        std::fs::write(&file, lines.map(|line| format!("{line}\n")).concat()).unwrap();
        let read = read(&file, &Turn::default(), None).unwrap();
        let images = |at: usize| read[at].turn.as_ref().unwrap().images.clone();
        let beside = dir.path().join("scan.png");
        assert_eq!(
            [images(0), images(1), images(2)],
            [vec![beside.clone()], vec![here.into()], vec![beside]]
        );
        let lost = read[3].turn.as_ref().unwrap_err();
        assert!(lost.message.ends_with("not found: gone.png"), "{}", lost.message);
    }
}

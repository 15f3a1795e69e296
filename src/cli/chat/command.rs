//! What a line of the chat means.

use crate::data::dropped::{self, Named};
use crate::data::windowed::Levels;
use crate::error::{Error, Result};
use std::path::PathBuf;

/// A line.
#[derive(Debug, PartialEq)]
pub enum Command {
    Ask(String),
    Pictures(Vec<PathBuf>, Option<Levels>),
    /// Files on a line of their own, at least one of them there.
    Dropped(Named),
    /// Takes a picture of the talk away again, by its number from 1; the last one without a number.
    Drop(Option<usize>),
    /// How the pictures of the talk are seen.
    Window(Option<Levels>),
    System(Option<String>),
    Adapter(Option<PathBuf>),
    /// Show the adapters of the runs in a folder.
    Adapters(Option<PathBuf>),
    Base,
    /// Ask both sides: the adapter, and the base model or another adapter.
    Compare(Option<PathBuf>, Option<String>),
    Set(String, String),
    /// Show what can be set.
    Settings,
    Odds,
    Save(PathBuf),
    /// A talk from a file: the row of this number, from 0.
    Load(PathBuf, usize),
    Retry,
    Edit,
    Correct(Option<String>),
    AddTo(String),
    New,
    Help,
    Quit,
}

/// Commands as `/help` shows them.
pub const HELP: &[(&str, &str)] = &[
    ("/image FILE... [window=W/L|auto]", "pictures of the next question; window and level for 16-bit scans"),
    ("/drop [N]", "takes the last picture away again, or the Nth of the talk"),
    ("/window W/L|auto|off", "window and level of all pictures of the talk: the model sees them so"),
    ("/system [TEXT]", "what the model is told first; nothing takes it away"),
    ("/adapters [FOLDER]", "the adapters of the runs in a folder, the newest first"),
    ("/adapter [DIR|NUMBER]", "another adapter answers, or one of those listed; nothing: the base model"),
    ("/base", "base model or adapter, by turns"),
    ("/compare [DIR] [QUESTION]", "adapter and base model (or another adapter) on one question"),
    (
        "/set [key=value]",
        "temperature, top_p, top_k, min_p, repetition_penalty, max_new_tokens, seed, do_sample, stop_strings; nothing: \
         shows them",
    ),
    ("/odds", "show how sure the model is of each token, or not"),
    ("/retry", "the last question again"),
    ("/edit", "change the last question and ask it"),
    ("/correct [TEXT]", "change the last answer, as it should be"),
    ("/add-to NAME", "the last question and answer become a row of the data set NAME"),
    ("/save FILE", "the talk as ShareGPT, with how its words were chosen"),
    ("/load FILE [ROW]", "a saved talk, or a row of a data set, counted from 0"),
    ("/new", "a new talk"),
    ("/quit", "leave, as Ctrl-D; Ctrl-C breaks an answer off"),
    ("… \\", "a backslash at the end: the line goes on in the next, as with Alt-Enter"),
];

impl Command {
    /// Reads a line. Files on a line of their own are pictures; what does not begin with `/` is a question.
    ///
    /// # Errors
    /// An unknown command, or one that lacks something.
    pub fn parse(line: &str) -> Result<Self> {
        let line = line.trim();
        match dropped::files(line) {
            Some(named) if !named.files.is_empty() => return Ok(Self::Dropped(named)),
            Some(_) => return Err(no_file(line)),
            None if line.starts_with("file://") => return Err(no_file(line)),
            None => {}
        }
        let Some(rest) = line.strip_prefix('/') else { return Ok(Self::Ask(line.into())) };
        let (name, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let rest = rest.trim();
        let text = (!rest.is_empty()).then(|| rest.to_string());
        let path = || text.as_deref().map(first_path);
        let needs = |what: &str| Error::usage(format!("/{name} needs {what}")).hint("/help shows how");
        Ok(match name {
            "image" | "images" => pictures(rest)?,
            "drop" => Self::Drop(match rest {
                "" => None,
                number => Some(number.parse().map_err(|_| needs("the number of a picture"))?),
            }),
            "window" if rest == "off" => Self::Window(None),
            "window" => Self::Window(Some(Levels::parse(rest)?)),
            "system" => Self::System(text),
            "adapters" => Self::Adapters(path()),
            "adapter" => Self::Adapter(path()),
            "base" => Self::Base,
            "compare" => compare(rest),
            "set" if rest.is_empty() => Self::Settings,
            "set" => {
                let (key, value) = rest.split_once('=').ok_or_else(|| needs("key=value"))?;
                Self::Set(key.trim().into(), value.trim().into())
            }
            "odds" => Self::Odds,
            "save" => Self::Save(path().ok_or_else(|| needs("a file"))?),
            "load" => match dropped::words(rest).as_slice() {
                [file] => Self::Load(dropped::path(file), 0),
                [file, row] => {
                    let row = row.parse().map_err(|_| needs("a file and the number of a row"))?;
                    Self::Load(dropped::path(file), row)
                }
                _ => return Err(needs("a file")),
            },
            "retry" => Self::Retry,
            "edit" => Self::Edit,
            "correct" => Self::Correct(text),
            "add-to" => Self::AddTo(text.ok_or_else(|| needs("the name of a data set"))?),
            "new" => Self::New,
            "help" | "?" => Self::Help,
            "quit" | "exit" | "q" => Self::Quit,
            // A path that was dropped or typed, of a file that is not there.
            _ if name.contains('/') => return Err(no_file(line)),
            _ => return Err(Error::usage(format!("there is no /{name}")).hint("/help lists the commands")),
        })
    }
}

fn no_file(line: &str) -> Error {
    let lost = dropped::words(line).iter().map(|word| dropped::path(word)).find(|path| !path.is_file());
    dropped::not_found(&lost.unwrap_or_else(|| line.into()))
}

fn first_path(text: &str) -> PathBuf {
    dropped::words(text).first().map_or_else(PathBuf::new, |word| dropped::path(word))
}

fn pictures(rest: &str) -> Result<Command> {
    let (mut paths, mut levels) = (Vec::new(), None);
    for word in dropped::words(rest) {
        match word.strip_prefix("window=") {
            Some(text) => levels = Some(Levels::parse(text)?),
            None => paths.push(dropped::path(&word)),
        }
    }
    match paths.is_empty() {
        true => Err(Error::usage("/image needs a file").hint("/image scan.tif window=400/1040")),
        false => Ok(Command::Pictures(paths, levels)),
    }
}

/// The first word, quoted or not, is another adapter if it is the folder of one.
fn compare(rest: &str) -> Command {
    let blanks = rest.match_indices(char::is_whitespace).map(|(at, _)| at).chain([rest.len()]);
    let adapter = |at: usize| {
        let words = dropped::words(&rest[..at]);
        let [word] = words.as_slice() else { return None };
        let folder = dropped::path(word);
        folder.join("adapter_config.json").exists().then_some((folder, at))
    };
    let (folder, at) = blanks.filter_map(adapter).next().unzip();
    let question = rest[at.unwrap_or(0)..].trim();
    Command::Compare(folder, (!question.is_empty()).then(|| question.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_mean_what_they_say() {
        let parse = |line: &str| Command::parse(line).unwrap();
        assert_eq!(parse("What is shown?"), Command::Ask("What is shown?".into()));
        let levels = Some(Levels::Set { window: 400.0, level: 1040.0 });
        let image = Command::Pictures(vec!["a b.tif".into()], levels);
        assert_eq!(parse("/image 'a b.tif' window=400/1040"), image);
        assert_eq!(parse("/set top_p = 0.5"), Command::Set("top_p".into(), "0.5".into()));
        assert_eq!(parse("/set"), Command::Settings);
        assert_eq!(parse("/window 400/1040"), Command::Window(levels));
        assert_eq!(parse("/window off"), Command::Window(None));
        assert_eq!([parse("/drop"), parse("/drop 2")], [Command::Drop(None), Command::Drop(Some(2))]);
        assert_eq!(parse("/system"), Command::System(None));
        assert_eq!(parse("/adapters my/runs"), Command::Adapters(Some("my/runs".into())));
        assert_eq!(parse("/adapter 2"), Command::Adapter(Some("2".into())));
        assert_eq!(parse("/compare Is it left?"), Command::Compare(None, Some("Is it left?".into())));
        assert_eq!(parse("/add-to corrected"), Command::AddTo("corrected".into()));
        assert_eq!(parse("/load talk.json"), Command::Load("talk.json".into(), 0));
        assert_eq!(parse("/load 'my set.json' 12"), Command::Load("my set.json".into(), 12));
        assert_eq!(parse("/correct a\nb"), Command::Correct(Some("a\nb".into())));
        for lost in ["/no/such scan.png", "file:///no/such.png", "'/no/such scan.png'"] {
            assert!(
                Command::parse(lost).unwrap_err().message.starts_with("picture not found: /no/such"),
                "{lost}"
            );
        }
        for bad in [
            "/fly",
            "/drop a",
            "/load",
            "/load a.json b",
            "/save",
            "/image",
            "/image a window=x",
            "/window",
            "/set temperature",
            "/add-to",
        ] {
            assert!(Command::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_of_two_files_is_taken_where_the_other_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let [there, gone] = ["a.png", "b.png"].map(|name| dir.path().join(name));
        std::fs::write(&there, "x").unwrap();
        let line = format!("{} {}", gone.display(), there.display());
        let named = Named { files: vec![there], lost: vec![gone] };
        assert_eq!(Command::parse(&line).unwrap(), Command::Dropped(named));
    }

    #[test]
    fn the_folder_of_an_adapter_may_have_blanks_in_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let adapter = dir.path().join("my run");
        std::fs::create_dir(&adapter).unwrap();
        std::fs::write(adapter.join("adapter_config.json"), "{}").unwrap();
        let named = adapter.display().to_string();
        for written in [format!("'{named}'"), named.replace(' ', "\\ ")] {
            let asked = Command::parse(&format!("/compare {written} Is it left?")).unwrap();
            assert_eq!(asked, Command::Compare(Some(adapter.clone()), Some("Is it left?".into())));
            let again = Command::parse(&format!("/compare {written}")).unwrap();
            assert_eq!(again, Command::Compare(Some(adapter.clone()), None));
        }
    }
}

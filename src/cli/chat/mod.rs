//! `lorascope chat`: a talk about pictures, line by line, on any terminal.

mod command;
mod history;
mod session;

use super::output::Out;
use super::talk::Talk;
use super::{ask, interrupt};
use crate::error::{Error, Kind, Result, must_exist};
use crate::job::TalkJob;
use crate::tui::prompt::{Entered, Prompt};
use clap::Args;
use command::Command;
use session::{Next, Session};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Talk with a model about pictures
///
/// Several turns, several pictures, base model against adapter, corrected answers into a data set: /help lists the
/// commands. A path that is dropped or pasted on a line of its own is a picture. Not a medical device: answers are for
/// research only.
#[derive(Args, Debug)]
pub struct ChatArgs {
    #[command(flatten)]
    pub who: ask::Answerer,
    /// A picture to begin with; may be given several times
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    /// Data folder of /add-to
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub dataset_dir: PathBuf,
    /// Settings such as temperature=0.7, do_sample=true, max_new_tokens=200, image_max_pixels=262144
    #[arg(value_name = "key=value")]
    pub overrides: Vec<String>,
}

pub fn run(args: &ChatArgs, out: &Out) -> Result<()> {
    must_exist(&args.who.model, "model folder")?;
    let config = ask::settings(args.who.adapter.as_deref(), &args.overrides)?;
    let (stop, leave) = interrupt::talk_flags()?;
    let job = TalkJob {
        model: args.who.model.clone(),
        adapter: args.who.adapter.clone(),
        config: Box::new(config.clone()),
        // Two that are compared keep what they have read.
        slots: 2,
    };
    let mut session = Session::new(args, config, out);
    session.add_pictures(&args.image, None)?;
    let mut talk = Talk::open(job, out, &stop)?;
    out.note("Not a medical device: for research, no diagnosis. /help lists the commands.");
    let mut prompt = Prompt::new(history::read(), leave.clone())?;
    let mut text = String::new();
    while !leave.load(Ordering::Relaxed) {
        let entered = prompt.read(&std::mem::take(&mut text))?;
        let done = match &entered {
            Entered::End => break,
            Entered::Nothing => {
                session.leave_edit();
                continue;
            }
            Entered::Text(line) => {
                history::add(line);
                // What came while nothing was answered breaks no answer off.
                stop.store(leave.load(Ordering::Relaxed), Ordering::Relaxed);
                Command::parse(line).and_then(|command| session.act(command, &mut talk, &stop))
            }
        };
        match done {
            Ok(Next::GoOn) => {}
            Ok(Next::Edit(prefilled)) => text = prefilled,
            Ok(Next::Leave) => break,
            // The talk goes on after a mistake; a model that is gone ends it.
            Err(error) if error.kind == Kind::Internal => return Err(error),
            Err(error) => tell(&error, out),
        }
    }
    match leave.load(Ordering::Relaxed) {
        true => Err(Error::new(Kind::Stopped, "the talk was ended from outside")),
        false => Ok(()),
    }
}

fn tell(error: &Error, out: &Out) {
    let hint = error.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
    out.note(format!("{}{hint}", error.message));
}

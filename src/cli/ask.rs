//! `lorascope ask`: one question about pictures, or many from a file.

use super::output::Out;
use super::talk::Talk;
use super::{ask_many, interrupt, job};
use crate::config::{TrainConfig, layers};
use crate::data::ImageRef;
use crate::data::windowed::{self, Levels};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result, must_exist};
use crate::job::{AskJob, Event, Finish, Job, Odds, TalkJob, Turn};
use crate::runs::TRAINING_ARGS;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Ask a model about pictures; the answer is written as it comes
///
/// With --file it answers many questions, several at a time, and prints an object a line in the order of the file.
/// Takes template and picture sizes from the run that made the adapter. Not a medical device: answers are for
/// research only.
#[derive(Args, Debug)]
pub struct AskArgs {
    #[command(flatten)]
    pub who: Answerer,
    /// A picture; may be given several times
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    /// Window and level of the pictures: auto, or WINDOW/LEVEL in their own values, as for 16-bit scans
    #[arg(long, value_name = "W/L")]
    pub window: Option<String>,
    /// Questions, an object a line: {"image": FILE or "images": [FILE, ...], "question": TEXT, "system": TEXT, "id": ...}.
    /// - reads standard input. Pictures are looked for from the current folder, then from the folder of the file
    #[arg(long, value_name = "QUESTIONS.jsonl")]
    pub file: Option<PathBuf>,
    /// System text
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Say how sure the model was of each token, with the 3 likeliest
    #[arg(long)]
    pub odds: bool,
    /// The question
    #[arg(value_name = "QUESTION")]
    pub question: Option<String>,
    /// Settings such as temperature=0.7, do_sample=true, max_new_tokens=200, image_max_pixels=262144
    #[arg(value_name = "key=value")]
    pub overrides: Vec<String>,
}

/// Who answers.
#[derive(Args, Debug)]
pub struct Answerer {
    /// Model folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Adapter folder; without it the base model answers
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
}

/// Likely tokens that are shown beside each.
pub const ALTERNATIVES: usize = 3;

/// Settings of the run that made the adapter (template, picture sizes), so that the model sees pictures as it did in
/// training; then greedy, so that the same question gets the same answer; then what the command line says.
pub fn settings(adapter: Option<&Path>, overrides: &[String]) -> Result<TrainConfig> {
    let dirs = adapter.iter().flat_map(|dir| [Some(*dir), dir.parent()]).flatten();
    let trained = dirs.map(|dir| dir.join(TRAINING_ARGS)).find(|file| file.exists());
    let mut all = vec!["do_sample=false".to_string(), "max_new_tokens=256".to_string()];
    all.extend(overrides.iter().cloned());
    layers::load(trained.as_deref(), &all)
}

/// The pictures as a turn names them; they must be there.
pub fn pictures(images: &[PathBuf], window: Option<Levels>) -> Result<Vec<PathBuf>> {
    let one = |image: &PathBuf| {
        if let ImageRef::Path(path) = &ImageRef::named(image.clone())? {
            must_exist(path, "picture")?;
        }
        window.map_or_else(|| Ok(image.clone()), |levels| windowed::url(image, levels))
    };
    images.iter().map(one).collect()
}

pub fn run(args: &AskArgs, out: &Out) -> Result<()> {
    let window = args.window.as_deref().map(Levels::parse).transpose()?;
    // With a file the first word is a setting like the others.
    let (question, mut overrides) = (args.question.clone(), args.overrides.clone());
    if args.file.is_some() {
        overrides.splice(0..0, question.clone());
    }
    let config = settings(args.who.adapter.as_deref(), &overrides)?;
    let turn = Turn {
        system: args.system.clone(),
        images: pictures(&args.image, window)?,
        sampling: config.sampling(),
        odds: args.odds.then_some(ALTERNATIVES),
        ..Turn::default()
    };
    if let Some(file) = &args.file {
        let slots = config.per_device_eval_batch_size;
        let (model, adapter) = (args.who.model.clone(), args.who.adapter.clone());
        let questions = ask_many::read(file, &turn, window)?;
        let stop = interrupt::stop_flag()?;
        let job = TalkJob { model, adapter, config: Box::new(config), slots };
        return ask_many::run(Talk::open(job, out, &stop)?, questions, slots, &stop, out);
    }
    let question = question.ok_or_else(|| {
        Error::usage("there is no question")
            .hint("write it after the options, or give --file QUESTIONS.jsonl")
    })?;
    one(args, config, Turn { question, ..turn }, out)
}

fn one(args: &AskArgs, config: TrainConfig, turn: Turn, out: &Out) -> Result<()> {
    let ask = AskJob {
        model: args.who.model.clone(),
        adapter: args.who.adapter.clone(),
        turn,
        config: Box::new(config),
    };
    let mut odds: Vec<Odds> = Vec::new();
    let answered = job::run(&Engine::start(), Job::Ask(Box::new(ask)), out, &mut |event| match event {
        Event::Token { text, done, .. } => out.piece(text, *done),
        Event::Odds { odds: one, .. } => odds.push(one.clone()),
        _ => {}
    });
    out.end_text();
    let mut answer = answered?;
    if answer["finish"] == json!(Finish::Cancelled) {
        return Err(Error::new(Kind::Stopped, format!("stopped after {} tokens", answer["new_tokens"])));
    }
    if args.odds {
        odds.iter().for_each(|one| out.line(odds_line(one)));
        answer["odds"] = json!(odds);
    }
    out.object(&answer);
    Ok(())
}

/// `0.93  "left"    right 0.05  both 0.01`
pub fn odds_line(odds: &Odds) -> String {
    let share = |logprob: f32| format!("{:.2}", logprob.exp());
    let others = odds.top.iter().filter(|(token, _)| *token != odds.token);
    let others: String = others.map(|(token, p)| format!("   {token:?} {}", share(*p))).collect();
    format!("{}  {:?}{others}", share(odds.logprob), odds.token)
}

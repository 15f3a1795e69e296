//! `lorascope ask`: one question about a picture.

use super::job;
use super::output::Out;
use crate::config::{TrainConfig, layers};
use crate::data::ImageRef;
use crate::engine::Engine;
use crate::error::{Result, must_exist};
use crate::job::{AskJob, Event, Job, Turn};
use crate::runs::TRAINING_ARGS;
use clap::Args;
use std::path::PathBuf;

/// Ask a model about pictures; the answer is written as it comes
///
/// Takes template and picture sizes from the run that made the adapter. Not a medical device: answers are for
/// research only.
#[derive(Args, Debug)]
pub struct AskArgs {
    /// Model folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Adapter folder; without it the base model answers
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// A picture; may be given several times
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    /// The question
    pub question: String,
    /// Settings such as temperature=0.7, do_sample=true, max_new_tokens=200, image_max_pixels=262144
    #[arg(value_name = "key=value")]
    pub overrides: Vec<String>,
}

/// Settings of the run that made the adapter (template, picture sizes), so that the model sees pictures as it did in
/// training; then greedy, so that the same question gets the same answer; then what the command line says.
fn settings(args: &AskArgs) -> Result<TrainConfig> {
    let dirs = args.adapter.iter().flat_map(|dir| [Some(dir.as_path()), dir.parent()]).flatten();
    let trained = dirs.map(|dir| dir.join(TRAINING_ARGS)).find(|file| file.exists());
    let mut overrides = vec!["do_sample=false".to_string(), "max_new_tokens=256".to_string()];
    overrides.extend(args.overrides.iter().cloned());
    layers::load(trained.as_deref(), &overrides)
}

pub fn run(args: &AskArgs, out: &Out) -> Result<()> {
    for image in &args.image {
        if let ImageRef::Path(path) = ImageRef::named(image.clone())? {
            must_exist(&path, "picture")?;
        }
    }
    let config = settings(args)?;
    let turn = Turn {
        images: args.image.clone(),
        question: args.question.clone(),
        sampling: config.sampling(),
        ..Turn::default()
    };
    let ask =
        AskJob { model: args.model.clone(), adapter: args.adapter.clone(), turn, config: Box::new(config) };
    let answer = job::run(&Engine::start(), Job::Ask(ask), out, &mut |event| {
        if let Event::Token { text, done, .. } = event {
            out.piece(text, *done);
        }
    })?;
    out.object(&answer);
    Ok(())
}

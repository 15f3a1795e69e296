//! `lorascope ask`: one question about a picture.

use super::job;
use super::output::Out;
use crate::config::layers;
use crate::engine::Engine;
use crate::error::{Result, must_exist};
use crate::job::{AskJob, Event, Job, Turn};
use clap::Args;
use std::path::PathBuf;

/// Ask a model about pictures; the answer is written as it comes
///
/// Not a medical device: answers are for research only.
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

pub fn run(args: &AskArgs, out: &Out) -> Result<()> {
    for image in &args.image {
        must_exist(image, "picture")?;
    }
    // Greedy unless asked otherwise: the same question gets the same answer.
    let mut overrides = vec!["do_sample=false".to_string(), "max_new_tokens=256".to_string()];
    overrides.extend(args.overrides.iter().cloned());
    let config = layers::load(None, &overrides)?;
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

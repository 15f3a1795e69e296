//! `lorascope serve`: an adapter for other programs, by OpenAI's protocol.

use super::ask;
use super::interrupt;
use super::output::Out;
use crate::error::{At, Error, Kind, Result, must_exist};
use crate::job::{Event, Level, TalkJob};
use crate::serve::{self, Options};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Answer other programs on this machine as OpenAI's server would: /v1/chat/completions, /v1/models
///
/// Listens on 127.0.0.1 only. Every request needs the token: that of LORASCOPE_TOKEN or --token-file, else a new one,
/// which is shown once. Pictures come as data URLs. Drawn answers (temperature above 0) differ from request to request;
/// one with a "seed" always gets the same. Not a medical device: answers are for research only.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Model folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Adapter folder; may be given several times. A request chooses by the folder's name, which /v1/models lists
    #[arg(long, value_name = "DIR")]
    pub adapter: Vec<PathBuf>,
    /// Port; 0 takes any free one
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// File with the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Answers written at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub slots: u16,
    /// Questions that may wait; more are refused (429)
    #[arg(long, default_value_t = 64)]
    pub queue: usize,
    /// Largest request in MB (413)
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_body: u16,
    /// Most new tokens that a request may ask for
    #[arg(long, default_value_t = 4096)]
    pub max_tokens: usize,
    /// Longest time of an answer in seconds (504)
    #[arg(long, default_value_t = 600)]
    pub time_limit: u64,
    /// What a request does not say: temperature=0.7, do_sample=true, max_new_tokens=200, image_max_pixels=262144
    #[arg(value_name = "key=value")]
    pub overrides: Vec<String>,
}

pub fn run(args: &ServeArgs, out: &Out) -> Result<()> {
    must_exist(&args.model, "model folder")?;
    for adapter in &args.adapter {
        must_exist(adapter, "adapter folder")?;
        // Only the first is loaded now; the others must not fail when somebody asks for them.
        must_exist(&adapter.join("adapter_config.json"), "adapter configuration")?;
    }
    let (token, shown) = token(args.token_file.as_deref())?;
    let config = ask::settings(args.adapter.first().map(PathBuf::as_path), &args.overrides)?;
    let options = Options {
        port: args.port,
        token: token.clone(),
        job: TalkJob {
            model: args.model.clone(),
            adapter: args.adapter.first().cloned(),
            config: Box::new(config),
            slots: args.slots.into(),
        },
        adapters: args.adapter.clone(),
        queue: args.queue,
        body: usize::from(args.max_body) * 1_000_000,
        max_tokens: args.max_tokens,
        time: Duration::from_secs(args.time_limit),
    };
    let stop = interrupt::stop_flag()?;
    let mut ready = |address: std::net::SocketAddr| {
        out.clear_bar();
        let url = format!("http://{address}/v1");
        out.line(format!("serving {url}"));
        if shown {
            out.line(format!("token   {token}"));
        }
        out.note("Ctrl-C ends it. Not a medical device: for research, no diagnosis.");
        out.object(&json!({ "url": url, "token": shown.then_some(&token) }));
    };
    serve::run(options, &stop, &mut ready, &|event| match &event {
        Event::Progress { .. } => out.progress(&event),
        Event::Log { level: Level::Warning | Level::Error, line } => out.note(format!("warning: {line}")),
        _ => {}
    })
}

/// The token, and whether it is new and has to be shown.
fn token(file: Option<&Path>) -> Result<(String, bool)> {
    const SHORTEST: usize = 16;
    let given = match file {
        Some(file) => Some(std::fs::read_to_string(file).at("read the token", file)?),
        None => std::env::var("LORASCOPE_TOKEN").ok(),
    };
    match given.map(|t| t.trim().to_string()) {
        Some(token) if token.len() >= SHORTEST && token.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok((token, false))
        }
        Some(_) => {
            Err(Error::usage(format!("the token must have {SHORTEST} or more letters, digits or signs"))
                .hint("leave it away to get a new one"))
        }
        None => {
            let mut bytes = [0; 24];
            getrandom::fill(&mut bytes)
                .map_err(|e| Error::new(Kind::Io, format!("the system gives no random numbers: {e}")))?;
            Ok((bytes.iter().map(|b| format!("{b:02x}")).collect(), true))
        }
    }
}

//! `lorascope` without a subcommand: the workbench.

use super::output::Out;
use crate::config::{TrainConfig, layers};
use crate::error::Result;
use crate::runs::TRAINING_ARGS;
use crate::tui::{self, Left, Looks, Options};
use clap::Args;
use std::path::{Path, PathBuf};

/// How the workbench looks.
#[derive(Args, Clone, Debug)]
pub struct LooksArgs {
    /// Language of the workbench; by default that of the locale
    #[arg(long, global = true, value_name = "LANG", value_parser = ["en", "zh"])]
    pub lang: Option<String>,
    /// Colours of the workbench (also LORASCOPE_THEME)
    #[arg(long, global = true, value_name = "THEME", value_parser = ["dark", "light", "high-contrast", "colour-blind", "mono"])]
    pub theme: Option<String>,
    /// Draw with ASCII characters only (also LORASCOPE_ASCII=1)
    #[arg(long, global = true)]
    pub ascii: bool,
    /// At most 2 frames and 1 KB a second, for a slow line
    #[arg(long, global = true)]
    pub low_bandwidth: bool,
}

impl From<LooksArgs> for Looks {
    fn from(args: LooksArgs) -> Self {
        Looks { language: args.lang, theme: args.theme, ascii: args.ascii, low_bandwidth: args.low_bandwidth }
    }
}

pub fn run(workspace: PathBuf, looks: LooksArgs, out: &Out) -> Result<()> {
    let options = Options { workspace, config: TrainConfig::default(), watch: None, looks: looks.into() };
    tui::run(options).map(|left| say_left(&left, out))
}

/// The workbench on one run, with the settings that it was begun with.
pub fn watch(run: PathBuf, control: bool, looks: LooksArgs, out: &Out) -> Result<()> {
    let settings = run.join(TRAINING_ARGS);
    let config = layers::load(Some(&settings), &[]).unwrap_or_default();
    // A run of a workspace lies in its runs/.
    let parent = run.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let workspace = if parent.ends_with("runs") { parent.parent().unwrap_or(parent) } else { parent };
    let workspace = workspace.to_path_buf();
    let options = Options { workspace, config, watch: Some((run, control)), looks: looks.into() };
    tui::run(options).map(|left| say_left(&left, out))
}

/// How to come back to a run that goes on.
fn say_left(left: &Left, out: &Out) {
    if let Some(run) = &left.running {
        let run = run.display();
        out.note(format!("the run goes on without a screen: {run}"));
        out.note(format!("come back:  lorascope watch {run} --control    (or open the workbench again)"));
        out.note(format!("stop it:    lorascope watch {run} --tell stop"));
    }
}

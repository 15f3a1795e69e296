//! The only vocabulary between threads: a `Job` is asked for, an engine answers with `Event`s and takes `Command`s.
//!
//! The command line builds a `Job` from arguments and prints its events; the workbench builds the same `Job`
//! from its panes and draws them; a run directory keeps them, one JSON line each.

mod answer;
mod event;
mod request;

pub use answer::{Answer, Finish, Odds, Prediction, ScoreRow, SlotRow};
pub use event::{
    Command, Emit, Event, Finding, GpuUse, Level, Outcome, Phase, StepRow, TargetRow, TimeSplit,
};
pub use request::{
    AskJob, Brightness, CheckJob, ConvertJob, DEFAULT_MAX_PIXELS, DEFAULT_QUESTION, ExportJob, Job,
    RowFormat, Sampling, TalkJob, Turn,
};

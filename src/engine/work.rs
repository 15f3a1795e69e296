//! Runs one job: hands it to the part of the crate that does it, and says how it ended, on panic too.

use super::Request;
use super::export;
use super::loaded::Loaded;
use super::record::{self, Record};
use super::talk;
use crate::config::TrainConfig;
use crate::data::{check, convert};
use crate::error::{Error, Kind, Result};
use crate::eval::{predict, words};
use crate::job::{Command, Emit, Event, Job, Level, Outcome};
use crate::runs::RunLock;
use crate::train::output::{self, resume_folder};
use crate::train::run;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// What stays between jobs: the loaded model.
#[derive(Default)]
pub(super) struct Worker {
    loaded: Option<Loaded>,
}

impl Worker {
    /// Runs a job to its end and sends exactly one `Finished`.
    pub(super) fn run(&mut self, request: Request) {
        let Request { job, inbox, commands, on_event } = request;
        let record = Mutex::new(None);
        let emit = |event: Event| {
            record::keep(&record, &event);
            on_event(event);
        };
        let ways = Ways { inbox: &inbox, commands, record: &record, emit: &emit };
        let result = catch_unwind(AssertUnwindSafe(|| self.dispatch(&job, ways)));
        let outcome = match result {
            Ok(Ok(summary)) => Outcome::Done { summary },
            Ok(Err(error)) if error.kind == Kind::Stopped => {
                Outcome::Stopped { summary: json!({ "message": error.message, "hint": error.hint }) }
            }
            Ok(Err(error)) => {
                if error.kind == Kind::Training {
                    // Out of memory in the middle of a step: start afresh.
                    self.loaded = None;
                }
                Outcome::Failed { error }
            }
            Err(panic) => {
                // The model may be in the middle of a change.
                self.loaded = None;
                Outcome::Failed { error: panic_error(panic.as_ref()) }
            }
        };
        let finished = Event::Finished(outcome);
        record::keep(&record, &finished);
        // Those who watch have it, and the folder is free, before anybody here acts on it.
        record::close(&record);
        on_event(finished);
    }

    /// Nobody waits for anything.
    pub(super) fn rest(&mut self) {
        let loaded = self.loaded.as_mut();
        if catch_unwind(AssertUnwindSafe(|| loaded.map(Loaded::read_ahead))).is_err() {
            // What failed in vain here will be told where it is wanted.
            self.loaded = None;
        }
    }

    fn dispatch(&mut self, job: &Job, ways: Ways) -> Result<Value> {
        let (inbox, emit) = (ways.inbox, ways.emit);
        match job {
            Job::Convert(job) => with_stop(inbox, |stop| convert::run(job, stop, emit)),
            Job::Check(job) => with_stop(inbox, |stop| check::run(job, stop, emit)),
            Job::Train(config) => {
                let lock = RunLock::acquire(&config.output_dir)?;
                if resume_folder(config)?.is_none() {
                    output::clear(config)?;
                }
                ways.open_record(&config.output_dir, lock)?;
                let (model, encoder, device) =
                    self.load(&config.model_name_or_path, config, emit)?.for_training(config);
                run::run(run::Setup { model, encoder, config, device }, inbox, emit)
            }
            Job::Evaluate(config) => {
                let lock = RunLock::acquire(&config.output_dir)?;
                ways.open_record(&config.output_dir, lock)?;
                words::prepare();
                let loaded = self.load(&config.model_name_or_path, config, emit)?;
                loaded.forget_talk();
                loaded.use_adapter(config.adapter_name_or_path.as_deref())?;
                let (model, encoder, adapter) = loaded.parts();
                predict::run(&predict::Setup { model, encoder, config, adapter }, inbox, emit)
            }
            Job::Ask(job) => talk::ask(self.load(&job.model, &job.config, emit)?, job, inbox, emit),
            Job::Talk(job) => talk::run(self.load(&job.model, &job.config, emit)?, job, inbox, emit),
            Job::Export(job) => {
                // It loads models itself, one after the other.
                self.loaded = None;
                export::run(job, inbox, emit)
            }
        }
    }

    /// The model of a folder; loaded once and kept for the next job.
    fn load(&mut self, dir: &Path, config: &TrainConfig, emit: Emit) -> Result<&mut Loaded> {
        if self.loaded.as_ref().is_none_or(|l| !l.serves(dir, config)) {
            // Freed first: two models at once may not fit.
            self.loaded = None;
            self.loaded = Some(Loaded::load(dir, config, emit)?);
        }
        let loaded = self.loaded.as_mut().expect("set above");
        loaded.set_encoder(config)?;
        Ok(loaded)
    }
}

/// The ways to and from a job.
struct Ways<'a> {
    inbox: &'a Receiver<Command>,
    commands: Sender<Command>,
    record: &'a Mutex<Option<Record>>,
    emit: Emit<'a>,
}

impl Ways<'_> {
    /// From now on what the job says is kept in the run folder, and the run can be watched.
    fn open_record(self, dir: &Path, lock: RunLock) -> Result<()> {
        let (record, cannot_be_watched) = Record::open(dir, lock, self.commands)?;
        *self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(record);
        if let Some(e) = cannot_be_watched {
            let line = format!("this run cannot be watched from elsewhere: {}", e.message);
            (self.emit)(Event::Log { level: Level::Warning, line });
        }
        Ok(())
    }
}

/// Runs a job that takes a stop flag, setting it when a `Stop` arrives.
fn with_stop(
    inbox: &Receiver<Command>,
    job: impl FnOnce(&AtomicBool) -> Result<Value> + Send,
) -> Result<Value> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| job(&stop));
        while !running.is_finished() {
            match inbox.recv_timeout(Duration::from_millis(20)) {
                Ok(Command::Stop { .. }) => stop.store(true, Ordering::Relaxed),
                // The sender is gone: nobody will stop it any more.
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                _ => {}
            }
        }
        running.join().unwrap_or_else(|panic| Err(panic_error(panic.as_ref())))
    })
}

/// Says why a GPU is not used.
pub(super) fn tell_note(note: Option<&String>, emit: Emit) {
    if let Some(line) = note {
        emit(Event::Log { level: Level::Warning, line: line.clone() });
    }
}

/// Characters of a panic's message that are shown.
const PANIC_SHOWN: usize = 2000;

/// A panic as an error that a user can report.
fn panic_error(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    // A kernel that does not compile is told with its whole source.
    let text = text.split("[Source]").next().unwrap_or_default();
    let text: String = text.chars().take(PANIC_SHOWN).collect();
    Error::internal(format!("bug: the job stopped with a panic: {text}"))
        .hint("the last checkpoint is intact; please report this with the log file")
}

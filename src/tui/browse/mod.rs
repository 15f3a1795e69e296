//! Reading of the open data set off the screen's thread: rows in view, changes, searches, samples as trained.

mod search;
mod set;
pub mod trained;

use super::Msg;
use super::effects::Loaded;
use crate::config::TrainConfig;
use crate::data::Sample;
use crate::data::clean;
use crate::data::overlay::{Applied, Change};
use crate::data::query::Query;
use crate::error::{Error, Result};
use crate::job::Finding;
use set::Set;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use trained::{Trained, Trainer};

/// Something wanted of the data set with the number `set`.
#[derive(Clone, Debug)]
pub enum Ask {
    Open {
        set: u64,
        dir: PathBuf,
        name: String,
        media_dir: Option<PathBuf>,
    },
    /// These rows, the most urgent first. What is still waiting from before is no longer wanted.
    Rows {
        set: u64,
        rows: Vec<usize>,
    },
    Change {
        set: u64,
        row: usize,
        edit: Edit,
    },
    /// Takes the last change back.
    Undo {
        set: u64,
    },
    /// The row as the model is trained on it.
    Trained {
        set: u64,
        row: usize,
        config: Box<TrainConfig>,
    },
    /// Looks for rows; a running search stops. `None`: only that.
    Search {
        set: u64,
        search: u64,
        query: Option<Query>,
        config: Box<TrainConfig>,
    },
}

/// A change a user makes to a row.
#[derive(Clone, Debug)]
pub enum Edit {
    Text(Part, String),
    Exclude(bool),
    /// A change that was taken back.
    Again(Change),
}

/// A turn that can be edited in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Question,
    Caption,
}

/// What comes back.
pub enum Told {
    /// Bytes done and in all while rows are looked for.
    Opening {
        set: u64,
        done: u64,
        total: u64,
    },
    Opened {
        set: u64,
        found: Result<Opened>,
    },
    Rows {
        set: u64,
        rows: Vec<Row>,
    },
    Changed {
        set: u64,
        done: Result<Changed>,
    },
    Trained {
        set: u64,
        row: usize,
        found: Result<Box<Trained>>,
    },
    /// More rows of a search, in order; `end` with the last.
    Found {
        search: u64,
        rows: Vec<u32>,
        looked: usize,
        end: Option<Result<()>>,
    },
}

/// An open data set.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    pub name: String,
    pub rows: usize,
    pub findings: Vec<Finding>,
    /// The finding codes that `flags` count.
    pub codes: Vec<String>,
    /// (row, index of its code), in order.
    pub flags: Vec<(u32, u16)>,
    /// How many rows have changes.
    pub changed: usize,
}

/// What a change did.
#[derive(Clone, Debug)]
pub struct Changed {
    pub row: usize,
    pub what: String,
    /// Set by an undo: the change that can be made again.
    pub undone: Option<Change>,
    /// How many rows have changes now.
    pub changed: usize,
}

/// A row ready to be shown.
#[derive(Clone, Debug)]
pub struct Row {
    pub row: usize,
    /// With the edited turns, or why the row cannot be used.
    pub sample: Result<Sample>,
    pub applied: Applied,
    /// The beginning of the caption in one line, harmless.
    pub line: String,
}

impl Row {
    pub fn new(row: usize, sample: Result<Sample>, applied: Applied) -> Self {
        /// Wider than any list.
        const LONGEST: usize = 400;
        let line = match &sample {
            Ok(sample) => {
                let answers = sample.messages.iter().filter(|m| m.role == crate::data::Role::Assistant);
                let first: String = answers.flat_map(|m| m.content.chars()).take(LONGEST).collect();
                clean::for_terminal(&first)
            }
            Err(error) => clean::for_terminal(&error.message),
        };
        Self { row, sample, applied, line }
    }
}

/// Hands requests to the two threads.
pub struct Browser {
    asks: Sender<Ask>,
    searches: Sender<Ask>,
    newest: Arc<AtomicU64>,
}

impl Browser {
    pub fn start(out: Sender<Msg>) -> Self {
        let (asks, inbox) = channel();
        let (searches, search_inbox) = channel();
        let newest = Arc::new(AtomicU64::new(0));
        let open = Arc::new(Mutex::new(None));
        let worker = Worker {
            inbox,
            pending: VecDeque::new(),
            out: out.clone(),
            open: open.clone(),
            newest: newest.clone(),
            trainer: Trainer::default(),
        };
        spawn("browser", move || worker.work());
        spawn("search", move || search::work(&search_inbox, &open, &out));
        Self { asks, searches, newest }
    }

    pub fn ask(&self, ask: Ask) {
        if let Ask::Open { set, .. } = &ask {
            self.newest.store(*set, Ordering::Relaxed);
        }
        let to = if matches!(ask, Ask::Search { .. }) { &self.searches } else { &self.asks };
        let _ = to.send(ask);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.into()).spawn(work).expect("the system can start a thread");
}

/// The open set with its number.
type Open = Arc<Mutex<Option<(u64, Arc<Set>)>>>;

fn opened(open: &Open, set: u64) -> Option<Arc<Set>> {
    let open = open.lock().expect("no panic while it is held");
    open.as_ref().filter(|(number, _)| *number == set).map(|(_, set)| set.clone())
}

/// Rows sent in one message; between two of them newer requests are looked for.
const CHUNK: usize = 64;

struct Worker {
    inbox: Receiver<Ask>,
    pending: VecDeque<Ask>,
    out: Sender<Msg>,
    open: Open,
    /// The number of the set that was asked for last.
    newest: Arc<AtomicU64>,
    trainer: Trainer,
}

impl Worker {
    fn work(mut self) {
        while let Some(ask) = self.next() {
            self.answer(ask);
        }
    }

    /// The next request; of those that replace each other only the newest counts.
    fn next(&mut self) -> Option<Ask> {
        if self.pending.is_empty() {
            self.pending.push_back(self.inbox.recv().ok()?);
        }
        loop {
            self.pending.extend(self.inbox.try_iter());
            let ask = self.pending.pop_front()?;
            let same = |other: &Ask| std::mem::discriminant(other) == std::mem::discriminant(&ask);
            let replaced = matches!(ask, Ask::Open { .. } | Ask::Rows { .. } | Ask::Trained { .. });
            if !(replaced && self.pending.iter().any(same)) {
                return Some(ask);
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Open { set, dir, name, media_dir } => {
                let found = self.open(set, &dir, &name, media_dir.as_deref());
                if self.newest.load(Ordering::Relaxed) == set {
                    self.tell(Told::Opened { set, found });
                }
            }
            Ask::Rows { set, rows } => self.rows(set, &rows),
            Ask::Change { set, row, edit } => {
                let Some(open) = opened(&self.open, set) else { return };
                let done = guarded("a change", || open.change(row, edit));
                self.tell(Told::Changed { set, done });
            }
            Ask::Undo { set } => {
                let Some(open) = opened(&self.open, set) else { return };
                self.tell(Told::Changed { set, done: guarded("a change", || open.undo()) });
            }
            Ask::Trained { set, row, config } => {
                let Some(open) = opened(&self.open, set) else { return };
                let trainer = &mut self.trainer;
                let found =
                    guarded("a sample", || trainer.look(&open.row(row).sample?, &config)).map(Box::new);
                self.tell(Told::Trained { set, row, found });
            }
            Ask::Search { .. } => {}
        }
    }

    fn open(
        &self,
        set: u64,
        dir: &std::path::Path,
        name: &str,
        media: Option<&std::path::Path>,
    ) -> Result<Opened> {
        const EVERY: Duration = Duration::from_millis(100);
        let stop = AtomicBool::new(false);
        let last = Mutex::new(Instant::now());
        let progress = |done, total| {
            stop.store(self.newest.load(Ordering::Relaxed) != set, Ordering::Relaxed);
            let mut last = last.lock().expect("no panic while it is held");
            if last.elapsed() >= EVERY {
                *last = Instant::now();
                self.tell(Told::Opening { set, done, total });
            }
        };
        let (found, opened) = guarded(name, || Set::open(dir, name, media, &progress, &stop))?;
        *self.open.lock().expect("no panic while it is held") = Some((set, Arc::new(found)));
        Ok(opened)
    }

    fn rows(&mut self, set: u64, rows: &[usize]) {
        let Some(open) = opened(&self.open, set) else { return };
        for chunk in rows.chunks(CHUNK) {
            let rows = chunk.iter().map(|row| open.row(*row)).collect();
            self.tell(Told::Rows { set, rows });
            self.pending.extend(self.inbox.try_iter());
            if self.pending.iter().any(|ask| matches!(ask, Ask::Rows { .. } | Ask::Open { .. })) {
                return;
            }
        }
    }

    fn tell(&self, told: Told) {
        // A closed workbench ends the thread by its inbox.
        let _ = self.out.send(Msg::Loaded(Loaded::Browse(told)));
    }
}

/// A panic as an error, so that the screen does not wait for ever.
fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::internal(format!("bug: reading {what} stopped with a panic"))
            .hint("see lorascope.log in the workspace"))
    })
}

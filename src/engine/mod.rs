//! The engine: it owns the device and the model, runs jobs, and serves commands between two steps.

mod export;
pub mod launch;
mod loaded;
mod record;
mod talk;
pub mod watch;
mod work;

use crate::error::{Error, Kind};
use crate::job::{Command, Event, Job, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Receives the events of one job, on the engine's thread. Must not block.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// A running engine. Dropping it lets the current job end and then ends the thread.
pub struct Engine {
    requests: Sender<Request>,
    next_id: AtomicU64,
}

/// A submitted job: its number, and the way to talk to it.
pub struct JobHandle {
    pub id: u64,
    commands: Sender<Command>,
}

impl JobHandle {
    /// Says something to the job. `false` when it has ended already.
    pub fn send(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }
}

struct Request {
    job: Job,
    inbox: Receiver<Command>,
    /// The other end of `inbox`, for those who watch from other processes.
    commands: Sender<Command>,
    on_event: OnEvent,
}

impl Engine {
    /// Starts the engine thread.
    pub fn start() -> Self {
        let (requests, inbox) = channel::<Request>();
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || {
                // One of the threads that compute: to hand each of a token's many small products to others and to wait for them
                // costs as much as some of the products. Without it the work goes to the threads of all.
                let _computes = rayon::ThreadPoolBuilder::new()
                    .thread_name(|i| format!("engine {i}"))
                    .use_current_thread()
                    .build();
                let mut worker = work::Worker::default();
                loop {
                    let next = inbox.try_recv().or_else(|_| {
                        worker.rest();
                        inbox.recv()
                    });
                    let Ok(request) = next else { return };
                    worker.run(request);
                }
            })
            .expect("the system can start a thread");
        Self { requests, next_id: AtomicU64::new(1) }
    }

    /// Queues a job. Jobs that need no model (convert, check) run at once on a thread of their own, so that
    /// they work while a training job runs; the others run one after another on the engine thread.
    pub fn submit(&self, job: Job, on_event: impl Fn(Event) + Send + Sync + 'static) -> JobHandle {
        let (commands, inbox) = channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let request = Request { job, inbox, commands: commands.clone(), on_event: Arc::new(on_event) };
        if matches!(request.job, Job::Convert(_) | Job::Check(_)) {
            std::thread::Builder::new()
                .name(format!("job {id}"))
                .spawn(move || work::Worker::default().run(request))
                .expect("the system can start a thread");
        } else if let Err(lost) = self.requests.send(request) {
            let error = Error::new(Kind::Internal, "the engine thread has ended")
                .hint("start Lorascope again; finished work is in the run folders");
            (lost.0.on_event)(Event::Finished(Outcome::Failed { error }));
        }
        JobHandle { id, commands }
    }
}

//! A tuned model for other programs of this machine: OpenAI's `/v1/chat/completions` and `/v1/models` on loopback.

mod connection;
mod desk;
mod fault;
mod http;
mod openai;
mod reply;

use crate::engine::Engine;
use crate::error::{At, Error, Kind, Result};
use crate::job::{Emit, TalkJob};
use desk::Desk;
use fault::Fault;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is served, and within which limits.
pub struct Options {
    /// 0: any free port.
    pub port: u16,
    pub token: String,
    pub job: TalkJob,
    /// Adapters that a request may name, besides the base model.
    pub adapters: Vec<PathBuf>,
    /// Questions that may wait for an answer to begin.
    pub queue: usize,
    /// Largest body of a request, in bytes.
    pub body: usize,
    /// Most new tokens of an answer.
    pub max_tokens: usize,
    /// Longest time from a question to the end of its answer.
    pub time: Duration,
}

/// Connections at a time; more are sent away at once.
const CONNECTIONS: usize = 512;
/// How often the listener looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);
/// At its end the server waits this long until those who are connected have heard of it.
const FAREWELL: Duration = Duration::from_secs(2);
/// Every connection is a thread with little to do.
const STACK: usize = 512 << 10;

/// Serves until `stop` is set. `ready` is told the address once the model is loaded; `emit` gets what loading says.
///
/// # Errors
/// The model does not load, the port is taken, or the engine has ended.
pub fn run(options: Options, stop: &AtomicBool, ready: &mut dyn FnMut(SocketAddr), emit: Emit) -> Result<()> {
    // The port first: loading may take minutes.
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let listener = TcpListener::bind(at).map_err(|e| {
        Error::new(Kind::Io, format!("cannot listen on {at}: {e}"))
            .hint("choose another --port, or 0 for any")
    })?;
    let address = listener.local_addr().at("listen on", at.to_string())?;
    listener.set_nonblocking(true).at("listen on", at.to_string())?;
    let engine = Engine::start();
    let seats = options.job.slots + options.queue;
    let desk = Arc::new(Desk::open(&engine, options.job.clone(), seats));
    if !desk.wait_until_ready(stop, emit)? {
        return Ok(());
    }
    ready(address);
    let options = Arc::new(options);
    let live = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        if let Some(error) = desk.ended() {
            return Err(error);
        }
        match listener.accept() {
            Ok((stream, _)) => serve(stream, &desk, &options, &live),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(LOOK),
            // One connection failed before it was there, or there are no more file descriptors for a moment.
            Err(_) => std::thread::sleep(LOOK),
        }
    }
    desk.close();
    let until = Instant::now() + FAREWELL;
    while live.load(Ordering::Relaxed) > 0 && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Answers a connection on a thread of its own.
fn serve(stream: TcpStream, desk: &Arc<Desk>, options: &Arc<Options>, live: &Arc<AtomicUsize>) {
    let place = Live::take(live);
    let (desk, options) = (desk.clone(), options.clone());
    let full = live.load(Ordering::Relaxed) > CONNECTIONS;
    let thread = std::thread::Builder::new().name("connection".into()).stack_size(STACK);
    // Without a thread the connection is closed: the client sees that, and nothing else can be done.
    let _ = thread.spawn(move || {
        let _place = place;
        match full {
            true => http::refuse(stream, &Fault::busy()),
            false => connection::answer(stream, &desk, &options),
        }
    });
}

/// Counts a connection as long as it is there.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn take(live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self(live.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

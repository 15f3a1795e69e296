//! Signals as flags that a job looks at: stop (Ctrl-C, SIGTERM), and the end of the terminal (SIGHUP).

use crate::error::{At, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What the system has said.
pub struct Signals {
    pub stop: Arc<AtomicBool>,
    /// The terminal is gone.
    pub hangup: Arc<AtomicBool>,
}

/// Listens from now on. A second signal to stop ends the program at once. With `outlives` the end of the terminal is no
/// reason to stop.
pub fn listen(outlives: bool) -> Result<Signals> {
    let signals = Signals { stop: Arc::default(), hangup: Arc::default() };
    let ends = crate::error::Kind::Stopped.exit_code();
    let stops: &[i32] = if outlives { &[SIGINT, SIGTERM] } else { &[SIGINT, SIGTERM, SIGHUP] };
    for signal in stops {
        // In this order: the first signal finds the flag unset, the second finds it set.
        flag::register_conditional_shutdown(*signal, ends.into(), signals.stop.clone())
            .and_then(|_| flag::register(*signal, signals.stop.clone()))
            .at("watch for", "Ctrl-C")?;
    }
    if outlives {
        flag::register(SIGHUP, signals.hangup.clone()).at("watch for", "the end of the terminal")?;
    }
    Ok(signals)
}

/// The flag of a job that stops on each of them.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    listen(false).map(|signals| signals.stop)
}

/// Flags of a talk: what breaks an answer off (each of the signals), and what ends the talk (each but Ctrl-C). A second
/// signal to end it ends the program at once.
pub fn talk_flags() -> Result<(Arc<AtomicBool>, Arc<AtomicBool>)> {
    let (stop, leave) = (stop_flag()?, Arc::<AtomicBool>::default());
    let ends = crate::error::Kind::Stopped.exit_code();
    for signal in [SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, ends.into(), leave.clone())
            .and_then(|_| flag::register(signal, leave.clone()))
            .at("watch for", "the end of the terminal")?;
    }
    Ok((stop, leave))
}

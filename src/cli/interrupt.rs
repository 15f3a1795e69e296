//! Ctrl-C, SIGTERM and a closed terminal (SIGHUP) as a flag that a job looks at; a second one ends the program at once.

use crate::error::{At, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The flag that the first signal sets.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first signal finds the flag unset, the second finds it set.
        let ends = crate::error::Kind::Stopped.exit_code();
        signal_hook::flag::register_conditional_shutdown(signal, ends.into(), flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .at("watch for", "Ctrl-C")?;
    }
    Ok(flag)
}

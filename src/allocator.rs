//! The program's allocator: mimalloc, which keeps freed memory for the next step.
//!
//! Why `unsafe` here: mimalloc takes settings through C calls only. Measured on the CPU: giving memory back after a second, as
//! it does by itself, costs a fifth of a training step in pages that the system has to clear again.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Freed memory goes back to the system after this long (milliseconds): longer than most steps take.
const KEEP: std::ffi::c_long = 60_000;

/// `mi_option_purge_delay`, which libmimalloc-sys does not name: number 15 in both versions of mimalloc that it brings.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Sets the allocator up. `MIMALLOC_PURGE_DELAY` in the environment wins.
#[allow(unsafe_code)]
pub fn set_up() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: the call stores one number, and no other thread runs yet.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEEP) }
    }
}

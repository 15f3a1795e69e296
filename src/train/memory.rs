//! Memory in use: of the device where it keeps count, else of this process.

use burn::tensor::Device;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes in use on the device; resident memory of the process where the backend keeps no count (the CPU), or
/// cannot answer any more.
pub fn in_use(device: &Device) -> u64 {
    let pool = catch_unwind(AssertUnwindSafe(|| device.memory_pool_usage()));
    pool.ok().flatten().map_or_else(resident, |usage| usage.bytes_in_use)
}

/// The most bytes that were held at once: by the device's pools, which give nothing back, or [`peak`].
pub fn held(device: &Device) -> u64 {
    let pool = catch_unwind(AssertUnwindSafe(|| device.memory_pool_usage()));
    pool.ok().flatten().map_or_else(peak, |usage| usage.bytes_reserved)
}

/// Resident memory in bytes; 0 where the system does not tell.
pub fn resident() -> u64 {
    status("VmRSS:")
}

/// The most resident memory in bytes that this process had; 0 where the system does not tell.
pub fn peak() -> u64 {
    status("VmHWM:")
}

fn status(key: &str) -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find(|l| l.starts_with(key));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

//! Memory in use: of the device where it keeps count, else of this process.

use crate::job::GpuUse;
use crate::model::backend;
use burn::tensor::Device;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes in use on the device, as its driver counts them, else the backend's pools; resident memory of the process
/// where there is none (the CPU), or nobody can answer any more.
pub fn in_use(device: &Device) -> u64 {
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let pools = device.memory_pool_usage()?.bytes_reserved;
        Some(backend::gpu_in_use(device).unwrap_or(pools))
    }));
    answer.ok().flatten().unwrap_or_else(resident)
}

/// What the GPU is doing; `None` on the CPU, or where the driver does not answer.
pub fn gpu(device: &Device) -> Option<GpuUse> {
    catch_unwind(AssertUnwindSafe(|| backend::gpu_use(device))).ok().flatten()
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

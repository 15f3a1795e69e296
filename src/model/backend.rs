//! Which device computes: the one place that names burn's backends.

use crate::job::GpuUse;
use burn::tensor::{DType, Device};

/// A chosen device, the type of the frozen weights on it, and what to tell people.
pub struct Backend {
    pub device: Device,
    pub dtype: DType,
    /// "CPU, 2 threads" or the GPU's name.
    pub name: String,
    /// What is other than might be expected: no GPU, or no bf16.
    pub note: Option<String>,
}

/// The GPU if this build has the CUDA backend and the driver knows one, else the CPU. `bf16` is the wanted type of
/// the frozen weights; the CPU computes in f32 because its bf16 products are slower. The environment variable
/// `LORASCOPE_DEVICE` (`cpu` or `cuda`) decides instead where it is set.
pub fn choose(bf16: bool) -> Backend {
    let wanted = std::env::var("LORASCOPE_DEVICE").unwrap_or_default();
    if wanted == "cpu" {
        return cpu(None);
    }
    match gpu(bf16, wanted == "cuda") {
        Ok(backend) => backend,
        Err(note) => cpu(note),
    }
}

/// The CPU, whatever else there is.
pub fn cpu(note: Option<String>) -> Backend {
    let name = format!("CPU, {} threads", rayon::current_num_threads());
    Backend { device: Device::flex(), dtype: DType::F32, name, note }
}

/// The GPU's name, and the bytes on it that are free or held by this process; `None` on the CPU.
pub fn gpu_memory(device: &Device) -> Option<(String, u64)> {
    #[cfg(feature = "cuda")]
    if let Some(pool) = device.memory_pool_usage() {
        return Some(super::cuda::free_memory(pool.bytes_reserved));
    }
    let _ = device;
    None
}

/// Bytes in use on the GPU as its driver counts them, by whomever; `None` on the CPU or where it does not answer.
pub fn gpu_in_use(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if device.memory_pool_usage().is_some() {
        return super::cuda::first_gpu().ok()?.memory.map(|(_, used)| used);
    }
    let _ = device;
    None
}

/// How much of the GPU is in use, by whomever; `None` on the CPU or where its driver does not answer.
pub fn gpu_use(device: &Device) -> Option<GpuUse> {
    #[cfg(feature = "cuda")]
    if device.memory_pool_usage().is_some() {
        return super::cuda::in_use();
    }
    let _ = device;
    None
}

#[cfg(not(feature = "cuda"))]
fn gpu(_bf16: bool, wanted: bool) -> Result<Backend, Option<String>> {
    let note = "no GPU is used: this program was built without `--features cuda`; computing on the CPU";
    Err(wanted.then(|| note.into()))
}

#[cfg(feature = "cuda")]
fn gpu(bf16: bool, wanted: bool) -> Result<Backend, Option<String>> {
    let no = |why: String| Some(format!("no GPU is used: {why}; computing on the CPU"));
    let (name, can) = match super::cuda::first_gpu() {
        Ok(gpu) => (gpu.name, gpu.bf16),
        Err(_) if wanted => ("CUDA device 0".into(), true),
        Err(why) => return Err(no(why)),
    };
    super::cuda::preflight().map_err(no)?;
    super::cuda::configure();
    let dtype = if bf16 && can { DType::BF16 } else { DType::F32 };
    let note =
        (bf16 && !can).then(|| format!("{name} does not compute in bf16: computing in f32, twice as large"));
    Ok(Backend { device: Device::cuda(0usize), dtype, name, note })
}

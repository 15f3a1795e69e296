//! Which device computes: the one place that names burn's backends.

use burn::tensor::{DType, Device};

/// A chosen device, the type of the frozen weights on it, and what to tell people.
pub struct Backend {
    pub device: Device,
    pub dtype: DType,
    /// "CPU, 2 threads" or the GPU's name.
    pub name: String,
    /// Why it is not the GPU, where one might be expected.
    pub note: Option<String>,
}

/// The GPU if this build has the CUDA backend and the driver knows one, else the CPU. `bf16` is the wanted type of
/// the frozen weights; the CPU computes in f32 because its bf16 products are slower.
pub fn choose(bf16: bool) -> Backend {
    match gpu(bf16) {
        Ok(backend) => backend,
        Err(note) => cpu(note),
    }
}

fn cpu(note: Option<String>) -> Backend {
    let name = format!("CPU, {} threads", rayon::current_num_threads());
    Backend { device: Device::flex(), dtype: DType::F32, name, note }
}

#[cfg(not(feature = "cuda"))]
fn gpu(_bf16: bool) -> Result<Backend, Option<String>> {
    Err(None)
}

/// Asks NVML, never burn: enumerating devices through burn panics where there is no driver.
#[cfg(feature = "cuda")]
fn gpu(bf16: bool) -> Result<Backend, Option<String>> {
    let no = |why: String| Some(format!("no GPU is used: {why}; computing on the CPU"));
    let nvml =
        nvml_wrapper::Nvml::init().map_err(|e| no(format!("the NVIDIA driver does not answer ({e})")))?;
    let gpu = nvml.device_by_index(0).map_err(|e| no(format!("the driver knows no GPU ({e})")))?;
    let name = gpu.name().unwrap_or_else(|_| "GPU 0".into());
    let dtype = if bf16 { DType::BF16 } else { DType::F32 };
    Ok(Backend { device: Device::cuda(0usize), dtype, name, note: None })
}

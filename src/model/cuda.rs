//! What a GPU needs before the first tensor: driver, run-time compiler, headers, and a place for compiled kernels.
//!
//! burn compiles its kernels with NVRTC while the program runs. What is missing there shows as a panic deep in
//! another thread; this module looks first, so that the user reads what to install instead.

use crate::job::GpuUse;
use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use cubecl::prelude::Runtime;
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A GPU as the driver describes it.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub name: String,
    /// Bytes of device memory: all, and in use by any process.
    pub memory: Option<(u64, u64)>,
    /// Whether its units compute in bf16: from compute capability 8 on.
    pub bf16: bool,
}

/// Asks NVML, never burn: enumerating devices through burn panics where there is no driver.
///
/// # Errors
/// Why there is no GPU, for people.
pub fn first_gpu() -> Result<Gpu, String> {
    let gpu = first_device()?;
    let memory = gpu.memory_info().ok().map(|m| (m.total, m.used));
    let bf16 = gpu.cuda_compute_capability().is_ok_and(|c| c.major >= 8);
    Ok(Gpu { name: gpu.name().unwrap_or_else(|_| "GPU 0".into()), memory, bf16 })
}

fn first_device() -> Result<nvml_wrapper::Device<'static>, String> {
    static NVML: OnceLock<Result<Nvml, NvmlError>> = OnceLock::new();
    let nvml = NVML.get_or_init(Nvml::init);
    let nvml = nvml.as_ref().map_err(|e| format!("the NVIDIA driver does not answer ({e})"))?;
    nvml.device_by_index(0).map_err(|e| format!("the driver knows no GPU ({e})"))
}

/// How much of the first GPU is in use; `None` where NVML does not answer.
pub fn in_use() -> Option<GpuUse> {
    let gpu = first_device().ok()?;
    let memory = gpu.memory_info().ok()?;
    let percent = gpu.utilization_rates().ok().map(|rates| rates.gpu);
    Some(GpuUse { percent, memory: memory.used, total: memory.total })
}

/// The first GPU's name, and the bytes on it that nobody holds but this process, which holds `own`. Where NVML does not
/// answer, the driver's word on all of its memory, as if nobody else were there.
pub fn free_memory(own: u64) -> (String, u64) {
    if let Ok(Gpu { name, memory: Some((all, used)), .. }) = first_gpu() {
        return (name, (all.saturating_sub(used) + own).min(all));
    }
    let client = cubecl::cuda::CudaRuntime::client(&cubecl::cuda::CudaDevice::new(0));
    let properties = client.properties();
    // CubeCL lets a page be a quarter of the device
    (properties.identity.name.clone(), 4 * properties.memory.max_page_size)
}

/// Looks for the run-time compiler and its headers.
///
/// # Errors
/// What is missing and how to get it.
pub fn preflight() -> Result<(), String> {
    let Some(toolkit) = cubecl::cuda::install::cuda_path() else {
        return Err(
            "the CUDA toolkit is not found: install it (headers and NVRTC of CUDA 12), or set CUDA_PATH \
                    to its folder"
                .into(),
        );
    };
    // What the kernels include: half precision types and tensor cores
    for header in ["cuda_runtime.h", "cuda_fp16.h", "cuda_bf16.h", "mma.h", "crt/mma.h"] {
        let path = toolkit.join("include").join(header);
        if !path.is_file() {
            return Err(format!(
                "{} is missing: install the CUDA development headers, or set CUDA_PATH to a toolkit that has them",
                path.display()
            ));
        }
    }
    if library_folders(&toolkit).iter().any(|dir| has_nvrtc(dir)) {
        return Ok(());
    }
    Err("libnvrtc.so (CUDA's run-time compiler) is not found: install the NVRTC package of your CUDA version, \
         or add its folder to LD_LIBRARY_PATH"
        .into())
}

/// Where the dynamic linker would look, nearest first.
fn library_folders(toolkit: &Path) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        env::var_os("LD_LIBRARY_PATH").map(|v| env::split_paths(&v).collect()).unwrap_or_default();
    dirs.extend(["lib64", "lib", "targets/x86_64-linux/lib"].map(|d| toolkit.join(d)));
    dirs.extend(
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/aarch64-linux-gnu"]
            .map(PathBuf::from),
    );
    for conf in std::fs::read_dir("/etc/ld.so.conf.d").into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(conf.path()).unwrap_or_default();
        dirs.extend(text.lines().map(str::trim).filter(|l| l.starts_with('/')).map(PathBuf::from));
    }
    dirs
}

fn has_nvrtc(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name()).any(|n| n.to_string_lossy().starts_with("libnvrtc.so"))
}

/// Where compiled kernels are kept between starts: below the user's cache folder.
pub fn kernel_folder() -> Option<PathBuf> {
    let own = |var: &str| env::var_os(var).map(PathBuf::from).filter(|p| p.is_absolute());
    Some(
        own("XDG_CACHE_HOME")
            .or_else(|| Some(own("HOME")?.join(".cache")))?
            .join("lorascope")
            .join("kernels"),
    )
}

/// Settings of the kernel compiler: kernels are kept between starts. Once per process, before the first tensor.
/// What the user has set by CubeCL's own environment variables stays in force.
pub fn configure() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let mut config = CubeClRuntimeConfig::default();
        if let Some(folder) = kernel_folder() {
            config.compilation.cache = true;
            config.environment.path = CacheConfig::Directory(folder);
        }
        // Somebody else may have read the configuration before; then its defaults hold, which is harmless.
        let _ = CubeClRuntimeConfig::try_set(config.override_from_env());
    });
}

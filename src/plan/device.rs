//! What is computed on: a GPU of `configs/gpus.toml`, a GPU of a given memory, or this machine's CPU.

use super::memory::Asked;
use crate::error::{Error, Result};
use crate::model::ops::gemm::{Cores, Mat, gemm};
use std::time::Instant;

const GPUS: &str = include_str!("../../configs/gpus.toml");

/// Share of a GPU's dense peak that training reaches: LoRA on packs of a few thousand tokens reaches 30 to 45 % of
/// it in tuned frameworks; kernels here are not tuned to a card.
const GPU_SHARE: f64 = 0.3;

/// Share of the bandwidth that reading weights reaches.
const BANDWIDTH_SHARE: f64 = 0.8;

/// Share of the speed of one large product that a whole step reaches on the CPU.
const CPU_SHARE: f64 = 0.75;

/// CUDA's context, kernels and libraries on the device.
const CUDA_PROCESS: u64 = 700 << 20;

/// The program and its threads, without tokenizer.
const CPU_PROCESS: u64 = 24 << 20;

/// Bytes in memory for each byte of `tokenizer.json`.
const TOKENIZER: u64 = 8;

/// Which formula counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Cpu,
    Cuda,
}

/// A device as far as a plan depends on it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Device {
    pub name: String,
    pub kind: Kind,
    /// Bytes that a run may take.
    pub memory: u64,
    /// Floating point operations a second of a large product, and bytes a second, where they are known.
    pub flops: Option<f64>,
    pub bandwidth: Option<f64>,
    pub bf16: bool,
    pub source: String,
}

#[derive(serde::Deserialize)]
struct Table {
    gpu: Vec<Row>,
}

#[derive(serde::Deserialize)]
struct Row {
    name: String,
    /// GiB
    memory: f64,
    tflops: f64,
    /// GB/s
    bandwidth: f64,
    #[serde(default = "yes")]
    bf16: bool,
    source: String,
}

fn yes() -> bool {
    true
}

/// Every GPU of the table.
pub fn gpus() -> Vec<Device> {
    let table: Table = toml::from_str(GPUS).expect("the table in the program is well formed");
    let gpu = |r: Row| Device {
        name: r.name,
        kind: Kind::Cuda,
        memory: (r.memory * (1u64 << 30) as f64) as u64,
        flops: Some(r.tflops * 1e12),
        bandwidth: Some(r.bandwidth * 1e9),
        bf16: r.bf16,
        source: r.source,
    };
    table.gpu.into_iter().map(gpu).collect()
}

impl Device {
    /// The GPU that `name` means: case, blanks and hyphens do not count, and a beginning or a part of the name does.
    ///
    /// Errors: none or several of the table.
    pub fn gpu(name: &str) -> Result<Self> {
        let plain = |s: &str| s.to_lowercase().replace([' ', '-', '_'], "");
        let (all, wanted) = (gpus(), plain(name));
        if let Some(exact) = all.iter().find(|g| plain(&g.name) == wanted) {
            return Ok(exact.clone());
        }
        let near: Vec<&Device> = all.iter().filter(|g| plain(&g.name).contains(&wanted)).collect();
        match near.as_slice() {
            [gpu] => Ok((*gpu).clone()),
            some => {
                let names =
                    |gpus: &[&Device]| gpus.iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(", ");
                let hint = if some.is_empty() { names(&all.iter().collect::<Vec<_>>()) } else { names(some) };
                let message = format!("no single GPU in the table is called {name:?}");
                Err(Error::usage(message).hint(format!("there are {hint}; or give --memory in GB")))
            }
        }
    }

    /// A GPU of which only the memory is known, in GB of the vendor (2³⁰ bytes).
    pub fn of_memory(gib: f64) -> Self {
        Self {
            name: format!("a GPU with {gib} GB"),
            kind: Kind::Cuda,
            memory: (gib * (1u64 << 30) as f64) as u64,
            flops: None,
            bandwidth: None,
            bf16: true,
            source: "given".into(),
        }
    }

    /// A GPU that is there, as the driver calls it, and the bytes a run may take. Its speed is that of the table's
    /// row whose words are all in the name.
    pub fn present(name: &str, memory: u64) -> Self {
        let words = |s: &str| s.to_lowercase().split([' ', '-']).map(String::from).collect::<Vec<_>>();
        let there = words(name);
        let known = gpus().into_iter().filter(|g| words(&g.name).iter().all(|w| there.contains(w)));
        let known = known.max_by_key(|g| words(&g.name).len());
        let other = Self { flops: None, bandwidth: None, source: "driver".into(), ..Self::of_memory(0.0) };
        Self { name: name.into(), memory, ..known.unwrap_or(other) }
    }

    /// This machine: the memory that is free or this process's, and the speed of a product measured for a tenth of
    /// a second.
    pub fn cpu() -> Self {
        Self { flops: Some(measure()), source: "measured".into(), ..Self::cpu_of_unknown_speed() }
    }

    /// [`Device::cpu`] without the measurement.
    pub fn cpu_of_unknown_speed() -> Self {
        Self {
            name: format!("this CPU, {} threads", rayon::current_num_threads()),
            kind: Kind::Cpu,
            memory: available(),
            flops: None,
            bandwidth: None,
            bf16: false,
            source: "not measured".into(),
        }
    }

    /// Bytes of a value of the frozen decoder and of activations.
    pub(super) fn float_bytes(&self, bf16: bool) -> u64 {
        if self.kind == Kind::Cuda && bf16 { 2 } else { 4 }
    }

    /// What is there without a model. `tokenizer` is the size of `tokenizer.json`.
    pub(super) fn process_bytes(&self, tokenizer: u64) -> u64 {
        match self.kind {
            Kind::Cpu => CPU_PROCESS + TOKENIZER * tokenizer,
            Kind::Cuda => CUDA_PROCESS,
        }
    }

    /// What the allocator holds beyond what is asked of it.
    pub(super) fn overhead(&self, asked: &Asked) -> u64 {
        match self.kind {
            // freed memory is kept for the next step (measured: 8 to 20 % of a phase), and memory of one layer does not
            // fit the next one's (measured: a layer's worth)
            Kind::Cpu => freed() + asked.phase * 3 / 20 + asked.again,
            // pages of the pools are rarely full, the one for the largest tensors least of all
            Kind::Cuda => asked.phase / 10 + asked.resident / 50 + self.page(asked.slice),
        }
    }

    /// Bytes of the page that a tensor of so many is cut from: CubeCL's pools are a ladder of pages from a sixteenth
    /// of the device down, a quarter each, for tensors of at most a half, a quarter, ... of them. A larger tensor gets
    /// a page of its own, not below an eighth of the device
    /// (cubecl-runtime 0.11, `memory_manage.rs`, `exclusive_pool.rs`).
    fn page(&self, tensor: u64) -> u64 {
        let mut fits = tensor.max(self.memory / 8);
        let (mut page, mut share) = (self.memory / 4, 1);
        while page >= 32 << 20 {
            (page, share) = (page / 4, share * 2);
            if tensor > page / share {
                break;
            }
            fits = page;
        }
        fits
    }

    pub(super) fn overhead_note(&self) -> String {
        match self.kind {
            Kind::Cpu => {
                format!("{}, 15 % of the largest phase; a layer, if computed again", super::size(freed()))
            }
            Kind::Cuda => "10 % of the largest phase, 2 % of the rest, a page".into(),
        }
    }

    /// Seconds for `flops` operations and `traffic` bytes of weights.
    pub(super) fn seconds(&self, flops: f64, traffic: f64) -> Option<f64> {
        let share = if self.kind == Kind::Cpu { CPU_SHARE } else { GPU_SHARE };
        let computing = flops / (self.flops? * share);
        Some(self.bandwidth.map_or(computing, |b| computing.max(traffic / (b * BANDWIDTH_SHARE))))
    }

    /// What the time rests on.
    pub(super) fn assumption(&self) -> Option<String> {
        let flops = self.flops?;
        let units = if self.kind == Kind::Cuda && !self.bf16 {
            "; it has no bf16 units and will be slower"
        } else {
            ""
        };
        Some(match self.kind {
            Kind::Cpu => format!(
                "time: {:.0} % of the {:.0} GFLOP/s that one product reached just now",
                100.0 * CPU_SHARE,
                flops / 1e9
            ),
            Kind::Cuda => format!(
                "time: {:.0} % of {:.0} TFLOPS ({}){units}; the first measured updates say better",
                100.0 * GPU_SHARE,
                flops / 1e12,
                self.source
            ),
        })
    }
}

/// Freed memory that waits to be given back, whatever the model: measured with one and two threads.
fn freed() -> u64 {
    (32 + 8 * rayon::current_num_threads() as u64) << 20
}

/// Memory in bytes that is free or held by this process, within the limit of the control group; 0 where the system
/// does not tell.
fn available() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kib = |path: &str, key: &str| -> u64 {
        let (text, words) = (read(path), |l: &str| l.split_whitespace().nth(1).and_then(|n| n.parse().ok()));
        text.lines().find(|l| l.starts_with(key)).and_then(words).unwrap_or(0)
    };
    // not the pages of mapped weight files, which can be given up at any time
    let own = kib("/proc/self/status", "RssAnon:");
    let bytes = 1024 * (kib("/proc/meminfo", "MemAvailable:") + own);
    let group: Option<u64> = read("/sys/fs/cgroup/memory.max").trim().parse().ok();
    group.map_or(bytes, |most| most.min(bytes))
}

/// Operations a second of a product of two matrices: the best of a few.
fn measure() -> f64 {
    const N: usize = 768;
    let a = vec![1f32; N * N];
    let mut out = vec![0f32; N * N];
    let m = Mat::new(&a, N, N, N);
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let start = Instant::now();
        gemm(&mut out, N, 0.0, 1.0, m, m.t(), Cores::All);
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (N as f64).powi(3) / best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the dry run shows on a device of 80 GiB.
    #[test]
    fn large_tensors_come_from_large_pages() {
        let device = Device::of_memory(80.0);
        let mib = |n: u64| n << 20;
        for (tensor, page) in [(0, 20), (1, 80), (36, 320), (64, 1280), (320, 1280), (321, 5120)] {
            assert_eq!(device.page(mib(tensor)), mib(page), "{tensor}");
        }
        assert_eq!(device.page(mib(2561)), mib(10240));
    }

    #[test]
    fn a_card_is_known_by_the_words_of_its_name() {
        let speed = |name| Device::present(name, 5).flops;
        let row = |name: &str| gpus().into_iter().find(|g| g.name == name).and_then(|g| g.flops);
        assert_eq!(speed("NVIDIA H100 80GB HBM3"), row("H100-80GB"));
        assert_eq!(speed("NVIDIA A100-SXM4-40GB"), row("A100-40GB"));
        assert_eq!(speed("NVIDIA GeForce RTX 4090"), row("RTX-4090"));
        assert_eq!(speed("NVIDIA GeForce GTX 1080"), None);
        let there = Device::present("NVIDIA L40S", 5);
        assert_eq!((there.name.as_str(), there.memory, there.flops), ("NVIDIA L40S", 5, row("L40S")));
    }
}

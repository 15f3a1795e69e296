//! Qwen3-VL on burn tensors: vision tower, text decoder, LoRA, weights.

pub mod backend;
pub mod config;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod kv_cache;
pub mod lora;
mod mmap;
pub mod moe;
pub mod ops;
pub mod peft;
pub mod qwen3_vl;
pub mod rope;
mod section;
pub mod text;
pub mod vision;
pub mod weights;

pub use config::{ModelConfig, MoeConfig, TextConfig, VisionConfig};
pub use weights::Weights;

//! Qwen3-VL on burn tensors: vision tower, text decoder, LoRA, weights.
// A tensor handle alone takes hundreds of bytes; such enums live once a matrix or a layer.
#![allow(clippy::large_enum_variant)]

pub mod attach;
pub mod backend;
pub mod config;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod dora;
pub mod embedding;
pub mod expert_lora;
pub mod export;
pub mod kv_cache;
pub mod lora;
pub mod mlp;
mod mmap;
pub mod modules;
pub mod moe;
pub mod ops;
pub mod peft;
pub mod quant;
pub mod qwen3_vl;
pub mod rope;
mod section;
pub mod targets;
pub mod text;
pub mod vision;
mod vision_block;
pub mod weight;
pub mod weights;

pub use config::{ModelConfig, MoeConfig, TextConfig, VisionConfig};
pub use weights::Weights;

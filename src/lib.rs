//! Lorascope: a terminal workbench for LoRA fine-tuning of Qwen3-VL on medical images.
//!
//! Who may know whom (left may use right, never back; `tests/layers.rs` checks it):
//! `main -> cli -> tui -> engine -> { train, eval, generate } -> model -> data -> config -> job, files, error`,
//! with `runs` beside the engine.

pub mod cli;
pub mod config;
pub mod data;
pub mod demo;
pub mod engine;
pub mod error;
pub mod eval;
pub mod files;
pub mod generate;
pub mod job;
pub mod model;
pub mod plan;
pub mod runs;
pub mod serve;
pub mod train;
pub mod tui;

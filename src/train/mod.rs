//! LoRA SFT: the loop, loss, optimizer, schedule, data order, checkpoints, log.

pub mod checkpoint;
pub mod clock;
pub mod commands;
pub mod init;
pub mod memory;
mod numpy;
pub mod optimizer;
pub mod output;
pub mod report;
pub mod run;
pub mod sampler;
pub mod schedule;
pub mod split;
pub mod step;

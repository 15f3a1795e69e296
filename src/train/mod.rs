//! LoRA SFT: the loop, loss, optimizer, schedule, data order, checkpoints, log.

pub mod changes;
pub mod checkpoint;
pub mod clock;
pub mod commands;
pub mod init;
pub mod memory;
pub mod optimizer;
pub mod out_of_memory;
pub mod output;
pub mod packing;
pub mod plateau;
pub mod position;
pub mod report;
pub mod run;
pub mod sampler;
pub mod schedule;
pub mod split;
pub mod step;

//! Settings: the typed configuration, the hyper-parameter table, layers of files and overrides, and rules.

pub mod advice;
pub mod decoding;
pub mod fields;
pub mod layers;
pub mod live;
pub mod llama_factory;
pub mod presets;
pub mod quantization;
pub mod reference;
pub mod rows;
pub mod schedule_args;
pub mod steps;
pub mod train_config;
pub mod validate;
pub mod yaml_file;

pub use schedule_args::ScheduleArgs;
pub use train_config::{Every, LrScheduler, MixStrategy, Strategy, TrainConfig};

//! Text from a model: prefill, one token at a time, sampling, UTF-8 safe streaming.

pub mod decode;
pub mod sampling;

pub use decode::{Prompt, Rules, generate};
pub mod ask;

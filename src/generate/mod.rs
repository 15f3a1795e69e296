//! Text from a model: prefill, one token at a time, sampling, UTF-8 safe streaming, talks that share what they have in common.

mod ahead;
pub mod ask;
pub mod batch;
pub mod decode;
mod guesses;
mod intake;
pub mod pictures;
mod pieces;
pub mod sampling;
mod scores;
pub mod stops;
pub mod talk;
pub mod writing;

pub use ask::Who;
pub use decode::{Grown, Next, Prompt, Rules, generate};
pub use talk::Talk;

//! How the frozen base model is kept: in full, or in blocks of 8 or 4 bits (QLoRA).

use super::TrainConfig;
use serde::{Deserialize, Serialize};

/// The code of 4-bit weights (`quantization_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FourBit {
    Nf4,
    Fp4,
}

/// The code of a block's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 8 bits, steps of a 127th of the block's largest value.
    Int8,
    /// 4 bits, the quantiles of a normal distribution (arXiv 2305.14314).
    Nf4,
    /// 4 bits, sign, two bits of exponent, one of fraction.
    Fp4,
}

/// How frozen weights are quantised while they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantization {
    pub code: Code,
    /// The scales of the blocks are quantised too, to 8 bits in blocks of 256.
    pub double: bool,
}

impl Quantization {
    /// Values with one scale.
    pub const BLOCK: usize = 64;
    /// Scales with one scale of their own.
    pub const SCALES: usize = 256;

    /// Bytes of `n` values in whole blocks: codes and scales.
    pub fn bytes(self, n: u64) -> u64 {
        let blocks = n.div_ceil(Self::BLOCK as u64);
        let codes = if self.code == Code::Int8 { n } else { n.div_ceil(2) };
        let scales = if self.double { blocks + 4 * blocks.div_ceil(Self::SCALES as u64) } else { 4 * blocks };
        codes + scales
    }
}

impl TrainConfig {
    /// The settings `quantization_bit`, `quantization_type` and `double_quantization` together. As in
    /// bitsandbytes, the last two are of 4 bits only.
    pub fn quantization(&self) -> Option<Quantization> {
        let code = match (self.quantization_bit?, self.quantization_type) {
            (8, _) => return Some(Quantization { code: Code::Int8, double: false }),
            (_, FourBit::Nf4) => Code::Nf4,
            (_, FourBit::Fp4) => Code::Fp4,
        };
        Some(Quantization { code, double: self.double_quantization })
    }
}

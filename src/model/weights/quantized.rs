//! Weights that are quantised while they are read: one matrix in full at a time.

use super::{Entry, Weights, convert};
use crate::config::quantization::Quantization;
use crate::error::{At, Error, Result};
use crate::model::config::TextConfig;
use crate::model::quant::Quantized;
use burn::tensor::{DType, Device};

/// How, and where to.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub how: Quantization,
    pub device: &'a Device,
    /// The type that is computed with.
    pub dtype: DType,
}

impl Weights {
    /// [`Weights::tensor`] of a matrix, quantised.
    ///
    /// Errors: those of [`Weights::tensor`], and a value that is NaN or infinite.
    pub fn quantized(&self, name: &str, shape: [usize; 2], to: Target) -> Result<Quantized> {
        let entry = self.entry(name)?;
        if entry.shape != shape {
            return Err(self.wrong_shape(name, entry, &format!("{shape:?}")));
        }
        let values = convert::floats(self.source(name, entry)?).at("read", self.path(entry))?;
        self.quantize(name, entry, &values, (shape, to))
    }

    /// [`Weights::experts`], quantised expert by expert.
    pub fn quantized_experts(
        &self,
        layer: usize,
        config: &TextConfig,
        to: Target,
    ) -> Result<[Vec<Quantized>; 2]> {
        let [gate_up, down] = super::experts::wanted(layer, config)?;
        Ok([self.quantized_expert(&gate_up, to)?, self.quantized_expert(&down, to)?])
    }

    fn quantized_expert(&self, (name, wanted): &(String, [usize; 3]), to: Target) -> Result<Vec<Quantized>> {
        let (entry, turn) = self.layout(name, *wanted)?;
        let [experts, out, inner] = *wanted;
        let all = self.source(name, entry)?;
        (0..experts)
            .map(|e| {
                let values = convert::floats(all.part(e, experts)).at("read", self.path(entry))?;
                let values = if turn { convert::transposed(&values, inner, out) } else { values };
                self.quantize(name, entry, &values, ([out, inner], to))
            })
            .collect()
    }

    fn quantize(
        &self,
        name: &str,
        entry: &Entry,
        values: &[f32],
        (shape, to): ([usize; 2], Target),
    ) -> Result<Quantized> {
        Quantized::quantize(values, shape, to.how, (to.device, to.dtype)).ok_or_else(|| {
            let at = self.path(entry).display();
            Error::input(format!("tensor {name} in {at} has values that are NaN or infinite"))
                .hint("the file is damaged: download it again")
        })
    }
}

//! Frozen matrices in blocks of 4 or 8 bits, as bitsandbytes keeps them (QLoRA, arXiv 2305.14314).
//!
//! 64 values in a row of the flattened matrix share a scale, their largest magnitude; a value is the nearest entry
//! of the code times that scale. With double quantisation the scales, less their mean, are kept in 8 bits too, 256
//! of them to a scale of their own. 8-bit weights differ from LLM.int8() (arXiv 2208.07339): that has one scale per
//! row, rounds the inputs to 8 bits too, and takes columns with outliers in 16 bits. Here inputs stay as they are.

mod blocks;
mod code;
mod composed;

pub use blocks::Blocks;

use super::ops::blocks as products;
use crate::config::quantization::Quantization;
use burn::backend::Flex;
use burn::tensor::{DType, Device, Tensor, TensorData};
use composed::OnDevice;
use std::ops::Range;
use std::sync::Arc;

/// A quantised matrix [out, in]. It is made to floats again each time it is used, and these are not kept.
#[derive(Clone, Debug)]
pub struct Quantized {
    shape: [usize; 2],
    store: Store,
    /// What it is made to.
    dtype: DType,
    device: Device,
}

#[derive(Clone, Debug)]
enum Store {
    /// For the fused CPU kernel, a few rows at a time.
    Host(Arc<Blocks>),
    /// For compositions of tensor operations, the matrix as a whole.
    Device(OnDevice),
}

impl Quantized {
    /// Keeps `blocks` of a matrix [out, in] on `device`, to be computed with as `dtype`.
    pub fn new(blocks: Blocks, shape: [usize; 2], device: &Device, dtype: DType) -> Self {
        let probe = Tensor::<1>::zeros([1], (device, DType::F32));
        let fused = dtype == DType::F32 && probe.try_into_primitive::<Flex>().is_ok();
        let store = if fused {
            Store::Host(Arc::new(blocks))
        } else {
            Store::Device(OnDevice::new(&blocks, shape, device, dtype))
        };
        Self { shape, store, dtype, device: device.clone() }
    }

    /// Quantises `values` [out, in], row-major. `None` if one of them is NaN or infinite.
    pub fn quantize(
        values: &[f32],
        shape: [usize; 2],
        how: Quantization,
        (device, dtype): (&Device, DType),
    ) -> Option<Self> {
        Some(Self::new(Blocks::quantize(values, how)?, shape, device, dtype))
    }

    /// [out, in]
    pub fn dims(&self) -> [usize; 2] {
        self.shape
    }

    /// The type it is computed with.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The matrix as floats of the computing type.
    pub fn dequantize(&self) -> Tensor<2> {
        match &self.store {
            Store::Host(blocks) => {
                let mut w = vec![0f32; self.shape[0] * self.shape[1]];
                self.rows(&|start, out| blocks.decode(start, out)).fill(0, &mut w);
                Tensor::from_data(TensorData::new(w, self.shape), (&self.device, self.dtype))
            }
            Store::Device(stored) => stored.dequantize(),
        }
    }

    /// y = x·Wᵀ for x [T, in].
    pub fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        match &self.store {
            Store::Host(blocks) => products::forward(x, &self.rows(&|start, out| blocks.decode(start, out))),
            Store::Device(_) => super::ops::matmul(x, &self.dequantize().transpose()),
        }
    }

    /// sum + dy·W for dy [T, out]; `None` as the sum is zero.
    pub fn add_backward(&self, sum: Option<Tensor<2>>, dy: &Tensor<2>) -> Tensor<2> {
        match (&self.store, sum) {
            (Store::Host(blocks), sum) => {
                products::add_backward(sum, dy, &self.rows(&|start, out| blocks.decode(start, out)))
            }
            (Store::Device(_), None) => super::ops::matmul(dy, &self.dequantize()),
            (Store::Device(_), Some(sum)) => super::ops::add_matmul(sum, dy, &self.dequantize(), 1.0),
        }
    }

    fn rows<'a>(&self, decode: &'a (dyn Fn(usize, &mut [f32]) + Sync)) -> products::Rows<'a> {
        products::Rows { shape: self.shape, decode }
    }
}

/// Rows `groups[e]` of x times the matrix of expert e, transposed (`forward`) or as it is.
pub fn grouped(x: &Tensor<2>, experts: &[Quantized], groups: &[Range<usize>], forward: bool) -> Tensor<2> {
    let hosted: Option<Vec<&Blocks>> = experts
        .iter()
        .map(|e| match &e.store {
            Store::Host(blocks) => Some(blocks.as_ref()),
            Store::Device(_) => None,
        })
        .collect();
    if let Some(blocks) = hosted {
        let decode = |e: usize, start: usize, out: &mut [f32]| blocks[e].decode(start, out);
        let experts = products::Experts { shape: experts[0].shape, decode: &decode };
        return products::grouped(x, &experts, groups, forward);
    }
    let used = groups.iter().zip(experts).filter(|(g, _)| !g.is_empty());
    let parts = used.map(|(g, e)| {
        let x = x.clone().slice([g.clone()]);
        if forward { e.forward(&x) } else { e.add_backward(None, &x) }
    });
    Tensor::cat(parts.collect(), 0)
}

#[cfg(test)]
mod tests;

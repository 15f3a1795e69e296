//! Frozen weights and the two products that training needs of them: with the transpose, and as they are.

use super::ops::linear::{self, After, Branch};
use super::ops::{self, rows};
use super::quant::{self, Quantized};
use burn::tensor::{DType, Tensor};
use std::ops::Range;

/// The frozen matrix of a linear layer, [out, in].
#[derive(Clone, Debug)]
pub enum Weight {
    Full(Tensor<2>),
    Quantized(Quantized),
}

impl Weight {
    /// [out, in]
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Full(w) => w.dims(),
            Self::Quantized(w) => w.dims(),
        }
    }

    /// The type of the activations it is multiplied with.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Full(w) => w.dtype(),
            Self::Quantized(w) => w.dtype(),
        }
    }

    /// y = x·Wᵀ for x [T, in].
    pub fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        self.forward_then(x, After::default())
    }

    /// [`Weight::forward`], and what follows.
    pub fn forward_then(&self, x: &Tensor<2>, after: After) -> Tensor<2> {
        match self {
            Self::Full(w) => linear::linear(x, &w.clone().transpose(), after),
            Self::Quantized(w) => linear::complete(w.forward(x), after),
        }
    }

    /// The gradient to x: dy·W for dy [T, out].
    pub fn backward(&self, dy: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Full(w) => ops::matmul(dy, w),
            Self::Quantized(w) => w.add_backward(None, dy),
        }
    }

    /// sum + dy·W, into the memory of `sum` where nobody else holds it.
    pub fn add_backward(&self, sum: Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Full(w) => ops::add_matmul(sum, dy, w, 1.0),
            Self::Quantized(w) => w.add_backward(Some(sum), dy),
        }
    }

    /// dy·W, the branch, and `sum` if there is one, into its memory where nobody else holds it.
    pub fn backward_beside(&self, sum: Option<Tensor<2>>, dy: &Tensor<2>, branch: Branch) -> Tensor<2> {
        match (self, sum) {
            (Self::Full(w), Some(sum)) => linear::add_linear(sum, dy, w, branch),
            (Self::Full(w), None) => {
                linear::linear(dy, w, After { branch: Some(branch), ..After::default() })
            }
            (Self::Quantized(w), sum) => {
                ops::add_matmul(w.add_backward(sum, dy), branch.h, branch.m, branch.scale)
            }
        }
    }

    /// W in f32, for what works on the matrix itself (merging, norms of its rows).
    pub fn to_f32(&self) -> Tensor<2> {
        match self {
            Self::Full(w) => w.clone().cast(DType::F32),
            Self::Quantized(w) => w.dequantize().cast(DType::F32),
        }
    }

    /// W ← `change`(W), computed in f32. A quantised matrix is kept in full afterwards: to quantise it again would
    /// round a small change away.
    pub fn change(&mut self, change: impl FnOnce(Tensor<2>) -> Tensor<2>) {
        *self = Self::Full(change(self.to_f32()).cast(self.dtype()));
    }
}

/// The frozen matrices of all experts of a layer, [E, out, in].
#[derive(Clone, Debug)]
pub enum ExpertWeight {
    Full(Tensor<3>),
    /// One of a shape per expert.
    Quantized(Vec<Quantized>),
}

impl ExpertWeight {
    /// [E, out, in]
    pub fn dims(&self) -> [usize; 3] {
        match self {
            Self::Full(w) => w.dims(),
            Self::Quantized(experts) => {
                let [out, inp] = experts[0].dims();
                [experts.len(), out, inp]
            }
        }
    }

    /// Rows `groups[e]` of x [N, in] times W[e]ᵀ: [N, out].
    pub fn forward(&self, x: &Tensor<2>, groups: &[Range<usize>]) -> Tensor<2> {
        match self {
            Self::Full(w) => rows::grouped_linear(x, w, groups, false),
            Self::Quantized(w) => quant::grouped(x, w, groups, true),
        }
    }

    /// The gradient to x: rows `groups[e]` of dy [N, out] times W[e].
    pub fn backward(&self, dy: &Tensor<2>, groups: &[Range<usize>]) -> Tensor<2> {
        match self {
            Self::Full(w) => rows::grouped_linear(dy, w, groups, true),
            Self::Quantized(w) => quant::grouped(dy, w, groups, false),
        }
    }

    /// W ← `change`(W), computed in f32; quantised matrices are kept in full afterwards.
    pub fn change(&mut self, change: impl FnOnce(Tensor<3>) -> Tensor<3>) {
        let (full, dtype) = match self {
            Self::Full(w) => (w.clone().cast(DType::F32), w.dtype()),
            Self::Quantized(experts) => {
                let all = experts.iter().map(|w| w.dequantize().cast(DType::F32).unsqueeze::<3>());
                (Tensor::cat(all.collect(), 0), experts[0].dtype())
            }
        };
        *self = Self::Full(change(full).cast(dtype));
    }
}

//! Frozen weights and the two products that training needs of them: with the transpose, and as they are.

use super::ops::{self, rows};
use burn::tensor::{DType, Tensor};
use std::ops::Range;

/// The frozen matrix of a linear layer, [out, in].
#[derive(Clone, Debug)]
pub enum Weight {
    Full(Tensor<2>),
}

impl Weight {
    /// [out, in]
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Full(w) => w.dims(),
        }
    }

    /// The type of the activations it is multiplied with.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Full(w) => w.dtype(),
        }
    }

    /// y = x·Wᵀ for x [T, in].
    pub fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Full(w) => ops::matmul(x, &w.clone().transpose()),
        }
    }

    /// The gradient to x: dy·W for dy [T, out].
    pub fn backward(&self, dy: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Full(w) => ops::matmul(dy, w),
        }
    }

    /// sum + dy·W, into the memory of `sum` where nobody else holds it.
    pub fn add_backward(&self, sum: Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Full(w) => ops::add_matmul(sum, dy, w, 1.0),
        }
    }

    /// W in f32, for what works on the matrix itself (merging, norms of its rows).
    pub fn to_f32(&self) -> Tensor<2> {
        match self {
            Self::Full(w) => w.clone().cast(DType::F32),
        }
    }

    /// W ← `change`(W), computed in f32 and kept as it was kept before.
    pub fn change(&mut self, change: impl FnOnce(Tensor<2>) -> Tensor<2>) {
        let changed = change(self.to_f32());
        match self {
            Self::Full(w) => *w = changed.cast(w.dtype()),
        }
    }
}

/// The frozen matrices of all experts of a layer, [E, out, in].
#[derive(Clone, Debug)]
pub enum ExpertWeight {
    Full(Tensor<3>),
}

impl ExpertWeight {
    /// [E, out, in]
    pub fn dims(&self) -> [usize; 3] {
        match self {
            Self::Full(w) => w.dims(),
        }
    }

    /// Rows `groups[e]` of x [N, in] times W[e]ᵀ: [N, out].
    pub fn forward(&self, x: &Tensor<2>, groups: &[Range<usize>]) -> Tensor<2> {
        match self {
            Self::Full(w) => rows::grouped_linear(x, w, groups, false),
        }
    }

    /// The gradient to x: rows `groups[e]` of dy [N, out] times W[e].
    pub fn backward(&self, dy: &Tensor<2>, groups: &[Range<usize>]) -> Tensor<2> {
        match self {
            Self::Full(w) => rows::grouped_linear(dy, w, groups, true),
        }
    }

    /// W ← `change`(W), computed in f32 and kept as it was kept before.
    pub fn change(&mut self, change: impl FnOnce(Tensor<3>) -> Tensor<3>) {
        match self {
            Self::Full(w) => *w = change(w.clone().cast(DType::F32)).cast(w.dtype()),
        }
    }
}

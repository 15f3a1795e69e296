//! Between tensors and slices: the memory of a CPU tensor without copying it, and back.

use super::gemm::Mat;
use burn::backend::Flex;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_flex::FlexTensor;

/// The f32 memory of a CPU tensor.
pub(super) struct Cpu(FlexTensor);

impl Cpu {
    /// All elements in row-major order.
    pub(super) fn slice(&self) -> &[f32] {
        self.0.as_slice().expect("made contiguous by `cpu`")
    }

    /// Whether [`Cpu::slice`] can be taken: not of a transpose.
    pub(super) fn is_row_major(&self) -> bool {
        self.0.layout().contiguous_offsets().is_some()
    }

    /// A 2-D tensor as a matrix; strided views as they are.
    pub(super) fn mat(&self) -> Mat<'_> {
        let layout = self.0.layout();
        let (shape, strides) = (layout.shape(), layout.strides());
        Mat {
            data: &self.0.storage::<f32>()[layout.start_offset()..],
            rows: shape[0],
            cols: shape[1],
            row_stride: strides[0] as usize,
            col_stride: strides[1] as usize,
        }
    }
}

/// Whether the tensor is f32 on the CPU.
pub fn is_cpu<const D: usize>(t: &Tensor<D>) -> bool {
    t.dtype() == DType::F32 && t.clone().try_into_primitive::<Flex>().is_ok()
}

/// The memory of an f32 tensor on the CPU, `None` for any other. A 2-D view stays a view, any other view is copied.
pub(super) fn cpu<const D: usize>(t: &Tensor<D>) -> Option<Cpu> {
    if t.dtype() != DType::F32 {
        return None;
    }
    let flex = t.clone().try_into_primitive::<Flex>().ok()?;
    let layout = flex.layout();
    let plain_matrix = D == 2 && layout.strides().iter().all(|&s| s >= 0);
    if layout.contiguous_offsets().is_some() || (plain_matrix && !is_sliced(&flex)) {
        return Some(Cpu(flex));
    }
    Some(Cpu(flex.to_contiguous()))
}

/// A 2-D tensor that is neither row-major nor a plain transpose of a row-major one.
fn is_sliced(flex: &FlexTensor) -> bool {
    let (shape, strides) = (flex.layout().shape(), flex.layout().strides());
    !(strides[0] == 1 && strides[1] as usize >= shape[0])
}

/// A tensor from row-major values.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

/// Changes a CPU tensor in place; copies it first when somebody else holds its memory.
pub(super) fn with_owned<const D: usize>(t: Tensor<D>, change: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let given = t.try_into_primitive::<Flex>().expect("asked by `is_cpu` before");
    let mut flex = given.to_contiguous();
    // Of a contiguous tensor that is the same memory: held twice it would be copied.
    drop(given);
    change(flex.storage_mut::<f32>());
    Tensor::from_primitive::<Flex>(flex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(t: &Tensor<2>) -> *const f32 {
        cpu(t).map_or(std::ptr::null(), |t| t.slice().as_ptr())
    }

    #[test]
    fn memory_that_nobody_else_holds_is_changed_in_place() {
        let t = tensor(vec![1.0, 2.0, 3.0, 4.0], [2, 2], &Device::flex());
        let before = address(&t);
        let t = with_owned(t, |x| x[0] = 5.0);
        assert_eq!(address(&t), before);
        let kept = t.clone();
        let changed = with_owned(t, |x| x[0] = 6.0);
        assert_ne!(address(&changed), before);
        assert_eq!(kept.into_data().try_to_vec::<f32>().ok().map(|v| v[0]), Some(5.0));
    }
}

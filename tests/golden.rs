//! Reference results of transformers 5.6 (`tests/fixtures/golden`), and how close is close enough.
#![allow(clippy::unwrap_used)]

use burn::tensor::Tensor;
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;

/// A file or folder of the golden results.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(name)
}

/// One safetensors file of golden results.
pub struct Golden(Vec<u8>);

impl Golden {
    /// Opens `NAME.safetensors`.
    pub fn open(name: &str) -> Self {
        Self(std::fs::read(path(&format!("{name}.safetensors"))).unwrap())
    }

    pub fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).is_ok()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().shape().to_vec()
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.words(name, Dtype::F32).into_iter().map(f32::from_le_bytes).collect()
    }

    pub fn ints(&self, name: &str) -> Vec<i32> {
        self.words(name, Dtype::I32).into_iter().map(i32::from_le_bytes).collect()
    }

    fn words(&self, name: &str, dtype: Dtype) -> Vec<[u8; 4]> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), dtype, "{name}");
        view.data().as_chunks::<4>().0.to_vec()
    }
}

/// The values of a tensor, row by row.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().as_slice::<f32>().unwrap().to_vec()
}

/// Each value within `tolerance`, relative to the wanted value or, where that is small, to the typical one (the root
/// mean square of all wanted values).
pub fn assert_close(found: &[f32], wanted: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: number of values");
    let typical = (wanted.iter().map(|w| w * w).sum::<f32>() / wanted.len() as f32).sqrt();
    let error = |(f, w): (&f32, &f32)| (f - w).abs() / w.abs().max(typical);
    let worst =
        found.iter().zip(wanted).map(error).fold(0.0, |a: f32, b| if b.is_nan() { b } else { a.max(b) });
    assert!(worst <= tolerance, "{what}: relative error {worst:e} is over {tolerance:e}");
}

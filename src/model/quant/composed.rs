//! Blocks on a device, made to floats by tensor operations: one table look-up per byte, one product per value.

use super::blocks::{Blocks, Scales};
use super::code::Book;
use crate::config::quantization::{Code, Quantization};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// A quantised matrix on a device. Whole blocks; what the last one has too much is cut off after decoding.
#[derive(Clone, Debug)]
pub(super) struct OnDevice {
    shape: [usize; 2],
    code: Code,
    /// u8
    bytes: Tensor<1, Int>,
    scales: DeviceScales,
    dtype: DType,
}

#[derive(Clone, Debug)]
enum DeviceScales {
    Plain(Tensor<1>),
    Double { codes: Tensor<1, Int>, absmax: Tensor<1>, offset: f32 },
}

impl OnDevice {
    pub(super) fn new(blocks: &Blocks, shape: [usize; 2], device: &Device, dtype: DType) -> Self {
        let per_byte = Book::of(blocks.code).per_byte;
        let scales = match &blocks.scales {
            Scales::Plain(s) => DeviceScales::Plain(floats(s.clone(), device)),
            Scales::Double { codes, absmax, offset } => DeviceScales::Double {
                codes: upload(codes.clone(), Quantization::SCALES, device),
                absmax: floats(absmax.clone(), device),
                offset: *offset,
            },
        };
        let bytes = upload(blocks.bytes.clone(), Quantization::BLOCK / per_byte, device);
        Self { shape, code: blocks.code, bytes, scales, dtype }
    }

    pub(super) fn dequantize(&self) -> Tensor<2> {
        let (book, device) = (Book::of(self.code), self.bytes.device());
        // (bytes, values per byte) -> (blocks, 64)
        let table = TensorData::new(book.bytes.clone(), [256, book.per_byte]);
        let table = Tensor::<2>::from_data(table, (&device, DType::F32));
        let values = table.select(0, self.bytes.clone());
        let blocks = values.dims().iter().product::<usize>() / Quantization::BLOCK;
        let values = values.reshape([blocks, Quantization::BLOCK]);
        let scales: Tensor<2> = self.scales(&device).slice([0..blocks]).unsqueeze_dim(1);
        let [out, inp] = self.shape;
        let flat = (values * scales).reshape([blocks * Quantization::BLOCK]);
        flat.slice([0..out * inp]).reshape(self.shape).cast(self.dtype)
    }

    /// One scale per block, and some more where they are kept in blocks themselves.
    fn scales(&self, device: &Device) -> Tensor<1> {
        match &self.scales {
            DeviceScales::Plain(scales) => scales.clone(),
            DeviceScales::Double { codes, absmax, offset } => {
                let table = floats(Book::dynamic().bytes.clone(), device);
                let n = codes.dims()[0];
                let values = table.select(0, codes.clone());
                let values = values.reshape([n / Quantization::SCALES, Quantization::SCALES]);
                (values * absmax.clone().unsqueeze_dim(1)).add_scalar(*offset).reshape([n])
            }
        }
    }
}

fn floats(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), (device, DType::F32))
}

/// Bytes on the device, filled up with zeros to a multiple of `whole`.
fn upload(mut bytes: Vec<u8>, whole: usize, device: &Device) -> Tensor<1, Int> {
    bytes.resize(bytes.len().next_multiple_of(whole), 0);
    let n = bytes.len();
    Tensor::from_data(TensorData::new(bytes, [n]), (device, DType::U8))
}

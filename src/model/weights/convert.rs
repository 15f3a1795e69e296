//! Stored floats to wanted floats, in parallel.

use burn::tensor::{DType, Element, TensorData};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use std::fs::File;
use std::io;
use std::ops::Range;

/// Elements a thread takes at a time: big enough to hide the hand-over, small enough for the cache.
const CHUNK: usize = 1 << 14;

/// Little-endian floats as they lie in a file.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    file: &'a File,
    /// Where they are in the file, in bytes.
    at: u64,
    len: usize,
    kind: Stored,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stored {
    F32,
    Bf16,
    F16,
}

/// Floats in one of the wanted types.
pub(super) enum Floats {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl<'a> Source<'a> {
    /// `None` for a type that is not a float of 16 or 32 bits.
    pub(super) fn new(file: &'a File, bytes: Range<usize>, dtype: Dtype) -> Option<Self> {
        let kind = match dtype {
            Dtype::F32 => Stored::F32,
            Dtype::BF16 => Stored::Bf16,
            Dtype::F16 => Stored::F16,
            _ => return None,
        };
        Some(Self { file, at: bytes.start as u64, len: bytes.len(), kind })
    }

    /// Part `i` of `n` equal ones.
    pub(super) fn part(self, i: usize, n: usize) -> Self {
        let len = self.len / n;
        Self { at: self.at + (i * len) as u64, len, ..self }
    }

    fn width(self) -> usize {
        if self.kind == Stored::F32 { 4 } else { 2 }
    }
}

impl Floats {
    pub(super) fn into_data(self, shape: &[usize]) -> TensorData {
        match self {
            Floats::F32(v) => TensorData::new(v, shape),
            Floats::Bf16(v) => TensorData::new(v, shape),
            Floats::F16(v) => TensorData::new(v, shape),
        }
    }

    /// `[n, rows, columns]` to `[n, columns, rows]`, in parallel over `n`.
    pub(super) fn transpose_last(self, [rows, columns]: [usize; 2]) -> Self {
        match self {
            Floats::F32(v) => Floats::F32(transposed(&v, rows, columns)),
            Floats::Bf16(v) => Floats::Bf16(transposed(&v, rows, columns)),
            Floats::F16(v) => Floats::F16(transposed(&v, rows, columns)),
        }
    }
}

/// Converts to `wanted`; to a narrower type by rounding to nearest even.
pub(super) fn convert(source: Source, wanted: DType) -> io::Result<Floats> {
    match wanted {
        DType::F32 => read(source).map(Floats::F32),
        DType::BF16 => read(source).map(Floats::Bf16),
        DType::F16 => read(source).map(Floats::F16),
        other => Err(io::Error::other(format!("weights are never read as {other:?}"))),
    }
}

/// Converts to f32.
pub(super) fn floats(source: Source) -> io::Result<Vec<f32>> {
    read(source)
}

/// A float type that tensors are made of.
pub(super) trait Wanted: Element + bytemuck::Pod {
    const KIND: Stored;
    const ZERO: Self;
    fn from_f32(x: f32) -> Self;
}

impl Wanted for f32 {
    const KIND: Stored = Stored::F32;
    const ZERO: Self = 0.0;
    fn from_f32(x: f32) -> Self {
        x
    }
}

impl Wanted for bf16 {
    const KIND: Stored = Stored::Bf16;
    const ZERO: Self = bf16::ZERO;
    fn from_f32(x: f32) -> Self {
        bf16::from_f32(x)
    }
}

impl Wanted for f16 {
    const KIND: Stored = Stored::F16;
    const ZERO: Self = f16::ZERO;
    fn from_f32(x: f32) -> Self {
        f16::from_f32(x)
    }
}

/// Read, not mapped: pages of a mapped file would count as memory of this process as long as weights are loaded.
fn read<T: Wanted>(source: Source) -> io::Result<Vec<T>> {
    let width = source.width();
    let mut out = vec![T::ZERO; source.len / width];
    out.par_chunks_mut(CHUNK).enumerate().try_for_each(|(i, out)| {
        let at = source.at + (i * CHUNK * width) as u64;
        if source.kind == T::KIND && cfg!(target_endian = "little") {
            return read_at(source.file, bytemuck::cast_slice_mut::<T, u8>(out), at);
        }
        let mut bytes = vec![0u8; out.len() * width];
        read_at(source.file, &mut bytes, at)?;
        match source.kind {
            Stored::F32 => fill(out, &bytes, f32::from_le_bytes),
            Stored::Bf16 => fill(out, &bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            Stored::F16 => fill(out, &bytes, |b| f16::from_le_bytes(b).to_f32()),
        }
        Ok(())
    })?;
    Ok(out)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (bytes, at) = (&mut bytes[n..], at + n as u64),
        }
    }
    Ok(())
}

fn fill<T: Wanted, const W: usize>(out: &mut [T], bytes: &[u8], value: impl Fn([u8; W]) -> f32) {
    let (values, _) = bytes.as_chunks::<W>();
    for (to, from) in out.iter_mut().zip(values) {
        *to = T::from_f32(value(*from));
    }
}

/// Matrices `[rows, columns]` one after another to `[columns, rows]`, in parallel over them.
pub(super) fn transposed<T: Wanted>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    /// Side of a square that stays in the first cache while it is turned.
    const SIDE: usize = 32;
    let mut out = vec![T::ZERO; values.len()];
    let size = rows * columns;
    out.par_chunks_mut(size).zip(values.par_chunks(size)).for_each(|(out, matrix)| {
        for row in (0..rows).step_by(SIDE) {
            for column in (0..columns).step_by(SIDE) {
                for r in row..rows.min(row + SIDE) {
                    for c in column..columns.min(column + SIDE) {
                        out[c * rows + r] = matrix[r * columns + c];
                    }
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        file
    }

    /// Exact in all three types, longer than a chunk, an even number, starting at an odd place.
    fn values() -> Vec<f32> {
        (0..CHUNK + 78).map(|i| (i % 255) as f32 / 8.0 - 15.0).collect()
    }

    fn as_f32(f: Floats) -> Vec<f32> {
        match f {
            Floats::F32(v) => v,
            Floats::Bf16(v) => v.into_iter().map(bf16::to_f32).collect(),
            Floats::F16(v) => v.into_iter().map(f16::to_f32).collect(),
        }
    }

    #[test]
    fn every_stored_type_becomes_every_wanted_type() {
        let bytes_of = |x: f32, dtype| match dtype {
            Dtype::F32 => x.to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f32(x).to_le_bytes().to_vec(),
            _ => f16::from_f32(x).to_le_bytes().to_vec(),
        };
        for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
            let stored = values().into_iter().flat_map(|x| bytes_of(x, dtype));
            let bytes: Vec<u8> = std::iter::once(0).chain(stored).collect();
            let file = file(&bytes);
            let source = Source::new(&file, 1..bytes.len(), dtype).unwrap();
            for wanted in [DType::F32, DType::BF16, DType::F16] {
                assert!(as_f32(convert(source, wanted).unwrap()) == values(), "{dtype:?} to {wanted:?}");
            }
            let half = source.part(0, 2);
            assert!(floats(half).unwrap() == values()[..values().len() / 2]);
        }
        assert!(Source::new(&file(&[]), 0..0, Dtype::F8_E4M3).is_none());
    }

    #[test]
    fn narrowing_rounds_to_nearest_even() {
        let bytes = (1.0f32 + 3.0 / 256.0).to_le_bytes();
        let file = file(&bytes);
        let narrow = convert(Source::new(&file, 0..4, Dtype::F32).unwrap(), DType::BF16).unwrap();
        assert_eq!(as_f32(narrow), [1.0 + 2.0 / 128.0]);
    }

    #[test]
    fn transposing_turns_each_matrix() {
        let (rows, columns) = (37, 70);
        let v: Vec<f32> = (0..2 * rows * columns).map(|i| i as f32).collect();
        let t = as_f32(Floats::F32(v.clone()).transpose_last([rows, columns]));
        for (n, r, c) in [(0, 0, 1), (0, 36, 69), (1, 35, 2), (1, 0, 33)] {
            assert_eq!(t[(n * columns + c) * rows + r], v[(n * rows + r) * columns + c]);
        }
    }
}

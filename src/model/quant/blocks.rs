//! Quantising on the host, and the CPU kernel that makes floats of blocks again.

use super::code::Book;
use crate::config::quantization::{Code, Quantization};
use crate::model::ops::lanes::with_simd;
use rayon::prelude::*;

const BLOCK: usize = Quantization::BLOCK;

/// Codes and scales of a flattened matrix.
#[derive(Debug)]
pub struct Blocks {
    pub code: Code,
    /// Number of values.
    pub len: usize,
    pub bytes: Vec<u8>,
    pub scales: Scales,
}

/// The scale of each block: its largest magnitude.
#[derive(Debug)]
pub enum Scales {
    Plain(Vec<f32>),
    /// 8-bit codes of the scales less `offset`, and their scales.
    Double {
        codes: Vec<u8>,
        absmax: Vec<f32>,
        offset: f32,
    },
}

impl Scales {
    fn double(scales: &[f32]) -> Self {
        let offset = (scales.iter().map(|&s| f64::from(s)).sum::<f64>() / scales.len().max(1) as f64) as f32;
        let centred: Vec<f32> = scales.iter().map(|s| s - offset).collect();
        let book = Book::dynamic();
        let (mut codes, mut absmax) = (Vec::with_capacity(scales.len()), Vec::new());
        for part in centred.chunks(Quantization::SCALES) {
            let (largest, inverse) = largest(part);
            absmax.push(largest);
            codes.extend(part.iter().map(|x| book.nearest((x * inverse).clamp(-1.0, 1.0))));
        }
        Self::Double { codes, absmax, offset }
    }

    /// The scale of block `b`.
    pub fn get(&self, b: usize) -> f32 {
        match self {
            Self::Plain(scales) => scales[b],
            Self::Double { codes, absmax, offset } => {
                Book::dynamic().bytes[codes[b] as usize] * absmax[b / Quantization::SCALES] + offset
            }
        }
    }
}

/// The largest magnitude, and its inverse (finite for a block of zeros).
fn largest(values: &[f32]) -> (f32, f32) {
    let largest = values.iter().fold(0f32, |m, x| m.max(x.abs()));
    (largest, 1.0 / largest.max(1e-38))
}

impl Blocks {
    /// Quantises to the nearest code. `None` if a value is NaN or infinite.
    pub fn quantize(values: &[f32], how: Quantization) -> Option<Self> {
        let book = Book::of(how.code);
        let width = BLOCK / book.per_byte;
        let mut bytes = vec![0u8; values.len().div_ceil(book.per_byte)];
        let scales: Option<Vec<f32>> = bytes
            .par_chunks_mut(width)
            .zip(values.par_chunks(BLOCK))
            .with_min_len(64)
            .map(|(bytes, values)| {
                with_simd(
                    #[inline(always)]
                    || encode(book, values, bytes),
                )
            })
            .collect();
        let scales = scales?;
        let scales = if how.double { Scales::double(&scales) } else { Scales::Plain(scales) };
        Some(Self { code: how.code, len: values.len(), bytes, scales })
    }

    /// Values `start..start + out.len()` of the flattened matrix.
    pub fn decode(&self, start: usize, out: &mut [f32]) {
        let book = Book::of(self.code);
        with_simd(
            #[inline(always)]
            || {
                let (mut at, mut rest) = (start, out);
                while !rest.is_empty() {
                    let n = (BLOCK - at % BLOCK).min(rest.len());
                    let (part, tail) = rest.split_at_mut(n);
                    self.decode_part(book, at, part);
                    let scale = self.scales.get(at / BLOCK);
                    part.iter_mut().for_each(|x| *x *= scale);
                    (at, rest) = (at + n, tail);
                }
            },
        );
    }

    /// Values of one block, not yet scaled.
    #[inline(always)]
    fn decode_part(&self, book: &Book, at: usize, part: &mut [f32]) {
        if book.per_byte == 1 {
            for (x, &b) in part.iter_mut().zip(&self.bytes[at..]) {
                *x = book.bytes[b as usize];
            }
            return;
        }
        let value = |i: usize| book.bytes[2 * self.bytes[i / 2] as usize + i % 2];
        let (odd, even) = part.split_at_mut(at % 2);
        odd.iter_mut().for_each(|x| *x = value(at));
        let from = at + odd.len();
        let (pairs, last) = even.as_chunks_mut::<2>();
        let (table, _) = book.bytes.as_chunks::<2>();
        for (pair, &b) in pairs.iter_mut().zip(&self.bytes[from / 2..]) {
            *pair = table[b as usize];
        }
        let at = from + 2 * pairs.len();
        last.iter_mut().for_each(|x| *x = value(at));
    }
}

#[inline(always)]
/// Writes the codes of one block; returns its scale, or `None` if a value is not finite.
fn encode(book: &Book, values: &[f32], bytes: &mut [u8]) -> Option<f32> {
    if !values.iter().all(|x| x.is_finite()) {
        return None;
    }
    let (largest, inverse) = largest(values);
    let code = |x: f32| book.nearest((x * inverse).clamp(-1.0, 1.0));
    for (byte, part) in bytes.iter_mut().zip(values.chunks(book.per_byte)) {
        *byte = match part {
            [high, low] => code(*high) << 4 | code(*low),
            [one] if book.per_byte == 2 => code(*one) << 4,
            part => code(part[0]),
        };
    }
    Some(largest)
}

//! Blocks against bitsandbytes, and the CPU kernel against the composition.
#![allow(clippy::unwrap_used)]

use super::blocks::Scales;
use super::code::Book;
use super::*;
use crate::config::quantization::Code;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

const NF4: Quantization = Quantization { code: Code::Nf4, double: false };
const DOUBLE: Quantization = Quantization { code: Code::Nf4, double: true };
const FP4: Quantization = Quantization { code: Code::Fp4, double: false };
const INT8: Quantization = Quantization { code: Code::Int8, double: false };

/// What bitsandbytes 0.50.2 makes of a matrix [280, 128] with a block of zeros, an outlier and a row of small values.
struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/quant/bitsandbytes.safetensors");
        Self(std::fs::read(path).unwrap())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data().to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn matrix(&self) -> Vec<f32> {
        let wide = |b: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
        self.bytes("w").as_chunks::<2>().0.iter().map(wide).collect()
    }
}

fn decoded(blocks: &Blocks, n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    blocks.decode(0, &mut out);
    out
}

/// Root mean square of the error over that of the values.
fn error(found: &[f32], wanted: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let error: f64 = found.iter().zip(wanted).map(|(f, w)| square(f - w)).sum();
    (error / wanted.iter().map(|w| square(*w)).sum::<f64>()).sqrt()
}

#[test]
fn four_bit_blocks_are_those_of_bitsandbytes() {
    let golden = Golden::open();
    let w = golden.matrix();
    let nf4 = Blocks::quantize(&w, NF4).unwrap();
    assert!(nf4.bytes == golden.bytes("nf4_codes"), "NF4 codes differ");
    let Scales::Plain(scales) = &nf4.scales else { panic!("double scales were not asked for") };
    assert!(*scales == golden.floats("nf4_absmax"), "scales differ");
    assert!(decoded(&nf4, 2048) == golden.floats("nf4_head"), "NF4 values differ");
    // bitsandbytes has two codes for 0 in FP4, so values are compared and not codes
    let fp4 = Blocks::quantize(&w, FP4).unwrap();
    assert!(decoded(&fp4, 2048) == golden.floats("fp4_head"), "FP4 values differ");
}

#[test]
fn double_quantised_scales_are_those_of_bitsandbytes() {
    let golden = Golden::open();
    let blocks = Blocks::quantize(&golden.matrix(), DOUBLE).unwrap();
    assert!(blocks.bytes == golden.bytes("nf4_codes"), "the scales' code must not change the values'");
    let Scales::Double { codes, absmax, offset } = &blocks.scales else { panic!("double scales asked for") };
    // A mean summed in another order moves what lies half-way between two codes to the neighbour, near zero mostly.
    let (book, theirs) = (&Book::dynamic().bytes, golden.bytes("double_codes"));
    let moved: Vec<_> = codes.iter().zip(&theirs).filter(|(a, b)| a != b).collect();
    assert!(moved.len() * 50 <= codes.len(), "{} of {} codes of scales differ", moved.len(), codes.len());
    assert!(moved.iter().all(|(a, b)| (book[**a as usize] - book[**b as usize]).abs() < 1e-3), "{moved:?}");
    // torch makes the dynamic code in f32, in vectors of the processor's width, and sums the mean in another order
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-6 * b.abs();
    let map = golden.floats("dynamic_map");
    assert!(Book::dynamic().bytes.iter().zip(map).all(|(a, b)| close(*a, b)), "the dynamic code differs");
    assert!(close(*offset, golden.floats("double_offset")[0]));
    assert!(absmax.iter().zip(golden.floats("double_absmax")).all(|(a, b)| close(*a, b)));
    let found = decoded(&blocks, 2048);
    assert!(error(&found, &golden.floats("double_head")) < 1e-6, "values differ");
}

#[test]
fn eight_bits_err_less_than_four_and_nf4_less_than_fp4() {
    let w = Golden::open().matrix();
    let of = |how| error(&decoded(&Blocks::quantize(&w, how).unwrap(), w.len()), &w);
    let (int8, nf4, double, fp4) = (of(INT8), of(NF4), of(DOUBLE), of(FP4));
    // bitsandbytes' own errors on this matrix: NF4 0.0953, with double quantisation 0.0954, FP4 0.1171
    assert!((nf4 - 0.0953).abs() < 1e-4 && (double - 0.0954).abs() < 1e-4 && (fp4 - 0.1171).abs() < 1e-4);
    assert!(int8 < 0.01, "{int8}");
}

#[test]
fn values_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut w = vec![0.5; 200];
        w[150] = bad;
        assert!(Blocks::quantize(&w, NF4).is_none());
    }
}

#[test]
fn any_part_decodes_as_in_the_whole() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // neither a whole number of blocks nor of bytes
    let w: Vec<f32> = (0..64 * 300 + 37).map(|_| rng.random_range(-1.0..1.0)).collect();
    for how in [INT8, NF4, DOUBLE, FP4] {
        let blocks = Blocks::quantize(&w, how).unwrap();
        let whole = decoded(&blocks, w.len());
        for (start, n) in [(0, 1), (1, 1), (1, 130), (63, 2), (64, 64), (777, 5001), (w.len() - 3, 3)] {
            let mut part = vec![0.0; n];
            blocks.decode(start, &mut part);
            assert!(part == whole[start..start + n], "{how:?} from {start}");
        }
    }
}

fn random(shape: [usize; 2], rng: &mut ChaCha8Rng) -> Tensor<2> {
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
}

fn largest(t: Tensor<2>) -> f32 {
    t.abs().max().into_scalar()
}

/// The same matrix for the CPU kernel and for the composition.
fn both(w: &[f32], shape: [usize; 2], how: Quantization) -> (Quantized, Quantized) {
    let (device, dtype) = (Device::flex(), DType::F32);
    let host = Quantized::quantize(w, shape, how, (&device, dtype)).unwrap();
    assert!(matches!(host.store, Store::Host(_)), "f32 on the CPU takes the kernel");
    let blocks = Blocks::quantize(w, how).unwrap();
    let store = Store::Device(OnDevice::new(&blocks, shape, &device, dtype));
    (host, Quantized { shape, store, dtype, device })
}

#[test]
fn the_composition_decodes_exactly_as_the_kernel() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for shape in [[5, 13], [64, 64], [130, 257]] {
        let w: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0..1.0)).collect();
        for how in [INT8, NF4, DOUBLE, FP4] {
            let (host, device) = both(&w, shape, how);
            assert_eq!(largest(host.dequantize() - device.dequantize()), 0.0, "{how:?} {shape:?}");
        }
    }
}

#[test]
fn products_are_those_of_the_decoded_matrix() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    // wider than one slab of rows
    for shape in [[70, 33], [1100, 1024]] {
        let w: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (host, device) = both(&w, shape, DOUBLE);
        let full = host.dequantize();
        let (x, dy) = (random([9, shape[1]], &mut rng), random([9, shape[0]], &mut rng));
        let sum = random([9, shape[1]], &mut rng);
        let y = crate::model::ops::matmul(&x, &full.clone().transpose());
        let dx = crate::model::ops::matmul(&dy, &full);
        for q in [&host, &device] {
            assert!(largest(q.forward(&x) - y.clone()) < 1e-4);
            assert!(largest(q.add_backward(None, &dy) - dx.clone()) < 1e-4);
            assert!(largest(q.add_backward(Some(sum.clone()), &dy) - dx.clone() - sum.clone()) < 1e-4);
        }
    }
}

#[test]
fn experts_are_multiplied_each_with_its_rows() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let shape = [24, 40];
    let (mut hosts, mut devices, mut full) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let w: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (host, device) = both(&w, shape, NF4);
        full.push(host.dequantize().unsqueeze::<3>());
        hosts.push(host);
        devices.push(device);
    }
    let full = Tensor::cat(full, 0);
    let groups = [0..4, 4..4, 4..7];
    let (x, dy) = (random([7, 40], &mut rng), random([7, 24], &mut rng));
    for (x, forward) in [(x, true), (dy, false)] {
        let wanted = crate::model::ops::rows::grouped_linear(&x, &full, &groups, !forward);
        for experts in [&hosts, &devices] {
            assert!(largest(grouped(&x, experts, &groups, forward) - wanted.clone()) < 1e-5);
        }
    }
}

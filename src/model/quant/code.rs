//! The code books: which value a code stands for.

use crate::config::quantization::Code;
use std::sync::LazyLock;

/// bitsandbytes' NF4 table (`functional.get_4bit_type`): quantiles of N(0, 1), scaled to ±1, with an exact 0.
const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// bitsandbytes' FP4 table before it is divided by its largest value.
const FP4: [f32; 8] = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0];

/// One code book: bytes to values, and values to codes.
pub struct Book {
    /// What a byte stands for: two values of 4 bits, high half first, or one of 8 bits.
    pub bytes: Vec<f32>,
    /// Codes by rising value, and the middles between neighbours.
    order: Vec<u8>,
    middles: Vec<f32>,
    /// Values in a byte.
    pub per_byte: usize,
}

impl Book {
    pub fn of(code: Code) -> &'static Self {
        static BOOKS: LazyLock<[Book; 3]> = LazyLock::new(|| {
            let fp4 = |i: usize| FP4[i % 8] / 12.0 * if i < 8 { 1.0 } else { -1.0 };
            [
                // symmetric: -128 stands for what -127 does
                Book::eight((0..=255u8).map(|c| f32::from((c as i8).max(-127)) / 127.0).collect()),
                Book::four(NF4.to_vec()),
                Book::four((0..16).map(fp4).collect()),
            ]
        });
        &BOOKS[match code {
            Code::Int8 => 0,
            Code::Nf4 => 1,
            Code::Fp4 => 2,
        }]
    }

    /// The 8-bit dynamic code of scales (arXiv 1511.04561), as bitsandbytes' `create_dynamic_map`.
    pub fn dynamic() -> &'static Self {
        static DYNAMIC: LazyLock<Book> = LazyLock::new(|| Book::eight(dynamic_map()));
        &DYNAMIC
    }

    fn four(values: Vec<f32>) -> Self {
        let bytes = (0..256).flat_map(|b| [values[b >> 4], values[b & 15]]).collect();
        Self::new(bytes, &values, 2)
    }

    fn eight(values: Vec<f32>) -> Self {
        Self::new(values.clone(), &values, 1)
    }

    fn new(bytes: Vec<f32>, values: &[f32], per_byte: usize) -> Self {
        let mut order: Vec<u8> = (0..values.len()).map(|c| c as u8).collect();
        let value = |c: u8| values[c as usize] + 0.0; // −0 is 0
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        order.dedup_by_key(|c| value(*c));
        let mut middles: Vec<f32> = order.windows(2).map(|w| (value(w[0]) + value(w[1])) / 2.0).collect();
        middles.resize(values.len(), f32::INFINITY);
        Self { bytes, order, middles, per_byte }
    }

    /// The code nearest to x in ±1; of two as near, the lower value.
    #[inline(always)]
    pub fn nearest(&self, x: f32) -> u8 {
        let below = match self.middles.as_array::<16>() {
            // without branches, for vector units
            Some(middles) => middles.iter().map(|&m| usize::from(m < x)).sum(),
            None => self.middles.partition_point(|&m| m < x),
        };
        self.order[below]
    }
}

/// Seven decades, each in twice as many equal steps as the one below; the middles of the steps, both signs, 0 and 1.
fn dynamic_map() -> Vec<f32> {
    let mut values = vec![0.0, 1.0];
    for decade in 0..7 {
        let n = 1 << decade;
        for i in 0..n {
            let middle = 10f64.powi(decade - 6) * (0.1 + 0.9 * (f64::from(i) + 0.5) / f64::from(n));
            values.extend([middle as f32, -middle as f32]);
        }
    }
    values.sort_by(f32::total_cmp);
    values
}

//! Products of rows of small integers with a few rows of floats: in integers where the processor is known to be faster at that.

use super::aligned::Aligned;
use super::gemm::Mat;
use super::lanes;
use super::thin::{self, FEW};
#[cfg(target_arch = "x86_64")]
use super::words::Words;

/// Up to [`FEW`] rows x, made ready. A row x is scale · p + e, and it is p that is multiplied.
pub struct Few {
    form: Form,
    n: usize,
    cols: usize,
    /// ‖x‖
    pub length: [f32; FEW],
    pub scale: [f32; FEW],
    /// ‖e‖
    pub wrong: [f32; FEW],
}

enum Form {
    Floats(Aligned),
    #[cfg(target_arch = "x86_64")]
    Words(Words),
}

impl Few {
    /// Of rows `x` that are contiguous, for products with integers of up to 127 in rows that are no longer than `longest`.
    pub fn new(x: Mat, longest: f32) -> Self {
        Self::words(x, longest).unwrap_or_else(|| Self::floats(x))
    }

    /// Without an error.
    pub fn floats(x: Mat) -> Self {
        Self::of(x, Form::Floats(thin::interleave(x)))
    }

    /// In 16 bits; `None` where that would be no faster.
    #[cfg(target_arch = "x86_64")]
    pub fn words(x: Mat, longest: f32) -> Option<Self> {
        let (words, rows) = Words::new(x, longest)?;
        let mut few = Self::of(x, Form::Words(words));
        for (r, row) in rows.into_iter().enumerate() {
            (few.scale[r], few.wrong[r]) = (row.scale, row.wrong);
        }
        Some(few)
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn words(_: Mat, _: f32) -> Option<Self> {
        None
    }

    fn of(x: Mat, form: Form) -> Self {
        assert!((1..=FEW).contains(&x.rows) && x.cols > 0 && x.col_stride == 1);
        let mut length = [0f32; FEW];
        for (r, length) in length.iter_mut().enumerate().take(x.rows) {
            *length = lanes::length(x.row(r));
        }
        Self { form, n: x.rows, cols: x.cols, length, scale: [1.0; FEW], wrong: [0.0; FEW] }
    }

    /// q·p for each row q of `many` and each p.
    pub fn products(&self, out: &mut [[f32; FEW]], many: &[i8]) {
        assert_eq!(many.len(), out.len() * self.cols);
        match &self.form {
            Form::Floats(few) => {
                let mut dots = vec![0f32; out.len() * self.n];
                thin::dots_of_integers(&mut dots, many, few, (self.n, self.cols));
                for (out, dots) in out.iter_mut().zip(dots.chunks_exact(self.n)) {
                    out[..self.n].copy_from_slice(dots);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Form::Words(words) => words.products(out, many),
        }
    }
}

//! Products with a matrix, and what follows them while the result is near: an adapter's branch, a bias, an activation, what the
//! result is added to.

use super::cpu::{gelu_of, gelu_tanh_of};
use super::gemm::{Cores, Mat, Sum, Term};
use super::lanes::with_simd;
use super::memory::{Cpu, cpu, is_cpu, tensor, with_owned};
use super::{add, add_bias, add_matmul, composed, gelu, gelu_tanh, thin};
use crate::model::config::Activation;
use burn::tensor::Tensor;
use std::cell::Cell;

/// scale · h·m for h [T, r] and m [r, n]: the low-rank side of an adapted product.
#[derive(Clone, Copy)]
pub struct Branch<'a> {
    pub h: &'a Tensor<2>,
    pub m: &'a Tensor<2>,
    pub scale: f32,
}

/// What follows a product y [T, n], in this order.
#[derive(Clone, Copy, Default)]
pub struct After<'a> {
    pub branch: Option<Branch<'a>>,
    /// [n]
    pub bias: Option<&'a Tensor<1>>,
    pub activation: Option<Activation>,
    /// [T, n], to which all of it is added.
    pub residual: Option<&'a Tensor<2>>,
    /// Where the result may go.
    pub memory: Option<&'a Spent>,
}

/// A result on the CPU that nobody needs any more, for the next one of its size: new memory is filled with zeros first, or with
/// pages that the system has to clear.
#[derive(Default)]
pub struct Spent(Cell<Option<Tensor<2>>>);

impl Spent {
    /// Elsewhere the memory goes back at once.
    pub fn put(&self, t: Tensor<2>) {
        self.0.set(Some(t).filter(is_cpu));
    }

    fn take(&self, shape: [usize; 2]) -> Option<Tensor<2>> {
        self.0.take().filter(|t| t.dims() == shape)
    }
}

/// x·w for x [T, k] and w [k, n] (a transpose costs no copy), and what follows.
pub fn linear(x: &Tensor<2>, w: &Tensor<2>, after: After) -> Tensor<2> {
    let [t, n] = [x.dims()[0], w.dims()[1]];
    let (Some(cx), Some(cw), Some(near)) = (cpu(x), cpu(w), Near::of(&after)) else {
        return complete(composed::matmul(x, w), after);
    };
    let finish = |row: usize, y: &mut [f32]| near.finish(row, y);
    let sum = Sum::of(Term { a: cx.mat(), b: cw.mat(), scale: 1.0 });
    let sum = Sum { beside: near.beside(), finish: near.finishes().then_some(&finish), ..sum };
    // What is there is not read: nothing of the result is kept but what is written.
    if let Some(spent) = after.memory.and_then(|memory| memory.take([t, n])) {
        return with_owned(spent, |out| sum.into(out, n, Cores::All));
    }
    let mut out = vec![0f32; t * n];
    sum.into(&mut out, n, Cores::All);
    tensor(out, [t, n], &x.device())
}

/// x·wᵀ for each w [n, k] of `all`, bit for bit as [`linear`] makes it; `None` but for a few rows on the CPU, which is where it
/// costs less to make them together.
pub fn of_few_rows(x: &Tensor<2>, all: &[&Tensor<2>]) -> Option<Vec<Tensor<2>>> {
    let t = x.dims()[0];
    let few = (1..=thin::FEW).contains(&t);
    let (cx, all) = (cpu(x).filter(|_| few)?, all.iter().map(|w| cpu(w)).collect::<Option<Vec<Cpu>>>()?);
    let mats: Vec<Mat> = all.iter().map(Cpu::mat).collect();
    if mats.iter().any(|m| m.col_stride != 1 || m.rows <= 4 * t) {
        return None;
    }
    let products = thin::dots_of_all(&mats, cx.mat()).into_iter().zip(&mats);
    Some(products.map(|(y, m)| tensor(y, [t, m.rows], &x.device())).collect())
}

/// acc + x·w + branch, into the memory of `acc` where nobody else holds it.
pub fn add_linear(acc: Tensor<2>, x: &Tensor<2>, w: &Tensor<2>, branch: Branch) -> Tensor<2> {
    let n = acc.dims()[1];
    let near = Near::of(&After { branch: Some(branch), ..After::default() });
    match (cpu(x), cpu(w), near) {
        (Some(x), Some(w), Some(near)) if is_cpu(&acc) => with_owned(acc, |out| {
            let sum = Sum::of(Term { a: x.mat(), b: w.mat(), scale: 1.0 });
            Sum { keep: 1.0, beside: near.beside(), ..sum }.into(out, n, Cores::All);
        }),
        _ => add_matmul(add_matmul(acc, x, w, 1.0), branch.h, branch.m, branch.scale),
    }
}

/// What follows a product that is there.
pub fn complete(mut y: Tensor<2>, after: After) -> Tensor<2> {
    if let Some(Branch { h, m, scale }) = after.branch {
        y = add_matmul(y, h, m, scale);
    }
    if let Some(bias) = after.bias {
        y = add_bias(y, bias);
    }
    y = match after.activation {
        Some(Activation::GeluTanh) => gelu_tanh(y),
        Some(Activation::Gelu) => gelu(y),
        None => y,
    };
    match after.residual {
        Some(x) => add(x, y),
        None => y,
    }
}

/// [`After`] in the memory of the CPU.
struct Near {
    branch: Option<(Cpu, Cpu, f32)>,
    bias: Option<Cpu>,
    activation: Option<Activation>,
    residual: Option<Cpu>,
}

impl Near {
    /// `None` if some of it is elsewhere.
    fn of(after: &After) -> Option<Self> {
        let branch = match &after.branch {
            Some(Branch { h, m, scale }) => Some((cpu(h)?, cpu(m)?, *scale)),
            None => None,
        };
        let bias = match after.bias {
            Some(bias) => Some(cpu(bias)?),
            None => None,
        };
        let residual = match after.residual {
            Some(x) => Some(cpu(x).filter(Cpu::is_row_major)?),
            None => None,
        };
        Some(Self { branch, bias, activation: after.activation, residual })
    }

    fn beside(&self) -> Option<Term<'_>> {
        self.branch.as_ref().map(|(h, m, scale)| Term { a: h.mat(), b: m.mat(), scale: *scale })
    }

    /// Whether there is something to do for each row.
    fn finishes(&self) -> bool {
        self.bias.is_some() || self.activation.is_some() || self.residual.is_some()
    }

    fn finish(&self, row: usize, y: &mut [f32]) {
        with_simd(
            #[inline(always)]
            || {
                if let Some(bias) = &self.bias {
                    y.iter_mut().zip(bias.slice()).for_each(|(y, b)| *y += b);
                }
                match self.activation {
                    Some(Activation::GeluTanh) => y.iter_mut().for_each(|y| *y = gelu_tanh_of(*y)),
                    Some(Activation::Gelu) => y.iter_mut().for_each(|y| *y = gelu_of(*y)),
                    None => {}
                }
                if let Some(x) = &self.residual {
                    let x = &x.slice()[row * y.len()..];
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
                }
            },
        );
    }
}

//! LoRA (arXiv 2106.09685): the adapter's matrices, a frozen linear layer with an adapter beside it, gradients.

use super::ops::{self, dropout};
use super::weight::Weight;
use burn::tensor::Tensor;

/// Trainable matrices A [r, in] and B [out, r] of one adapted module, f32.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The module's path as PEFT writes it, such as `model.language_model.layers.0.self_attn.q_proj`.
    pub name: String,
    pub a: Tensor<2>,
    pub b: Tensor<2>,
}

/// All pairs of an adapter. `Linear::slot` is the index into `pairs`.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    pub pairs: Vec<Pair>,
    /// alpha / r (or alpha / √r): the factor of the low-rank branch.
    pub scale: f32,
    /// Probability that an input element of the branch is dropped in training.
    pub dropout: f32,
}

impl Adapter {
    /// Number of trainable parameters.
    pub fn parameters(&self) -> u64 {
        let size = |t: &Tensor<2>| t.dims().iter().product::<usize>() as u64;
        self.pairs.iter().map(|p| size(&p.a) + size(&p.b)).sum()
    }
}

/// How one pass through the model is made.
#[derive(Clone, Copy, Default)]
pub struct Pass<'a> {
    /// `None` answers as the base model.
    pub adapter: Option<&'a Adapter>,
    /// In training: a number that differs for every micro-batch; seeds the dropout masks.
    pub dropout_key: Option<u64>,
}

impl<'a> Pass<'a> {
    /// A pass without gradients or dropout.
    pub fn inference(adapter: Option<&'a Adapter>) -> Self {
        Self { adapter, dropout_key: None }
    }

    /// The pair of `slot`, its scale, and its dropout (probability and seed) if any.
    fn branch(&self, slot: Option<usize>) -> Option<Branch<'a>> {
        let (adapter, slot) = (self.adapter?, slot?);
        let drop = self.dropout_key.filter(|_| adapter.dropout > 0.0);
        let drop = drop.map(|key| (adapter.dropout, dropout::mix(key, slot as u64)));
        Some(Branch { pair: &adapter.pairs[slot], scale: adapter.scale, drop, slot })
    }
}

struct Branch<'a> {
    pair: &'a Pair,
    scale: f32,
    drop: Option<(f32, u64)>,
    slot: usize,
}

impl Branch<'_> {
    /// The branch's input: x, or x with dropped elements. The mask is a function of the seed, so that the
    /// backward pass sees the same one without keeping it.
    fn input(&self, x: &Tensor<2>) -> Tensor<2> {
        match self.drop {
            Some((p, seed)) => dropout::apply(x.clone(), p, seed),
            None => x.clone(),
        }
    }
}

/// Gradients of an adapter, summed over micro-batches: per pair to A and to B.
#[derive(Clone, Debug, Default)]
pub struct Grads {
    pub a: Vec<Option<Tensor<2>>>,
    pub b: Vec<Option<Tensor<2>>>,
}

impl Grads {
    pub fn new(pairs: usize) -> Self {
        Self { a: vec![None; pairs], b: vec![None; pairs] }
    }
}

/// slot += scale · x·y
fn accumulate(slot: &mut Option<Tensor<2>>, x: &Tensor<2>, y: &Tensor<2>, scale: f32) {
    let sum = slot.take().unwrap_or_else(|| Tensor::zeros([x.dims()[0], y.dims()[1]], &x.device()));
    *slot = Some(ops::add_matmul(sum, x, y, scale));
}

/// What the caller of a backward pass wants as the gradient to the input.
#[allow(clippy::large_enum_variant)] // lives for one call; a box would cost an allocation each
pub enum InputGrad {
    /// Nothing below is trained.
    Skip,
    Fresh,
    /// Added to a gradient that came another way.
    AddTo(Tensor<2>),
}

impl From<Option<Tensor<2>>> for InputGrad {
    fn from(sum: Option<Tensor<2>>) -> Self {
        sum.map_or(Self::Skip, Self::AddTo)
    }
}

/// A frozen linear layer without bias, with an adapter beside it when `slot` is set.
#[derive(Clone, Debug)]
pub struct Linear {
    pub w: Weight,
    pub slot: Option<usize>,
}

impl Linear {
    pub fn new(w: Weight) -> Self {
        Self { w, slot: None }
    }

    /// y = x·Wᵀ + scale · (drop(x)·Aᵀ)·Bᵀ for x [T, in].
    pub fn forward(&self, x: &Tensor<2>, pass: &Pass) -> Tensor<2> {
        let y = self.w.forward(x);
        match pass.branch(self.slot) {
            None => y,
            Some(br) => {
                let h = ops::matmul(&br.input(x), &br.pair.a.clone().transpose());
                ops::add_matmul(y, &h, &br.pair.b.clone().transpose(), br.scale)
            }
        }
    }

    /// Adds the gradients to A and B for dy [T, out] into `grads`, and returns the gradient to x if wanted.
    pub fn backward(
        &self,
        dy: &Tensor<2>,
        x: &Tensor<2>,
        wanted: InputGrad,
        pass: &Pass,
        grads: &mut Grads,
    ) -> Option<Tensor<2>> {
        let dx = match wanted {
            InputGrad::Skip => None,
            InputGrad::Fresh => Some(self.w.backward(dy)),
            InputGrad::AddTo(sum) => Some(self.w.add_backward(sum, dy)),
        };
        let Some(br) = pass.branch(self.slot) else { return dx };
        let (a, b) = (&br.pair.a, &br.pair.b);
        let input = br.input(x);
        let h = ops::matmul(&input, &a.clone().transpose());
        let dh = ops::matmul(dy, b);
        accumulate(&mut grads.b[br.slot], &dy.clone().transpose(), &h, br.scale);
        accumulate(&mut grads.a[br.slot], &dh.clone().transpose(), &input, br.scale);
        let dx = dx?;
        Some(match br.drop {
            None => ops::add_matmul(dx, &dh, a, br.scale),
            Some((p, seed)) => dx + dropout::apply(ops::matmul(&dh, a), p, seed).mul_scalar(br.scale),
        })
    }
}

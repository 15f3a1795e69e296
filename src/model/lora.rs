//! LoRA (arXiv 2106.09685): the adapter's matrices, a frozen linear layer with an adapter beside it, gradients.

use super::dora::{self, Magnitude};
use super::ops::linear::{self, After, Branch as LowRank};
use super::ops::{self, dropout};
use super::weight::Weight;
use burn::tensor::{DType, Tensor};

/// Trainable matrices A [r, in] and B [out, r] of one adapted module, f32; of experts see `expert_lora`.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The module's path as PEFT writes it, such as `model.language_model.layers.0.self_attn.q_proj`.
    pub name: String,
    pub a: Tensor<2>,
    pub b: Tensor<2>,
    /// DoRA's magnitudes.
    pub magnitude: Option<Magnitude>,
}

impl Pair {
    /// The trainable tensors with the ends of their names, in PEFT's spelling.
    pub fn tensors(&self) -> impl Iterator<Item = (&'static str, &Tensor<2>)> {
        let m = self.magnitude.as_ref().map(|m| (dora::NAME, &m.m));
        [("lora_A", &self.a), ("lora_B", &self.b)].into_iter().chain(m)
    }
}

/// All pairs of an adapter. `Linear::slot` is the index into `pairs`.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    pub pairs: Vec<Pair>,
    /// alpha / r (or alpha / √r): the factor of the low-rank branch.
    pub scale: f32,
    /// Probability that an input element of the branch is dropped in training.
    pub dropout: f32,
    /// What the scale is made of, as `adapter_config.json` says it.
    pub rank: usize,
    pub alpha: f64,
    pub rslora: bool,
}

impl Adapter {
    /// Number of trainable parameters.
    pub fn parameters(&self) -> u64 {
        let tensors = self.pairs.iter().flat_map(Pair::tensors);
        tensors.map(|(_, t)| t.dims().iter().product::<usize>() as u64).sum()
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
    pub(super) fn branch(&self, slot: Option<usize>) -> Option<Branch<'a>> {
        let (adapter, slot) = (self.adapter?, slot?);
        let drop = self.dropout_key.filter(|_| adapter.dropout > 0.0);
        let drop = drop.map(|key| (adapter.dropout, dropout::mix(key, slot as u64)));
        Some(Branch { pair: &adapter.pairs[slot], scale: adapter.scale, drop, slot })
    }
}

/// One module's adapter in one pass.
pub(super) struct Branch<'a> {
    pub pair: &'a Pair,
    pub scale: f32,
    pub drop: Option<(f32, u64)>,
    pub slot: usize,
}

impl Branch<'_> {
    /// The branch's input: x, or x with dropped elements. The mask is a function of the seed, so that the
    /// backward pass sees the same one without keeping it.
    pub fn input(&self, x: &Tensor<2>) -> Tensor<2> {
        self.masked(x.clone())
    }

    /// The mask over a gradient to the branch's input.
    pub fn masked(&self, x: Tensor<2>) -> Tensor<2> {
        match self.drop {
            Some((p, seed)) => dropout::apply(x, p, seed),
            None => x,
        }
    }

    /// A and B in the type of the activations; their masters stay f32.
    pub fn matrices(&self, dtype: DType) -> (Tensor<2>, Tensor<2>) {
        let like = |t: &Tensor<2>| if t.dtype() == dtype { t.clone() } else { t.clone().cast(dtype) };
        (like(&self.pair.a), like(&self.pair.b))
    }
}

/// Gradients of an adapter, summed over micro-batches: per pair to A, to B, and to DoRA's magnitudes. f32.
#[derive(Clone, Debug, Default)]
pub struct Grads {
    pub a: Vec<Option<Tensor<2>>>,
    pub b: Vec<Option<Tensor<2>>>,
    pub m: Vec<Option<Tensor<2>>>,
}

impl Grads {
    pub fn new(pairs: usize) -> Self {
        Self { a: vec![None; pairs], b: vec![None; pairs], m: vec![None; pairs] }
    }

    /// All gradients there are.
    pub fn all(&self) -> impl Iterator<Item = &Tensor<2>> {
        self.a.iter().chain(&self.b).chain(&self.m).flatten()
    }
}

/// slot += scale · x·y, in f32
pub(super) fn accumulate(slot: &mut Option<Tensor<2>>, x: &Tensor<2>, y: &Tensor<2>, scale: f32) {
    let shape = [x.dims()[0], y.dims()[1]];
    let sum = slot.take().unwrap_or_else(|| Tensor::zeros(shape, (&x.device(), DType::F32)));
    *slot = Some(if x.dtype() == DType::F32 {
        ops::add_matmul(sum, x, y, scale)
    } else {
        sum + ops::matmul(x, y).cast(DType::F32).mul_scalar(scale)
    });
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

/// A frozen linear layer, with an adapter beside it when `slot` is set.
#[derive(Clone, Debug)]
pub struct Linear {
    pub w: Weight,
    /// [out]
    pub bias: Option<Tensor<1>>,
    pub slot: Option<usize>,
}

impl Linear {
    pub fn new(w: Weight) -> Self {
        Self { w, bias: None, slot: None }
    }

    /// y = x·Wᵀ + bias + scale · (drop(x)·Aᵀ)·Bᵀ for x [T, in]; with DoRA see [`dora::forward`].
    pub fn forward(&self, x: &Tensor<2>, pass: &Pass) -> Tensor<2> {
        self.forward_then(x, pass, After::default())
    }

    /// residual + [`Linear::forward`]
    pub fn forward_onto(&self, residual: &Tensor<2>, x: &Tensor<2>, pass: &Pass) -> Tensor<2> {
        self.forward_then(x, pass, After { residual: Some(residual), ..After::default() })
    }

    /// [`Linear::forward`] of several layers that read the same x: for a few tokens their matrices are read in one go.
    pub fn forward_all<const N: usize>(layers: [&Self; N], x: &Tensor<2>, pass: &Pass) -> [Tensor<2>; N] {
        let full = |layer: &Self| match &layer.w {
            Weight::Full(w) => Some(w.clone()),
            Weight::Quantized(_) => None,
        };
        let all: Option<Vec<Tensor<2>>> = layers.iter().map(|layer| full(layer)).collect();
        let Some(products) = all.and_then(|all| linear::of_few_rows(x, &all.iter().collect::<Vec<_>>()))
        else {
            return layers.map(|layer| layer.forward(x, pass));
        };
        let mut products = products.into_iter();
        layers.map(|layer| {
            let y = products.next().expect("one for each layer");
            layer.add_branch(Some(y), x, pass, After::default())
        })
    }

    /// [`Linear::forward`], and what follows besides its own branch and bias.
    pub fn forward_then(&self, x: &Tensor<2>, pass: &Pass, after: After) -> Tensor<2> {
        self.add_branch(None, x, pass, after)
    }

    /// [`Linear::forward_then`], where x·Wᵀ may be there already.
    fn add_branch(&self, y: Option<Tensor<2>>, x: &Tensor<2>, pass: &Pass, after: After) -> Tensor<2> {
        let after = After { bias: self.bias.as_ref(), ..after };
        let complete = |y: Option<Tensor<2>>, after: After| match y {
            Some(y) => linear::complete(y, after),
            None => self.w.forward_then(x, after),
        };
        let Some(br) = pass.branch(self.slot) else { return complete(y, after) };
        if let Some(m) = &br.pair.magnitude {
            let y = y.unwrap_or_else(|| self.w.forward(x));
            return linear::complete(dora::forward(y, x, &self.w, (&br, m)), after);
        }
        let (a, b) = br.matrices(x.dtype());
        let (h, m) = (ops::matmul(&br.input(x), &a.transpose()), b.transpose());
        let branch = Some(LowRank { h: &h, m: &m, scale: br.scale });
        complete(y, After { branch, ..after })
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
        let Some(br) = pass.branch(self.slot) else { return self.frozen_backward(dy, wanted) };
        if let Some(m) = &br.pair.magnitude {
            return dora::backward(dy, x, wanted, (self, &br, m), grads);
        }
        let (a, b) = br.matrices(x.dtype());
        let input = br.input(x);
        let h = ops::matmul(&input, &a.clone().transpose());
        let dh = ops::matmul(dy, &b);
        accumulate(&mut grads.b[br.slot], &dy.clone().transpose(), &h, br.scale);
        accumulate(&mut grads.a[br.slot], &dh.clone().transpose(), &input, br.scale);
        if br.drop.is_some() {
            let dx = self.frozen_backward(dy, wanted)?;
            return Some(dx + br.masked(ops::matmul(&dh, &a)).mul_scalar(br.scale));
        }
        let sum = match wanted {
            InputGrad::Skip => return None,
            InputGrad::Fresh => None,
            InputGrad::AddTo(sum) => Some(sum),
        };
        Some(self.w.backward_beside(sum, dy, LowRank { h: &dh, m: &a, scale: br.scale }))
    }

    /// The gradient to x through W.
    pub(super) fn frozen_backward(&self, dy: &Tensor<2>, wanted: InputGrad) -> Option<Tensor<2>> {
        match wanted {
            InputGrad::Skip => None,
            InputGrad::Fresh => Some(self.w.backward(dy)),
            InputGrad::AddTo(sum) => Some(self.w.add_backward(sum, dy)),
        }
    }
}

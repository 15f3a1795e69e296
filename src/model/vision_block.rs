//! The parts of the vision tower: transformer block and patch merger, forward and backward.

use super::config::{Activation, VisionConfig};
use super::lora::{Grads, InputGrad, Linear, Pass};
use super::ops::linear::{self, After, Spent};
use super::ops::{self, AttentionSaved};
use super::vision::{Places, Scope};
use crate::error::Result;
use burn::tensor::Tensor;

/// The epsilon of every layer norm of the tower (fixed in transformers, not in the configuration).
const NORM_EPS: f64 = 1e-6;

/// A layer norm.
pub(super) struct Norm {
    pub weight: Tensor<1>,
    pub bias: Tensor<1>,
}

impl Norm {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::layer_norm(x, &self.weight, &self.bias, NORM_EPS)
    }

    fn backward(&self, dy: Tensor<2>, x: &Tensor<2>) -> Tensor<2> {
        ops::vision::layer_norm_backward(dy, x, &self.weight, NORM_EPS)
    }
}

/// One transformer block.
pub(super) struct Block {
    norm1: Norm,
    norm2: Norm,
    qkv: Linear,
    proj: Linear,
    linear_fc1: Linear,
    linear_fc2: Linear,
    heads: usize,
    act: Activation,
}

/// What [`Block::backward`] needs of one forward pass.
pub(super) struct BlockSaved {
    attended: Attended,
    n2: Tensor<2>,
    inner: Tensor<2>,
    act: Tensor<2>,
}

/// The largest results of one block, whose memory the next one's take.
#[derive(Default)]
pub(super) struct BlockSpent {
    qkv: Spent,
    act: Spent,
}

/// The attention half of a block: its input, its result `x_mid` and what lies between.
struct Attended {
    x: Tensor<2>,
    n1: Tensor<2>,
    /// Turned queries and keys, and values, [n, heads, d].
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    attention: AttentionSaved,
    x_mid: Tensor<2>,
}

impl Block {
    pub fn load(s: &Scope, c: &VisionConfig) -> Result<Self> {
        let d = c.hidden_size;
        Ok(Self {
            norm1: s.norm("norm1", d)?,
            norm2: s.norm("norm2", d)?,
            qkv: s.linear("attn.qkv", d, 3 * d)?,
            proj: s.linear("attn.proj", d, d)?,
            linear_fc1: s.linear("mlp.linear_fc1", d, c.intermediate_size)?,
            linear_fc2: s.linear("mlp.linear_fc2", c.intermediate_size, d)?,
            heads: c.num_heads,
            act: c.hidden_act,
        })
    }

    /// The linear layers with their names below the block.
    pub fn linears(&self) -> [(&'static str, &Linear); 4] {
        [
            ("attn.qkv", &self.qkv),
            ("attn.proj", &self.proj),
            ("mlp.linear_fc1", &self.linear_fc1),
            ("mlp.linear_fc2", &self.linear_fc2),
        ]
    }

    /// [`Block::linears`] to change.
    pub fn linears_mut(&mut self) -> [(&'static str, &mut Linear); 4] {
        [
            ("attn.qkv", &mut self.qkv),
            ("attn.proj", &mut self.proj),
            ("mlp.linear_fc1", &mut self.linear_fc1),
            ("mlp.linear_fc2", &mut self.linear_fc2),
        ]
    }

    /// Whether an adapter is attached here.
    pub fn adapted(&self) -> bool {
        self.linears().iter().any(|(_, l)| l.slot.is_some())
    }

    /// y [n, hidden] for x [n, hidden], and what the backward pass needs.
    pub fn forward(&self, x: Tensor<2>, places: &Places, pass: &Pass) -> (Tensor<2>, BlockSaved) {
        let attended = self.attend(x, places, pass);
        let n2 = self.norm2.forward(attended.x_mid.clone());
        let inner = self.linear_fc1.forward(&n2, pass);
        let act = linear::complete(inner.clone(), self.activation());
        let y = self.linear_fc2.forward_onto(&attended.x_mid, &act, pass);
        (y, BlockSaved { attended, n2, inner, act })
    }

    /// [`Block::forward`] where no gradient will be asked for; into the memory of the block before.
    pub fn look(&self, x: Tensor<2>, places: &Places, pass: &Pass, spent: &BlockSpent) -> Tensor<2> {
        let after = After { memory: Some(&spent.qkv), ..After::default() };
        let qkv = self.qkv.forward_then(&self.norm1.forward(x.clone()), pass, after);
        let (cos, sin) = &places.rope;
        let (o, qkv) = ops::vision::attend(qkv, self.heads, (cos, sin), &places.frames);
        spent.qkv.put(qkv);
        let x_mid = self.proj.forward_onto(&x, &o, pass);
        drop((x, o));
        let after = After { memory: Some(&spent.act), ..self.activation() };
        let act = self.linear_fc1.forward_then(&self.norm2.forward(x_mid.clone()), pass, after);
        let y = self.linear_fc2.forward_onto(&x_mid, &act, pass);
        spent.act.put(act);
        y
    }

    /// What follows the first layer of the feed-forward half.
    fn activation<'a>(&self) -> After<'a> {
        After { activation: Some(self.act), ..After::default() }
    }

    fn attend(&self, x: Tensor<2>, places: &Places, pass: &Pass) -> Attended {
        let [n, d] = x.dims();
        // 1. Queries, keys and values of all heads: (n, 3 * d) -> 3 x (n, heads, head_dim)
        let n1 = self.norm1.forward(x.clone());
        let qkv = self.qkv.forward(&n1, pass);
        let part = |i: usize| ops::columns(&qkv, i * d, d).reshape([n, self.heads, d / self.heads]);
        // 2. Turn queries and keys by the patch's row and column
        let (cos, sin) = &places.rope;
        let turn = |x: Tensor<3>| ops::rotate_half_rope(x, cos, sin);
        let (q, k, v) = (turn(part(0)), turn(part(1)), part(2));
        // 3. Attend within each frame: (n, heads, head_dim) -> (n, d)
        let attention = ops::attention_saved(&q, &k, &v, &places.frames, false);
        let x_mid = self.proj.forward_onto(&x, &attention.o.clone().reshape([n, d]), pass);
        Attended { x, n1, q, k, v, attention, x_mid }
    }

    /// Adds the adapter's gradients to `grads`; returns the gradient to the block's input if `want_dx`.
    pub fn backward(
        &self,
        dy: Tensor<2>,
        saved: &BlockSaved,
        places: &Places,
        want_dx: bool,
        (pass, grads): (&Pass, &mut Grads),
    ) -> Option<Tensor<2>> {
        let [n, d] = dy.dims();
        let BlockSaved { attended: s, n2, inner, act } = saved;
        // 4. Feed-forward
        let d_act = self.linear_fc2.backward(&dy, act, InputGrad::Fresh, pass, grads).expect("asked for");
        let d_inner = match self.act {
            Activation::GeluTanh => ops::vision::gelu_tanh_backward(d_act, inner),
            Activation::Gelu => ops::vision::gelu_backward(d_act, inner),
        };
        let dn2 = self.linear_fc1.backward(&d_inner, n2, InputGrad::Fresh, pass, grads).expect("asked for");
        let dx_mid = dy + self.norm2.backward(dn2, &s.x_mid);
        // 3. Attention
        let o = s.attention.o.clone().reshape([n, d]);
        let d_o = self.proj.backward(&dx_mid, &o, InputGrad::Fresh, pass, grads).expect("asked for");
        let d_o = d_o.reshape(s.q.dims());
        let [dq, dk, dv] =
            ops::attention_backward(&d_o, [&s.q, &s.k, &s.v], &s.attention, &places.frames, false);
        // 2. Turn back, 1. queries, keys and values
        let (cos, sin) = &places.rope;
        let back = |x: Tensor<3>| ops::rotate_half_rope_backward(x, cos, sin);
        let parts = [back(dq), back(dk), dv].map(|x| x.reshape([n, d]));
        let d_qkv = Tensor::cat(parts.to_vec(), 1);
        let first = if want_dx { InputGrad::Fresh } else { InputGrad::Skip };
        let dn1 = self.qkv.backward(&d_qkv, &s.n1, first, pass, grads)?;
        Some(dx_mid + self.norm1.backward(dn1, &s.x))
    }
}

/// Patches of one token side by side, through two layers: `[patches, hidden]` → `[tokens, out_hidden]`.
pub(super) struct Merger {
    norm: Norm,
    linear_fc1: Linear,
    linear_fc2: Linear,
    /// Normalise the token instead of each patch, as the deepstack mergers do.
    postshuffle_norm: bool,
    /// Widths of a patch and of the patches of one token.
    hidden: usize,
    merged: usize,
}

/// What [`Merger::backward`] needs of one forward pass.
pub(super) struct MergerSaved {
    /// What the norm reads.
    x: Tensor<2>,
    n: Tensor<2>,
    inner: Tensor<2>,
    act: Tensor<2>,
}

impl Merger {
    pub fn load(s: &Scope, c: &VisionConfig, postshuffle_norm: bool) -> Result<Self> {
        let merged = c.hidden_size * c.merge_unit();
        Ok(Self {
            norm: s.norm("norm", if postshuffle_norm { merged } else { c.hidden_size })?,
            linear_fc1: s.linear("linear_fc1", merged, merged)?,
            linear_fc2: s.linear("linear_fc2", merged, c.out_hidden_size)?,
            postshuffle_norm,
            hidden: c.hidden_size,
            merged,
        })
    }

    /// The linear layers with their names below the merger.
    pub fn linears(&self) -> [(&'static str, &Linear); 2] {
        [("linear_fc1", &self.linear_fc1), ("linear_fc2", &self.linear_fc2)]
    }

    /// [`Merger::linears`] to change.
    pub fn linears_mut(&mut self) -> [(&'static str, &mut Linear); 2] {
        [("linear_fc1", &mut self.linear_fc1), ("linear_fc2", &mut self.linear_fc2)]
    }

    pub fn forward(&self, x: Tensor<2>, pass: &Pass) -> (Tensor<2>, MergerSaved) {
        let shuffle = |x: Tensor<2>| x.reshape([-1, self.merged as i32]);
        let x = if self.postshuffle_norm { shuffle(x) } else { x };
        let n = shuffle(self.norm.forward(x.clone()));
        let inner = self.linear_fc1.forward(&n, pass);
        let act = ops::gelu(inner.clone());
        let y = self.linear_fc2.forward(&act, pass);
        (y, MergerSaved { x, n, inner, act })
    }

    /// [`Merger::forward`] where no gradient will be asked for.
    pub fn look(&self, x: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let shuffle = |x: Tensor<2>| x.reshape([-1, self.merged as i32]);
        let x = if self.postshuffle_norm { shuffle(x) } else { x };
        let n = shuffle(self.norm.forward(x));
        let gelu = After { activation: Some(Activation::Gelu), ..After::default() };
        self.linear_fc2.forward(&self.linear_fc1.forward_then(&n, pass, gelu), pass)
    }

    /// Adds the adapter's gradients to `grads`; returns the gradient to the patches `[patches, hidden]` if wanted.
    pub fn backward(
        &self,
        dy: &Tensor<2>,
        s: &MergerSaved,
        wanted: InputGrad,
        (pass, grads): (&Pass, &mut Grads),
    ) -> Option<Tensor<2>> {
        let below = !matches!(wanted, InputGrad::Skip);
        let adapted = self.linear_fc1.slot.is_some();
        let first = if below || adapted { InputGrad::Fresh } else { InputGrad::Skip };
        let d_act = self.linear_fc2.backward(dy, &s.act, first, pass, grads)?;
        let d_inner = ops::vision::gelu_backward(d_act, &s.inner);
        let dn = self.linear_fc1.backward(&d_inner, &s.n, wanted, pass, grads)?;
        let dx = self.norm.backward(dn.reshape(s.x.dims()), &s.x);
        Some(dx.reshape([-1, self.hidden as i32]))
    }
}

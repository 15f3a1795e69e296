//! The text decoder: embedding, blocks with grouped-query attention and SwiGLU or experts, final norm, head.

use super::embedding::Embedding;
use super::kv_cache::{KvCache, Place};
use super::lora::{Grads, InputGrad, Linear, Pass};
use super::mlp::{Mlp, MlpSaved};
use super::moe::Routing;
use super::ops::screened::Screened;
use super::ops::{self, AttentionSaved, Segment, rows};
use burn::tensor::Tensor;
use std::sync::Arc;

/// The whole decoder.
pub struct Text {
    /// [vocab, hidden]
    pub embed: Embedding,
    pub blocks: Vec<Block>,
    pub norm: Tensor<1>,
    /// [vocab, hidden]; the embedding itself when tied.
    pub head: Tensor<2>,
    pub eps: f32,
}

/// cos and sin of the 3-D positions, [T, head_dim] each.
pub struct Rope {
    pub cos: Tensor<2>,
    pub sin: Tensor<2>,
}

/// One decoder layer. Field names are the checkpoint's.
pub struct Block {
    pub input_layernorm: Tensor<1>,
    pub q_proj: Linear,
    pub k_proj: Linear,
    pub v_proj: Linear,
    pub o_proj: Linear,
    /// [head_dim]
    pub q_norm: Tensor<1>,
    pub k_norm: Tensor<1>,
    pub post_attention_layernorm: Tensor<1>,
    pub mlp: Mlp,
    pub head_dim: usize,
    pub eps: f32,
}

/// What [`Block::backward`] needs of one forward pass.
pub struct BlockSaved {
    attended: Attended,
    mlp: MlpSaved,
}

/// The attention half of a layer: its input, its result `x_mid` and what lies between, but for what is had again for next to
/// nothing: the norms of both.
struct Attended {
    x: Tensor<2>,
    /// Queries and keys before their norms, [T, heads, d].
    q_raw: Tensor<3>,
    k_raw: Tensor<3>,
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    attention: AttentionSaved,
    x_mid: Tensor<2>,
}

impl BlockSaved {
    /// Where the tokens went, in a layer with experts.
    pub fn routing(&self) -> Option<Arc<Routing>> {
        self.mlp.routing()
    }
}

impl Block {
    /// The layer's linear modules with their names below the layer. Experts and router are not among them.
    pub fn linears(&self) -> Vec<(&'static str, &Linear)> {
        let mut all = vec![
            ("self_attn.q_proj", &self.q_proj),
            ("self_attn.k_proj", &self.k_proj),
            ("self_attn.v_proj", &self.v_proj),
            ("self_attn.o_proj", &self.o_proj),
        ];
        if let Mlp::Dense { gate_proj, up_proj, down_proj } = &self.mlp {
            all.extend([
                ("mlp.gate_proj", gate_proj),
                ("mlp.up_proj", up_proj),
                ("mlp.down_proj", down_proj),
            ]);
        }
        all
    }

    /// [`Block::linears`] to change.
    pub fn linears_mut(&mut self) -> Vec<(&'static str, &mut Linear)> {
        let mut all = vec![
            ("self_attn.q_proj", &mut self.q_proj),
            ("self_attn.k_proj", &mut self.k_proj),
            ("self_attn.v_proj", &mut self.v_proj),
            ("self_attn.o_proj", &mut self.o_proj),
        ];
        if let Mlp::Dense { gate_proj, up_proj, down_proj } = &mut self.mlp {
            all.extend([
                ("mlp.gate_proj", gate_proj),
                ("mlp.up_proj", up_proj),
                ("mlp.down_proj", down_proj),
            ]);
        }
        all
    }

    /// Whether an adapter is attached here.
    pub fn adapted(&self) -> bool {
        let experts = matches!(&self.mlp, Mlp::Moe(m) if m.slots.iter().any(Option::is_some));
        experts || self.linears().iter().any(|(_, l)| l.slot.is_some())
    }

    /// (T, hidden) -> (T, heads, d)
    fn heads(&self, y: Tensor<2>) -> Tensor<3> {
        let [t, n] = y.dims();
        y.reshape([t, n / self.head_dim, self.head_dim])
    }

    /// Queries or keys as a projection gives them [T, heads, d], and normed and turned.
    fn turned(&self, raw: Tensor<2>, norm: &Tensor<1>, rope: &Rope) -> [Tensor<3>; 2] {
        let raw = self.heads(raw);
        let normed = ops::rms_norm(raw.clone(), norm, self.eps);
        [raw, ops::rotate_half_rope(normed, &rope.cos, &rope.sin)]
    }

    /// y [T, hidden] for x [T, hidden] of packed sequences, and what the backward pass needs.
    pub fn forward(
        &self,
        x: Tensor<2>,
        rope: &Rope,
        segments: &[Segment],
        pass: &Pass,
    ) -> (Tensor<2>, BlockSaved) {
        // 1. Attention: (T, hidden) -> (T, heads, d) -> (T, hidden)
        let attended = self.attend(x, (rope, segments), pass);
        // 2. Feed-forward
        let (y, mlp) = self.mlp.forward(&attended.x_mid, &self.middle_norm(&attended.x_mid), pass);
        (y, BlockSaved { attended, mlp })
    }

    /// What [`Block::forward`] of the same input saved, computed again. `routing` is what it kept of a layer with experts.
    pub fn again(
        &self,
        x: Tensor<2>,
        at: (&Rope, &[Segment]),
        pass: &Pass,
        routing: Option<Arc<Routing>>,
    ) -> BlockSaved {
        let attended = self.attend(x, at, pass);
        let mlp = self.mlp.again(&self.middle_norm(&attended.x_mid), pass, routing);
        BlockSaved { attended, mlp }
    }

    /// The input of the projections.
    fn first_norm(&self, x: &Tensor<2>) -> Tensor<2> {
        ops::rms_norm(x.clone(), &self.input_layernorm, self.eps)
    }

    /// The input of the feed-forward half.
    fn middle_norm(&self, x_mid: &Tensor<2>) -> Tensor<2> {
        ops::rms_norm(x_mid.clone(), &self.post_attention_layernorm, self.eps)
    }

    fn attend(&self, x: Tensor<2>, (rope, segments): (&Rope, &[Segment]), pass: &Pass) -> Attended {
        let n1 = self.first_norm(&x);
        let [q_raw, q] = self.turned(self.q_proj.forward(&n1, pass), &self.q_norm, rope);
        let [k_raw, k] = self.turned(self.k_proj.forward(&n1, pass), &self.k_norm, rope);
        let v = self.heads(self.v_proj.forward(&n1, pass));
        let attention = ops::attention_saved(&q, &k, &v, segments, true);
        let x_mid = self.o_proj.forward_onto(&x, &merge_heads(&attention.o), pass);
        Attended { x, q_raw, k_raw, q, k, v, attention, x_mid }
    }

    /// [`Block::forward`] of new tokens whose keys and values are put into the cache first; with `last` of the wanted ones
    /// only, [wanted, hidden].
    fn forward_cached(
        &self,
        x: Tensor<2>,
        rope: &Rope,
        cache: &mut KvCache,
        (layer, place, last): (usize, &Place, bool),
        pass: &Pass,
    ) -> Tensor<2> {
        let n1 = self.first_norm(&x);
        let mut write = |k: Tensor<2>, v: Tensor<2>| {
            let [_, k] = self.turned(k, &self.k_norm, rope);
            cache.write(layer, place, k, self.heads(v));
        };
        if !last || place.all_wanted() {
            let [q, k, v] = Linear::forward_all([&self.q_proj, &self.k_proj, &self.v_proj], &n1, pass);
            write(k, v);
            return self.attend_cached(x, q, rope, (cache, layer, &place.segments), pass);
        }
        let [k, v] = Linear::forward_all([&self.k_proj, &self.v_proj], &n1, pass);
        write(k, v);
        if place.wanted.is_empty() {
            return x;
        }
        let wanted = |x: &Tensor<2>| rows::gather(x, &place.wanted);
        let rope = Rope { cos: wanted(&rope.cos), sin: wanted(&rope.sin) };
        let q = self.q_proj.forward(&wanted(&n1), pass);
        self.attend_cached(wanted(&x), q, &rope, (cache, layer, &place.segments_of_wanted()), pass)
    }

    /// The rest of a layer after its keys and values are in the cache, for the rows of x [T, hidden] and their queries.
    fn attend_cached(
        &self,
        x: Tensor<2>,
        q: Tensor<2>,
        rope: &Rope,
        (cache, layer, segments): (&KvCache, usize, &[Segment]),
        pass: &Pass,
    ) -> Tensor<2> {
        let [_, q] = self.turned(q, &self.q_norm, rope);
        let o = cache.attend(layer, segments, &q);
        let x = self.o_proj.forward_onto(&x, &merge_heads(&o), pass);
        self.mlp.forward(&x, &self.middle_norm(&x), pass).0
    }

    /// Adds this layer's adapter gradients to `grads`; returns the gradient to the layer's input if `want_dx`.
    pub fn backward(
        &self,
        dy: Tensor<2>,
        saved: BlockSaved,
        (rope, segments): (&Rope, &[Segment]),
        want_dx: bool,
        (pass, grads): (&Pass, &mut Grads),
    ) -> Option<Tensor<2>> {
        let BlockSaved { attended: s, mlp } = saved;
        // 2. Feed-forward
        let dn2 = self.mlp.backward(&dy, &self.middle_norm(&s.x_mid), mlp, pass, grads);
        let dx_mid = ops::rms_norm_backward(dn2, &s.x_mid, &self.post_attention_layernorm, self.eps);
        let dx_mid = ops::add(&dy, dx_mid);
        // 1. Attention
        let o = merge_heads(&s.attention.o);
        let d_o = self.o_proj.backward(&dx_mid, &o, InputGrad::Fresh, pass, grads).expect("asked for");
        let d_o = d_o.reshape(s.q.dims());
        let [dq, dk, dv] = ops::attention_backward(&d_o, [&s.q, &s.k, &s.v], &s.attention, segments, true);
        let dq = ops::rotate_half_rope_backward(dq, &rope.cos, &rope.sin);
        let dk = ops::rotate_half_rope_backward(dk, &rope.cos, &rope.sin);
        let dq = merge_heads(&ops::rms_norm_backward(dq, &s.q_raw, &self.q_norm, self.eps));
        let dk = merge_heads(&ops::rms_norm_backward(dk, &s.k_raw, &self.k_norm, self.eps));
        let first = if want_dx { InputGrad::Fresh } else { InputGrad::Skip };
        let n1 = self.first_norm(&s.x);
        let dn1 = self.q_proj.backward(&dq, &n1, first, pass, grads);
        let dn1 = self.k_proj.backward(&dk, &n1, dn1.into(), pass, grads);
        let dn1 = self.v_proj.backward(&merge_heads(&dv), &n1, dn1.into(), pass, grads)?;
        Some(ops::add(&dx_mid, ops::rms_norm_backward(dn1, &s.x, &self.input_layernorm, self.eps)))
    }
}

/// (T, heads, d) -> (T, heads · d)
fn merge_heads(x: &Tensor<3>) -> Tensor<2> {
    let [t, heads, d] = x.dims();
    x.clone().reshape([t, heads * d])
}

/// Visual features of a pack of sequences: rows of the hidden states they belong to, and what goes there.
#[derive(Clone, Default)]
pub struct Visual {
    /// Rows that hold picture tokens.
    pub rows: Vec<usize>,
    /// [rows, hidden]: takes the place of the embeddings.
    pub merged: Option<Tensor<2>>,
    /// Added after the first layers, one each.
    pub deepstack: Vec<Tensor<2>>,
}

impl Text {
    /// Embeddings [T, hidden] of token ids, with picture features in their places.
    pub fn embed(&self, ids: &[u32], visual: &Visual) -> Tensor<2> {
        let x = self.embed.of(ids);
        match &visual.merged {
            Some(features) => ops::rows::write(x, &visual.rows, features),
            None => x,
        }
    }

    /// Adds the deepstack features that belong after layer `i`.
    pub fn add_deepstack(&self, x: Tensor<2>, i: usize, visual: &Visual) -> Tensor<2> {
        match visual.deepstack.get(i) {
            Some(features) => ops::rows::add(x, &visual.rows, features),
            None => x,
        }
    }

    /// Hidden states [T, hidden] after every layer (for inspection and parity), then after the final norm.
    pub fn hidden_states(
        &self,
        ids: &[u32],
        visual: &Visual,
        rope: &Rope,
        segments: &[Segment],
    ) -> Vec<Tensor<2>> {
        let pass = Pass::inference(None);
        let mut x = self.embed(ids, visual);
        let mut all = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let y = block.forward(x, rope, segments, &pass).0;
            all.push(y.clone());
            x = self.add_deepstack(y, i, visual);
        }
        all.push(self.final_norm(x));
        all
    }

    /// Hidden states [wanted, hidden] of the new tokens that the place says are wanted, before the final norm; the keys and
    /// values of all new tokens go into the cache.
    pub fn forward_cached(
        &self,
        mut x: Tensor<2>,
        (visual, rope): (&Visual, &Rope),
        cache: &mut KvCache,
        place: &Place,
        pass: &Pass,
    ) -> Tensor<2> {
        for (i, block) in self.blocks.iter().enumerate() {
            // In the last layer only what is asked for, unless something is added to the rows of pictures after it.
            let last = i + 1 == self.blocks.len() && visual.deepstack.len() <= i;
            let y = block.forward_cached(x, rope, cache, (i, place, last), pass);
            x = self.add_deepstack(y, i, visual);
        }
        let there = x.dims()[0] == place.wanted.len() || place.wanted.is_empty();
        if there { x } else { rows::gather(&x, &place.wanted) }
    }

    pub fn final_norm(&self, x: Tensor<2>) -> Tensor<2> {
        ops::rms_norm(x, &self.norm, self.eps)
    }

    /// Logits [N, vocab] of normed hidden states [N, hidden].
    pub fn logits(&self, x: &Tensor<2>) -> Tensor<2> {
        ops::matmul(x, &self.head.clone().transpose())
    }

    /// A copy of the head for [`Text::largest_logits`], where that pays.
    pub fn screened(&self) -> Option<Screened> {
        ops::screened(&self.head)
    }

    /// The k tokens with the largest logits for each of the normed hidden states [N, hidden], the likeliest first, where that can
    /// be told.
    pub fn largest_logits(
        &self,
        screened: &Screened,
        x: &Tensor<2>,
        k: usize,
    ) -> Vec<Option<Vec<(u32, f32)>>> {
        ops::largest_logits(screened, x, &self.head, k)
    }
}

//! The vision tower: patches of pictures to tokens of the text decoder, and the features its first layers add.

use super::config::{Activation, VisionConfig};
use super::{Weights, ops, rope};
use crate::error::Result;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use std::ops::Range;

/// The epsilon of every layer norm of the tower (fixed in transformers, not in the configuration).
const NORM_EPS: f64 = 1e-6;
/// The base of the tower's rotary embedding (fixed in transformers).
const ROPE_THETA: f64 = 10_000.0;

/// The tower with its weights, in f32.
pub struct Vision {
    config: VisionConfig,
    device: Device,
    /// The 3-D convolution as a matrix `[hidden, patch_len]`: its stride is its kernel.
    patch_embed: Linear,
    /// `[num_position_embeddings, hidden]`, a square grid.
    pos_embed: Tensor<2>,
    blocks: Vec<Block>,
    merger: Merger,
    deepstack_mergers: Vec<Merger>,
}

/// What the tower makes of some pictures.
#[derive(Clone, Debug)]
pub struct VisionOutput {
    /// `[tokens, out_hidden]`, in the order of the picture tokens.
    pub merged: Tensor<2>,
    /// One `[tokens, out_hidden]` for each of the first text layers, added to its output at the picture tokens.
    pub deepstack: Vec<Tensor<2>>,
}

impl Vision {
    /// Reads the tower from `weights` onto `device`.
    pub fn load(weights: &Weights, config: &VisionConfig, device: &Device) -> Result<Self> {
        let c = config;
        let root = Scope { weights, device, prefix: "model.visual.".into() };
        let [t, p] = [c.temporal_patch_size, c.patch_size];
        let patch = root.tensor("patch_embed.proj.weight", [c.hidden_size, c.in_channels, t, p, p])?;
        let blocks = (0..c.depth).map(|i| Block::load(&root.enter(&format!("blocks.{i}")), c));
        let mergers = (0..c.deepstack_visual_indexes.len())
            .map(|i| Merger::load(&root.enter(&format!("deepstack_merger_list.{i}")), c, true));
        Ok(Self {
            patch_embed: Linear {
                weight: patch.reshape([c.hidden_size, c.patch_len()]),
                bias: root.tensor("patch_embed.proj.bias", [c.hidden_size])?,
            },
            pos_embed: root.tensor("pos_embed.weight", [c.num_position_embeddings, c.hidden_size])?,
            blocks: blocks.collect::<Result<_>>()?,
            merger: Merger::load(&root.enter("merger"), c, false)?,
            deepstack_mergers: mergers.collect::<Result<_>>()?,
            config: config.clone(),
            device: device.clone(),
        })
    }

    /// Runs the tower over pictures.
    ///
    /// `pixels` `[patches, patch_len]`, patches in merge order (see [`merge_order`]); `grids` (time, height, width) in
    /// patches, one a picture, at least one. Panics when the patches do not fill the grids: that is a bug in the
    /// caller, not bad input.
    pub fn forward(&self, pixels: Tensor<2>, grids: &[[usize; 3]]) -> VisionOutput {
        let patches: usize = grids.iter().map(|[t, h, w]| t * h * w).sum();
        assert_eq!(pixels.dims(), [patches, self.config.patch_len()], "patches fill the grids {grids:?}");
        // 1. Embed each patch, and its place in the picture: (patches, hidden)
        let mut x = self.patch_embed.forward(pixels) + self.position_embedding(grids);
        // 2. Blocks; after some of them, features for the text decoder: (tokens, out_hidden)
        let places = Places { rope: self.rope_tables(grids), frames: frames(grids) };
        let mut deepstack = Vec::with_capacity(self.deepstack_mergers.len());
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, &places);
            if let Some(at) = self.config.deepstack_visual_indexes.iter().position(|&layer| layer == i) {
                deepstack.push(self.deepstack_mergers[at].forward(x.clone()));
            }
        }
        // 3. Merge patches to tokens: (tokens, out_hidden)
        VisionOutput { merged: self.merger.forward(x), deepstack }
    }

    /// The learned square grid of embeddings, stretched bilinearly over each picture
    /// (`fast_pos_embed_interpolate`): `[patches, hidden]`.
    fn position_embedding(&self, grids: &[[usize; 3]]) -> Tensor<2> {
        let side = self.config.num_position_embeddings.isqrt();
        let mut corners: [(Vec<i32>, Vec<f32>); 4] = Default::default();
        for &[t, h, w] in grids {
            let [rows, columns] = [Axis::stretch(side, h), Axis::stretch(side, w)];
            for (row, column) in merge_order([t, h, w], self.config.spatial_merge_size) {
                let (r, c) = (&rows.0[row], &columns.0[column]);
                let corner = [(0, 0), (0, 1), (1, 0), (1, 1)];
                for ((indices, weights), (i, j)) in corners.iter_mut().zip(corner) {
                    indices.push((r[i].0 * side + c[j].0) as i32);
                    weights.push(r[i].1 * c[j].1);
                }
            }
        }
        let part = |(indices, weights): (Vec<i32>, Vec<f32>)| {
            let n = indices.len();
            let indices: Tensor<1, Int> = Tensor::from_data(TensorData::new(indices, [n]), &self.device);
            let weights = TensorData::new(weights, [n, 1]);
            let weights: Tensor<2> = Tensor::from_data(weights, (&self.device, DType::F32));
            self.pos_embed.clone().select(0, indices) * weights
        };
        let [a, b, c, d] = corners.map(part);
        a + b + c + d
    }

    /// cos and sin `[patches, head_dim]` of the 2-D rotary embedding: a quarter of the head turns with the row,
    /// a quarter with the column, the second half as the first.
    fn rope_tables(&self, grids: &[[usize; 3]]) -> (Tensor<2>, Tensor<2>) {
        let head_dim = self.config.head_dim();
        let freqs = rope::inv_freq(head_dim / 2, ROPE_THETA);
        let places = grids.iter().flat_map(|&grid| merge_order(grid, self.config.spatial_merge_size));
        let angles = places
            .flat_map(|(row, column)| [row, column])
            .flat_map(|place| freqs.iter().map(move |freq| place as f32 * freq));
        rope::cos_sin(angles, head_dim, &self.device)
    }
}

/// Row and column of each patch of a (time, height, width) grid in the order in which pictures are cut: the
/// `merge` x `merge` patches that become one token lie together; frame after frame.
pub fn merge_order([t, h, w]: [usize; 3], merge: usize) -> impl Iterator<Item = (usize, usize)> {
    assert!(
        h.is_multiple_of(merge) && w.is_multiple_of(merge),
        "a grid of {h} x {w} patches merges by {merge}"
    );
    let (across, unit) = (w / merge, merge * merge);
    (0..t * h * w).map(move |i| {
        let (block, inner) = (i % (h * w) / unit, i % unit);
        (block / across * merge + inner / merge, block % across * merge + inner % merge)
    })
}

/// Rows of each frame: patches attend only within their frame.
fn frames(grids: &[[usize; 3]]) -> Vec<Range<usize>> {
    let lengths = grids.iter().flat_map(|&[t, h, w]| std::iter::repeat_n(h * w, t));
    lengths
        .scan(0, |start, length| {
            *start += length;
            Some(*start - length..*start)
        })
        .collect()
}

/// For each patch along one side of a picture, the two neighbours in the square grid and their weights.
struct Axis(Vec<[(usize, f32); 2]>);

impl Axis {
    /// `n` places spread evenly over `0..=side - 1`.
    fn stretch(side: usize, n: usize) -> Self {
        let last = (side - 1) as f32;
        // torch.linspace in f32: from both ends to the middle, so that it is symmetric.
        let step = if n > 1 { last / (n - 1) as f32 } else { 0.0 };
        let near_start = |i: usize| n == 1 || i < n / 2;
        let place = |i: usize| if near_start(i) { step * i as f32 } else { last - step * (n - 1 - i) as f32 };
        Self(
            (0..n)
                .map(|i| {
                    let at = place(i);
                    let floor = at as usize;
                    let past = at - floor as f32;
                    [(floor, 1.0 - past), ((floor + 1).min(side - 1), past)]
                })
                .collect(),
        )
    }
}

/// What attention needs to know of the patches' places.
struct Places {
    rope: (Tensor<2>, Tensor<2>),
    frames: Vec<Range<usize>>,
}

/// A part of the checkpoint, by the start of its names.
struct Scope<'a> {
    weights: &'a Weights,
    device: &'a Device,
    prefix: String,
}

impl<'a> Scope<'a> {
    fn enter(&self, name: &str) -> Scope<'a> {
        Scope { prefix: format!("{}{name}.", self.prefix), ..*self }
    }

    fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        self.weights.tensor(&format!("{}{name}", self.prefix), shape, self.device, DType::F32)
    }

    fn linear(&self, name: &str, input: usize, output: usize) -> Result<Linear> {
        let s = self.enter(name);
        Ok(Linear { weight: s.tensor("weight", [output, input])?, bias: s.tensor("bias", [output])? })
    }

    fn norm(&self, name: &str, size: usize) -> Result<Norm> {
        let s = self.enter(name);
        Ok(Norm { weight: s.tensor("weight", [size])?, bias: s.tensor("bias", [size])? })
    }
}

/// A matrix `[out, in]` and a bias `[out]`.
struct Linear {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Linear {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::linear(x, &self.weight, Some(&self.bias))
    }
}

/// A layer norm.
struct Norm {
    weight: Tensor<1>,
    bias: Tensor<1>,
}

impl Norm {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::layer_norm(x, &self.weight, &self.bias, NORM_EPS)
    }
}

/// One transformer block.
struct Block {
    norm1: Norm,
    norm2: Norm,
    qkv: Linear,
    proj: Linear,
    linear_fc1: Linear,
    linear_fc2: Linear,
    heads: usize,
    act: Activation,
}

impl Block {
    fn load(s: &Scope, c: &VisionConfig) -> Result<Self> {
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

    fn forward(&self, x: Tensor<2>, places: &Places) -> Tensor<2> {
        let x = x.clone() + self.attend(self.norm1.forward(x), places);
        let inner = self.linear_fc1.forward(self.norm2.forward(x.clone()));
        let inner = match self.act {
            Activation::GeluTanh => ops::gelu_tanh(inner),
            Activation::Gelu => ops::gelu(inner),
        };
        x + self.linear_fc2.forward(inner)
    }

    fn attend(&self, x: Tensor<2>, places: &Places) -> Tensor<2> {
        let [n, d] = x.dims();
        // 1. Queries, keys and values of all heads: (n, 3 * d) -> 3 x (n, heads, head_dim)
        let qkv = self.qkv.forward(x);
        let part = |i: usize| qkv.clone().narrow(1, i * d, d).reshape([n, self.heads, d / self.heads]);
        // 2. Turn queries and keys by the patch's row and column
        let (cos, sin) = &places.rope;
        let turn = |x: Tensor<3>| ops::rotate_half_rope(x, cos, sin);
        // 3. Attend within each frame: (n, heads, head_dim) -> (n, d)
        let out = ops::attention(turn(part(0)), turn(part(1)), part(2), &places.frames, false);
        self.proj.forward(out.reshape([n, d]))
    }
}

/// Patches of one token side by side, through two layers: `[patches, hidden]` → `[tokens, out_hidden]`.
struct Merger {
    norm: Norm,
    linear_fc1: Linear,
    linear_fc2: Linear,
    /// Normalise the token instead of each patch, as the deepstack mergers do.
    postshuffle_norm: bool,
    merged: usize,
}

impl Merger {
    fn load(s: &Scope, c: &VisionConfig, postshuffle_norm: bool) -> Result<Self> {
        let merged = c.hidden_size * c.merge_unit();
        Ok(Self {
            norm: s.norm("norm", if postshuffle_norm { merged } else { c.hidden_size })?,
            linear_fc1: s.linear("linear_fc1", merged, merged)?,
            linear_fc2: s.linear("linear_fc2", merged, c.out_hidden_size)?,
            postshuffle_norm,
            merged,
        })
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let shuffle = |x: Tensor<2>| x.reshape([-1, self.merged as i32]);
        let x =
            if self.postshuffle_norm { self.norm.forward(shuffle(x)) } else { shuffle(self.norm.forward(x)) };
        self.linear_fc2.forward(ops::gelu(self.linear_fc1.forward(x)))
    }
}

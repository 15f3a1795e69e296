//! The vision tower: patches of pictures to tokens of the text decoder, and the features its first layers add.

use super::config::VisionConfig;
use super::lora::{Grads, InputGrad, Linear, Pass};
use super::ops::{self, Segment};
use super::text::Visual;
use super::vision_block::{Block, BlockSaved, BlockSpent, Merger, MergerSaved, Norm};
use super::weight::Weight;
use super::{Weights, rope};
use crate::error::Result;
use burn::tensor::{DType, Device, Tensor};

/// The base of the tower's rotary embedding (fixed in transformers).
const ROPE_THETA: f64 = 10_000.0;

/// The tower with its weights, in f32.
pub struct Vision {
    config: VisionConfig,
    device: Device,
    dtype: DType,
    /// The 3-D convolution as a matrix `[hidden, patch_len]`: its stride is its kernel.
    patch_embed: Linear,
    /// What it is for patches whose frames are all the same, given one of them: `[hidden, patch_len / frames]`. On the CPU, where
    /// it costs half.
    still_embed: Option<Linear>,
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

impl VisionOutput {
    pub(super) fn cast(self, dtype: DType) -> Self {
        let like = |t: Tensor<2>| if t.dtype() == dtype { t } else { t.cast(dtype) };
        Self { merged: like(self.merged), deepstack: self.deepstack.into_iter().map(like).collect() }
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let one = |t: &Tensor<2>| t.dims().iter().product::<usize>() * t.dtype().size();
        one(&self.merged) + self.deepstack.iter().map(one).sum::<usize>()
    }

    /// The features of some of the tokens.
    pub fn part(&self, tokens: &[usize]) -> Self {
        let some = |t: &Tensor<2>| ops::rows::gather(t, tokens);
        Self { merged: some(&self.merged), deepstack: self.deepstack.iter().map(some).collect() }
    }

    /// These features at the rows of a pack that hold picture tokens.
    pub(super) fn at(self, rows: &[usize]) -> Visual {
        Visual { rows: rows.to_vec(), merged: Some(self.merged), deepstack: self.deepstack }
    }
}

impl Vision {
    /// Reads the tower from `weights` onto `device` as `dtype`.
    pub fn load(weights: &Weights, config: &VisionConfig, device: &Device, dtype: DType) -> Result<Self> {
        let c = config;
        let root = Scope { weights, device, dtype, prefix: "model.visual.".into() };
        let [t, p] = [c.temporal_patch_size, c.patch_size];
        let patch = root.tensor("patch_embed.proj.weight", [c.hidden_size, c.in_channels, t, p, p])?;
        let bias: Tensor<1> = root.tensor("patch_embed.proj.bias", [c.hidden_size])?;
        let embed = |patch: Tensor<5>| {
            let w = Weight::Full(patch.reshape([c.hidden_size as i32, -1]));
            Linear { bias: Some(bias.clone()), ..Linear::new(w) }
        };
        let blocks = (0..c.depth).map(|i| Block::load(&root.enter(&format!("blocks.{i}")), c));
        let mergers = (0..c.deepstack_visual_indexes.len())
            .map(|i| Merger::load(&root.enter(&format!("deepstack_merger_list.{i}")), c, true));
        Ok(Self {
            still_embed: ops::is_cpu(&patch).then(|| embed(patch.clone().sum_dim(2))),
            patch_embed: embed(patch),
            pos_embed: root.tensor("pos_embed.weight", [c.num_position_embeddings, c.hidden_size])?,
            blocks: blocks.collect::<Result<_>>()?,
            merger: Merger::load(&root.enter("merger"), c, false)?,
            deepstack_mergers: mergers.collect::<Result<_>>()?,
            config: config.clone(),
            device: device.clone(),
            dtype,
        })
    }

    /// Runs the tower over pictures.
    ///
    /// `pixels` `[patches, patch_len]`, patches in merge order (see [`merge_order`]), or one frame of each where
    /// [`Vision::takes_one_frame`]; `grids` (time, height, width) in patches, one a picture, at least one. Panics when the
    /// patches do not fill the grids: that is a bug in the caller, not bad input.
    pub fn forward(&self, pixels: Tensor<2>, grids: &[[usize; 3]], pass: &Pass) -> VisionOutput {
        self.run(pixels, grids, pass, None).0
    }

    /// Whether patches whose frames are all the same, as those of a still picture, may come with one of them.
    pub fn takes_one_frame(&self) -> bool {
        self.still_embed.is_some()
    }

    /// [`Vision::forward`], and what [`Vision::backward`] needs: everything, or with `inputs_only` each block's
    /// input, so that the block is computed again on the way back.
    pub fn forward_saved(
        &self,
        pixels: Tensor<2>,
        grids: &[[usize; 3]],
        pass: &Pass,
        inputs_only: bool,
    ) -> (VisionOutput, Saved) {
        let mut blocks = Vec::new();
        let mut keep = |x: Tensor<2>, saved: BlockSaved| {
            blocks.push(if inputs_only { Kept::Input(x) } else { Kept::Saved(saved) });
        };
        let (output, mergers, places) = self.run(pixels, grids, pass, Some(&mut keep));
        (output, Saved { blocks, mergers, places })
    }

    /// The output, the mergers' states (deepstack first, the last one's at the end), and the places.
    fn run(
        &self,
        pixels: Tensor<2>,
        grids: &[[usize; 3]],
        pass: &Pass,
        mut keep: Option<&mut dyn FnMut(Tensor<2>, BlockSaved)>,
    ) -> (VisionOutput, Vec<MergerSaved>, Places) {
        let patches: usize = grids.iter().map(|[t, h, w]| t * h * w).sum();
        let [rows, width] = pixels.dims();
        assert_eq!(rows, patches, "patches fill the grids {grids:?}");
        let mut embeds = [&self.patch_embed].into_iter().chain(&self.still_embed);
        let embed = embeds.find(|l| l.w.dims()[1] == width).expect("patches of all frames or of one");
        // 1. Embed each patch, and its place in the picture: (patches, hidden)
        let mut x = embed.forward_onto(&self.position_embedding(grids), &pixels.cast(self.dtype), pass);
        // 2. Blocks; after some of them, features for the text decoder: (tokens, out_hidden)
        let places = Places { rope: self.rope_tables(grids), frames: frames(grids) };
        let (mut deepstack, mut mergers) = (Vec::new(), Vec::new());
        let (saving, spent) = (keep.is_some(), BlockSpent::default());
        let mut merge = |merger: &Merger, x: Tensor<2>| {
            if !saving {
                return merger.look(x, pass);
            }
            let (features, saved) = merger.forward(x, pass);
            mergers.push(saved);
            features
        };
        for (i, block) in self.blocks.iter().enumerate() {
            x = match &mut keep {
                None => block.look(x, &places, pass, &spent),
                Some(keep) => {
                    let (y, saved) = block.forward(x.clone(), &places, pass);
                    keep(x, saved);
                    y
                }
            };
            if let Some(at) = self.deepstack_after(i) {
                deepstack.push(merge(&self.deepstack_mergers[at], x.clone()));
            }
        }
        // 3. Merge patches to tokens: (tokens, out_hidden)
        let merged = merge(&self.merger, x);
        (VisionOutput { merged, deepstack }, mergers, places)
    }

    /// Adds the adapter's gradients to `grads`, given those to the output; nothing is computed below the first
    /// block that has an adapter.
    pub fn backward(&self, d: VisionOutput, saved: &Saved, pass: &Pass, grads: &mut Grads) {
        let lowest = self.blocks.iter().position(Block::adapted).unwrap_or(usize::MAX);
        let want = |i: usize| if i >= lowest { InputGrad::Fresh } else { InputGrad::Skip };
        let (last, deepstack) = saved.mergers.split_last().expect("the merger is always there");
        let top = self.blocks.len() - 1;
        let mut dx = self.merger.backward(&d.merged, last, want(top), (pass, grads));
        for (i, block) in self.blocks.iter().enumerate().rev() {
            if let Some(at) = self.deepstack_after(i) {
                let (merger, saved) = (&self.deepstack_mergers[at], &deepstack[at]);
                let more = merger.backward(&d.deepstack[at], saved, want(i), (pass, grads));
                dx = dx.zip(more).map(|(a, b)| a + b);
            }
            let Some(dy) = dx.take_if(|_| i >= lowest) else { continue };
            let again;
            let kept = match &saved.blocks[i] {
                Kept::Saved(kept) => kept,
                Kept::Input(x) => {
                    again = block.forward(x.clone(), &saved.places, pass).1;
                    &again
                }
            };
            dx = block.backward(dy, kept, &saved.places, i > lowest, (pass, grads));
        }
    }

    /// Which deepstack merger reads the output of block `i`.
    fn deepstack_after(&self, i: usize) -> Option<usize> {
        self.config.deepstack_visual_indexes.iter().position(|&layer| layer == i)
    }

    /// Every linear layer with its name below the tower, in the order of the model.
    pub fn linears(&self) -> Vec<(String, &Linear)> {
        let blocks = self.blocks.iter().enumerate();
        let blocks = blocks.flat_map(|(i, b)| named(format!("blocks.{i}."), b.linears()));
        let deepstack = self.deepstack_mergers.iter().enumerate();
        let deepstack =
            deepstack.flat_map(|(i, m)| named(format!("deepstack_merger_list.{i}."), m.linears()));
        blocks.chain(named("merger.".into(), self.merger.linears())).chain(deepstack).collect()
    }

    /// [`Vision::linears`] to change.
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let blocks = self.blocks.iter_mut().enumerate();
        let blocks = blocks.flat_map(|(i, b)| named(format!("blocks.{i}."), b.linears_mut()));
        let deepstack = self.deepstack_mergers.iter_mut().enumerate();
        let deepstack =
            deepstack.flat_map(|(i, m)| named(format!("deepstack_merger_list.{i}."), m.linears_mut()));
        blocks.chain(named("merger.".into(), self.merger.linears_mut())).chain(deepstack).collect()
    }

    /// The learned square grid of embeddings, stretched bilinearly over each picture
    /// (`fast_pos_embed_interpolate`): `[patches, hidden]`.
    fn position_embedding(&self, grids: &[[usize; 3]]) -> Tensor<2> {
        let side = self.config.num_position_embeddings.isqrt();
        let mut corners = ops::rows::Corners::default();
        for &[t, h, w] in grids {
            let [rows, columns] = [Axis::stretch(side, h), Axis::stretch(side, w)];
            for (row, column) in merge_order([t, h, w], self.config.spatial_merge_size) {
                let (r, c) = (&rows.0[row], &columns.0[column]);
                let corner = [(0, 0), (0, 1), (1, 0), (1, 1)];
                for ((indices, weights), (i, j)) in corners.iter_mut().zip(corner) {
                    indices.push(r[i].0 * side + c[j].0);
                    weights.push(r[i].1 * c[j].1);
                }
            }
        }
        ops::rows::blend(&self.pos_embed, &corners).cast(self.dtype)
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
fn frames(grids: &[[usize; 3]]) -> Vec<Segment> {
    Segment::packed(grids.iter().flat_map(|&[t, h, w]| std::iter::repeat_n(h * w, t)))
}

/// Layers with the start of their names before each.
fn named<L, const N: usize>(
    start: String,
    layers: [(&'static str, L); N],
) -> impl Iterator<Item = (String, L)> {
    layers.into_iter().map(move |(leaf, layer)| (format!("{start}{leaf}"), layer))
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
pub(super) struct Places {
    pub rope: (Tensor<2>, Tensor<2>),
    pub frames: Vec<Segment>,
}

#[allow(clippy::large_enum_variant)] // one per block
enum Kept {
    Saved(BlockSaved),
    Input(Tensor<2>),
}

/// What [`Vision::backward`] needs of one forward pass.
pub struct Saved {
    blocks: Vec<Kept>,
    mergers: Vec<MergerSaved>,
    places: Places,
}

/// A part of the checkpoint, by the start of its names.
pub(super) struct Scope<'a> {
    weights: &'a Weights,
    device: &'a Device,
    dtype: DType,
    prefix: String,
}

impl<'a> Scope<'a> {
    fn enter(&self, name: &str) -> Scope<'a> {
        Scope { prefix: format!("{}{name}.", self.prefix), ..*self }
    }

    fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        self.weights.tensor(&format!("{}{name}", self.prefix), shape, self.device, self.dtype)
    }

    pub fn linear(&self, name: &str, input: usize, output: usize) -> Result<Linear> {
        let s = self.enter(name);
        let w = Weight::Full(s.tensor("weight", [output, input])?);
        Ok(Linear { bias: Some(s.tensor("bias", [output])?), ..Linear::new(w) })
    }

    pub fn norm(&self, name: &str, size: usize) -> Result<Norm> {
        let s = self.enter(name);
        Ok(Norm { weight: s.tensor("weight", [size])?, bias: s.tensor("bias", [size])? })
    }
}

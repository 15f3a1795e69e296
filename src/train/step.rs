//! One micro-batch: forward through the layers, loss on the labelled positions only, backward layer by layer.
//!
//! Nothing is computed for padding (there is none), for logits without a label, or below the first adapter.

use super::clock::{Clock, Part};
use crate::eval::loss::{Targets, head_loss};
use crate::model::lora::{Grads, Pass};
use crate::model::moe::Routing;
use crate::model::ops::rows;
use crate::model::qwen3_vl::{Pack, Qwen3Vl};
use crate::model::text::{Block, BlockSaved, Visual};
use crate::model::vision::{self, VisionOutput};
use burn::tensor::Tensor;
use std::sync::Arc;

/// What is kept of the forward pass for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything: fastest.
    All,
    /// Only each layer's input and where its experts' tokens went; the layer is computed again in the backward pass:
    /// smallest.
    Inputs,
}

/// Who goes along with a pass: the clock that times its parts, and whoever may call it off between two layers.
pub struct Watch<'a> {
    pub clock: &'a mut Clock,
    pub stop: &'a mut dyn FnMut() -> bool,
}

/// Adds the gradients of `share` times the pack's mean cross-entropy to `grads` and returns that mean, [1].
/// `share` is one over the number of micro-batches of the optimizer step.
pub fn forward_backward(
    model: &Qwen3Vl,
    pass: &Pass,
    (pack, targets): (&Pack, &Targets),
    (share, keep): (f32, Keep),
    grads: &mut Grads,
) -> Tensor<1> {
    let watch = Watch { clock: &mut Clock::default(), stop: &mut || false };
    watched(model, pass, (pack, targets), (share, keep), (grads, watch)).expect("nobody calls it off")
}

/// [`forward_backward`], its parts timed by a clock that is left running in the backward pass. `None`: it was called
/// off, and `grads` is of no use.
pub fn watched(
    model: &Qwen3Vl,
    pass: &Pass,
    (pack, targets): (&Pack, &Targets),
    (share, keep): (f32, Keep),
    (grads, mut watch): (&mut Grads, Watch),
) -> Option<Tensor<1>> {
    // 1. Forward, keeping what the backward pass needs
    watch.clock.start(Part::Forward);
    let Forward { x, kept, visual, seen } = forward(model, pass, pack, keep, &mut watch)?;
    // 2. Loss, and its gradient to the last hidden states
    watch.clock.start(Part::Head);
    let last = rows::gather(&x, targets.rows());
    let n = targets.len().max(1) as f32;
    let (sum, d_last) = head_loss(model, &last, targets, Some(share / n));
    let d_last = d_last.expect("asked for with a weight");
    let mut dx = Some(rows::write(x.zeros_like(), targets.rows(), &d_last));
    // 3. Backward, last layer first, down to the first adapter; features of a frozen tower are constants
    watch.clock.start(Part::Backward);
    let (text, at) = (&model.text, (&pack.rope, pack.segments.as_slice()));
    let first = text.blocks.iter().position(Block::adapted).unwrap_or(usize::MAX);
    let lowest = if seen.is_some() { 0 } else { first };
    let mut d_deepstack = Vec::new();
    for (i, (block, kept)) in text.blocks.iter().zip(kept).enumerate().rev() {
        let Some(dy) = dx.take_if(|_| i >= lowest) else { break };
        if (watch.stop)() {
            return None;
        }
        if seen.is_some() && i < visual.deepstack.len() {
            d_deepstack.insert(0, rows::gather(&dy, &visual.rows));
        }
        let saved = match kept {
            Kept::Saved(saved) => saved,
            Kept::Input(x, routing) => block.again(x, at, pass, routing),
        };
        dx = block.backward(dy, saved, at, i > lowest || seen.is_some(), (pass, grads));
    }
    // 4. Through the pictures
    match (seen, dx) {
        (Some(seen), Some(dx)) => {
            let d = VisionOutput { merged: rows::gather(&dx, &visual.rows), deepstack: d_deepstack };
            model.vision.backward(d, &seen, pass, grads);
        }
        _ => still(model, pass, grads),
    }
    Some(sum.div_scalar(n))
}

#[allow(clippy::large_enum_variant)] // one per layer
enum Kept {
    Saved(BlockSaved),
    Input(Tensor<2>, Option<Arc<Routing>>),
}

/// What the forward pass leaves: hidden states [T, hidden], what was kept of each layer, and of the pictures.
struct Forward {
    x: Tensor<2>,
    kept: Vec<Kept>,
    visual: Visual,
    seen: Option<vision::Saved>,
}

fn forward(model: &Qwen3Vl, pass: &Pass, pack: &Pack, keep: Keep, watch: &mut Watch) -> Option<Forward> {
    let text = &model.text;
    let (visual, seen) = model.look_saved(pack, pass, keep == Keep::Inputs);
    let mut x = text.embed(&pack.ids, &visual);
    let mut kept = Vec::with_capacity(text.blocks.len());
    for (i, block) in text.blocks.iter().enumerate() {
        if (watch.stop)() {
            return None;
        }
        let input = x.clone();
        let (y, saved) = block.forward(x, &pack.rope, &pack.segments, pass);
        kept.push(match keep {
            Keep::All => Kept::Saved(saved),
            Keep::Inputs => Kept::Input(input, saved.routing()),
        });
        x = text.add_deepstack(y, i, &visual);
    }
    Some(Forward { x, kept, visual, seen })
}

/// A pack without pictures gives an adapted tower gradients of zero, so that its moments move as in LLaMA-Factory,
/// which looks at a white picture instead.
fn still(model: &Qwen3Vl, pass: &Pass, grads: &mut Grads) {
    let Some(adapter) = pass.adapter else { return };
    for slot in model.vision.linears().iter().filter_map(|(_, l)| l.slot) {
        let pair = &adapter.pairs[slot];
        grads.a[slot].get_or_insert_with(|| pair.a.zeros_like());
        grads.b[slot].get_or_insert_with(|| pair.b.zeros_like());
        if let Some(magnitude) = &pair.magnitude {
            grads.m[slot].get_or_insert_with(|| magnitude.m.zeros_like());
        }
    }
}

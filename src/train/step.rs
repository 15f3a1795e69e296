//! One micro-batch: forward through the layers, loss on the labelled positions only, backward layer by layer.
//!
//! Nothing is computed for padding (there is none), for logits without a label, or below the first adapter.

use crate::eval::loss::{Targets, head_loss};
use crate::model::lora::{Grads, Pass};
use crate::model::ops::rows;
use crate::model::qwen3_vl::{Pack, Qwen3Vl};
use crate::model::text::BlockSaved;
use burn::tensor::Tensor;

/// What is kept of the forward pass for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything: fastest.
    All,
    /// Only each layer's input; the layer is computed again in the backward pass: smallest.
    Inputs,
}

#[allow(clippy::large_enum_variant)] // one per layer
enum Kept {
    Saved(BlockSaved),
    Input(Tensor<2>),
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
    let text = &model.text;
    let at = (&pack.rope, pack.segments.as_slice());
    // 1. Forward, keeping what the backward pass needs
    let mut x = text.embed(&pack.ids, &pack.visual);
    let mut kept = Vec::with_capacity(text.blocks.len());
    for (i, block) in text.blocks.iter().enumerate() {
        let input = x.clone();
        let (y, saved) = block.forward(x, at.0, at.1, pass);
        kept.push(if keep == Keep::All { Kept::Saved(saved) } else { Kept::Input(input) });
        x = text.add_deepstack(y, i, &pack.visual);
    }
    // 2. Loss, and its gradient to the last hidden states
    let last = rows::gather(&x, targets.rows());
    let n = targets.len().max(1) as f32;
    let (sum, d_last) = head_loss(model, &last, targets, Some(share / n));
    let d_last = d_last.expect("asked for with a weight");
    let mut dx = rows::write(x.zeros_like(), targets.rows(), &d_last);
    // 3. Backward, last layer first; picture features are constants, so deepstack adds nothing
    for (i, (block, kept)) in text.blocks.iter().zip(kept).enumerate().rev() {
        let saved = match kept {
            Kept::Saved(saved) => saved,
            Kept::Input(x) => block.forward(x, at.0, at.1, pass).1,
        };
        match block.backward(dx, &saved, at, i > 0, (pass, grads)) {
            Some(below) => dx = below,
            None => break,
        }
    }
    sum.div_scalar(n)
}

//! Cross-entropy on labelled positions only, in chunks, so that the logits of a long pack are never all there.

use crate::model::lora::{Adapter, Pass};
use crate::model::ops::{self, rows};
use crate::model::qwen3_vl::{Pack, Qwen3Vl};
use burn::tensor::{DType, Tensor};

/// Logits are computed in chunks of at most this many numbers (64 MiB in f32).
const LOGITS_AT_ONCE: usize = 16 << 20;

/// Rows of a pack that predict a label, and those labels.
pub struct Targets {
    rows: Vec<usize>,
    labels: Vec<u32>,
}

impl Targets {
    /// `labels` of all sequences of the pack, one after another; −100 is no label. Position i predicts i + 1
    /// of the same sequence.
    pub fn new(pack: &Pack, labels: &[i32]) -> Self {
        let (mut rows, mut wanted) = (Vec::new(), Vec::new());
        for s in &pack.segments {
            let predicted = labels.iter().enumerate().take(s.q.end).skip(s.q.start + 1);
            for (i, label) in predicted {
                if let Ok(label) = u32::try_from(*label) {
                    rows.push(i - 1);
                    wanted.push(label);
                }
            }
        }
        Self { rows, labels: wanted }
    }

    /// Rows of the pack that predict a label.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Number of labelled positions.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Mean cross-entropy of a pack without gradients.
pub fn mean(model: &Qwen3Vl, adapter: Option<&Adapter>, pack: &Pack, targets: &Targets) -> Tensor<1> {
    let pass = Pass::inference(adapter);
    let visual = model.look(pack, &pass);
    let mut x = model.text.embed(&pack.ids, &visual);
    for (i, block) in model.text.blocks.iter().enumerate() {
        let y = block.forward(x, &pack.rope, &pack.segments, &pass).0;
        x = model.text.add_deepstack(y, i, &visual);
    }
    let x = rows::gather(&x, &targets.rows);
    let (sum, _) = head_loss(model, &x, targets, 1.0);
    sum.div_scalar(targets.len().max(1) as f32)
}

/// Summed cross-entropy of hidden states [N, hidden] before the final norm, in chunks of rows, and the gradient
/// of `weight` times it to them.
pub fn head_loss(model: &Qwen3Vl, x: &Tensor<2>, targets: &Targets, weight: f32) -> (Tensor<1>, Tensor<2>) {
    let text = &model.text;
    let vocab = text.head.dims()[0];
    let chunk = (LOGITS_AT_ONCE / vocab).max(16);
    let mut total: Tensor<1> = Tensor::zeros([1], (&model.device, DType::F32));
    let mut grads = Vec::new();
    for (i, labels) in targets.labels.chunks(chunk).enumerate() {
        let part = x.clone().slice([i * chunk..i * chunk + labels.len()]);
        let normed = text.final_norm(part.clone());
        let (sum, d_logits) = ops::cross_entropy(text.logits(&normed), labels, weight);
        let d_normed = ops::matmul(&d_logits, &text.head);
        grads.push(ops::rms_norm_backward(d_normed, &part, &text.norm, text.eps));
        total = total + sum;
    }
    let d = if grads.is_empty() { x.zeros_like() } else { Tensor::cat(grads, 0) };
    (total, d)
}

//! Cross-entropy on labelled positions only.

use crate::model::lora::{Adapter, Pass};
use crate::model::ops::{self, rows};
use crate::model::qwen3_vl::{Pack, Qwen3Vl};
use burn::tensor::{DType, Tensor};

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
    let x = last_states(model, adapter, pack, targets);
    let (sum, _) = head_loss(model, &x, targets, None);
    sum.div_scalar(targets.len().max(1) as f32)
}

/// Logits of the labelled positions of a pack, row by row, and the number of columns.
pub fn logits(
    model: &Qwen3Vl,
    adapter: Option<&Adapter>,
    pack: &Pack,
    targets: &Targets,
) -> (Vec<f32>, usize) {
    let x = model.text.final_norm(last_states(model, adapter, pack, targets));
    let logits = model.text.logits(&x).cast(DType::F32);
    let columns = logits.dims()[1];
    (logits.into_data().try_to_vec::<f32>().expect("cast to f32"), columns)
}

/// Hidden states before the final norm at the labelled positions.
fn last_states(model: &Qwen3Vl, adapter: Option<&Adapter>, pack: &Pack, targets: &Targets) -> Tensor<2> {
    let pass = Pass::inference(adapter);
    let visual = model.look(pack, &pass);
    let mut x = model.text.embed(&pack.ids, &visual);
    for (i, block) in model.text.blocks.iter().enumerate() {
        let y = block.forward(x, &pack.rope, &pack.segments, &pass).0;
        x = model.text.add_deepstack(y, i, &visual);
    }
    rows::gather(&x, &targets.rows)
}

/// Summed cross-entropy of hidden states [N, hidden] before the final norm, and with a `weight` the gradient of
/// `weight` times it to them.
pub fn head_loss(
    model: &Qwen3Vl,
    x: &Tensor<2>,
    targets: &Targets,
    weight: Option<f32>,
) -> (Tensor<1>, Option<Tensor<2>>) {
    let text = &model.text;
    let normed = text.final_norm(x.clone());
    let (sum, d_normed) = ops::head_cross_entropy(&normed, &text.head, &targets.labels, weight);
    (sum, d_normed.map(|d| ops::rms_norm_backward(d, x, &text.norm, text.eps)))
}

//! The target report: which module families there are, what is trained, and why the rest is frozen.

use crate::job::TargetRow;
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::model::text::Mlp;

/// One row per family of modules of the loaded model.
pub fn targets(model: &Qwen3Vl, adapter: &Adapter) -> Vec<TargetRow> {
    let h = model.config.text.hidden_size as u64;
    let mut rows = Vec::new();
    for leaf in ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] {
        rows.extend(linear_family(model, adapter, leaf));
    }
    rows.extend(experts(model));
    let head: u64 = model.text.head.dims().iter().product::<usize>() as u64;
    let tied = model.config.tie_word_embeddings;
    let note =
        if tied { "frozen; the head is the same matrix" } else { "frozen, as in LLaMA-Factory's `all`" };
    let matrices = if tied { 1 } else { 2 };
    rows.push(row("embeddings and head", matrices, head * matrices as u64, 0, note));
    let known: u64 = rows.iter().map(|r| r.parameters).sum();
    let norms = (2 * model.text.blocks.len() as u64 + 1) * h
        + 2 * model.text.blocks.len() as u64 * model.config.text.head_dim as u64;
    rows.push(row("norms", 4 * model.text.blocks.len() + 1, norms, 0, "frozen"));
    let vision = model.parameters.saturating_sub(known + norms);
    rows.push(row(
        "vision tower and mergers",
        0,
        vision,
        0,
        "frozen (freeze_vision_tower, freeze_multi_modal_projector)",
    ));
    rows
}

fn row(family: &str, matrices: usize, parameters: u64, trainable: u64, note: &str) -> TargetRow {
    TargetRow { family: family.into(), matrices, parameters, trainable, note: note.into() }
}

fn linear_family(model: &Qwen3Vl, adapter: &Adapter, leaf: &str) -> Option<TargetRow> {
    let linears = model.text.blocks.iter().flat_map(|b| b.linears());
    let sizes: Vec<u64> = linears
        .filter(|(name, _)| name.ends_with(leaf))
        .map(|(_, l)| l.w.dims().iter().product::<usize>() as u64)
        .collect();
    let (matrices, parameters) = (sizes.len(), sizes.iter().sum());
    if matrices == 0 {
        return None;
    }
    let pairs = adapter.pairs.iter().filter(|p| p.name.ends_with(leaf));
    let trainable =
        pairs.map(|p| (p.a.dims().iter().product::<usize>() + p.b.dims().iter().product::<usize>()) as u64);
    let trainable: u64 = trainable.sum();
    let note = if trainable > 0 { "LoRA" } else { "frozen: not in lora_target" };
    Some(row(leaf, matrices, parameters, trainable, note))
}

fn experts(model: &Qwen3Vl) -> Vec<TargetRow> {
    let moes = model.text.blocks.iter().filter_map(|b| match &b.mlp {
        Mlp::Moe(m) => Some(m),
        Mlp::Dense { .. } => None,
    });
    let (mut layers, mut inside, mut router) = (0, 0u64, 0u64);
    for m in moes {
        layers += 1;
        inside +=
            (m.gate_up.dims().iter().product::<usize>() + m.down.dims().iter().product::<usize>()) as u64;
        router += m.router.dims().iter().product::<usize>() as u64;
    }
    if layers == 0 {
        return Vec::new();
    }
    let why = "frozen: `all` does not reach experts, which are stacked parameters and no linear layers";
    vec![row("experts", 2 * layers, inside, 0, why), row("router", layers, router, 0, "frozen")]
}

//! The target report: which module families there are, what is trained, and why the rest is frozen.

use crate::config::TrainConfig;
use crate::job::TargetRow;
use crate::model::lora::{Adapter, Pair};
use crate::model::modules::{self, Module, Part};
use crate::model::{ModelConfig, targets};
use std::collections::HashMap;

/// Trainable parameters by the path of their module.
pub type Trained = HashMap<String, u64>;

/// Of the modules that a new adapter is made for.
pub fn of_modules(chosen: &[Module], config: &TrainConfig) -> Trained {
    let count = |m: &Module| (m.path.clone(), m.trainable(config.lora_rank, config.use_dora));
    chosen.iter().map(count).collect()
}

/// Of an adapter.
pub fn of_adapter(adapter: &Adapter) -> Trained {
    let size = |p: &Pair| p.tensors().map(|(_, t)| t.dims().iter().product::<usize>() as u64).sum();
    adapter.pairs.iter().map(|p| (p.name.clone(), size(p))).collect()
}

/// One row per family of modules; parameters and matrices are the frozen model's.
pub fn targets(model: &ModelConfig, trained: &Trained, config: &TrainConfig) -> Vec<TargetRow> {
    let all = modules::all(model);
    let mut families: Vec<(String, Vec<&Module>)> = Vec::new();
    for m in &all {
        let name = family(m);
        match families.iter_mut().find(|(family, _)| *family == name) {
            Some((_, members)) => members.push(m),
            None => families.push((name, vec![m])),
        }
    }
    let mut rows: Vec<TargetRow> =
        families.into_iter().map(|(name, members)| adaptable(name, &members, trained, config)).collect();
    let vision_from = rows.iter().position(|r| r.family.starts_with("vision")).unwrap_or(rows.len());
    rows.splice(vision_from..vision_from, text_rest(model));
    rows.extend(vision_rest(model));
    rows
}

/// What the row is called that a module belongs to.
fn family(m: &Module) -> String {
    match m.part {
        Part::Text => m.leaf().into(),
        Part::Experts => format!("experts.{}", m.leaf()),
        Part::Tower => format!("vision {}", m.leaf()),
        Part::Projector => "vision merger (projector)".into(),
        Part::Deepstack => "vision deepstack mergers".into(),
    }
}

fn row(family: &str, matrices: usize, parameters: usize, note: &str) -> TargetRow {
    TargetRow {
        family: family.into(),
        matrices,
        parameters: parameters as u64,
        trainable: 0,
        note: note.into(),
    }
}

fn adaptable(family: String, members: &[&Module], trained: &Trained, config: &TrainConfig) -> TargetRow {
    let adapted = members.iter().filter(|m| trained.contains_key(&m.path)).count();
    let method = if config.use_dora { "DoRA" } else { "LoRA" };
    let first = members[0];
    let note = match (adapted, targets::frozen_by(first, config)) {
        (n, _) if n == members.len() => method.into(),
        (0, Some(key)) => format!("frozen: {key}"),
        (0, None) if first.part == Part::Experts => {
            "frozen: `all` does not reach stacked experts; lora_target: all,experts does".into()
        }
        (0, None) if first.part == Part::Projector && config.freeze_vision_tower => {
            "frozen: not in lora_target (`all` reaches it with an unfrozen vision tower only)".into()
        }
        (0, None) => "frozen: not in lora_target".into(),
        (n, _) => format!("{method} on {n} of {}", members.len()),
    };
    // Linear layers of the vision tower have a bias, those of the decoder have none.
    let bias = if matches!(first.part, Part::Text | Part::Experts) { 0 } else { 1 };
    TargetRow {
        family,
        matrices: members.len(),
        parameters: members.iter().map(|m| m.size() + bias * m.shape[0] as u64).sum(),
        trainable: members.iter().filter_map(|m| trained.get(&m.path)).sum(),
        note,
    }
}

/// What of the text decoder cannot have an adapter.
fn text_rest(model: &ModelConfig) -> Vec<TargetRow> {
    let (c, layers) = (&model.text, model.text.num_hidden_layers);
    let mut rows = Vec::new();
    if let Some(moe) = &c.moe {
        let sparse = (0..layers).filter(|&i| c.is_sparse(i)).count();
        rows.push(row("router", sparse, sparse * moe.num_experts * c.hidden_size, "frozen: no linear layer"));
    }
    let table = c.vocab_size * c.hidden_size;
    rows.push(match model.tie_word_embeddings {
        true => row("embedding and head", 1, table, "frozen; the head is the same matrix"),
        false => row("embedding and head", 2, 2 * table, "frozen, as in LLaMA-Factory's `all`"),
    });
    let norms = (2 * layers + 1) * c.hidden_size + 2 * layers * c.head_dim;
    rows.push(row("text norms", 4 * layers + 1, norms, "frozen: no linear layers"));
    rows
}

/// What of the vision tower cannot have an adapter.
fn vision_rest(model: &ModelConfig) -> Vec<TargetRow> {
    let c = &model.vision;
    let d = c.hidden_size;
    let embeddings = d * (c.patch_len() + 1 + c.num_position_embeddings);
    let deepstack = c.deepstack_visual_indexes.len();
    let norms = 4 * c.depth * d + 2 * d + 2 * deepstack * d * c.merge_unit();
    vec![
        row("vision embeddings", 2, embeddings, "frozen: a convolution and a table"),
        row("vision norms", 2 * c.depth + 1 + deepstack, norms, "frozen: no linear layers"),
    ]
}

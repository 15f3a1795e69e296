//! Which settings to change so that a run fits: one, or two together, those first that change the result least.

use super::{Device, Lengths, Plan};
use crate::config::{TrainConfig, fields};
use crate::error::Result;
use crate::model::ModelConfig;

/// One setting with another value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    pub key: &'static str,
    pub value: String,
}

/// Changes that together make the run fit.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Advice {
    pub changes: Vec<Change>,
    /// The peak with them, in bytes.
    pub peak: u64,
    /// How much they cost: 0 for nothing but other arithmetic, up.
    cost: u32,
}

/// A step along one setting: all its changes (some need two keys to mean the same), and what it costs.
#[derive(Clone)]
struct Move {
    setting: &'static str,
    changes: Vec<Change>,
    cost: u32,
}

/// At most three ways of one or two settings, the cheapest first. A way with all settings of a cheaper one says
/// nothing new and is left out.
pub fn advise(
    c: &TrainConfig,
    model: &ModelConfig,
    lengths: &Lengths,
    device: &Device,
) -> Result<Vec<Advice>> {
    let moves = moves(c);
    let mut ways = Vec::new();
    for way in ones_and_twos(&moves) {
        let changes: Vec<Change> = way.iter().flat_map(|m| m.changes.clone()).collect();
        let plan = Plan::of(&changed(c, &changes)?, model, lengths, device)?;
        if plan.fits() {
            let cost = way.iter().map(|m| m.cost + 1).sum();
            ways.push((way, Advice { changes, peak: plan.memory.peak, cost }));
        }
    }
    ways.sort_by_key(|(_, a)| (a.cost, std::cmp::Reverse(a.peak)));
    let mut found: Vec<(Vec<&str>, Advice)> = Vec::new();
    for (way, advice) in ways {
        let settings: Vec<&str> = way.iter().map(|m| m.setting).collect();
        let known = found.iter().any(|(other, _)| other.iter().all(|o| settings.contains(o)));
        if found.len() < 3 && !known {
            found.push((settings, advice));
        }
    }
    Ok(found.into_iter().map(|(_, advice)| advice).collect())
}

/// Every move, and every two of different settings.
fn ones_and_twos(moves: &[Move]) -> Vec<Vec<&Move>> {
    let mut ways = Vec::new();
    for (i, first) in moves.iter().enumerate() {
        ways.push(vec![first]);
        let others = moves[i + 1..].iter().filter(|m| m.setting != first.setting);
        ways.extend(others.map(|second| vec![first, second]));
    }
    ways
}

fn changed(c: &TrainConfig, changes: &[Change]) -> Result<TrainConfig> {
    let mut config = c.clone();
    for change in changes {
        fields::set(&mut config, change.key, &change.value)?;
    }
    Ok(config)
}

fn change(key: &'static str, value: impl ToString) -> Change {
    Change { key, value: value.to_string() }
}

/// Everything that can be turned down, by setting from small to large steps.
fn moves(c: &TrainConfig) -> Vec<Move> {
    let mut all = Vec::new();
    let mut add = |setting, changes, cost| all.push(Move { setting, changes, cost });
    // The same samples per update in more micro-batches.
    let (batch, accumulation) = (c.per_device_train_batch_size, c.gradient_accumulation_steps);
    for smaller in (1..batch).rev().filter(|b| batch.is_multiple_of(*b)) {
        let changes = vec![
            change("per_device_train_batch_size", smaller),
            change("gradient_accumulation_steps", accumulation * (batch / smaller)),
        ];
        add("batch", changes, 0);
    }
    if c.disable_gradient_checkpointing == Some(true) {
        add("recompute", vec![change("disable_gradient_checkpointing", false)], 1);
    }
    for (bits, cost) in [(8, 3), (4, 4)] {
        if c.quantization_bit.is_none_or(|now| now > bits) {
            add("quantization", vec![change("quantization_bit", bits)], cost);
        }
    }
    for (part, cost) in [(2, 4), (4, 6)] {
        let pixels = c.image_max_pixels / part;
        if pixels >= 128 * 128 {
            add("pixels", vec![change("image_max_pixels", pixels)], cost);
        }
    }
    for (part, cost) in [(2, 5), (4, 7)] {
        if c.cutoff_len / part >= 512 {
            add("cutoff", vec![change("cutoff_len", c.cutoff_len / part)], cost);
        }
    }
    for (rank, cost) in [(c.lora_rank / 2, 3), (8, 4)] {
        if (4..c.lora_rank).contains(&rank) {
            add("rank", vec![change("lora_rank", rank)], cost);
        }
    }
    all
}

//! Which modules get an adapter: `lora_target` and the `freeze_*` settings, as LLaMA-Factory 0.9.5 reads them.
//!
//! Its `find_all_linear_modules` collects the names that `all` stands for, `patch_target_modules` matches names
//! anywhere in a module's path and leaves frozen parts out. New here: patterns, matched against whole paths as peft
//! matches a `target_modules` that is a string, and experts, which have to be named.

use super::config::ModelConfig;
use super::modules::{self, Module, Part};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use fancy_regex::Regex;

/// The modules that get an adapter, in the order of the model.
///
/// Errors: a name or pattern that fits nothing (with near misses and what there is), one that fits frozen modules
/// only, and experts with dropout or DoRA, which peft cannot load.
pub fn choose(model: &ModelConfig, config: &TrainConfig) -> Result<Vec<Module>> {
    let all = modules::all(model);
    let wanted = Wanted::parse(&config.lora_target, config)?;
    let wanted_one = |m: &Module| wanted.takes(m);
    for name in wanted.names() {
        if !all.iter().any(|m| takes_name(name, m)) {
            return Err(unknown(name, &all));
        }
    }
    let named: Vec<&Module> = all.iter().filter(|m| wanted_one(m)).collect();
    let chosen: Vec<Module> =
        named.iter().filter(|m| frozen_by(m, config).is_none()).map(|m| (*m).clone()).collect();
    if chosen.is_empty() {
        return Err(nothing(&config.lora_target, &named, config));
    }
    if chosen.iter().any(|m| m.part == Part::Experts) && (config.use_dora || config.lora_dropout > 0.0) {
        return Err(Error::usage("experts cannot have DoRA or dropout: peft could not load such an adapter")
            .hint("set use_dora: false and lora_dropout: 0, or leave the experts out of lora_target"));
    }
    Ok(chosen)
}

/// The setting that keeps a module from being trained, if one does.
pub fn frozen_by(m: &Module, config: &TrainConfig) -> Option<&'static str> {
    let (on, key) = match m.part {
        Part::Text | Part::Experts => (config.freeze_language_model, "freeze_language_model"),
        Part::Tower | Part::Deepstack => (config.freeze_vision_tower, "freeze_vision_tower"),
        Part::Projector => (config.freeze_multi_modal_projector, "freeze_multi_modal_projector"),
    };
    on.then_some(key)
}

/// `lora_target`, read.
enum Wanted {
    Names {
        /// The ends of names that `all` stands for; matched anywhere in a path, as LLaMA-Factory does.
        all: Vec<&'static str>,
        names: Vec<String>,
    },
    Pattern {
        regex: Regex,
        experts: bool,
    },
}

impl Wanted {
    fn parse(text: &str, config: &TrainConfig) -> Result<Self> {
        if text.contains(|c| "^$*+?()[]{}|\\".contains(c)) {
            let regex = Regex::new(&format!("^(?:{})$", text.trim())).map_err(|e| {
                Error::usage(format!("lora_target is not a pattern: {e}"))
                    .hint("patterns are regular expressions that match a whole path, as in peft")
            })?;
            return Ok(Self::Pattern { regex, experts: text.contains("experts") });
        }
        let names = text.split(',').map(str::trim).filter(|n| !n.is_empty());
        let (all, names): (Vec<&str>, Vec<&str>) = names.partition(|n| *n == "all");
        let mut ends = Vec::new();
        if !all.is_empty() {
            ends.extend(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]);
            if !config.freeze_vision_tower {
                ends.extend(["qkv", "proj", "linear_fc1", "linear_fc2"]);
            }
        }
        Ok(Self::Names { all: ends, names: names.into_iter().map(String::from).collect() })
    }

    fn names(&self) -> &[String] {
        match self {
            Self::Names { names, .. } => names,
            Self::Pattern { .. } => &[],
        }
    }

    fn takes(&self, m: &Module) -> bool {
        match self {
            Self::Names { all, names } => {
                let linear = m.part != Part::Experts;
                (linear && all.iter().any(|end| m.path.contains(end)))
                    || names.iter().any(|n| takes_name(n, m))
            }
            Self::Pattern { regex, experts } => {
                (*experts || m.part != Part::Experts) && regex.is_match(&m.path).unwrap_or(false)
            }
        }
    }
}

/// Names fit anywhere in a path. Experts are stacked parameters and no modules: only a name that says so takes them.
fn takes_name(name: &str, m: &Module) -> bool {
    m.path.contains(name) && (m.part != Part::Experts || name.contains("experts"))
}

/// The names people write, shortest ends first.
fn leaves(all: &[Module]) -> Vec<&str> {
    let mut leaves: Vec<&str> = all
        .iter()
        .map(|m| match m.part {
            Part::Experts => &m.path[m.path.find("experts").unwrap_or(0)..],
            _ => m.leaf(),
        })
        .collect();
    leaves.sort_unstable();
    leaves.dedup();
    leaves
}

fn unknown(name: &str, all: &[Module]) -> Error {
    let leaves = leaves(all);
    let limit = (name.chars().count() / 3).clamp(1, 4);
    let nearest = leaves.iter().map(|l| strsim::levenshtein(l, name)).min().unwrap_or(usize::MAX).min(limit);
    let near: Vec<&str> = leaves
        .iter()
        .copied()
        .filter(|l| strsim::levenshtein(l, name) <= nearest || l.contains(name))
        .collect();
    let near = if near.is_empty() { String::new() } else { format!("did you mean {}? ", near.join(" or ")) };
    let message = if ["lm_head", "embed_tokens", "pos_embed", "patch_embed"].iter().any(|n| name.contains(n))
    {
        format!("lora_target: adapters on {name} are not supported")
    } else {
        format!("lora_target: no module is called {name:?}")
    };
    Error::usage(message).hint(format!("{near}this model has: all, {}", leaves.join(", ")))
}

fn nothing(target: &str, named: &[&Module], config: &TrainConfig) -> Error {
    if let Some(key) = named.iter().find_map(|m| frozen_by(m, config)) {
        return Error::usage(format!("lora_target {target:?} names frozen modules only: {key} is true"))
            .hint(format!("set {key}: false, or name other modules"));
    }
    if target.trim() == "all" {
        return Error::usage("lora_target `all` stands for nothing that may be trained with these freeze_* settings")
            .hint("as in LLaMA-Factory, `all` does not reach the projector while the vision tower is frozen; name it: lora_target: visual.merger");
    }
    Error::usage(format!("lora_target: the pattern {target:?} fits no module"))
        .hint(r"it has to match a whole path, such as model\.language_model\.layers\.0\.self_attn\.q_proj")
}

/// The shortest ends that name `chosen` and none of `others`, as peft 0.18 shortens `target_modules`
/// (`find_minimal_target_modules`).
pub fn shortest_ends(chosen: &[&str], others: &[&str]) -> Vec<String> {
    let ends = |path: &str| -> Vec<String> {
        let dots = path.rmatch_indices('.').map(|(at, _)| path[at + 1..].to_string());
        dots.chain([path.to_string()]).collect()
    };
    let taken: std::collections::HashSet<String> = others.iter().flat_map(|o| ends(o)).collect();
    let mut found: Vec<String> = Vec::new();
    for path in chosen {
        if found.iter().any(|f| path.ends_with(&format!(".{f}"))) {
            continue;
        }
        found.extend(ends(path).into_iter().find(|end| !taken.contains(end)));
    }
    found.sort_unstable();
    found
}

//! Memory by component. What is there all the time, and the largest of three phases: loading, pictures, a step.
//!
//! Shapes as in `model`: T tokens of a micro-batch, h hidden, q and kv widths of queries and of keys, I the width of
//! the feed-forward part, k experts a token. Numbers of values, times the bytes of one on the device.

use super::device::{Device, Kind};
use super::lengths::{Batch, Sized};
use super::shapes::Shapes;
use crate::config::TrainConfig;
use crate::config::steps::steps;
use crate::error::Result;
use crate::model::{ModelConfig, TextConfig, VisionConfig, kv_cache};

/// Features of pictures that are kept at most (`eval::features`).
const FEATURES: u64 = 2 << 30;

/// Resized pictures that wait at most (`eval::features`).
const WAITING: u64 = 64 << 20;

/// Logits that are there at once (`eval::loss`).
const LOGITS: usize = 16 << 20;

/// One row of the table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Part {
    pub name: &'static str,
    pub bytes: u64,
    /// How it comes about.
    pub note: String,
}

/// The memory of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Memory {
    /// There all the time.
    pub resident: Vec<Part>,
    /// Phases, of which the largest counts.
    pub phases: Vec<Part>,
    /// What the allocator holds beyond what is asked of it.
    pub overhead: Part,
    pub peak: u64,
    /// Tokens of the worst micro-batch.
    pub worst_tokens: usize,
    /// Whether all features of pictures are kept from the first epoch on.
    pub features_fit: bool,
}

/// The formula for `config` on `device`.
pub(super) fn of(c: &TrainConfig, model: &ModelConfig, lengths: &Sized, device: &Device) -> Result<Memory> {
    let shapes = Shapes::of(c, model)?;
    let on = On { device: device.kind, float: device.float_bytes(c.bf16) };
    let worst = lengths.worst(c);
    let mut resident = weights(c, model, &shapes, on);
    let trained = 4 * shapes.trained;
    resident.push(part("adapter", trained, format!("{} values in f32", shapes.trained)));
    resident.push(part("gradients", trained, "as the adapter".into()));
    resident.push(part("optimizer", 2 * trained, "two moments".into()));
    let (features, features_fit) = features(c, model, &shapes, lengths, on);
    resident.push(part("picture features", features, "kept from the first epoch on".into()));
    if on.device == Kind::Cpu {
        let ahead = (2 * resized(&model.vision, worst.patches)).min(WAITING);
        resident.push(part("pictures read ahead", ahead, "resized, of two micro-batches at most".into()));
    }
    resident.push(part(
        "process",
        device.process_bytes(lengths.tokenizer),
        "program, tokenizer, threads".into(),
    ));
    let phases = vec![
        loading(c, &shapes, on),
        pictures(&model.vision, &worst, shapes.trained_vision > 0, on),
        step(c, model, &shapes, &worst, on),
        answers(c, &model.text, &worst, on),
    ];
    let largest = phases.iter().map(|p| p.bytes).max().unwrap_or(0);
    let held: u64 = resident.iter().map(|p| p.bytes).sum();
    let again = recomputed(c, &model.text, &worst, on);
    let asked = Asked { resident: held, phase: largest, again, slice: slice(c, &model.text, &worst) };
    let overhead = part("allocator", device.overhead(&asked), device.overhead_note());
    let peak = held + largest + overhead.bytes;
    Ok(Memory { resident, phases, overhead, peak, worst_tokens: worst.tokens, features_fit })
}

/// What is asked of the allocator.
pub(super) struct Asked {
    pub resident: u64,
    pub phase: u64,
    /// What is allocated and freed again for each layer, where layers are computed again.
    pub again: u64,
    /// The largest tensor.
    pub slice: u64,
}

/// Where it is computed, and the bytes of a value of the frozen model and of activations.
#[derive(Clone, Copy)]
struct On {
    device: Kind,
    float: u64,
}

fn part(name: &'static str, bytes: u64, note: String) -> Part {
    Part { name, bytes, note }
}

fn weights(c: &TrainConfig, model: &ModelConfig, s: &Shapes, on: On) -> Vec<Part> {
    let kept = |n: u64| c.quantization().map_or(on.float * n, |how| how.bytes(n));
    let how = match c.quantization() {
        Some(how) => {
            format!("{:?} in blocks of 64{}", how.code, if how.double { ", scales in 8 bits" } else { "" })
        }
        None => format!("{} bytes a value", on.float),
    };
    let text = s.linears + s.experts;
    // The CPU reads rows of an embedding that is not the head too when they are wanted.
    let stored = on.device == Kind::Cpu && !model.tie_word_embeddings;
    let stored = if stored { model.text.vocab_size * model.text.hidden_size } else { 0 };
    let tables = s.embeddings - stored as u64 + s.small;
    vec![
        part("linear layers", kept(text), format!("{:.2}e9 values, {how}", text as f64 / 1e9)),
        part("embeddings, norms", on.float * tables, format!("{:.2}e9 values", tables as f64 / 1e9)),
        part("vision tower", on.float * s.vision, format!("{:.2}e9 values", s.vision as f64 / 1e9)),
    ]
}

/// Merged and deepstack features of all pictures that the run looks at, if the tower is frozen.
fn features(c: &TrainConfig, model: &ModelConfig, s: &Shapes, lengths: &Sized, on: On) -> (u64, bool) {
    if s.trained_vision > 0 {
        return (0, false);
    }
    let seen = steps(c, lengths.items(c), 1);
    let rows = lengths.rows.min(seen.total * seen.effective_batch * lengths.rows.div_ceil(lengths.items(c)));
    let tokens = lengths.mean(|l| l.patches as f64) / model.vision.merge_unit() as f64 * rows as f64;
    let wide = model.vision.out_hidden_size * (1 + model.vision.deepstack_visual_indexes.len());
    let all = (tokens * wide as f64) as u64 * on.float;
    (all.min(FEATURES), all <= FEATURES)
}

/// One tensor as floats of the file on the way to the device.
fn loading(c: &TrainConfig, s: &Shapes, on: On) -> Part {
    let one = match (on.device, c.quantization()) {
        (Kind::Cpu, Some(_)) => 4 * s.largest,
        _ => 0,
    };
    part("loading", one, "one matrix in full".into())
}

/// The tower on the largest picture, a picture a thread on the CPU, and the pixels of the batch.
fn pictures(v: &VisionConfig, worst: &Batch, trained: bool, on: On) -> Part {
    // Of one block: input, normed, queries to values, turned ones, result, sums; or both sides of the activation.
    let d = v.hidden_size;
    let wide = (12 * d).max(4 * d + 2 * v.intermediate_size) as u64;
    let scores = if on.device == Kind::Cuda { attention_scores(v.num_heads, worst.largest) } else { 0 };
    let at_once = match on.device {
        Kind::Cpu => worst.pictures.min(rayon::current_num_threads()).max(1),
        Kind::Cuda => 1,
    };
    // resized pictures of the batch; patches of those that are looked at
    let cut = if trained { worst.patches } else { worst.largest * at_once };
    let pixels = resized(v, worst.patches) + 4 * (cut * v.patch_len()) as u64;
    let bytes = (on.float * wide * worst.largest as u64 + scores) * at_once as u64 + pixels;
    part(
        "pictures",
        bytes,
        format!("{at_once} of {} patches at once, and the pixels of a batch", worst.largest),
    )
}

/// Bytes of pictures of so many patches before they are cut.
fn resized(v: &VisionConfig, patches: usize) -> u64 {
    3 * (patches * v.patch_size.pow(2)) as u64
}

/// What a layer keeps of the forward pass, in values a token.
fn kept(t: &TextConfig, sparse: bool) -> usize {
    let (h, q, kv) = (t.hidden_size, t.num_attention_heads * t.head_dim, t.num_key_value_heads * t.head_dim);
    // x and the sum after attention; queries raw, turned and their result; keys raw and turned, values
    let attention = 2 * h + 3 * q + 3 * kv + t.num_attention_heads;
    attention
        + match t.moe.as_ref().filter(|_| sparse) {
            // gate and up, results of the chosen experts
            Some(m) => m.num_experts_per_tok * (2 * m.moe_intermediate_size + h),
            // gate and up
            None => 2 * t.intermediate_size,
        }
}

/// Bytes a token of where a layer's tokens went, which stay even where the layer is computed again: the probabilities, and
/// of each choice its weight, and as whole numbers its expert, its place and the token. On the host, for any device.
fn routing(t: &TextConfig, sparse: bool, on: On) -> u64 {
    match t.moe.as_ref().filter(|_| sparse && on.device == Kind::Cpu) {
        Some(m) => (4 * m.num_experts + (4 + 3 * 8) * m.num_experts_per_tok) as u64,
        None => 0,
    }
}

/// What the backward pass of a layer holds at most besides, in values a token.
fn work(t: &TextConfig, sparse: bool) -> usize {
    let (h, q, kv) = (t.hidden_size, t.num_attention_heads * t.head_dim, t.num_key_value_heads * t.head_dim);
    let attention = h + q + 2 * (q + 2 * kv);
    let mlp = match t.moe.as_ref().filter(|_| sparse) {
        Some(m) => 2 * h + m.num_experts_per_tok * (2 * h + 5 * m.moe_intermediate_size),
        None => 2 * h + 3 * t.intermediate_size,
    };
    attention.max(mlp)
}

/// Probabilities and their gradients of one segment where they are whole matrices: four in f32, one in 16 bits.
fn attention_scores(heads: usize, n: usize) -> u64 {
    18 * heads as u64 * (n as u64).pow(2)
}

/// Kept activations, and the largest of one layer's backward pass and the logits.
fn step(c: &TrainConfig, model: &ModelConfig, s: &Shapes, worst: &Batch, on: On) -> Part {
    let (t, tokens) = (&model.text, worst.tokens as u64);
    let layers = 0..t.num_hidden_layers;
    let recompute = c.recomputes();
    let all: usize =
        layers.clone().map(|i| if recompute { t.hidden_size } else { kept(t, t.is_sparse(i)) }).sum();
    let routing: u64 = layers.clone().map(|i| routing(t, t.is_sparse(i), on)).sum();
    let largest = |of: fn(&TextConfig, bool) -> usize| layers.clone().map(|i| of(t, t.is_sparse(i))).max();
    let mut layer = largest(work).unwrap_or(0) as u64 * on.float * tokens + recomputed(c, t, worst, on);
    if on.device == Kind::Cuda {
        // SwiGLU and norms are composed in f32; scores of the longest sample are whole
        layer += 4 * tokens * (4 * t.intermediate_size + 2 * t.hidden_size) as u64;
        layer += attention_scores(t.num_attention_heads, worst.longest);
    }
    layer += scratch(c, s, on);
    // logits of some rows; where they are composed, also their logarithms, exponentials and targets
    let rows = logits_at_once(t).min(worst.labels.max(1));
    let copies = if on.device == Kind::Cuda { 14 } else { 4 };
    let logits = (rows * t.vocab_size) as u64 * copies;
    // hidden states at the end, rope tables, features of the pack put together
    let features = worst.patches / model.vision.merge_unit()
        * (1 + model.vision.deepstack_visual_indexes.len())
        * if worst.pictures > 1 { t.hidden_size } else { 0 };
    let ends =
        tokens * (2 * on.float * t.hidden_size as u64 + 8 * t.head_dim as u64) + on.float * features as u64;
    let tower = if s.trained_vision > 0 { on.float * tower(&model.vision, worst, recompute) } else { 0 };
    let bytes = (on.float * all as u64 + routing) * tokens + layer.max(logits) + ends + tower;
    let how = if recompute { "inputs of layers" } else { "all activations" };
    part("training step", bytes, format!("{how} of {tokens} tokens, one layer's backward pass, logits"))
}

/// The answers of an evaluation while training: keys and values of all that are written at a time, and the copy of the head
/// that is read where the largest few logits are enough (`model::ops::screened`).
fn answers(c: &TrainConfig, t: &TextConfig, worst: &Batch, on: On) -> Part {
    let rules = c.sampling();
    let slots = c.eval_generate_samples.min(c.per_device_eval_batch_size);
    let tokens = slots * kv_cache::capacity(worst.longest + rules.max_new_tokens);
    let values = 2 * t.num_hidden_layers * t.num_key_value_heads * t.head_dim * tokens;
    let copied = slots > 0 && on.device == Kind::Cpu && rules.enough().is_some();
    let head = if copied { t.vocab_size * (t.hidden_size + 8) } else { 0 };
    let bytes = on.float * values as u64 + head as u64;
    part(
        "answers while training",
        bytes,
        format!("keys and values of {tokens} tokens, {slots} answers at a time"),
    )
}

/// Bytes of the largest tensor where everything is composed: scores of a sample, the feed-forward part, or logits, of
/// an evaluation too.
fn slice(c: &TrainConfig, t: &TextConfig, worst: &Batch) -> u64 {
    let samples = c.per_device_train_batch_size.max(c.per_device_eval_batch_size);
    let labels = worst.labels.max(1) * samples.div_ceil(c.per_device_train_batch_size);
    let logits = logits_at_once(t).min(labels) * t.vocab_size;
    let scores = t.num_attention_heads * worst.longest.pow(2);
    4 * logits.max(scores).max(worst.tokens * t.intermediate_size) as u64
}

/// Rows of logits that are there at once, at most.
fn logits_at_once(t: &TextConfig) -> usize {
    (LOGITS / t.vocab_size).max(16)
}

/// What one layer keeps while it is computed again, besides its routing.
fn recomputed(c: &TrainConfig, t: &TextConfig, worst: &Batch, on: On) -> u64 {
    if !c.recomputes() {
        return 0;
    }
    let most = (0..t.num_hidden_layers).map(|i| kept(t, t.is_sparse(i))).max().unwrap_or(0);
    (most * worst.tokens) as u64 * on.float
}

/// A matrix made to floats: a slab of rows on the CPU, whole where it is composed.
fn scratch(c: &TrainConfig, s: &Shapes, on: On) -> u64 {
    match (c.quantization(), on.device) {
        (None, _) => 0,
        (Some(_), Kind::Cpu) => 4 << 20,
        (Some(_), Kind::Cuda) => s.largest * (8 + on.float),
    }
}

/// Values of the activations of a tower that is trained: kept ones of all blocks, or inputs and one block.
fn tower(v: &VisionConfig, worst: &Batch, recompute: bool) -> u64 {
    let block = 9 * v.hidden_size + 2 * v.intermediate_size;
    let work = 8 * v.hidden_size + 2 * v.intermediate_size;
    let kept = if recompute { v.depth * v.hidden_size + block } else { v.depth * block };
    ((kept + work) * worst.patches) as u64
}

//! What the numbers of a set mean for a training: tokens of an epoch, what padding would waste, better limits.

use super::profile::Tokens;
use crate::config::TrainConfig;
use serde_json::{Value, json};

/// Pixels of a picture that become one token: 16 x 16 in a patch, 2 x 2 patches in a token.
const PIXELS_OF_A_TOKEN: u64 = 1024;

/// Suggested lengths are multiples of this.
const STEP: u32 = 64;

/// `{"tokens_per_epoch", "learned_per_epoch", "picture_share", "batch_size", "padding_waste", "suggested"}`; null
/// without token counts.
///
/// `padding_waste`: the share of positions that are padding where a batch is padded to its longest row and that to a
/// multiple of 8, in random order, as LLaMA-Factory does. Lorascope does not pad.
pub(super) fn estimate(tokens: &Tokens, config: &TrainConfig) -> Value {
    if tokens.all.is_empty() {
        return Value::Null;
    }
    let (rows, kept) = (tokens.kept.sorted(), tokens.kept.total());
    let longest = rows.mean_longest(config.per_device_train_batch_size.max(1));
    let mean = kept as f64 / tokens.count() as f64;
    json!({
        "tokens_per_epoch": kept,
        "learned_per_epoch": tokens.learned,
        "picture_share": round(tokens.pictures.total() as f64 / tokens.all.total().max(1) as f64),
        "batch_size": config.per_device_train_batch_size,
        "padding_waste": round(1.0 - mean / longest.max(1.0)),
        "suggested": suggested(tokens, config),
    })
}

/// `{"cutoff_len", "image_max_pixels", "why"}`: the first keeps every row whole; the second is what pictures may have
/// for the present cutoff to do so, null if it does already.
fn suggested(tokens: &Tokens, config: &TrainConfig) -> Value {
    let longest = tokens.all.sorted().percentile(1.0);
    let cutoff = longest.next_multiple_of(STEP);
    if tokens.over == 0 {
        let why = format!("the longest row has {longest} tokens: nothing is cut");
        return json!({ "cutoff_len": cutoff, "image_max_pixels": null, "why": why });
    }
    let room = (config.cutoff_len.saturating_sub(tokens.longest_text) / tokens.most_pictures.max(1)) as u64;
    let pixels = (room * PIXELS_OF_A_TOKEN).min(config.image_max_pixels);
    // Below this a picture shows nothing any more: the text is what is too long.
    let helps = tokens.most_pictures > 0 && room >= 64 && pixels < config.image_max_pixels;
    let why = format!(
        "the longest row has {longest} tokens: cutoff_len {} cuts {}",
        config.cutoff_len, tokens.over
    );
    json!({ "cutoff_len": cutoff, "image_max_pixels": helps.then_some(pixels), "why": why })
}

fn round(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}

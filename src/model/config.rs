//! The shape of a Qwen3-VL model, read from the `config.json` of its folder.

use super::section::Section;
use crate::error::{At, Error, Result, must_exist};
use serde_json::{Map, Value};
use std::path::Path;

/// The model types that work: dense and mixture of experts.
const MODEL_TYPES: [&str; 2] = ["qwen3_vl", "qwen3_vl_moe"];

/// A whole model: text decoder, vision tower, and the tokens that join them.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    pub model_type: String,
    pub text: TextConfig,
    pub vision: VisionConfig,
    pub image_token_id: u32,
    pub video_token_id: u32,
    pub vision_start_token_id: u32,
    pub vision_end_token_id: u32,
    /// The output head is the token embedding; there is no `lm_head.weight` to read.
    pub tie_word_embeddings: bool,
}

/// The text decoder. Field names are Hugging Face's.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f64,
    pub max_position_embeddings: usize,
    pub rope_theta: f64,
    /// How many rotary frequencies follow time, height and width.
    pub mrope_section: [usize; 3],
    /// `None` in a dense model.
    pub moe: Option<MoeConfig>,
}

/// The mixture of experts in a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct MoeConfig {
    pub num_experts: usize,
    pub num_experts_per_tok: usize,
    pub moe_intermediate_size: usize,
    /// As the file says. transformers (4.57 and 5.6) renormalises the chosen weights of Qwen3-VL either way.
    pub norm_topk_prob: bool,
    pub decoder_sparse_step: usize,
    pub mlp_only_layers: Vec<usize>,
}

/// The vision tower. Field names are Hugging Face's.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    pub depth: usize,
    pub hidden_size: usize,
    pub num_heads: usize,
    pub intermediate_size: usize,
    pub out_hidden_size: usize,
    pub in_channels: usize,
    pub patch_size: usize,
    pub spatial_merge_size: usize,
    pub temporal_patch_size: usize,
    pub num_position_embeddings: usize,
    pub deepstack_visual_indexes: Vec<usize>,
    pub hidden_act: Activation,
}

/// The activation in the vision blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum Activation {
    #[serde(rename = "gelu_pytorch_tanh")]
    GeluTanh,
    #[serde(rename = "gelu")]
    Gelu,
}

impl ModelConfig {
    /// Reads `dir/config.json`, in the spelling of transformers 4.57 or 5.
    ///
    /// Errors: no such folder or file, not JSON, another kind of model, a quantised checkpoint, a shape that is
    /// missing or cannot be.
    pub fn load(dir: &Path) -> Result<Self> {
        must_exist(dir, "model folder")?;
        let file = dir.join("config.json");
        if !file.exists() {
            return Err(no_config(dir));
        }
        let bytes = std::fs::read(&file).at("read", &file)?;
        let json: Map<String, Value> = serde_json::from_slice(&bytes)
            .map_err(|e| Error::input(format!("{} is not a JSON object: {e}", file.display())))?;
        Self::from_json(&json, &file)
    }

    /// [`ModelConfig::load`] from the object itself; `file` is named in messages.
    pub fn from_json(json: &Map<String, Value>, file: &Path) -> Result<Self> {
        let top = Section::whole(file, json);
        let model_type = supported_type(&top)?;
        let text = top.section("text_config")?;
        // A tied head is said at the top; older files say it of the text decoder.
        let tied: Option<bool> = top.optional("tie_word_embeddings")?;
        let config = Self {
            text: TextConfig::read(&text, model_type.ends_with("_moe"))?,
            vision: VisionConfig::read(&top.section("vision_config")?)?,
            image_token_id: top.or("image_token_id", 151655)?,
            video_token_id: top.or("video_token_id", 151656)?,
            vision_start_token_id: top.or("vision_start_token_id", 151652)?,
            vision_end_token_id: top.or("vision_end_token_id", 151653)?,
            tie_word_embeddings: tied.map_or_else(|| text.or("tie_word_embeddings", false), Ok)?,
            model_type,
        };
        top.check(config.vision.out_hidden_size == config.text.hidden_size, || {
            let [v, t] = [config.vision.out_hidden_size, config.text.hidden_size];
            format!(
                "vision_config.out_hidden_size is {v} but text_config.hidden_size is {t}; they must be equal"
            )
        })?;
        top.check(config.vision.deepstack_visual_indexes.len() <= config.text.num_hidden_layers, || {
            "there are more deepstack_visual_indexes than text layers to add them to".into()
        })?;
        Ok(config)
    }
}

impl TextConfig {
    fn read(s: &Section, moe: bool) -> Result<Self> {
        let hidden_size: usize = s.get("hidden_size")?;
        let num_attention_heads: usize = s.positive("num_attention_heads")?;
        // The defaults of transformers: the dense decoder fixes 128, the other divides.
        let head_dim = if moe { hidden_size / num_attention_heads } else { 128 };
        let (rope_theta, mrope_section) = rope(s)?;
        let config = Self {
            vocab_size: s.positive("vocab_size")?,
            hidden_size,
            intermediate_size: s.get("intermediate_size")?,
            num_hidden_layers: s.positive("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: s.or("num_key_value_heads", num_attention_heads)?,
            head_dim: s.or("head_dim", head_dim)?,
            rms_norm_eps: s.or("rms_norm_eps", 1e-6)?,
            max_position_embeddings: s.or("max_position_embeddings", 128_000)?,
            rope_theta,
            mrope_section,
            moe: if moe { Some(MoeConfig::read(s)?) } else { None },
        };
        let act: String = s.or("hidden_act", "silu".into())?;
        s.check(act == "silu", || format!("hidden_act is {act:?}; Qwen3-VL has \"silu\""))?;
        let bias = s.or("attention_bias", false)?;
        s.check(!bias, || "attention_bias is true; Qwen3-VL has no bias there".into())?;
        let [heads, kv] = [config.num_attention_heads, config.num_key_value_heads];
        s.check(kv > 0 && heads.is_multiple_of(kv), || {
            format!("num_attention_heads ({heads}) is not a multiple of num_key_value_heads ({kv})")
        })?;
        let d = config.head_dim;
        s.check(d > 0 && d.is_multiple_of(2), || format!("head_dim is {d}; it must be even"))?;
        Ok(config)
    }

    /// Whether layer `i` holds experts. The others, and all layers of a dense model, hold one MLP.
    pub fn is_sparse(&self, i: usize) -> bool {
        self.moe.as_ref().is_some_and(|m| {
            !m.mlp_only_layers.contains(&i)
                && m.num_experts > 0
                && (i + 1).is_multiple_of(m.decoder_sparse_step)
        })
    }
}

impl MoeConfig {
    fn read(s: &Section) -> Result<Self> {
        let config = Self {
            // transformers 5 writes `num_local_experts`, 4.57 and the hub `num_experts`.
            num_experts: match s.optional("num_experts")? {
                Some(n) => n,
                None => s.get("num_local_experts")?,
            },
            num_experts_per_tok: s.positive("num_experts_per_tok")?,
            moe_intermediate_size: s.positive("moe_intermediate_size")?,
            norm_topk_prob: s.or("norm_topk_prob", true)?,
            decoder_sparse_step: s.or("decoder_sparse_step", 1)?,
            mlp_only_layers: s.or("mlp_only_layers", Vec::new())?,
        };
        let [k, n] = [config.num_experts_per_tok, config.num_experts];
        s.check(k <= n, || format!("num_experts_per_tok ({k}) is more than num_experts ({n})"))?;
        s.check(config.decoder_sparse_step > 0, || "decoder_sparse_step is 0".into())?;
        Ok(config)
    }
}

impl VisionConfig {
    fn read(s: &Section) -> Result<Self> {
        let config = Self {
            depth: s.positive("depth")?,
            hidden_size: s.positive("hidden_size")?,
            num_heads: s.positive("num_heads")?,
            intermediate_size: s.positive("intermediate_size")?,
            out_hidden_size: s.positive("out_hidden_size")?,
            in_channels: s.or("in_channels", 3)?,
            patch_size: s.or("patch_size", 16)?,
            spatial_merge_size: s.or("spatial_merge_size", 2)?,
            temporal_patch_size: s.or("temporal_patch_size", 2)?,
            num_position_embeddings: s.or("num_position_embeddings", 2304)?,
            deepstack_visual_indexes: s.get("deepstack_visual_indexes")?,
            hidden_act: s.or("hidden_act", Activation::GeluTanh)?,
        };
        let [d, h, depth] = [config.hidden_size, config.num_heads, config.depth];
        s.check(d.is_multiple_of(4 * h), || {
            format!(
                "hidden_size ({d}) over num_heads ({h}) must be a multiple of 4, for the 2-D rotary embedding"
            )
        })?;
        let sizes =
            [config.in_channels, config.patch_size, config.spatial_merge_size, config.temporal_patch_size];
        s.check(!sizes.contains(&0), || "a channel, patch or merge size is 0".into())?;
        let n = config.num_position_embeddings;
        s.check(n > 0 && n.isqrt().pow(2) == n, || format!("num_position_embeddings is {n}, not a square"))?;
        let out = config.deepstack_visual_indexes.iter().find(|&&i| i >= depth);
        s.check(out.is_none(), || format!("deepstack_visual_indexes has {out:?} but depth is {depth}"))?;
        Ok(config)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Values in one patch, in the order channel, time, row, column.
    pub fn patch_len(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Patches that become one token.
    pub fn merge_unit(&self) -> usize {
        self.spatial_merge_size * self.spatial_merge_size
    }
}

/// `rope_theta` and `mrope_section`, from `rope_parameters` (transformers 5) or `rope_scaling` beside `rope_theta`
/// (4.57). Sections are interleaved whatever `mrope_interleaved` says, as transformers does.
fn rope(s: &Section) -> Result<(f64, [usize; 3])> {
    let empty = Map::new();
    let name = if s.has("rope_parameters") { "rope_parameters" } else { "rope_scaling" };
    let rope = if s.has(name) { s.section(name)? } else { s.child(name, &empty) };
    let kind: Option<String> = rope.optional("rope_type")?;
    let kind = kind.map_or_else(|| rope.or("type", "default".into()), Ok)?;
    rope.check(matches!(kind.as_str(), "default" | "mrope"), || {
        format!("rope_type is {kind:?}; only \"default\" works")
    })?;
    let theta: Option<f64> = rope.optional("rope_theta")?;
    let theta = theta.map_or_else(|| s.get("rope_theta"), Ok)?;
    Ok((theta, rope.or("mrope_section", [24, 20, 20])?))
}

/// The model type, if this program can train it.
fn supported_type(top: &Section) -> Result<String> {
    let works =
        "Qwen3-VL works: model_type \"qwen3_vl\" (2B, 4B, 8B, 32B) or \"qwen3_vl_moe\" (30B-A3B, 235B-A22B)";
    let at = top.file.display();
    let found: String = top.optional("model_type")?.ok_or_else(|| {
        Error::input(format!("{at} has no model_type: not the file of a model")).hint(works)
    })?;
    if !MODEL_TYPES.contains(&found.as_str()) {
        return Err(
            Error::input(format!("{at} describes a {found:?} model, which cannot be used")).hint(works)
        );
    }
    if let Some(q) = top.json.get("quantization_config").filter(|q| !q.is_null()) {
        let method = q.get("quant_method").and_then(Value::as_str).unwrap_or("unknown method");
        return Err(Error::input(format!(
            "{at} describes a quantised checkpoint ({method}), which cannot be used"
        ))
        .hint("take the BF16 release of the same model"));
    }
    Ok(found)
}

/// Why a folder has no `config.json`, as far as its other files tell.
fn no_config(dir: &Path) -> Error {
    let error = Error::input(format!("not a model folder: {} has no config.json", dir.display()));
    if dir.join("adapter_config.json").exists() {
        return error.hint("this is an adapter: give its base model as the model, and this as the adapter");
    }
    error.hint("give the folder with config.json, the tokenizer and *.safetensors of a Qwen3-VL model")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    /// A config.json as the hub has it (transformers 4.57), of a model of the 30B-A3B's kind.
    fn hub() -> Value {
        json!({
            "model_type": "qwen3_vl_moe", "tie_word_embeddings": false,
            "text_config": {
                "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48,
                "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128,
                "num_experts_per_tok": 8, "moe_intermediate_size": 768, "decoder_sparse_step": 2,
                "mlp_only_layers": [3], "rope_theta": 5000000,
                "rope_scaling": { "mrope_interleaved": true, "mrope_section": [24, 20, 20], "rope_type": "default" }
            },
            "vision_config": {
                "depth": 27, "hidden_size": 1152, "num_heads": 16, "intermediate_size": 4304,
                "out_hidden_size": 2048, "deepstack_visual_indexes": [8, 16, 24]
            }
        })
    }

    fn read(json: &Value) -> Result<ModelConfig> {
        ModelConfig::from_json(json.as_object().expect("an object"), Path::new("m/config.json"))
    }

    fn refusal(change: impl FnOnce(&mut Value)) -> String {
        let mut json = hub();
        change(&mut json);
        read(&json).expect_err("refused").message
    }

    #[test]
    fn the_hub_spelling_is_read() {
        let c = read(&hub()).unwrap();
        assert_eq!((c.text.rope_theta, c.text.mrope_section), (5e6, [24, 20, 20]));
        assert_eq!(c.text.moe.as_ref().map(|m| (m.num_experts, m.norm_topk_prob)), Some((128, true)));
        let sparse: Vec<_> = (0..6).filter(|&i| c.text.is_sparse(i)).collect();
        assert_eq!(sparse, [1, 5], "every second layer, but not layer 3");
        assert_eq!(c.vision.patch_len(), 1536);
        assert!(!c.tie_word_embeddings);
    }

    #[test]
    fn defaults_follow_transformers() {
        let mut json = hub();
        let text = json["text_config"].as_object_mut().unwrap();
        text.remove("head_dim");
        text.insert("tie_word_embeddings".into(), json!(true));
        json.as_object_mut().unwrap().remove("tie_word_embeddings");
        let c = read(&json).unwrap();
        assert_eq!(c.text.head_dim, 64);
        assert!(c.tie_word_embeddings, "said by the text section only");
        json["model_type"] = json!("qwen3_vl");
        assert_eq!(read(&json).unwrap().text.head_dim, 128);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let other = refusal(|j| j["model_type"] = json!("qwen2_5_vl"));
        assert_eq!(other, "m/config.json describes a \"qwen2_5_vl\" model, which cannot be used");
        assert!(refusal(|j| j["quantization_config"] = json!({"quant_method": "fp8"})).contains("fp8"));
        assert!(refusal(|j| j["text_config"]["rope_scaling"]["rope_type"] = json!("yarn")).contains("yarn"));
        assert!(refusal(|j| j["text_config"]["rope_theta"] = json!(null)).contains("rope_theta is missing"));
        assert!(
            refusal(|j| j["text_config"]["hidden_size"] = json!("x")).contains("hidden_size cannot be \"x\"")
        );
        assert!(refusal(|j| j["vision_config"]["out_hidden_size"] = json!(8)).contains("must be equal"));
        assert!(refusal(|j| j["vision_config"]["deepstack_visual_indexes"] = json!([27])).contains("27"));
        assert!(
            refusal(|j| j["vision_config"] = json!(3)).contains("vision_config is missing, or not an object")
        );
    }
}

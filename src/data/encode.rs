//! From a sample to token ids, labels and patches, as LLaMA-Factory 0.9.5 encodes it for training.

use super::patches::{self, Patches, PixelLimits, Processor, Resized};
use super::picture::{self, Picture};
use super::sample::{ImageRef, Message, Sample};
use super::stream::TextStream;
use super::template::{self, Template};
use crate::config::TrainConfig;
use crate::error::{At, Error, Result};
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use tokenizers::Tokenizer;

/// The label of a token that is not learned.
pub const IGNORE: i32 = -100;

/// Everything that turns a sample into the model's input: tokenizer, template, limits, picture processor.
#[derive(Clone)]
pub struct Encoder {
    tokenizer: Arc<Tokenizer>,
    template: Template,
    thinking: Option<bool>,
    default_system: Option<String>,
    cutoff_len: usize,
    train_on_prompt: bool,
    mask_history: bool,
    limits: PixelLimits,
    processor: Processor,
    image_token: u32,
    stop_ids: Vec<u32>,
}

/// A sample as the model takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`; -100 for no loss. Not shifted.
    pub labels: Vec<i32>,
    /// (t, h, w) in patches of every picture.
    pub grids: Vec<[usize; 3]>,
    /// Picture tokens among `input_ids`, and how many the grids need.
    pub picture_tokens: usize,
    pub picture_tokens_needed: usize,
}

/// A prompt or an answer in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// All of it, before any cut.
    pub ids: Vec<u32>,
    /// How many of `ids` `cutoff_len` leaves, from the front.
    pub kept: usize,
    pub learned: bool,
    pub answer: bool,
}

impl Encoded {
    /// Whether `cutoff_len` took tokens of a picture. The model cannot be run on such a sample.
    pub fn picture_cut(&self) -> bool {
        self.picture_tokens < self.picture_tokens_needed
    }

    /// Tokens that carry loss once labels are shifted: the first token is never predicted.
    pub fn label_tokens(&self) -> usize {
        self.labels.iter().skip(1).filter(|l| **l != IGNORE).count()
    }
}

impl Encoder {
    /// Loads tokenizer, special ids and picture settings of a model folder. Reads no weights.
    pub fn load(model_dir: &Path, config: &TrainConfig) -> Result<Self> {
        crate::error::must_exist(model_dir, "model folder")?;
        let template = Template::named(&config.template)?;
        let path = model_dir.join("tokenizer.json");
        if !path.exists() {
            return Err(Error::input(format!(
                "no tokenizer.json in the model folder {}",
                model_dir.display()
            ))
            .hint("copy tokenizer.json of the model there; vocab.json and merges.txt alone do not do"));
        }
        let tokenizer = Tokenizer::from_file(&path)
            .map_err(|e| Error::input(format!("cannot read the tokenizer {}: {e}", path.display())))?;
        let model = json(&model_dir.join("config.json"))?;
        Ok(Self {
            image_token: image_token(&tokenizer, &model, model_dir)?,
            stop_ids: stop_ids(&tokenizer, &model, model_dir)?,
            tokenizer: Arc::new(tokenizer),
            template,
            thinking: config.enable_thinking,
            default_system: config.default_system.clone(),
            cutoff_len: config.longest(),
            train_on_prompt: config.train_on_prompt,
            mask_history: config.mask_history,
            limits: PixelLimits { max_pixels: config.image_max_pixels, min_pixels: config.image_min_pixels },
            processor: Processor::load(model_dir)?,
        })
    }

    /// The grid of a picture of this size.
    pub fn grid(&self, width: u32, height: u32) -> Result<[usize; 3]> {
        patches::grid(width, height, self.limits, &self.processor)
    }

    /// The grid of every picture of a sample, from the files' headers.
    pub fn grids(&self, sample: &Sample) -> Result<Vec<[usize; 3]>> {
        self.grids_of(&sample.images)
    }

    /// Like [`Encoder::grids`], of pictures without a sample.
    pub fn grids_of(&self, images: &[ImageRef]) -> Result<Vec<[usize; 3]>> {
        let grid = |image| {
            let (width, height) = picture::size(image)?;
            patches::grid(width, height, self.limits, &self.processor).map_err(|e| named(e, image))
        };
        images.iter().map(grid).collect()
    }

    /// Decodes, resizes and cuts every picture of a sample.
    pub fn patches(&self, sample: &Sample) -> Result<Vec<Patches>> {
        self.patches_of(&sample.images)
    }

    /// Like [`Encoder::patches`], of pictures without a sample.
    pub fn patches_of(&self, images: &[ImageRef]) -> Result<Vec<Patches>> {
        images.iter().map(|image| Ok(self.cut(&self.resized(image)?))).collect()
    }

    /// A picture, decoded and resized.
    pub fn resized(&self, image: &ImageRef) -> Result<Resized> {
        let picture = Picture::open(image)?;
        Resized::new(&picture, self.limits, &self.processor).map_err(|e| named(e, image))
    }

    /// A resized picture as the vision tower takes it.
    pub fn cut(&self, picture: &Resized) -> Patches {
        picture.cut(&self.processor)
    }

    /// The system message, or the default one where there is none (LLaMA-Factory, `template.py`: `system or default`).
    fn system<'a>(&'a self, own: Option<&'a str>) -> Option<&'a str> {
        own.filter(|text| !text.is_empty()).or(self.default_system.as_deref())
    }

    /// Token ids and labels of a sample whose pictures have these `grids`, cut to `cutoff_len`
    /// (LLaMA-Factory, `data/processor/supervised.py`, `_encode_data_example`).
    pub fn encode(&self, sample: &Sample, grids: &[[usize; 3]]) -> Result<Encoded> {
        let (mut input_ids, mut labels) = (Vec::new(), Vec::new());
        for segment in self.segments(sample, grids)? {
            let kept = &segment.ids[..segment.kept];
            labels.extend(self::labels(kept, segment.learned));
            input_ids.extend_from_slice(kept);
        }
        Ok(Encoded {
            picture_tokens: input_ids.iter().filter(|id| **id == self.image_token).count(),
            picture_tokens_needed: grids.iter().map(|g| self.processor.tokens(*g)).sum(),
            input_ids,
            labels,
            grids: grids.to_vec(),
        })
    }

    /// The prompts and answers of a sample one after another, whole, with what [`Encoder::encode`] keeps of each.
    pub fn segments(&self, sample: &Sample, grids: &[[usize; 3]]) -> Result<Vec<Segment>> {
        let turns = self.place_pictures(&sample.messages, grids)?;
        let mut pairs = self.template.pairs(
            self.system(sample.system.as_deref()),
            &turns,
            self.thinking,
            self.mask_history,
        )?;
        if self.mask_history {
            // The last turn is the one to learn: it gets the room first.
            pairs.reverse();
        }
        let mut segments: Vec<[Segment; 2]> = Vec::with_capacity(pairs.len());
        let mut total = 0;
        for (i, pair) in pairs.iter().enumerate() {
            let source = self.tokenize(&pair.prompt)?;
            let target = self.tokenize(&pair.answer)?;
            let room = self.cutoff_len.saturating_sub(total);
            let (s, t) = if room == 0 { (0, 0) } else { infer_seqlen(source.len(), target.len(), room) };
            total += s + t;
            let learn_target = !self.mask_history || i == 0;
            segments.push([
                Segment { ids: source, kept: s, learned: self.train_on_prompt, answer: false },
                Segment { ids: target, kept: t, learned: learn_target, answer: true },
            ]);
        }
        if self.mask_history {
            segments.reverse();
        }
        Ok(segments.into_iter().flatten().collect())
    }

    /// Token ids to generate from: `turns` end with a question, the ids with the assistant's header.
    pub fn prompt(&self, system: Option<&str>, turns: &[Message], grids: &[[usize; 3]]) -> Result<Vec<u32>> {
        let turns = self.place_pictures(turns, grids)?;
        self.tokenize(&self.template.prompt(self.system(system), &turns, self.thinking)?)
    }

    /// The text of token ids.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        self.tokenizer.decode(ids, skip_special).expect("a tokenizer's decoder takes any ids")
    }

    /// The text of token ids that come one by one.
    pub fn stream(&self, skip_special: bool) -> TextStream {
        TextStream::new(self.tokenizer.clone(), skip_special)
    }

    /// Tokens that end an answer: those the model folder names, and `<|im_end|>`.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// The id that stands for a piece of a picture.
    pub fn image_token(&self) -> u32 {
        self.image_token
    }

    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    pub fn limits(&self) -> PixelLimits {
        self.limits
    }

    fn place_pictures(&self, turns: &[Message], grids: &[[usize; 3]]) -> Result<Vec<Message>> {
        let tokens: Vec<usize> = grids.iter().map(|g| self.processor.tokens(*g)).collect();
        self.template.place_pictures(turns, &tokens)
    }

    /// Special tokens in a text are taken as such, also where they come from the data, as LLaMA-Factory does.
    fn tokenize(&self, pieces: &[String]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for piece in pieces {
            // Hundreds of picture tokens in a row are as many searches of the text: one stands for them.
            let (text, runs) = shorten_runs(piece);
            let encoding = self
                .tokenizer
                .encode_fast(text.as_ref(), false)
                .map_err(|e| Error::input(format!("the tokenizer refuses a text: {e}")))?;
            let mut runs = runs.iter();
            for id in encoding.get_ids() {
                let times = if *id == self.image_token { runs.next().copied().unwrap_or(1) } else { 1 };
                ids.extend(std::iter::repeat_n(*id, times));
            }
        }
        Ok(ids)
    }
}

/// The text with one picture token for each run of them, and the length of each run.
fn shorten_runs(text: &str) -> (Cow<'_, str>, Vec<usize>) {
    let token = template::IMAGE_TOKEN;
    let mut runs = Vec::new();
    let Some(first) = text.find(token) else { return (text.into(), runs) };
    let mut short = text[..first].to_owned();
    let mut rest = &text[first..];
    while let Some(at) = rest.find(token) {
        short += &rest[..at];
        short += token;
        rest = &rest[at..];
        let mut run = 0;
        while let Some(after) = rest.strip_prefix(token) {
            (rest, run) = (after, run + 1);
        }
        runs.push(run);
    }
    short += rest;
    (short.into(), runs)
}

/// How many source and target tokens fit into `cutoff` (LLaMA-Factory, `processor_utils.py`, `infer_seqlen`).
pub fn infer_seqlen(source: usize, target: usize, cutoff: usize) -> (usize, usize) {
    let max_target = if 2 * target < cutoff {
        cutoff
    } else if 2 * source < cutoff {
        cutoff - source
    } else {
        // Python: int(cutoff * (target / (source + target)))
        (cutoff as f64 * (target as f64 / (source + target).max(1) as f64)) as usize
    };
    let target = max_target.min(target);
    (cutoff.saturating_sub(target).min(source), target)
}

fn labels(ids: &[u32], learn: bool) -> Vec<i32> {
    ids.iter().map(|id| if learn { *id as i32 } else { IGNORE }).collect()
}

/// An error about a picture, with its name in front.
pub(super) fn named(mut error: Error, image: &ImageRef) -> Error {
    error.message = format!("{}: {}", picture::name(image), error.message);
    error
}

fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).at("read", path)?;
    serde_json::from_str(&text)
        .map_err(|e| Error::input(format!("{} is not valid JSON: {e}", path.display())))
}

/// The picture token of config.json, which the tokenizer has to write alike.
fn image_token(tokenizer: &Tokenizer, model: &Value, model_dir: &Path) -> Result<u32> {
    let configured = model.get("image_token_id").and_then(Value::as_u64);
    let written = tokenizer.token_to_id(template::IMAGE_TOKEN);
    match (configured, written) {
        (Some(id), Some(token)) if id == u64::from(token) => Ok(token),
        (None, _) => Err(Error::input(format!(
            "config.json in {} has no image_token_id: it is not a Qwen3-VL model",
            model_dir.display()
        ))
        .hint("choose the folder of a Qwen3-VL model")),
        (Some(id), written) => Err(Error::input(format!(
            "config.json and tokenizer.json in {} disagree: the picture token is {id} in one, {} in the other",
            model_dir.display(),
            written.map_or("missing".into(), |w| w.to_string())
        ))
        .hint("take both files from the same model")),
    }
}

/// End tokens named by generation_config.json and config.json (top or `text_config`), then `<|im_end|>`.
fn stop_ids(tokenizer: &Tokenizer, model: &Value, model_dir: &Path) -> Result<Vec<u32>> {
    let path = model_dir.join("generation_config.json");
    let generation = if path.exists() { json(&path)? } else { Value::Null };
    let mut ids = Vec::new();
    for named in [
        generation.get("eos_token_id"),
        model.get("eos_token_id"),
        model.pointer("/text_config/eos_token_id"),
    ] {
        match named {
            Some(Value::Array(list)) => ids.extend(list.iter().filter_map(Value::as_u64)),
            Some(one) => ids.extend(one.as_u64()),
            None => {}
        }
    }
    ids.extend(tokenizer.token_to_id(template::END_OF_TURN).map(u64::from));
    let mut stop: Vec<u32> = Vec::new();
    for id in ids.into_iter().filter_map(|id| u32::try_from(id).ok()) {
        if !stop.contains(&id) {
            stop.push(id);
        }
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::{infer_seqlen, shorten_runs};

    #[test]
    fn runs_of_picture_tokens_are_counted() {
        let pad = "<|image_pad|>";
        let text = format!("a{}b{pad} {}", pad.repeat(3), pad.repeat(2));
        let (short, runs) = shorten_runs(&text);
        assert_eq!((short.as_ref(), runs), (format!("a{pad}b{pad} {pad}").as_str(), vec![3, 1, 2]));
        assert_eq!(shorten_runs("肺 <|image_pad"), ("肺 <|image_pad".into(), vec![]));
    }

    #[test]
    fn cutoff_is_shared_as_llama_factory_shares_it() {
        for ((source, target), kept) in [
            ((300, 210), (300, 210)),
            ((1500, 900), (1148, 900)),
            ((100, 3000), (100, 1948)),
            ((1300, 1100), (1110, 938)),
            ((1023, 3000), (1023, 1025)),
        ] {
            assert_eq!(infer_seqlen(source, target, 2048), kept);
        }
        assert_eq!(infer_seqlen(0, 0, 0), (0, 0));
    }
}

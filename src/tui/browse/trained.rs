//! A sample as the model is trained on it: pieces of text by what becomes of them, picture grids, counts.

use crate::config::TrainConfig;
use crate::data::Sample;
use crate::data::clean;
use crate::data::encode::Encoder;
use crate::data::patches::{PixelLimits, Processor};
use crate::error::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// What becomes of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The model reads it.
    Prompt,
    /// The model learns to write it.
    Target,
    /// `cutoff_len` takes it away.
    Cut,
}

/// How pictures are resized for the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Resizing {
    pub processor: Processor,
    pub limits: PixelLimits,
}

impl Resizing {
    /// Side in pixels of what becomes one token.
    pub fn token_side(&self) -> usize {
        self.processor.patch_size * self.processor.merge_size
    }
}

/// A sample in tokens.
#[derive(Clone, Debug)]
pub struct Trained {
    pub pieces: Vec<(Fate, String)>,
    /// Width and height in pixels as resized, and tokens, of every picture.
    pub pictures: Vec<(usize, usize, usize)>,
    /// Tokens that are kept, those of them with loss, those of pictures, and those cut.
    pub tokens: usize,
    pub targets: usize,
    pub picture_tokens: usize,
    pub cut: usize,
    /// A picture lost tokens: the sample cannot be trained on.
    pub picture_cut: bool,
    pub cutoff_len: usize,
    pub template: String,
    pub resizing: Arc<Resizing>,
}

/// Keeps the encoder of the settings that were used last.
#[derive(Default)]
pub struct Trainer {
    encoder: Option<(Box<TrainConfig>, Encoder)>,
}

impl Trainer {
    fn encoder(&mut self, config: &TrainConfig) -> Result<&Encoder> {
        if self.encoder.as_ref().is_none_or(|(of, _)| **of != *config) {
            let model: &PathBuf = &config.model_name_or_path;
            if model.as_os_str().is_empty() {
                return Err(Error::usage("tokens are counted with a model's tokenizer")
                    .hint("set model_name_or_path in the parameters to a model folder"));
            }
            self.encoder = Some((Box::new(config.clone()), Encoder::load(model, config)?));
        }
        Ok(&self.encoder.as_ref().expect("just put there").1)
    }

    /// Loads the encoder of `config` if it is not there.
    ///
    /// # Errors
    /// No model folder is set, or it has no tokenizer.
    pub fn prepare(&mut self, config: &TrainConfig) -> Result<()> {
        self.encoder(config).map(drop)
    }

    /// Tokens of a sample before any cut.
    pub fn count(&mut self, sample: &Sample, config: &TrainConfig) -> Result<usize> {
        let encoder = self.encoder(config)?;
        let segments = encoder.segments(sample, &encoder.grids(sample)?)?;
        Ok(segments.iter().map(|s| s.ids.len()).sum())
    }

    /// The sample as trained with `config`.
    pub fn look(&mut self, sample: &Sample, config: &TrainConfig) -> Result<Trained> {
        let encoder = self.encoder(config)?;
        let grids = encoder.grids(sample)?;
        let mut pieces = Vec::new();
        let (mut tokens, mut targets, mut picture_tokens, mut cut) = (0, 0, 0, 0);
        for segment in encoder.segments(sample, &grids)? {
            let (kept, gone) = segment.ids.split_at(segment.kept);
            tokens += kept.len();
            targets += if segment.learned { kept.len() } else { 0 };
            picture_tokens += kept.iter().filter(|id| **id == encoder.image_token()).count();
            cut += gone.len();
            let fate = if segment.learned { Fate::Target } else { Fate::Prompt };
            for (fate, ids) in [(fate, kept), (Fate::Cut, gone)] {
                push(&mut pieces, fate, &text(encoder, ids));
            }
        }
        let processor = encoder.processor();
        let patch = processor.patch_size;
        let picture = |grid: &[usize; 3]| (grid[2] * patch, grid[1] * patch, processor.tokens(*grid));
        let needed: usize = grids.iter().map(|g| processor.tokens(*g)).sum();
        Ok(Trained {
            pictures: grids.iter().map(picture).collect(),
            pieces,
            tokens,
            targets,
            picture_tokens,
            cut,
            picture_cut: picture_tokens < needed,
            cutoff_len: config.cutoff_len,
            template: config.template.clone(),
            resizing: Arc::new(Resizing { processor: processor.clone(), limits: encoder.limits() }),
        })
    }
}

fn push(pieces: &mut Vec<(Fate, String)>, fate: Fate, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some((last, piece)) if *last == fate => piece.push_str(text),
        _ => pieces.push((fate, text.to_string())),
    }
}

/// The text of tokens, harmless; those of a picture are counted, not repeated.
fn text(encoder: &Encoder, ids: &[u32]) -> String {
    let mut text = String::new();
    for run in ids.chunk_by(|a, b| (*a == encoder.image_token()) == (*b == encoder.image_token())) {
        if run[0] == encoder.image_token() {
            text.push_str(&format!("{}×{}", encoder.decode(&run[..1], false), run.len()));
        } else {
            text.push_str(&encoder.decode(run, false));
        }
    }
    clean::for_terminal_lines(&text)
}

//! The model that stays loaded between jobs, with its encoder and the adapter that is switched on.

use super::work::tell_note;
use crate::config::TrainConfig;
use crate::config::quantization::Quantization;
use crate::data::encode::Encoder;
use crate::error::Result;
use crate::generate::{Talk, Who};
use crate::job::{Emit, Event, Phase};
use crate::model::backend::{self, Backend};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::train::init;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A loaded model folder.
pub struct Loaded {
    dir: PathBuf,
    backend: Backend,
    quantization: Option<Quantization>,
    model: Qwen3Vl,
    encoder: Encoder,
    encodes: Encodes,
    adapter: Option<(PathBuf, Option<SystemTime>, Adapter)>,
    /// What questions left to be used again.
    talk: Option<Talk>,
    /// A training job may have merged an old adapter into the weights.
    changed: bool,
}

impl Loaded {
    /// Reads the model onto the device that [`backend::choose`] picks.
    pub fn load(dir: &Path, config: &TrainConfig, emit: Emit) -> Result<Self> {
        let encoder = Encoder::load(dir, config)?;
        let backend = backend::choose(config.bf16);
        tell_note(backend.note.as_ref(), emit);
        let (quantization, at) = (config.quantization(), (&backend.device, backend.dtype));
        let model = Qwen3Vl::load_quantized(dir, quantization, at, &|done, total| {
            emit(Event::Progress { phase: Phase::Loading, done, total });
        })?;
        Ok(Self {
            dir: dir.into(),
            backend,
            quantization,
            model,
            encoder,
            encodes: Encodes::of(config),
            adapter: None,
            talk: None,
            changed: false,
        })
    }

    /// Whether this model can serve a job with `config` on the folder `dir` as it is.
    pub fn serves(&self, dir: &Path, config: &TrainConfig) -> bool {
        let dtype = backend::choose(config.bf16).dtype;
        let same = self.quantization == config.quantization() && self.backend.dtype == dtype;
        self.dir == dir && !self.changed && same
    }

    /// Template, limits and cutoff are the job's.
    pub fn set_encoder(&mut self, config: &TrainConfig) -> Result<()> {
        let wanted = Encodes::of(config);
        if self.encodes != wanted {
            self.encoder = Encoder::load(&self.dir, config)?;
            self.talk = None;
            self.encodes = wanted;
        }
        Ok(())
    }

    /// Switches on the adapter of a folder, or none, and says whether it was another one before. It is read again when
    /// the folder has changed.
    pub fn use_adapter(&mut self, dir: Option<&Path>) -> Result<bool> {
        let Some(dir) = dir else {
            return Ok(self.adapter.take().is_some());
        };
        let modified =
            std::fs::metadata(dir.join("adapter_model.safetensors")).and_then(|m| m.modified()).ok();
        if self.adapter.as_ref().is_some_and(|(d, m, _)| d == dir && *m == modified) {
            return Ok(false);
        }
        let adapter = init::from_folder(&self.model, dir)?;
        self.model.attach(&adapter)?;
        self.adapter = Some((dir.into(), modified, adapter));
        Ok(true)
    }

    /// What earlier questions left, with room for at least `slots` answers at a time; to be given back.
    pub fn take_talk(&mut self, slots: usize) -> Talk {
        self.talk.take().filter(|talk| talk.slots() >= slots).unwrap_or_else(|| Talk::new(slots))
    }

    pub fn keep_talk(&mut self, talk: Talk) {
        self.talk = Some(talk);
    }

    /// Reads what is known of the question that may come next.
    pub fn read_ahead(&mut self) {
        if let Some(mut talk) = self.talk.take() {
            let (model, encoder, adapter) = self.parts();
            talk.read_ahead(&Who { model, encoder, adapter });
            self.talk = Some(talk);
        }
    }

    /// Frees what questions left.
    pub fn forget_talk(&mut self) {
        self.talk = None;
    }

    /// Where the adapter that is switched on comes from.
    pub fn adapter_dir(&self) -> Option<&Path> {
        self.adapter.as_ref().map(|(dir, ..)| dir.as_path())
    }

    pub fn device(&self) -> &str {
        &self.backend.name
    }

    /// For a job that answers.
    pub fn parts(&self) -> (&Qwen3Vl, &Encoder, Option<&Adapter>) {
        (&self.model, &self.encoder, self.adapter.as_ref().map(|(_, _, a)| a))
    }

    /// For a job that trains: it attaches an adapter of its own, and may merge an old one into the weights.
    pub fn for_training(&mut self, config: &TrainConfig) -> (&mut Qwen3Vl, &Encoder, String) {
        (self.adapter, self.talk) = (None, None);
        self.changed = config.create_new_adapter && config.adapter_name_or_path.is_some();
        (&mut self.model, &self.encoder, self.backend.name.clone())
    }
}

/// The settings that an encoder is made from: it is made again only when one of them changes.
#[derive(PartialEq)]
struct Encodes {
    template: String,
    thinking: Option<bool>,
    lengths: [u64; 3],
    flags: [bool; 2],
}

impl Encodes {
    fn of(c: &TrainConfig) -> Self {
        Self {
            template: c.template.clone(),
            thinking: c.enable_thinking,
            lengths: [c.longest() as u64, c.image_max_pixels, c.image_min_pixels],
            flags: [c.train_on_prompt, c.mask_history],
        }
    }
}

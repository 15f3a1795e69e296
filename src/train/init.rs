//! The adapter a run starts from: a new one, or one read from a PEFT folder.

use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::model::lora::{Adapter, Pair};
use crate::model::peft;
use crate::model::qwen3_vl::Qwen3Vl;
use burn::tensor::{DType, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

/// A new adapter on `lora_target`: A uniform in ±1/√in (PEFT's `kaiming_uniform_(a=√5)`), B zero, so that the
/// first answer is the base model's. The draws depend on the seed only.
pub fn fresh(model: &mut Qwen3Vl, config: &TrainConfig) -> Result<Adapter> {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let r = config.lora_rank;
    let targets = model.targets(&config.lora_target)?;
    let device = model.device.clone();
    let pairs = targets
        .into_iter()
        .map(|(name, [out, inp])| {
            let bound = 1.0 / (inp as f32).sqrt();
            let values: Vec<f32> = (0..r * inp).map(|_| rng.random_range(-bound..bound)).collect();
            let a = Tensor::from_data(TensorData::new(values, [r, inp]), (&device, DType::F32));
            Pair { name, a, b: Tensor::zeros([out, r], (&device, DType::F32)) }
        })
        .collect();
    Ok(Adapter { pairs, scale: config.lora_scale() as f32, dropout: config.lora_dropout as f32 })
}

/// The adapter of a PEFT folder, with the rank and alpha that the folder says.
pub fn from_folder(model: &Qwen3Vl, dir: &Path) -> Result<Adapter> {
    let (config, tensors) = peft::load(dir)?;
    let adapter = model.adapter_from(&tensors, config.scale())?;
    let fits = adapter.pairs.iter().all(|p| p.a.dims()[0] == p.b.dims()[1]);
    if !fits {
        return Err(Error::input(format!("{}: lora_A and lora_B have different ranks", dir.display())));
    }
    Ok(adapter)
}

//! The adapter a run starts from: a new one, or one read from a PEFT folder.

use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::model::dora::Magnitude;
use crate::model::lora::{Adapter, Linear, Pair};
use crate::model::modules::Module;
use crate::model::qwen3_vl::Qwen3Vl;
use crate::model::{peft, targets};
use burn::tensor::{DType, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::path::Path;

/// A new adapter on the modules that `lora_target` and `freeze_*` pick: A uniform in ±1/√width (PEFT's
/// `kaiming_uniform_(a=√5)`), B zero, so that the first answer is the base model's. The draws depend on the seed only.
pub fn fresh(model: &Qwen3Vl, config: &TrainConfig) -> Result<Adapter> {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let device = (&model.device, DType::F32);
    let linears: HashMap<String, &Linear> = model.linears().into_iter().collect();
    let pair = |m: Module| {
        let (rows, [wa, wb]) = (config.lora_rank * m.experts, m.widths());
        let bound = 1.0 / (wa as f32).sqrt();
        let values: Vec<f32> = (0..rows * wa).map(|_| rng.random_range(-bound..bound)).collect();
        let a = Tensor::from_data(TensorData::new(values, [rows, wa]), device);
        let linear = linears.get(&m.path).filter(|_| config.use_dora);
        let magnitude = linear.map(|l| Magnitude::new(&l.w, None));
        Pair { name: m.path, a, b: Tensor::zeros([wb, rows], device), magnitude }
    };
    Ok(Adapter {
        pairs: targets::choose(&model.config, config)?.into_iter().map(pair).collect(),
        scale: config.lora_scale() as f32,
        dropout: config.lora_dropout as f32,
        rank: config.lora_rank,
        alpha: config.alpha(),
        rslora: config.use_rslora,
    })
}

/// The adapter of a PEFT folder, with the rank and alpha that the folder says.
pub fn from_folder(model: &Qwen3Vl, dir: &Path) -> Result<Adapter> {
    let (config, tensors) = peft::load(dir)?;
    let adapter = model.adapter_from(&tensors, &config)?;
    let fits = adapter.pairs.iter().all(|p| p.a.dims()[0] == p.b.dims()[1]);
    if !fits {
        return Err(Error::input(format!("{}: lora_A and lora_B have different ranks", dir.display())));
    }
    Ok(adapter)
}

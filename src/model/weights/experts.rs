//! Expert weights of a layer, from either layout that checkpoints have.

use super::{Entry, Weights, convert};
use crate::error::{At, Error, Result};
use crate::model::config::TextConfig;
use burn::tensor::{DType, Device, Tensor};

/// How the experts of a layer lie in a file. E experts, hidden size H, expert size I.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpertLayout {
    /// `gate_up_proj` `[E, H, 2I]`, `down_proj` `[E, I, H]`: the hub's releases, transformers 4.57.
    Hub,
    /// `gate_up_proj` `[E, 2I, H]`, `down_proj` `[E, H, I]`: saved by transformers 5.
    Transformers5,
}

impl Weights {
    /// Reads the experts of a layer as `gate_up` `[E, 2I, H]` (gate first) and `down` `[E, H, I]`.
    ///
    /// Errors: those of [`Weights::tensor`], and a shape that fits both layouts while no hint was given.
    pub fn experts(
        &self,
        layer: usize,
        config: &TextConfig,
        device: &Device,
        dtype: DType,
    ) -> Result<(Tensor<3>, Tensor<3>)> {
        let [gate_up, down] = wanted(layer, config)?;
        Ok((self.expert(&gate_up, device, dtype)?, self.expert(&down, device, dtype)?))
    }

    /// Reads `[E, out, in]`, turning the tensor if the file has `[E, in, out]`.
    fn expert(
        &self,
        (name, wanted): &(String, [usize; 3]),
        device: &Device,
        dtype: DType,
    ) -> Result<Tensor<3>> {
        let (entry, turn) = self.layout(name, *wanted)?;
        let [_, out, inner] = *wanted;
        let floats = convert::convert(self.source(name, entry)?, dtype).at("read", self.path(entry))?;
        let floats = if turn { floats.transpose_last([inner, out]) } else { floats };
        Ok(super::frozen(floats.into_data(wanted), device, dtype))
    }

    /// The tensor `[E, out, in]` in the file, and whether it lies there as `[E, in, out]`.
    pub(super) fn layout(&self, name: &str, wanted: [usize; 3]) -> Result<(&Entry, bool)> {
        let [e, out, inner] = wanted;
        let entry = self.entry(name)?;
        let straight = entry.shape == wanted;
        let turned = entry.shape == [e, inner, out];
        // Each tensor is told by its own shape: transformers 5 turns tensors one by one when it loads a hub
        // checkpoint and leaves a square one as it is, so what it saves can hold both layouts.
        let turn = match (straight, turned, self.expert_layout) {
            (true, false, _) => false,
            (false, true, _) => true,
            (true, true, Some(layout)) => layout == ExpertLayout::Hub,
            (true, true, None) => return Err(ambiguous(name, &entry.shape)),
            (false, false, _) => {
                return Err(self.wrong_shape(name, entry, &format!("{wanted:?} or [{e}, {inner}, {out}]")));
            }
        };
        Ok((entry, turn))
    }
}

/// Names of a layer's `gate_up` `[E, 2I, H]` and `down` `[E, H, I]`, with these shapes.
pub(super) fn wanted(layer: usize, config: &TextConfig) -> Result<[(String, [usize; 3]); 2]> {
    let Some(moe) = &config.moe else {
        return Err(Error::internal(format!("experts of layer {layer} asked of a dense model")));
    };
    let [e, h, i] = [moe.num_experts, config.hidden_size, moe.moe_intermediate_size];
    let name = |part: &str| format!("model.language_model.layers.{layer}.mlp.experts.{part}");
    Ok([(name("gate_up_proj"), [e, 2 * i, h]), (name("down_proj"), [e, h, i])])
}

fn ambiguous(name: &str, shape: &[usize]) -> Error {
    Error::input(format!(
        "tensor {name} of shape {shape:?} fits both layouts of experts, so it could be read wrong"
    ))
    .hint("config.json tells by transformers_version: 4.57 as released on the hub, 5 as saved by transformers 5; add it")
}

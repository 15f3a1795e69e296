//! The feed-forward half of a decoder layer: SwiGLU, or experts.

use super::lora::{Grads, InputGrad, Linear, Pass};
use super::moe::{self, Moe, Routing};
use super::ops;
use burn::tensor::Tensor;
use std::sync::Arc;

/// The feed-forward half of a layer.
#[allow(clippy::large_enum_variant)] // one per layer
pub enum Mlp {
    Dense { gate_proj: Linear, up_proj: Linear, down_proj: Linear },
    Moe(Moe),
}

/// What [`Mlp::backward`] needs of one forward pass.
#[allow(clippy::large_enum_variant)] // one per layer
pub(super) enum MlpSaved {
    Dense { gate: Tensor<2>, up: Tensor<2> },
    Moe(moe::Saved),
}

impl MlpSaved {
    /// Where the tokens went, in a layer with experts.
    pub(super) fn routing(&self) -> Option<Arc<Routing>> {
        match self {
            MlpSaved::Dense { .. } => None,
            MlpSaved::Moe(saved) => Some(saved.routing.clone()),
        }
    }
}

impl Mlp {
    /// residual + y [T, hidden] for x [T, hidden].
    pub(super) fn forward(&self, residual: &Tensor<2>, x: &Tensor<2>, pass: &Pass) -> (Tensor<2>, MlpSaved) {
        match self {
            Mlp::Dense { gate_proj, up_proj, down_proj } => {
                let [gate, up] = Linear::forward_all([gate_proj, up_proj], x, pass);
                let act = ops::swiglu(&gate, &up);
                (down_proj.forward_onto(residual, &act, pass), MlpSaved::Dense { gate, up })
            }
            Mlp::Moe(moe) => {
                let (y, saved) = moe.forward(x, pass);
                (ops::add(residual, y), MlpSaved::Moe(saved))
            }
        }
    }

    /// What [`Mlp::forward`] keeps, computed again without its result: no activation, no last product, and no router.
    pub(super) fn again(&self, x: &Tensor<2>, pass: &Pass, routing: Option<Arc<Routing>>) -> MlpSaved {
        match (self, routing) {
            (Mlp::Dense { gate_proj, up_proj, .. }, _) => {
                let [gate, up] = Linear::forward_all([gate_proj, up_proj], x, pass);
                MlpSaved::Dense { gate, up }
            }
            (Mlp::Moe(moe), Some(routing)) => MlpSaved::Moe(moe.experts(x, routing, pass)),
            (Mlp::Moe(_), None) => unreachable!("kept of the same layer"),
        }
    }

    /// Adds the adapters' gradients to `grads`; gives the gradient to x.
    pub(super) fn backward(
        &self,
        dy: &Tensor<2>,
        x: &Tensor<2>,
        saved: MlpSaved,
        pass: &Pass,
        grads: &mut Grads,
    ) -> Tensor<2> {
        match (self, saved) {
            (Mlp::Dense { gate_proj, up_proj, down_proj }, MlpSaved::Dense { gate, up }) => {
                let act = ops::swiglu(&gate, &up);
                let d_act = down_proj.backward(dy, &act, InputGrad::Fresh, pass, grads).expect("asked for");
                drop(act);
                let (d_gate, d_up) = ops::swiglu_backward(&d_act, gate, up);
                drop(d_act);
                let dx = gate_proj.backward(&d_gate, x, InputGrad::Fresh, pass, grads);
                up_proj.backward(&d_up, x, dx.into(), pass, grads).expect("asked for")
            }
            (Mlp::Moe(moe), MlpSaved::Moe(saved)) => moe.backward(dy, saved, (pass, grads)),
            _ => unreachable!("saved by the same layer"),
        }
    }
}

//! AdamW with decoupled weight decay (arXiv 1711.05101), as torch's `AdamW` computes it, and global norm clipping.

use crate::config::TrainConfig;
use crate::model::lora::{Adapter, Grads};
use burn::tensor::Tensor;

/// First and second moments of one matrix, f32.
#[derive(Clone, Debug)]
pub struct Moments {
    pub m: Tensor<2>,
    pub v: Tensor<2>,
}

/// The optimizer's state: moments of A and B of every pair, and the number of updates done.
#[derive(Clone, Debug)]
pub struct AdamW {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    pub updates: usize,
    pub a: Vec<Moments>,
    pub b: Vec<Moments>,
    /// Of DoRA's magnitudes.
    pub m: Vec<Option<Moments>>,
}

impl AdamW {
    pub fn new(config: &TrainConfig, adapter: &Adapter) -> Self {
        let zero = |t: &Tensor<2>| Moments { m: t.zeros_like(), v: t.zeros_like() };
        Self {
            beta1: config.adam_beta1,
            beta2: config.adam_beta2,
            eps: config.adam_epsilon,
            weight_decay: config.weight_decay,
            updates: 0,
            a: adapter.pairs.iter().map(|p| zero(&p.a)).collect(),
            b: adapter.pairs.iter().map(|p| zero(&p.b)).collect(),
            m: adapter.pairs.iter().map(|p| p.magnitude.as_ref().map(|m| zero(&m.m))).collect(),
        }
    }

    /// One update of every matrix at learning rate `lr`, gradients multiplied by `clip` first.
    pub fn step(&mut self, adapter: &mut Adapter, grads: Grads, lr: f64, clip: f64) {
        self.updates += 1;
        let rule = Rule::new(self, lr, clip);
        let grads = grads.a.into_iter().zip(grads.b).zip(grads.m);
        for (i, (pair, ((ga, gb), gm))) in adapter.pairs.iter_mut().zip(grads).enumerate() {
            rule.apply(&mut pair.a, ga, &mut self.a[i]);
            rule.apply(&mut pair.b, gb, &mut self.b[i]);
            if let (Some(magnitude), Some(state)) = (&mut pair.magnitude, &mut self.m[i]) {
                rule.apply(&mut magnitude.m, gm, state);
            }
        }
    }
}

/// The numbers of one update.
struct Rule {
    beta1: f64,
    beta2: f64,
    eps: f64,
    decay: f64,
    step_size: f64,
    correction2: f64,
    clip: f64,
}

impl Rule {
    fn new(opt: &AdamW, lr: f64, clip: f64) -> Self {
        let t = opt.updates as i32;
        Self {
            beta1: opt.beta1,
            beta2: opt.beta2,
            eps: opt.eps,
            decay: 1.0 - lr * opt.weight_decay,
            step_size: lr / (1.0 - opt.beta1.powi(t)),
            correction2: (1.0 - opt.beta2.powi(t)).sqrt(),
            clip,
        }
    }

    /// p ← p·(1 − lr·wd) − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε). Without a gradient nothing moves, as in torch.
    fn apply(&self, p: &mut Tensor<2>, g: Option<Tensor<2>>, s: &mut Moments) {
        let Some(g) = g else { return };
        let g = if self.clip < 1.0 { g.mul_scalar(self.clip) } else { g };
        s.m = s.m.clone().mul_scalar(self.beta1) + g.clone().mul_scalar(1.0 - self.beta1);
        s.v = s.v.clone().mul_scalar(self.beta2) + g.clone().mul(g).mul_scalar(1.0 - self.beta2);
        let denominator = s.v.clone().sqrt().div_scalar(self.correction2).add_scalar(self.eps);
        let decayed = if self.decay == 1.0 { p.clone() } else { p.clone().mul_scalar(self.decay) };
        *p = decayed - (s.m.clone() / denominator).mul_scalar(self.step_size);
    }
}

/// The L2 norm over all gradients, read from the device.
pub fn global_norm(grads: &Grads) -> f64 {
    let squares: Vec<Tensor<1>> = grads.all().map(|g| g.clone().mul(g.clone()).sum()).collect();
    if squares.is_empty() {
        return 0.0;
    }
    let all = Tensor::cat(squares, 0).into_data().try_to_vec::<f32>().expect("gradients are f32");
    all.iter().map(|&x| f64::from(x)).sum::<f64>().sqrt()
}

/// What gradients are multiplied by so that their norm is at most `max_norm` (torch's `clip_grad_norm_`).
/// A `max_norm` of 0 switches clipping off.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    if max_norm > 0.0 { (max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 }
}

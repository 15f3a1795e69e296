//! Fused CPU kernels against the composed operations, and gradients against finite differences.
#![allow(clippy::unwrap_used)]

use super::linear::{After, Branch, Spent};
use super::*;
use crate::model::config::Activation;
use burn::tensor::{Device, TensorData};
use rand::{Rng, SeedableRng};

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn values<const D: usize>(t: &Tensor<D>) -> Vec<f32> {
    t.clone().into_data().try_to_vec().unwrap()
}

fn close<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    for (i, (x, y)) in values(a).iter().zip(values(b)).enumerate() {
        assert!((x - y).abs() < 2e-5 * (1.0 + y.abs()), "{what}[{i}]: {x} against {y}");
    }
}

/// Σ y·g for a fixed g, so that its gradient to the inputs is the backward pass of g.
fn weigh<const D: usize>(y: Tensor<D>, g: &Tensor<D>) -> f64 {
    values(&y).iter().zip(values(g)).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
}

/// Compares a gradient with central differences at some places.
fn differences<const D: usize>(x: &Tensor<D>, dx: &Tensor<D>, what: &str, f: impl Fn(Tensor<D>) -> f64) {
    let (base, dx) = (values(x), values(dx));
    for i in (0..base.len()).step_by(base.len().div_ceil(23)) {
        let h = 5e-3;
        let moved = |by: f32| {
            let mut v = base.clone();
            v[i] += by;
            f(Tensor::from_data(TensorData::new(v, x.dims()), &Device::flex()))
        };
        let want = (moved(h) - moved(-h)) / (2.0 * f64::from(h));
        assert!(
            (f64::from(dx[i]) - want).abs() < 2e-3 * (1.0 + want.abs()),
            "{what}[{i}]: {} against {want}",
            dx[i]
        );
    }
}

#[test]
fn norms_and_activations() {
    let (x, g) = (random([7, 40], 1), random([7, 40], 2));
    let (w, b) = (random([40], 3), random([40], 4));
    close(&rms_norm(x.clone(), &w, 1e-6), &composed::rms_norm(x.clone(), &w, 1e-6), "rms_norm");
    let dx = rms_norm_backward(g.clone(), &x, &w, 1e-6);
    close(&dx, &composed::rms_norm_backward(g.clone(), &x, &w, 1e-6), "rms_norm_backward");
    differences(&x, &dx, "rms_norm_backward", |x| weigh(rms_norm(x, &w, 1e-6), &g));
    close(&layer_norm(x.clone(), &w, &b, 1e-6), &composed::layer_norm(x.clone(), &w, &b, 1e-6), "layer_norm");
    close(&gelu_tanh(x.clone()), &composed::gelu_tanh(x.clone()), "gelu_tanh");
    let u = random([7, 40], 5);
    close(&swiglu(&x, &u), &composed::swiglu(&x, &u), "swiglu");
    let (dg, du) = swiglu_backward(&g, x.clone(), u.clone());
    let (cg, cu) = composed::swiglu_backward(&g, &x, &u);
    close(&dg, &cg, "swiglu gate");
    close(&du, &cu, "swiglu up");
    differences(&x, &dg, "swiglu gate", |x| weigh(swiglu(&x, &u), &g));
    let both = Tensor::cat(vec![x.clone(), u.clone()], 1);
    close(&swiglu_halves(&both), &composed::swiglu(&x, &u), "swiglu of halves");
    close(&swiglu_halves_backward(&g, both), &Tensor::cat(vec![cg, cu], 1), "swiglu of halves, backward");
    close(&gelu(x.clone()), &burn::tensor::activation::gelu(x.clone()), "gelu");
    close(&add(&x, u.clone()), &(x.clone() + u), "add");
    close(&add_bias(x.clone(), &b), &(x.clone() + b.unsqueeze::<2>()), "add_bias");
    close(&columns(&x, 3, 20), &x.narrow(1, 3, 20), "columns");
}

#[test]
fn products() {
    let (x, w) = (random([9, 33], 1), random([21, 33], 2));
    let want = x.clone().matmul(w.clone().transpose());
    close(&matmul(&x, &w.clone().transpose()), &want, "matmul");
    let acc = random([9, 21], 3);
    let got = add_matmul(acc.clone(), &x, &w.clone().transpose(), 0.5);
    close(&got, &(acc + want.mul_scalar(0.5)), "add_matmul");
    let part = w.clone().slice([3..11, 5..30]);
    close(
        &matmul(&x.clone().slice([0..9, 5..30]), &part.clone().transpose()),
        &x.slice([0..9, 5..30]).matmul(part.transpose()),
        "sliced views",
    );
}

/// Few rows and many, few columns and many, with each of what may follow and all of it.
#[test]
fn products_and_what_follows() {
    for (t, k, n) in [(1, 40, 200), (20, 33, 200), (150, 70, 48), (150, 700, 300), (70, 1, 90)] {
        let (x, w) = (random([t, k], 1), random([n, k], 2));
        let (h, m, bias) = (random([t, 3], 3), random([n, 3], 4), random([n], 5));
        let residual = random([t, n], 6);
        let (wt, mt) = (w.transpose(), m.clone().transpose());
        let branch = Branch { h: &h, m: &mt, scale: 0.7 };
        let base = composed::matmul(&x, &wt);
        let branched = base.clone() + h.clone().matmul(mt.clone()).mul_scalar(0.7);
        let close = |after: After, want: Tensor<2>, what: &str| {
            let got = linear::linear(&x, &wt, after);
            let size = 1.0 + (k as f32).sqrt();
            let error = (got - want).abs().max().into_scalar::<f32>();
            assert!(error < 1e-5 * size, "{what} of {t}, {k}, {n}: {error}");
        };
        let none = After::default();
        close(none, base.clone(), "nothing");
        close(After { branch: Some(branch), ..none }, branched.clone(), "branch");
        let biased = |y: &Tensor<2>| y.clone() + bias.clone().unsqueeze::<2>();
        close(After { bias: Some(&bias), ..none }, biased(&base), "bias");
        let tanh = Some(Activation::GeluTanh);
        close(After { activation: tanh, ..none }, composed::gelu_tanh(base.clone()), "tanh");
        close(After { residual: Some(&residual), ..none }, base.clone() + residual.clone(), "residual");
        let all = After {
            branch: Some(branch),
            bias: Some(&bias),
            activation: Some(Activation::Gelu),
            residual: Some(&residual),
            memory: None,
        };
        let want = burn::tensor::activation::gelu(biased(&branched)) + residual.clone();
        close(all, want.clone(), "all");
        let spent = Spent::default();
        spent.put(Tensor::full([t, n], f32::NAN, &Device::flex()));
        close(After { memory: Some(&spent), ..all }, want.clone(), "all, where something else was");
        close(After { memory: Some(&spent), ..all }, want.clone(), "all, where that is taken");
        let after = linear::complete(base.clone(), all);
        assert!((after - want).abs().max().into_scalar::<f32>() < 1e-4);
        let sum = linear::add_linear(residual.clone(), &x, &wt, branch);
        let error = (sum - (residual + branched)).abs().max().into_scalar::<f32>();
        assert!(error < 1e-5 * (1.0 + (k as f32).sqrt()), "sum of {t}, {k}, {n}: {error}");
    }
}

#[test]
fn rope_turns_and_turns_back() {
    let (x, c, s) = (random([6, 3, 8], 1), random([6, 8], 2), random([6, 8], 3));
    close(&rotate_half_rope(x.clone(), &c, &s), &composed::rope(x.clone(), &c, &s, 1.0), "rope");
    let half: Tensor<2> = random([6, 4], 4);
    let c = Tensor::cat(vec![half.clone().cos(), half.clone().cos()], 1);
    let s = Tensor::cat(vec![half.clone().sin(), half.sin()], 1);
    let y = rotate_half_rope(x.clone(), &c, &s);
    close(&rotate_half_rope_backward(y, &c, &s), &x, "rope there and back");
}

#[test]
fn attention_of_packed_segments() {
    let segments = Segment::packed([5, 130, 1, 70]);
    let (q, k, v) = (random([206, 4, 8], 1), random([206, 2, 8], 2), random([206, 2, 8], 3));
    let g = random([206, 4, 8], 4);
    for causal in [true, false] {
        let saved = attention_saved(&q, &k, &v, &segments, causal);
        close(&saved.o, &composed::attention(&q, &k, &v, &segments, causal), "attention");
        let got = attention_backward(&g, [&q, &k, &v], &saved, &segments, causal);
        let want = composed::attention_backward(&g, [&q, &k, &v], &segments, causal);
        for (i, (a, b)) in got.iter().zip(&want).enumerate() {
            close(a, b, ["dq", "dk", "dv"][i]);
        }
        let of = |q: &_, k: &_, v: &_| weigh(attention_saved(q, k, v, &segments, causal).o, &g);
        differences(&q, &got[0], "dq", |q| of(&q, &k, &v));
        differences(&k, &got[1], "dk", |k| of(&q, &k, &v));
        differences(&v, &got[2], "dv", |v| of(&q, &k, &v));
    }
}

#[test]
fn attention_of_parts_side_by_side() {
    let (qkv, c, s) = (random([75, 96], 1), random([75, 8], 2), random([75, 8], 3));
    let frames = Segment::packed([2, 5, 68]);
    let part = |i: usize| qkv.clone().narrow(1, i * 32, 32).reshape([75, 4, 8]);
    let turn = |x: Tensor<3>| composed::rope(x, &c, &s, 1.0);
    let want = composed::attention(&turn(part(0)), &turn(part(1)), &part(2), &frames, false);
    let (o, memory) = vision::attend(qkv.clone(), 4, (&c, &s), &frames);
    close(&o, &want.reshape([75, 32]), "attend");
    assert_eq!(memory.dims(), [75, 96]);
}

#[test]
fn rows_of_a_table_are_blended() {
    let x = random([12, 7], 1);
    let corners: rows::Corners = std::array::from_fn(|i| {
        let at = |t: usize| ((3 * t + i) % 12, 0.1 * (t + i) as f32);
        (0..5).map(at).unzip()
    });
    let part = |(rows, weights): &(Vec<usize>, Vec<f32>)| {
        let weights = Tensor::<2>::from_data(TensorData::new(weights.clone(), [5, 1]), &Device::flex());
        rows::gather(&x, rows) * weights
    };
    let [a, b, c, d] = corners.each_ref().map(part);
    close(&rows::blend(&x, &corners), &(a + b + c + d), "blend");
}

#[test]
fn attention_with_a_cache() {
    let (q, k, v) = (random([10, 4, 8], 1), random([10, 2, 8], 2), random([10, 2, 8], 3));
    let whole = attention_saved(&q, &k, &v, &Segment::packed([10]), true).o;
    let tail = Segment { q: 0..3, k: 0..10 };
    let last = attention_saved(&q.slice([7..10]), &k, &v, std::slice::from_ref(&tail), true).o;
    close(&last, &whole.slice([7..10]), "the last three queries against ten keys");
}

#[test]
fn loss_and_its_gradient() {
    // 205 rows of the vocabulary and 19 positions: neither fills its last block
    let (x, w): (Tensor<2>, Tensor<2>) = (random([19, 40], 1), random::<2>([205, 40], 2).mul_scalar(2.0));
    let targets: Vec<u32> = (0..19).map(|i| (i * 37 % 205) as u32).collect();
    let (loss, d) = head_cross_entropy(&x, &w, &targets, Some(0.2));
    let (want, want_d) = composed::head_cross_entropy(&x, &w, &targets, Some(0.2));
    close(&loss, &want, "loss");
    close(&d.clone().unwrap(), &want_d.unwrap(), "gradient of the loss");
    let of = |x| f64::from(values(&head_cross_entropy(&x, &w, &targets, None).0)[0]) * 0.2;
    differences(&x, &d.unwrap(), "loss", of);
}

#[test]
fn a_loss_without_labels_is_zero() {
    let (x, w) = (random::<2>([0, 8], 1), random::<2>([30, 8], 2));
    let (loss, d) = head_cross_entropy(&x, &w, &[], Some(1.0));
    assert_eq!(values(&loss), [0.0]);
    assert_eq!(d.unwrap().dims(), [0, 8]);
}

#[test]
fn a_logit_that_is_not_a_number_reaches_the_loss() {
    let (x, w) = (random::<2>([3, 8], 1), random::<2>([30, 8], 2));
    let x = rows::write(x, &[1], &Tensor::full([1, 8], f32::NAN, &Device::flex()));
    assert!(values(&head_cross_entropy(&x, &w, &[1, 2, 3], None).0)[0].is_nan());
}

/// Both operands in turn with few rows, adding and overwriting; 100 columns leave a tail in every vector.
#[test]
fn thin_products() {
    for n in 1..=9 {
        let (x, w) = (random([n, 100], 1), random([70, 100], 2));
        let want = x.clone().matmul(w.clone().transpose());
        close(&matmul(&x, &w.clone().transpose()), &want, "few rows");
        close(&matmul(&w, &x.clone().transpose()), &want.clone().transpose(), "few columns");
        let across = x.clone().transpose().add_scalar(0.0);
        close(&matmul(&w, &across), &want.clone().transpose(), "few columns, strided");
        let acc = random([n, 70], 3);
        let got = add_matmul(acc.clone(), &x, &w.clone().transpose(), 0.5);
        close(&got, &(acc + want.mul_scalar(0.5)), "added");
    }
}

/// Depths of several panels, edges on every side, strided operands.
#[test]
fn panels_multiply_as_matrices_do() {
    use panels::{Out, Packed, multiply};
    for (m, n, k) in [(6, 16, 512), (7, 17, 513), (1, 1, 1), (13, 70, 1100), (5, 3, 0)] {
        let (a, b): (Tensor<2>, Tensor<2>) = (random([m, k.max(1)], 1), random([k.max(1), n], 2));
        let (av, bt) = (values(&a), values(&b.clone().transpose()));
        let left = Packed::left(gemm::Mat::new(&av, m, k, k.max(1)));
        let right = Packed::right(gemm::Mat::new(&bt, n, k, k.max(1)).t());
        let mut out = vec![1f32; m * n];
        multiply(Out { data: &mut out, stride: n, add: true, scale: 0.5 }, &left, &right);
        let want = if k == 0 {
            Tensor::ones([m, n], &Device::flex())
        } else {
            a.matmul(b).mul_scalar(0.5).add_scalar(1.0)
        };
        close(&memory::tensor(out, [m, n], &Device::flex()), &want, &format!("{m}x{n}x{k}"));
    }
}

#[test]
fn experts() {
    let (x, w) = (random([8, 6], 1), random([3, 10, 6], 2));
    let groups = [0..3, 3..3, 3..8];
    let y = rows::grouped_linear(&x, &w, &groups, false);
    let by_hand = Tensor::cat(
        vec![
            x.clone().slice([0..3]).matmul(w.clone().slice([0..1]).squeeze_dim::<2>(0).transpose()),
            x.clone().slice([3..8]).matmul(w.clone().slice([2..3]).squeeze_dim::<2>(0).transpose()),
        ],
        0,
    );
    close(&y, &by_hand, "grouped_linear");
    let g = random([8, 10], 3);
    let dx = rows::grouped_linear(&g, &w, &groups, true);
    differences(&x, &dx, "grouped_linear", |x| weigh(rows::grouped_linear(&x, &w, &groups, false), &g));

    let place = [5, 0, 2, 7, 1, 6, 4, 3];
    let weights: Vec<f32> = (0..8).map(|i| 0.1 * i as f32 - 0.3).collect();
    let g = random([4, 10], 4);
    let (dy, dw) = rows::combine_backward(&g, &y, &place, &weights, 2);
    differences(&y, &dy, "combine", |y| weigh(rows::combine(&y, &place, &weights, 2), &g));
    let mut moved = weights.clone();
    moved[3] += 0.5;
    let change =
        weigh(rows::combine(&y, &place, &moved, 2), &g) - weigh(rows::combine(&y, &place, &weights, 2), &g);
    assert!((change / 0.5 - f64::from(dw[3])).abs() < 1e-4);
}

#[test]
fn rows_written_and_added() {
    let (x, s) = (random([6, 4], 1), random([3, 4], 2));
    let y = rows::write(x.clone(), &[4, 5, 0], &s);
    close(&y.clone().slice([4..6]), &s.clone().slice([0..2]), "written");
    close(&y.slice([1..4]), &x.clone().slice([1..4]), "left alone");
    let y = rows::add(x.clone(), &[1, 2, 3], &s);
    close(&y.slice([1..4]), &(x.slice([1..4]) + s), "added");
}

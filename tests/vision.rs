//! The vision tower and the 3-D positions equal transformers'.
#![allow(clippy::unwrap_used)]

use crate::golden::{self, Golden, assert_close, values};
use burn::tensor::{DType, Device, Tensor, TensorData};
use lorascope::data::patches::Patches;
use lorascope::model::lora::Pass;
use lorascope::model::rope::{Positions, mrope_cos_sin, positions};
use lorascope::model::vision::{Vision, VisionOutput};
use lorascope::model::{ModelConfig, Weights};

const MODELS: [(&str, &str); 3] =
    [("tiny-dense", "forward_dense"), ("tiny-moe", "forward_moe"), ("tiny-moe-hub", "forward_moe")];

fn grids(golden: &Golden, case: &str) -> Vec<[usize; 3]> {
    let key = format!("{case}.grid_thw");
    let ints = if golden.has(&key) { golden.ints(&key) } else { Vec::new() };
    ints.as_chunks::<3>().0.iter().map(|g| g.map(|n| n as usize)).collect()
}

fn pixels(golden: &Golden, case: &str, device: &Device) -> Tensor<2> {
    let key = format!("{case}.pixel_values");
    Tensor::from_data(TensorData::new(golden.floats(&key), golden.shape(&key)), device)
}

fn tower(model: &str, device: &Device) -> Vision {
    let dir = golden::path("models").join(model);
    let config = ModelConfig::load(&dir).unwrap();
    Vision::load(&Weights::open(&dir).unwrap(), &config.vision, device, DType::F32).unwrap()
}

#[test]
fn tokens_and_deepstack_features_equal_transformers() {
    let device = Device::flex();
    for (model, reference) in MODELS {
        let (vision, golden) = (tower(model, &device), Golden::open(reference));
        for case in ["case0", "case1"] {
            let VisionOutput { merged, deepstack } =
                vision.forward(pixels(&golden, case, &device), &grids(&golden, case), &Pass::default());
            let key = format!("{case}.vision");
            assert_eq!(merged.dims().to_vec(), golden.shape(&key));
            assert_close(&values(merged), &golden.floats(&key), 1e-4, &format!("{model} {key}"));
            assert_eq!(deepstack.len(), 2);
            for (i, feature) in deepstack.into_iter().enumerate() {
                let key = format!("{case}.deepstack{i}");
                assert_close(&values(feature), &golden.floats(&key), 1e-4, &format!("{model} {key}"));
            }
        }
    }
}

/// A still picture's frames are all the same: one of them is enough, and is taken only then.
#[test]
fn one_frame_of_a_still_picture_is_worth_all() {
    let device = Device::flex();
    for (model, reference) in MODELS {
        let (vision, golden) = (tower(model, &device), Golden::open(reference));
        let config = ModelConfig::load(&golden::path("models").join(model)).unwrap().vision;
        let shape = [config.temporal_patch_size, config.patch_size.pow(2)];
        assert!(vision.takes_one_frame() && shape[0] > 1);
        let grids = grids(&golden, "case0");
        let mut patches = Patches { grid: grids[0], pixels: golden.floats("case0.pixel_values") };
        let one = Patches::of_one_frame(std::slice::from_ref(&patches), shape).unwrap();
        assert_eq!(one.len(), patches.pixels.len() / shape[0]);
        let rows = grids[0].iter().product::<usize>();
        let one = Tensor::from_data(TensorData::new(one, [rows, config.patch_len() / shape[0]]), &device);
        let got = vision.forward(one, &grids, &Pass::default());
        let key = "case0.vision";
        assert_close(&values(got.merged), &golden.floats(key), 1e-4, &format!("{model} {key}"));
        *patches.pixels.last_mut().unwrap() += 1.0;
        assert_eq!(Patches::of_one_frame(&[patches], shape), None);
    }
}

/// Pictures attend only within themselves: together they give what each gives alone.
#[test]
fn pictures_together_equal_pictures_alone() {
    let device = Device::flex();
    let (vision, golden) = (tower("tiny-dense", &device), Golden::open("forward_dense"));
    let (all, grids) = (pixels(&golden, "case1", &device), grids(&golden, "case1"));
    let together = vision.forward(all.clone(), &grids, &Pass::default());
    let mut start = 0;
    let alone: Vec<f32> = grids
        .iter()
        .flat_map(|grid| {
            let rows = grid.iter().product();
            let own = all.clone().narrow(0, start, rows);
            start += rows;
            values(vision.forward(own, &[*grid], &Pass::default()).merged)
        })
        .collect();
    assert_close(&values(together.merged), &alone, 1e-5, "merged");
}

/// Two frames of one grid are worth two pictures.
#[test]
fn frames_attend_apart() {
    let device = Device::flex();
    let (vision, golden) = (tower("tiny-dense", &device), Golden::open("forward_dense"));
    let one = pixels(&golden, "case0", &device);
    let [_, h, w] = grids(&golden, "case0")[0];
    let two = Tensor::cat(vec![one.clone(), one * 0.5], 0);
    let frames = vision.forward(two.clone(), &[[2, h, w]], &Pass::default());
    let pictures = vision.forward(two, &[[1, h, w], [1, h, w]], &Pass::default());
    assert_eq!(values(frames.merged), values(pictures.merged));
}

#[test]
fn positions_equal_transformers() {
    for (model, reference) in MODELS {
        let config = ModelConfig::load(&golden::path("models").join(model)).unwrap();
        let golden = Golden::open(reference);
        for case in ["case0", "case1", "case2"] {
            let ids: Vec<u32> =
                golden.ints(&format!("{case}.input_ids")).into_iter().map(|i| i as u32).collect();
            let grids = grids(&golden, case);
            let found =
                positions(&ids, config.image_token_id, &grids, config.vision.spatial_merge_size).unwrap();
            if grids.is_empty() {
                assert_eq!(found, Positions::text(0..ids.len() as i64));
                continue;
            }
            let flat: Vec<i32> = found.ids.iter().flatten().map(|&p| p as i32).collect();
            assert_eq!(flat, golden.ints(&format!("{case}.position_ids")), "{model} {case}");
            assert_eq!([found.delta as i32].as_slice(), golden.ints(&format!("{case}.rope_delta")));
        }
    }
}

/// Worked by hand for sections 6, 5, 5 of 16: height where i % 3 == 1 below 15, width where i % 3 == 2 below 15.
#[test]
fn rotary_frequencies_interleave_time_height_and_width() {
    let config = ModelConfig::load(&golden::path("models/tiny-dense")).unwrap().text;
    let ids = [vec![0, 7], vec![0, 11], vec![0, 13]];
    let (cos, sin) = mrope_cos_sin(&ids, &config, &Device::flex());
    assert_eq!(cos.dims(), [2, 32]);
    let axis = [7.0, 11.0, 13.0];
    let angle = |i: usize| axis[if i == 15 { 0 } else { i % 3 }] / 5e6f64.powf(2.0 * i as f64 / 32.0);
    let row: Vec<f64> = (0..16).chain(0..16).map(angle).collect();
    let wanted = |of: fn(f64) -> f64, at_zero: f32| -> Vec<f32> {
        std::iter::repeat_n(at_zero, 32).chain(row.iter().map(|&a| of(a) as f32)).collect()
    };
    assert_close(&values(cos), &wanted(f64::cos, 1.0), 1e-5, "cos");
    assert_close(&values(sin), &wanted(f64::sin, 0.0), 1e-5, "sin");
}

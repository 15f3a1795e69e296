//! The whole forward pass and greedy decoding equal transformers', for one, two and no pictures.
#![allow(clippy::unwrap_used)]

use crate::golden::{self, Golden, assert_close, values};
use burn::tensor::{DType, Device};
use lorascope::data::patches::Patches;
use lorascope::eval::loss::{self, Targets};
use lorascope::generate::{Grown, Next, Prompt, Rules, generate};
use lorascope::job::Sampling;
use lorascope::model::qwen3_vl::{Pack, Qwen3Vl, Sequence};
use lorascope::model::vision::VisionOutput;
use std::ops::ControlFlow;
use std::sync::Arc;

const MODELS: [(&str, &str); 3] =
    [("tiny-dense", "forward_dense"), ("tiny-moe", "forward_moe"), ("tiny-moe-hub", "forward_moe")];
const CASES: [&str; 3] = ["case0", "case1", "case2"];

/// One golden case: its tokens, and the features that our vision tower makes of its pixels.
struct Case {
    ids: Vec<u32>,
    labels: Vec<i32>,
    grids: Vec<[usize; 3]>,
    features: Vec<Arc<VisionOutput>>,
}

fn model(name: &str) -> Qwen3Vl {
    Qwen3Vl::load(&golden::path("models").join(name), &Device::flex(), DType::F32, &|_, _| {}).unwrap()
}

fn case(model: &Qwen3Vl, golden: &Golden, case: &str) -> Case {
    let ints = |key: &str| golden.ints(&format!("{case}.{key}"));
    let grids: Vec<[usize; 3]> = if golden.has(&format!("{case}.grid_thw")) {
        ints("grid_thw").as_chunks::<3>().0.iter().map(|g| g.map(|n| n as usize)).collect()
    } else {
        Vec::new()
    };
    let mut pixels =
        if grids.is_empty() { Vec::new() } else { golden.floats(&format!("{case}.pixel_values")) };
    let features = grids
        .iter()
        .map(|&grid| {
            let rest = pixels.split_off(grid.iter().product::<usize>() * 1536);
            let patches = Patches { grid, pixels: std::mem::replace(&mut pixels, rest) };
            Arc::new(model.see(&patches, None))
        })
        .collect();
    Case {
        ids: ints("input_ids").iter().map(|&i| i as u32).collect(),
        labels: ints("labels"),
        grids,
        features,
    }
}

fn pack(model: &Qwen3Vl, cases: &[&Case]) -> Pack {
    let sequences: Vec<_> =
        cases.iter().map(|c| Sequence { ids: &c.ids, grids: &c.grids, features: &c.features }).collect();
    model.pack(&sequences).unwrap()
}

#[test]
fn hidden_states_logits_and_loss_equal_transformers() {
    for (name, file) in MODELS {
        let (model, golden) = (model(name), Golden::open(file));
        for at in CASES {
            let c = case(&model, &golden, at);
            let p = pack(&model, &[&c]);
            let mut states = model.text.hidden_states(&p.ids, &p.visual, &p.rope, &p.segments);
            let last = states.pop().unwrap();
            let all: Vec<f32> = states.into_iter().flat_map(values).collect();
            assert_close(&all, &golden.floats(&format!("{at}.hidden")), 1e-4, &format!("{name} {at} hidden"));
            let logits = values(model.text.logits(&last));
            assert_close(
                &logits,
                &golden.floats(&format!("{at}.logits")),
                1e-4,
                &format!("{name} {at} logits"),
            );
            let mean = values(loss::mean(&model, None, &p, &Targets::new(&p, &c.labels)));
            assert_close(&mean, &golden.floats(&format!("{at}.loss")), 1e-5, &format!("{name} {at} loss"));
        }
    }
}

/// Packing changes nothing: sequences in a row give what each gives alone.
#[test]
fn sequences_in_a_pack_do_not_see_each_other() {
    let (model, golden) = (model("tiny-moe"), Golden::open("forward_moe"));
    let all: Vec<Case> = CASES.iter().map(|at| case(&model, &golden, at)).collect();
    let p = pack(&model, &all.iter().collect::<Vec<_>>());
    let together = model.text.hidden_states(&p.ids, &p.visual, &p.rope, &p.segments).pop().unwrap();
    let together = values(model.text.logits(&together));
    let want: Vec<f32> = CASES.iter().flat_map(|at| golden.floats(&format!("{at}.logits"))).collect();
    assert_close(&together, &want, 1e-4, "packed logits");
}

/// Alone, in a batch, and with fewer slots than prompts or more.
#[test]
fn greedy_tokens_equal_transformers() {
    for (name, file) in MODELS {
        let (model, golden) = (model(name), Golden::open(file));
        let cases: Vec<Case> = CASES.iter().map(|at| case(&model, &golden, at)).collect();
        for slots in 1..=4 {
            let rules = Rules {
                adapter: None,
                sampling: Sampling { max_new_tokens: 24, ..Sampling::default() },
                stop_ids: &[],
                slots,
            };
            let mut prompt = |i: usize| {
                let c: &Case = &cases[i];
                let ids = c.ids[..c.ids.len() - 14].to_vec();
                Ok(Prompt { ids, grids: c.grids.clone(), features: c.features.clone(), stream: i })
            };
            let (mut told, mut ended) = (vec![Vec::new(); 3], [0; 3]);
            let mut go_on = |i: usize, grown: Grown| {
                match grown {
                    Grown::Longer(answer) => {
                        assert_eq!(answer.len(), told[i].len() + 1, "a token at a time");
                        told[i] = answer.to_vec();
                    }
                    Grown::Ended(answer) => {
                        assert_eq!(answer, told[i]);
                        ended[i] += 1;
                    }
                }
                ControlFlow::Continue(Next::GoOn)
            };
            let answers = generate(&model, 3, &mut prompt, &rules, &mut go_on).unwrap().tokens;
            assert!(told == answers && ended == [1; 3], "{told:?} {ended:?}");
            for (at, answer) in CASES.iter().zip(answers) {
                let want: Vec<u32> =
                    golden.ints(&format!("{at}.greedy24")).iter().map(|&i| i as u32).collect();
                assert_eq!(answer, want, "{name} {at} with {slots} slots");
            }
        }
    }
}

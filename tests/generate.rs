//! Answers that share beginnings, are read in parts, or stop early, are the answers they would be alone.
#![allow(clippy::unwrap_used)]

use crate::golden;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn::tensor::{DType, Device};
use lorascope::config::TrainConfig;
use lorascope::data::encode::Encoder;
use lorascope::data::windowed;
use lorascope::generate::batch::{Batch, Request, Said, Timing};
use lorascope::generate::{Talk, Who};
use lorascope::job::{Answer, Brightness, Event, Finish, Odds, Sampling, Turn};
use lorascope::model::qwen3_vl::Qwen3Vl;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

const MODEL: &str = "models/tiny-dense";

fn model() -> Qwen3Vl {
    Qwen3Vl::load(&golden::path(MODEL), &Device::flex(), DType::F32, &|_, _| {}).unwrap()
}

fn encoder() -> Encoder {
    let config = TrainConfig { image_max_pixels: 65_536, image_min_pixels: 1024, ..TrainConfig::default() };
    Encoder::load(&golden::path(MODEL), &config).unwrap()
}

fn picture(n: usize) -> PathBuf {
    golden::path(&format!("data/img/{n}.png"))
}

fn turn(image: usize, question: &str) -> Turn {
    Turn {
        images: vec![picture(image)],
        question: question.into(),
        sampling: Sampling { max_new_tokens: 12, ..Sampling::default() },
        ..Turn::default()
    }
}

/// All of it: text as it was streamed, the answer, the odds.
fn answer(talk: &mut Talk, who: &Who, turn: &Turn) -> (String, Answer, Vec<Odds>) {
    let told = Mutex::new((String::new(), Vec::new()));
    let emit = |event: Event| match event {
        Event::Token { text, .. } => told.lock().unwrap().0.push_str(&text),
        Event::Odds { odds, .. } => told.lock().unwrap().1.push(odds),
        _ => {}
    };
    talk.ask(who, 1, turn, Instant::now()).unwrap();
    let answer = loop {
        if let Some((_, answer)) = talk.step(who, &emit).pop() {
            break answer;
        }
    };
    let (text, odds) = told.into_inner().unwrap();
    (text, answer, odds)
}

#[test]
fn a_second_question_reads_only_what_is_new() {
    let (model, encoder) = (model(), encoder());
    let who = Who { model: &model, encoder: &encoder, adapter: None };
    let first = turn(0, "图片中的诊断结果是怎样?");
    let mut talk = Talk::new(2);
    let (text, answered, _) = answer(&mut talk, &who, &first);
    assert_eq!((text, answered.reused_tokens), (answered.text.clone(), 0));
    // 1. Another question, 2. the next turn, 3. another picture, 4. the first again
    let next = Turn { history: vec![(first.question.clone(), answered.text.clone())], ..turn(0, "Sure?") };
    for (asked, least) in
        [(turn(0, "Where is it?"), 40), (next, 40), (turn(1, "Where is it?"), 0), (first, 40)]
    {
        let alone = answer(&mut Talk::new(1), &who, &asked).1;
        let together = answer(&mut talk, &who, &asked).1;
        assert_eq!(together.text, alone.text, "{}", asked.question);
        assert!(together.reused_tokens >= least, "{} of {}", together.reused_tokens, together.prompt_tokens);
        assert!(together.reused_tokens < together.prompt_tokens);
        assert_eq!(alone.reused_tokens, 0);
    }
}

#[test]
fn what_follows_an_answer_is_read_while_nobody_waits() {
    let (model, encoder) = (model(), encoder());
    let who = Who { model: &model, encoder: &encoder, adapter: None };
    let first = turn(0, "What is it?");
    let ask_next = |ahead: bool| {
        let mut talk = Talk::new(2);
        let said = answer(&mut talk, &who, &first).1;
        if ahead {
            talk.read_ahead(&who);
            talk.read_ahead(&who);
        }
        let history = vec![(first.question.clone(), said.text)];
        // 1. the next turn, 2. a talk that goes on in another way
        let other = turn(0, "Where is it?");
        [Turn { history, ..turn(0, "Sure?") }, other].map(|asked| answer(&mut talk, &who, &asked).1)
    };
    let (ahead, without) = (ask_next(true), ask_next(false));
    // <|im_end|>, a line, <|im_start|>, user: the last line waits for the question. The last token of the answer, too.
    assert_eq!(ahead[0].reused_tokens, without[0].reused_tokens + 5);
    assert_eq!(ahead[1].reused_tokens, without[1].reused_tokens);
    for (ahead, without) in ahead.iter().zip(&without) {
        assert_eq!(ahead.text, without.text);
    }
}

#[test]
fn several_questions_at_a_time_answer_as_alone() {
    let (model, encoder) = (model(), encoder());
    let who = Who { model: &model, encoder: &encoder, adapter: None };
    let asked: Vec<Turn> = (0..5).map(|i| turn(i % 2, &format!("Question {i}?"))).collect();
    let mut talk = Talk::new(3);
    let (mut next, mut answers) = (0, vec![String::new(); asked.len()]);
    while next < asked.len() || !talk.idle() {
        while next < asked.len() && talk.room() > 0 {
            talk.ask(&who, next as u64, &asked[next], Instant::now()).unwrap();
            next += 1;
        }
        for (id, answer) in talk.step(&who, &|_| {}) {
            answers[id as usize] = answer.text;
        }
    }
    for (asked, text) in asked.iter().zip(answers) {
        assert_eq!(text, answer(&mut Talk::new(1), &who, asked).1.text, "{}", asked.question);
    }
}

#[test]
fn a_prompt_in_parts_is_the_prompt() {
    let (model, encoder) = (model(), encoder());
    let grids = encoder.grids_of(&[lorascope::data::ImageRef::Path(picture(0))]).unwrap();
    let patches = encoder.patches_of(&[lorascope::data::ImageRef::Path(picture(0))]).unwrap();
    let features = std::sync::Arc::new(model.see(&patches[0], None));
    let message =
        lorascope::data::Message { role: lorascope::data::Role::User, content: "<image>What?".into() };
    let ids = encoder.prompt(None, &[message], &grids).unwrap();
    let tokens = |chunk: usize| {
        let mut batch = Batch::new(2, false).in_parts(chunk);
        let request = Request {
            tag: 0,
            ids: ids.clone(),
            grids: grids.clone(),
            pictures: Vec::new(),
            tuned: false,
            sampling: Sampling { max_new_tokens: 8, guesses: 0, ..Sampling::default() },
            stream: 0,
            odds: None,
        };
        batch.add(&model, request, &mut |_| Ok(features.clone())).unwrap();
        let (mut all, mut steps) = (Vec::new(), 0);
        while batch.running() > 0 {
            steps += 1;
            batch.step((&model, None), &[], &mut |_, said| {
                if let Said::Token { id, .. } = said {
                    all.push(id);
                }
                true
            });
        }
        (all, steps)
    };
    let (whole, steps) = tokens(4096);
    assert_eq!((whole.len(), steps), (8, 8));
    // Parts that end within the picture, and of one token.
    for chunk in [ids.len() - 1, 17, 1] {
        let (parts, steps) = tokens(chunk);
        assert_eq!(parts, whole, "parts of {chunk}");
        assert_eq!(steps, 7 + ids.len().div_ceil(chunk));
    }
}

/// What was written, with how likely each token was, by a batch that has written something before.
fn written(
    model: &Qwen3Vl,
    ids: &[u32],
    before: &[Vec<u32>],
    sampling: &Sampling,
) -> (Vec<(u32, u32)>, Timing) {
    let mut batch = Batch::new(1, false);
    let mut all = Vec::new();
    for ids in before.iter().map(Vec::as_slice).chain([ids]) {
        all.clear();
        let request = Request {
            tag: 0,
            ids: ids.to_vec(),
            grids: Vec::new(),
            pictures: Vec::new(),
            tuned: false,
            sampling: sampling.clone(),
            stream: 0,
            odds: Some(0),
        };
        batch.add(model, request, &mut |_| unreachable!("no pictures")).unwrap();
        while batch.running() > 0 {
            batch.step((model, None), &[5], &mut |_, said| {
                if let Said::Token { id, odds } = said {
                    all.push((id, odds.unwrap().logprob.to_bits()));
                }
                true
            });
        }
    }
    (all, batch.timing())
}

/// Bit for bit, where guesses are right and where they are wrong.
#[test]
fn guesses_change_no_answer() {
    let model = model();
    let ids: Vec<u32> = (0..40).map(|i| 100 + i * 37 % 11).collect();
    // A prompt that says of the answer's tokens that something else follows them, which is what is guessed
    let plain = Sampling { max_new_tokens: 48, guesses: 0, ..Sampling::default() };
    let (answer, _) = written(&model, &ids, &[], &plain);
    let lie: Vec<u32> = answer.windows(3).flat_map(|w| [w[0].0, w[1].0, w[2].0, 77]).collect();
    let drawn = Sampling { temperature: 1.2, top_k: 20, seed: 3, ..plain.clone() };
    let penalised = Sampling { repetition_penalty: 1.3, ..plain.clone() };
    let (mut guessed, mut right) = (0, 0);
    for rule in [plain, drawn, penalised] {
        for before in [vec![], vec![ids.clone()], vec![lie.clone()]] {
            let (alone, calm) = written(&model, &ids, &before, &rule);
            let (same, timing) = written(&model, &ids, &before, &Sampling { guesses: 7, ..rule.clone() });
            assert_eq!(same, alone, "{rule:?} after {} prompts", before.len());
            assert_eq!((calm.guessed, timing.written), (0, calm.written));
            assert_eq!(calm.rounds - timing.rounds, timing.right, "each right guess saves a pass");
            guessed += timing.guessed;
            right += timing.right;
        }
    }
    assert!(0 < right && right < guessed, "{right} of {guessed}");
}

#[test]
fn odds_stops_and_limits() {
    let (model, encoder) = (model(), encoder());
    let who = Who { model: &model, encoder: &encoder, adapter: None };
    let mut talk = Talk::new(1);
    let mut asked = turn(0, "What?");
    asked.odds = Some(3);
    let (text, whole, odds) = answer(&mut talk, &who, &asked);
    assert_eq!((odds.len(), whole.finish), (whole.new_tokens, Finish::Length));
    for one in &odds {
        assert_eq!(one.top.len(), 3);
        assert_eq!(one.top[0], (one.token.clone(), one.logprob), "greedy takes the likeliest");
        assert!(one.logprob <= 0.0 && one.top[1].1 <= one.logprob);
    }
    // The text stops before the stop text, wherever tokens end.
    let characters: Vec<char> = text.chars().collect();
    let stop: String = characters[characters.len() / 2..][..2].iter().collect();
    asked.sampling.stop = vec![stop.clone()];
    let (streamed, stopped, _) = answer(&mut talk, &who, &asked);
    assert_eq!((streamed.as_str(), stopped.finish), (text.split(&stop).next().unwrap(), Finish::Stop));
    assert_eq!(stopped.text, streamed);
    // The same seed draws the same.
    asked.sampling = Sampling { temperature: 1.5, seed: 7, max_new_tokens: 12, ..Sampling::default() };
    let drawn = answer(&mut talk, &who, &asked).0;
    assert_eq!(drawn, answer(&mut Talk::new(2), &who, &asked).0);
    asked.sampling.seed = 8;
    assert_ne!(drawn, answer(&mut talk, &who, &asked).0);
}

#[test]
fn what_cannot_be_asked_is_told() {
    let (model, encoder) = (model(), encoder());
    let who = Who { model: &model, encoder: &encoder, adapter: None };
    let mut talk = Talk::new(1);
    let mut long = turn(0, "x");
    long.sampling.max_new_tokens = 10_000_000;
    for (bad, word) in [
        (Turn { images: vec!["no/such.png".into()], ..turn(0, "x") }, "no/such.png"),
        (Turn { images: vec!["data:image/png;base64,AAAA".into()], ..turn(0, "x") }, "not a picture"),
        (long, "tokens"),
    ] {
        let error = talk.ask(&who, 1, &bad, Instant::now()).unwrap_err();
        assert!(error.message.contains(word), "{}", error.message);
        assert!(!error.message.starts_with("picture "), "there is only one: {}", error.message);
    }
    // Of several it is said which one, also where only decoding tells.
    let whole = std::fs::read(picture(0)).unwrap();
    let cut = format!("data:image/png;base64,{}", STANDARD.encode(&whole[..whole.len() / 2]));
    for bad in ["data:image/png;base64,*", "data:image/png;base64,AAAA", &cut] {
        let several = Turn { images: vec![picture(1), bad.into(), picture(2)], ..turn(0, "x") };
        let error = talk.ask(&who, 1, &several, Instant::now()).unwrap_err();
        assert!(error.message.starts_with("picture 2 of 3: "), "{}", error.message);
    }
    assert!(talk.idle() && talk.room() == 1, "a refused question takes no place");
    assert!(!answer(&mut talk, &who, &turn(0, "x")).0.is_empty());
}

/// Through a window the model sees what a file with the windowed pixels would show it, and a talk does not take one for
/// the other.
#[test]
fn a_picture_through_a_window_is_another_picture() {
    let (model, encoder) = (model(), encoder());
    let who = Who { model: &model, encoder: &encoder, adapter: None };
    let odd = |turn: Turn| Turn { odds: Some(1), ..turn };
    let plain = odd(turn(0, "What?"));
    for window in [Brightness::Set { centre: 300, width: 200 }, Brightness::Auto] {
        let through = Turn { brightness: Some(window), ..plain.clone() };
        let file = Turn { images: vec![windowed::seen(&picture(0), window).unwrap()], ..plain.clone() };
        let mut talk = Talk::new(2);
        let stored = answer(&mut talk, &who, &plain);
        let seen = answer(&mut talk, &who, &through);
        let pixels = answer(&mut Talk::new(1), &who, &file);
        let close = |a: &Odds, b: &Odds| a.token == b.token && (a.logprob - b.logprob).abs() < 1e-4;
        assert!(seen.2.len() == pixels.2.len() && seen.2.iter().zip(&pixels.2).all(|(a, b)| close(a, b)));
        assert!(seen.1.reused_tokens < 40, "the picture as stored is no beginning of this");
        let again = answer(&mut talk, &who, &through);
        assert!(again.1.reused_tokens >= 40 && again.0 == seen.0, "but the same window is");
        if window != Brightness::Auto {
            let first = |odds: &[Odds]| odds.first().map(|o| o.logprob.to_bits());
            assert_ne!(first(&stored.2), first(&seen.2), "the model sees the difference");
        }
    }
}

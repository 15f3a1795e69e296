//! The chat and the evaluation pane in Chinese, in all their states: complete, and as they look.
#![allow(clippy::unwrap_used)]

use crate::left_over::{Cut, left_over};
use crate::screens::{Screen, start_training, started, step, with_data};
use crate::screens_talk::{self, ask, asked, say};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lorascope::config::TrainConfig;
use lorascope::data::dropped::Named;
use lorascope::error::Error;
use lorascope::job::{Answer, Event, Finish, Odds, Outcome, Prediction, ScoreRow};
use lorascope::tui::Msg;
use lorascope::tui::effects::Loaded;
use lorascope::tui::state::talk::answerer::Choice;
use lorascope::tui::talk_worker::Told;
use lorascope::tui::words::{Language, Words};
use serde_json::json;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Words that are the same in Chinese: names of settings, measures, files, keys and data.
const ALLOWED: &[&str] = &[
    "home",
    "me",
    "runs",
    "demo",
    "other",
    "checkpoint",
    "scan",
    "png",
    "data",
    "html",
    "json",
    "talk",
    "corrected",
    "ShareGPT",
    "report",
    "bleu",
    "rouge",
    "rouge-l",
    "Alt",
    "Ctrl",
    "CT",
    "MR",
    "cpu",
    "flex",
];

fn chinese(width: u16, height: u16) -> Screen {
    let mut screen = with_data(width, height);
    screen.app.state.words = Words { language: Language::Chinese };
    screen.app.state.zoomed = true;
    screen.feed(Msg::Loaded(Loaded::Adapter(Some("/home/me/lungs/runs/demo".into()))));
    screen.keys("4");
    screen.load_pictures();
    screen
}

fn check(screen: &mut Screen, state: &str) {
    let text = screen.text();
    let left = left_over(&text, ALLOWED, Cut::Counts);
    assert!(left.is_empty(), "{state}: {left:?}\n{text}");
    let columns = screen.terminal.backend().buffer().area.width;
    let widest = text.lines().map(unicode_width::UnicodeWidthStr::width).max().unwrap();
    assert!(widest <= columns.into(), "{state}: {widest}\n{text}");
}

fn odds(token: &str, other: &str) -> Odds {
    let top = vec![(token.into(), 0.42f32.ln()), (other.into(), 0.38f32.ln())];
    Odds { token: token.into(), logprob: 0.42f32.ln(), top }
}

/// A talk with all that can be said of an answer.
fn talk(width: u16, height: u16) -> Screen {
    let mut screen = chinese(width, height);
    screen.keys("o");
    ask(&mut screen, "病灶在哪里?");
    let (job, _) = asked(&mut screen).remove(0);
    screen.event(job, Event::Odds { id: 0, odds: odds("左", "右") });
    say(&mut screen, job, "左肺上叶。");
    screen.press(KeyCode::Esc);
    screen.keys("wB");
    screen.press(KeyCode::Esc);
    screen.keys("p简短回答。");
    screen.press(KeyCode::Tab);
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    screen.keys("0.7");
    screen.press(KeyCode::Enter);
    screen.keys("c");
    let both = asked(&mut screen);
    say(&mut screen, both[0].0, "无法判断。");
    say(&mut screen, both[1].0, "左肺上叶结节。");
    screen.load_pictures();
    screen
}

#[test]
fn the_chat_has_no_english_left() {
    for (width, height) in SIZES {
        let mut screen = Screen::new(width, height);
        screen.app.state.words = Words { language: Language::Chinese };
        screen.app.state.zoomed = true;
        screen.keys("4");
        check(&mut screen, "no data");
        ask(&mut screen, "病灶在哪里?");
        check(&mut screen, "no model");

        let mut screen = chinese(width, height);
        check(&mut screen, "nothing asked");
        screen.keys("v");
        check(&mut screen, "nothing to compare");
        screen.keys("b");
        check(&mut screen, "the base model answers");
        screen.keys("bw");
        screen.load_pictures();
        check(&mut screen, "the picture large");
        screen.keys("B+");
        screen.load_pictures();
        check(&mut screen, "through a window");
        screen.keys("a");
        screen.load_pictures();
        check(&mut screen, "through its own window");
        screen.press(KeyCode::Esc);
        screen.keys("p");
        check(&mut screen, "settings");
        screen.press(KeyCode::Esc);
        let found = vec!["/home/me/lungs/runs/other/checkpoint-5".into()];
        screen.feed(Msg::Loaded(Loaded::Talk(Told::Adapters { found, choice: Choice::Answer })));
        check(&mut screen, "adapters");
        screen.press(KeyCode::Esc);
        screen.keys("i");
        check(&mut screen, "about to write");
        screen.press(KeyCode::Esc);
        screen.keys("s");
        check(&mut screen, "with its caption");

        let mut screen = talk(width, height);
        check(&mut screen, "a talk");
        screen.keys("C");
        check(&mut screen, "a correction");
        screen.press(KeyCode::Enter);
        check(&mut screen, "corrected");
        screen.keys("W");
        check(&mut screen, "about to be saved");
        screen.press(KeyCode::Enter);
        for told in [
            Told::Saved(Ok("/home/me/lungs/talk.json".into())),
            Told::Added(Ok("/home/me/lungs/data/corrected.json".into())),
            Told::Files(Named {
                files: vec!["/home/me/lungs/scan.png".into()],
                lost: vec!["/home/me/lungs/scan.png".into()],
            }),
        ] {
            screen.feed(Msg::Loaded(Loaded::Talk(told)));
            check(&mut screen, "told by the worker");
        }
        screen.keys("r");
        check(&mut screen, "waiting");
        let (job, _) = asked(&mut screen).remove(0);
        let error = Some(Error::input("图片已不存在"));
        screen.event(job, Event::Answered { id: 0, answer: None, error });
        check(&mut screen, "failed");
        screen.keys("A");
        check(&mut screen, "nothing to add");
        screen.keys("r");
        let (job, _) = asked(&mut screen).remove(0);
        let answer = Some(Answer { finish: Finish::Length, new_tokens: 9, ..Answer::default() });
        screen.event(job, Event::Answered { id: 0, answer, error: None });
        screen.event(job, Event::Token { id: 0, text: "左肺".into(), done: true });
        check(&mut screen, "cut off");
        screen.keys("o");
        check(&mut screen, "odds of the next answer");
        screen.keys("o");
        screen.keys("r");
        screen.keys("x");
        check(&mut screen, "stopped");
    }
}

#[test]
fn the_chat_while_training_has_no_english_left() {
    let mut screen = chinese(200, 60);
    let job = start_training(&mut screen);
    screen.event(job, started());
    screen.event(job, Event::Step(step(10)));
    ask(&mut screen, "病灶在哪里?");
    screen.event(job, Event::Token { id: 1, text: "左肺".into(), done: true });
    screen.load_pictures();
    check(&mut screen, "an answer of the model in training");
}

fn prediction(index: usize, predict: &str, score: f64) -> Prediction {
    Prediction {
        question: "图片中的诊断结果是怎样?".into(),
        label: "右肺上叶结节".into(),
        ..screens_talk::prediction(index, predict, score)
    }
}

fn scores(mean: f64) -> Vec<ScoreRow> {
    let row = |name: &str| ScoreRow { name: name.into(), mean, low: mean - 5.0, high: mean + 5.0 };
    vec![row("bleu-4"), row("rouge-l")]
}

/// An evaluation that goes on, and the jobs of base and tuned model.
fn evaluation(width: u16, height: u16) -> (Screen, [u64; 2]) {
    let mut screen = chinese(width, height);
    screen.keys("6");
    screen.effects.clear();
    screen.keys("e");
    let jobs: Vec<u64> = screen.evaluations().iter().map(|(id, _)| *id).collect();
    let [base, tuned] = jobs[..] else { panic!("not both are evaluated: {jobs:?}") };
    screen.event(base, Event::Predicted(prediction(0, "左肺结节", 10.0)));
    screen.event(base, Event::Predicted(prediction(1, "未见异常", 60.0)));
    screen.event(
        base,
        Event::Scores { done: 2, total: 2, remaining: 0.0, rows: scores(35.0), slots: Vec::new() },
    );
    screen.event(base, Event::Finished(Outcome::Done { summary: json!({ "report": "report.html" }) }));
    screen.event(tuned, Event::Predicted(prediction(0, "右肺上叶结节", 100.0)));
    screen.event(
        tuned,
        Event::Scores { done: 1, total: 2, remaining: 90.0, rows: scores(80.0), slots: Vec::new() },
    );
    screen.load_pictures();
    (screen, [base, tuned])
}

#[test]
fn the_evaluation_has_no_english_left() {
    for (width, height) in SIZES {
        let mut screen = chinese(width, height);
        screen.keys("6");
        check(&mut screen, "none yet");
        let config = screen.app.state.config.clone();
        screen.app.state.start_from(TrainConfig { dataset: Vec::new(), ..config });
        screen.keys("e");
        check(&mut screen, "nothing to evaluate on");
        let (mut screen, [_, tuned]) = evaluation(width, height);
        check(&mut screen, "running");
        for _ in 0..4 {
            screen.keys("s");
            check(&mut screen, "sorted");
        }
        screen.event(tuned, Event::Finished(Outcome::Stopped { summary: json!({}) }));
        check(&mut screen, "stopped");
        let (mut screen, [_, tuned]) = evaluation(width, height);
        screen.event(tuned, Event::Finished(Outcome::Failed { error: Error::usage("没有这个数据集") }));
        check(&mut screen, "failed");
    }
}

#[test]
fn both_panes_as_they_look() {
    for (width, height) in SIZES {
        insta::assert_snapshot!(format!("chat_{width}x{height}"), talk(width, height).text());
        insta::assert_snapshot!(format!("evaluation_{width}x{height}"), evaluation(width, height).0.text());
    }
}

//! The chat and the evaluation pane on whole screens, fed with messages only.
#![allow(clippy::unwrap_used)]

use crate::screens::{Screen, start_training, started, step, with_data};
use crossterm::event::KeyCode;
use lorascope::data::dropped::Named;
use lorascope::error::Error;
use lorascope::job::{Answer, Command, Event, Finish, Job, Odds, Outcome, Prediction, ScoreRow};
use lorascope::runs::Status;
use lorascope::tui::Msg;
use lorascope::tui::effects::{Effect, Load, Loaded};
use lorascope::tui::run_worker;
use lorascope::tui::state::PaneId;
use lorascope::tui::talk_worker::{self, Ask, Side, Told};
use serde_json::json;
use std::path::PathBuf;

pub fn ask(screen: &mut Screen, question: &str) {
    screen.keys("4i");
    screen.keys(question);
    screen.press(KeyCode::Enter);
}

/// The questions that were asked since the last call, with their jobs.
pub fn asked(screen: &mut Screen) -> Vec<(u64, lorascope::job::AskJob)> {
    let effects = std::mem::take(&mut screen.effects);
    let ask = |effect| match effect {
        Effect::Submit { id, job: Job::Ask(ask) } => Some((id, *ask)),
        _ => None,
    };
    effects.into_iter().filter_map(ask).collect()
}

pub fn say(screen: &mut Screen, job: u64, text: &str) {
    screen.event(job, Event::Token { id: 0, text: text.into(), done: false });
    let answer = Answer { text: text.into(), first_token: 0.25, ..Answer::default() };
    screen.event(job, Event::Answered { id: 0, answer: Some(answer), error: None });
    screen.event(job, Event::Token { id: 0, text: String::new(), done: true });
    screen.event(job, Event::Finished(Outcome::Done { summary: json!({}) }));
}

#[test]
fn base_and_adapter_stand_side_by_side() {
    let mut screen = with_data(160, 50);
    screen.app.state.zoomed = true;
    screen.feed(Msg::Loaded(Loaded::Adapter(Some("/home/me/lungs/runs/demo".into()))));
    ask(&mut screen, "Which side");
    let (job, _) = asked(&mut screen).remove(0);
    say(&mut screen, job, "left");
    screen.press(KeyCode::Esc);
    screen.keys("c");
    let both = asked(&mut screen);
    assert_eq!(both.iter().map(|(_, a)| a.turn.use_base).collect::<Vec<_>>(), [true, false]);
    assert!(both.iter().all(|(_, a)| a.turn.history.is_empty()), "asked again, not after itself");
    say(&mut screen, both[0].0, "the base says no");
    say(&mut screen, both[1].0, "the adapter says yes");
    let text = screen.text();
    let line = text.lines().find(|l| l.contains("the base says no")).unwrap();
    assert!(line.contains("the adapter says yes"), "{line}");
    // The talk goes on from the adapter's answer.
    ask(&mut screen, "Sure");
    let (_, next) = asked(&mut screen).remove(0);
    assert_eq!(next.turn.history.len(), 1);
    assert_eq!(next.turn.history[0].1, "the adapter says yes");
}

#[test]
fn a_corrected_answer_becomes_a_row_and_talks_are_kept() {
    let mut screen = with_data(160, 50);
    ask(&mut screen, "Which side");
    let (job, _) = asked(&mut screen).remove(0);
    say(&mut screen, job, "left");
    let kept =
        |e: &Effect| matches!(e, Effect::Load(Load::Talk(Ask::Keep { line, .. })) if line.contains("left"));
    assert!(screen.effects.iter().any(kept), "the talk goes into the run's history");
    screen.press(KeyCode::Esc);
    screen.keys("C");
    (0..4).for_each(|_| screen.press(KeyCode::Backspace));
    screen.keys("right");
    screen.press(KeyCode::Enter);
    assert!(screen.text().contains("corrected"));
    screen.effects.clear();
    screen.keys("A");
    let Some(Effect::Load(Load::Talk(Ask::Add { name, talk, .. }))) = screen.effects.pop() else {
        panic!("nothing was added")
    };
    assert_eq!((name.as_str(), talk.turns[0].1.as_str(), talk.images.len()), ("corrected", "right", 1));
    screen.feed(Msg::Loaded(Loaded::Talk(Told::Added(Err(Error::usage("it is a parquet file"))))));
    assert!(screen.text().contains("it is a parquet file"));
}

#[test]
fn edited_and_dropped() {
    let mut screen = with_data(160, 50);
    ask(&mut screen, "Which sied");
    let (job, _) = asked(&mut screen).remove(0);
    say(&mut screen, job, "left");
    screen.press(KeyCode::Esc);
    screen.keys("e");
    (0..3).for_each(|_| screen.press(KeyCode::Backspace));
    screen.keys("ide");
    screen.feed(Msg::Paste("'/tmp/a b.png'".into()));
    let Some(Effect::Load(Load::Talk(Ask::Dropped(text)))) = screen.effects.pop() else {
        panic!("the worker was not asked")
    };
    assert_eq!(text, "'/tmp/a b.png'");
    screen.feed(Msg::Loaded(Loaded::Talk(Told::Files(Named {
        files: vec!["/tmp/a b.png".into(), "/tmp/c.png".into()],
        lost: Vec::new(),
    }))));
    screen.feed(Msg::Loaded(Loaded::Talk(Told::Words("?".into()))));
    screen.press(KeyCode::Enter);
    let (_, next) = asked(&mut screen).remove(0);
    assert_eq!(next.turn.question, "<image><image>Which side?");
    assert_eq!(next.turn.images.len(), 2);
    assert!(next.turn.history.is_empty(), "the edited question is not in its own history");
}

#[test]
fn an_answer_that_was_cut_off_says_so() {
    let mut screen = with_data(160, 50);
    ask(&mut screen, "Which side");
    let (job, _) = asked(&mut screen).remove(0);
    let answer = Answer { finish: Finish::Length, new_tokens: 96, ..Answer::default() };
    screen.event(job, Event::Token { id: 0, text: "left, and then".into(), done: false });
    screen.event(job, Event::Answered { id: 0, answer: Some(answer), error: None });
    screen.event(job, Event::Token { id: 0, text: String::new(), done: true });
    assert!(screen.text().contains("cut off after 96 tokens: p, max_new_tokens"), "{}", screen.text());
}

#[test]
fn an_answer_that_failed_becomes_no_row_unless_it_is_written() {
    let mut screen = with_data(160, 50);
    ask(&mut screen, "Which side");
    let (job, _) = asked(&mut screen).remove(0);
    screen.event(job, Event::Answered { id: 0, answer: None, error: Some(Error::input("it is too long")) });
    screen.press(KeyCode::Esc);
    let added = |screen: &mut Screen| {
        let effects = std::mem::take(&mut screen.effects);
        effects.into_iter().any(|e| matches!(e, Effect::Load(Load::Talk(Ask::Add { .. }))))
    };
    screen.keys("A");
    assert!(!added(&mut screen), "an empty answer to learn from");
    assert!(screen.text().contains("C writes it as it should be"), "{}", screen.text());
    screen.keys("Cleft");
    screen.press(KeyCode::Enter);
    screen.keys("A");
    assert!(added(&mut screen));
}

#[test]
fn a_question_counts_until_another_is_asked_in_its_place() {
    let mut screen = with_data(160, 50);
    ask(&mut screen, "Which side");
    let (job, _) = asked(&mut screen).remove(0);
    say(&mut screen, job, "left");
    screen.press(KeyCode::Esc);
    screen.keys("e");
    screen.press(KeyCode::Esc);
    screen.keys("i now");
    screen.press(KeyCode::Enter);
    let (job, next) = asked(&mut screen).remove(0);
    assert_eq!(next.turn.question, "Which side now");
    assert_eq!(next.turn.history.len(), 1, "the one that was not edited after all");
    say(&mut screen, job, "still left");
    screen.press(KeyCode::Esc);
    screen.keys("e?");
    screen.press(KeyCode::Enter);
    let (_, next) = asked(&mut screen).remove(0);
    assert_eq!((next.turn.question.as_str(), next.turn.history.len()), ("Which side now?", 1));
}

#[test]
fn a_file_that_is_no_picture_is_not_asked_about() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wrong.png");
    std::fs::write(&file, "no picture").unwrap();
    let told = talk_worker::answer(Ask::Dropped(file.display().to_string()));
    assert!(matches!(told, Told::NoPicture(_)));
    let mut screen = with_data(160, 50);
    screen.keys("4i");
    screen.feed(Msg::Loaded(Loaded::Talk(told)));
    assert!(screen.text().contains("is not a picture in a known format"), "{}", screen.text());
    assert!(screen.app.state.talk.dropped.is_empty());
}

#[test]
fn how_sure_the_model_is_and_why_it_does_not_answer() {
    let mut screen = with_data(160, 50);
    screen.app.state.zoomed = true;
    screen.keys("4o");
    ask(&mut screen, "Which side");
    let (job, first) = asked(&mut screen).remove(0);
    assert_eq!(first.turn.odds, Some(2));
    let odds = Odds {
        token: "left".into(),
        logprob: 0.42f32.ln(),
        top: vec![("left".into(), 0.42f32.ln()), ("right".into(), 0.38f32.ln())],
    };
    screen.event(job, Event::Odds { id: 0, odds });
    say(&mut screen, job, "left");
    assert!(screen.text().contains(r#"least sure: "left" 42 % (or "right" 38 %)"#), "{}", screen.text());
    ask(&mut screen, "And now");
    let (job, _) = asked(&mut screen).remove(0);
    let error = Some(Error::input("the picture is gone"));
    screen.event(job, Event::Answered { id: 0, answer: None, error });
    screen.event(job, Event::Token { id: 0, text: String::new(), done: true });
    assert!(screen.text().contains("the picture is gone"));
}

/// The model in training is asked twice, and both can be stopped.
#[test]
fn a_comparison_while_training() {
    let mut screen = with_data(160, 50);
    let job = start_training(&mut screen);
    screen.event(job, started());
    screen.event(job, Event::Step(step(10)));
    ask(&mut screen, "Which side");
    screen.event(job, Event::Token { id: 1, text: "left".into(), done: true });
    screen.press(KeyCode::Esc);
    screen.effects.clear();
    screen.keys("c");
    screen.keys("x");
    let sent = |e: &Effect| match e {
        Effect::Send { command: Command::Ask { id, .. }, .. } => Some(("ask", *id)),
        Effect::Send { command: Command::CancelAsk { id }, .. } => Some(("cancel", *id)),
        _ => None,
    };
    let sent: Vec<_> = screen.effects.iter().filter_map(sent).collect();
    assert_eq!(sent, [("ask", 2), ("ask", 3), ("cancel", 2), ("cancel", 3)]);
}

pub fn prediction(index: usize, predict: &str, score: f64) -> Prediction {
    Prediction {
        index,
        id: format!("scan-{index}"),
        images: vec!["/home/me/lungs/data/mllm_data/1.png".into()],
        group: Some("CT".into()),
        question: "What?".into(),
        predict: predict.into(),
        label: "a small lesion".into(),
        scores: vec![("rouge-l".into(), score)],
    }
}

fn scores(mean: f64) -> Vec<ScoreRow> {
    vec![ScoreRow { name: "rouge-l".into(), mean, low: mean - 5.0, high: mean + 5.0 }]
}

#[test]
fn a_long_talk_is_scrolled_to_its_beginning_and_back() {
    let mut screen = with_data(100, 30);
    screen.app.state.zoomed = true;
    for n in 0..12 {
        ask(&mut screen, &format!("question {n:02}"));
        let (job, _) = asked(&mut screen).remove(0);
        say(&mut screen, job, &format!("answer {n:02} in some words, ").repeat(12));
        screen.press(KeyCode::Esc);
    }
    let shows = |screen: &mut Screen, first: bool, last: bool| {
        let text = screen.text();
        assert_eq!((text.contains("question 00"), text.contains("question 11")), (first, last), "{text}");
    };
    shows(&mut screen, false, true);
    screen.keys("g");
    shows(&mut screen, true, false);
    screen.keys("jk");
    shows(&mut screen, true, false);
    screen.keys("G");
    shows(&mut screen, false, true);
}

fn in_order(screen: &Screen) -> Vec<usize> {
    let e = &screen.app.state.evaluation;
    (0..e.len()).filter_map(|place| e.at(place)).collect()
}

#[test]
fn an_evaluation_as_it_goes_on() {
    let mut screen = with_data(140, 44);
    screen.feed(Msg::Loaded(Loaded::Adapter(Some("/home/me/lungs/runs/demo".into()))));
    screen.keys("6");
    assert!(screen.text().contains("No evaluation yet"));
    screen.effects.clear();
    screen.keys("e");
    assert!(screen.text().contains(" evaluating base …"), "the status line: {}", screen.text());
    let jobs = screen.evaluations();
    let folders: Vec<_> = jobs.iter().map(|(_, c)| c.output_dir.display().to_string()).collect();
    assert_eq!(folders, ["/home/me/lungs/runs/demo/evaluation/base", "/home/me/lungs/runs/demo/evaluation"]);
    assert!(jobs[0].1.adapter_name_or_path.is_none() && jobs[1].1.adapter_name_or_path.is_some());

    let (base, tuned) = (jobs[0].0, jobs[1].0);
    screen.event(base, Event::Predicted(prediction(0, "nothing here", 10.0)));
    screen.event(base, Event::Predicted(prediction(1, "a small lesion", 60.0)));
    screen.event(
        base,
        Event::Scores { done: 2, total: 2, remaining: 0.0, rows: scores(35.0), slots: Vec::new() },
    );
    screen.event(base, Event::Finished(Outcome::Done { summary: json!({ "report": "r.html" }) }));
    screen.event(tuned, Event::Predicted(prediction(0, "a large lesion", 80.0)));
    screen.event(
        tuned,
        Event::Scores { done: 1, total: 2, remaining: 90.0, rows: scores(80.0), slots: Vec::new() },
    );
    let text = screen.text();
    for word in [
        "35.00",
        "80.00",
        "30.00 to 40.00",
        "base 2/2",
        " evaluating tuned 1/2 · ETA 1:30",
        "a [small]large lesion",
        "+70.0",
    ] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    let beside = |line: &str| line.contains("base · rouge-l 10.0") && line.contains("tuned · rouge-l 80.0");
    assert!(text.lines().any(beside), "{text}");
    // Worst first: the second sample is judged by the base model alone so far.
    screen.keys("s");
    assert!(screen.text().contains("worst first"));
    assert_eq!(in_order(&screen), [1, 0]);
    assert_eq!(screen.app.state.evaluation.current(), Some(0), "the same sample stays selected");
    screen.event(tuned, Event::Predicted(prediction(1, "a small lesion", 90.0)));
    assert_eq!(in_order(&screen), [0, 1], "one that comes finds its place");
    screen.keys("s");
    assert_eq!(in_order(&screen), [1, 0], "best first");
    screen.keys("s");
    assert_eq!(in_order(&screen), [0, 1], "gain first: 70 and 30");
    screen.effects.clear();
    screen.keys("x");
    assert!(
        matches!(screen.effects[..], [Effect::Send { id, command: Command::Stop { .. } }] if id == tuned)
    );
    screen.event(tuned, Event::Finished(Outcome::Failed { error: Error::usage("no such data set") }));
    let text = screen.text();
    assert!(text.contains("no such data set") && !text.contains(" evaluating "), "{text}");
}

#[test]
fn the_list_of_samples_says_what_its_numbers_are() {
    let mut screen = with_data(160, 44);
    screen.app.state.zoomed = true;
    screen.keys("6");
    let dir = evaluations(&mut screen).remove(0);
    let side = Side {
        samples: vec![prediction(0, "a large lesion", 50.0)],
        scores: scores(50.0),
        slots: Vec::new(),
    };
    screen.feed(Msg::Loaded(Loaded::Talk(Told::Evaluation { dir, sides: [Some(side), None] })));
    for order in ["in order", "worst first", "best first", "gain first"] {
        assert!(screen.text().contains(&format!("│ {order} · rouge-l ")), "{}", screen.text());
        screen.keys("s");
    }
    // In less room the order is said, and of none the score.
    screen.terminal.backend_mut().resize(112, 30);
    assert!(screen.text().contains("│ rouge-l      base "), "{}", screen.text());
    screen.keys("s");
    assert!(screen.text().contains("│ worst f… "), "{}", screen.text());
}

/// What was asked of the worker for the evaluation pane since the last call.
fn evaluations(screen: &mut Screen) -> Vec<PathBuf> {
    screen.draw();
    let effects = std::mem::take(&mut screen.effects);
    let wanted = |effect| match effect {
        Effect::Load(Load::Talk(Ask::Evaluation(dir))) => Some(dir),
        _ => None,
    };
    effects.into_iter().filter_map(wanted).collect()
}

#[test]
fn an_evaluation_of_the_command_line_opens_from_the_runs() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("by-hand");
    std::fs::create_dir(&at).unwrap();
    let line = serde_json::to_string(&prediction(0, "a large lesion", 50.0)).unwrap();
    std::fs::write(at.join("evaluated_samples.jsonl"), format!("{line}\n")).unwrap();
    std::fs::write(at.join("events.jsonl"), "").unwrap();
    std::fs::write(
        at.join("evaluation.json"),
        json!({ "adapter": null, "measures": scores(50.0) }).to_string(),
    )
    .unwrap();
    let mut screen = with_data(140, 44);
    screen.feed(Msg::Loaded(Loaded::Adapter(Some("/home/me/lungs/runs/demo".into()))));
    let open = run_worker::Ask::Open { dir: at.clone(), status: Status::Finished };
    screen.feed(Msg::Loaded(Loaded::Runs(run_worker::answer(open))));
    assert_eq!(screen.app.state.focus, PaneId::Evaluation);
    assert_eq!(evaluations(&mut screen), std::slice::from_ref(&at));
    screen.feed(Msg::Loaded(Loaded::Talk(talk_worker::answer(Ask::Evaluation(at)))));
    let text = screen.text();
    // Without an adapter it is the base model's.
    for word in ["by-hand · base 1/1", "50.00", "base · rouge-l 50.0", "a [small]large lesion"] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    // A new evaluation is the adapter's again.
    screen.keys("e");
    assert!(!screen.text().contains("by-hand"));
    assert_eq!(screen.app.state.evaluation.dir, Some("/home/me/lungs/runs/demo/evaluation".into()));
}

#[test]
fn an_evaluation_on_disk_is_read_when_it_is_looked_at() {
    let mut screen = with_data(80, 24);
    screen.feed(Msg::Loaded(Loaded::Adapter(Some("/home/me/lungs/runs/demo".into()))));
    screen.keys("6");
    screen.draw();
    let dir = screen.effects.iter().find_map(|e| match e {
        Effect::Load(Load::Talk(Ask::Evaluation(dir))) => Some(dir.clone()),
        _ => None,
    });
    let dir = dir.unwrap();
    screen.effects.clear();
    screen.draw();
    assert!(screen.effects.is_empty(), "asked once");
    let evil = prediction(0, "evil \u{1b}[31m \u{202e} \n\n words", 50.0);
    let all = ["rouge-1", "rouge-2", "rouge-l", "bleu-4"];
    let all = all.map(|name| ScoreRow { name: name.into(), ..scores(50.0).remove(0) });
    let side = Side { samples: vec![evil], scores: all.into(), slots: Vec::new() };
    screen.feed(Msg::Loaded(Loaded::Talk(Told::Evaluation { dir, sides: [Some(side), None] })));
    let text = screen.text();
    assert!(text.contains("50.00") && text.contains("scan-0") && !text.contains('\u{1b}'), "{text}");
    let shown = ["rouge-1", "rouge-2", "rouge-l", "bleu-4"].map(|name| text.contains(&format!("│ {name} ")));
    assert_eq!(shown, [false, false, true, true], "what samples are sorted by is there: {text}");
    for (width, height) in [(20, 6), (30, 10), (60, 12), (200, 60)] {
        screen.terminal.backend_mut().resize(width, height);
        screen.text();
    }
}

//! The chat pane: who answers, in which manner, through which window; several lines, saving and loading.
#![allow(clippy::unwrap_used)]

use crate::screens::{Screen, start_training, started, with_data};
use crate::screens_talk::{ask, asked, say};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lorascope::data::conversation::Conversation;
use lorascope::data::dropped::Named;
use lorascope::job::{Brightness, Sampling};
use lorascope::tui::Msg;
use lorascope::tui::effects::{Effect, Load, Loaded};
use lorascope::tui::state::talk::answerer::Choice;
use lorascope::tui::talk_worker::{self, Ask, Told};
use std::path::PathBuf;

const DEMO: &str = "/home/me/lungs/runs/demo";
const OTHER: &str = "/home/me/lungs/runs/other/checkpoint-5";

/// A large chat pane of a workspace whose newest adapter is [`DEMO`].
fn chat() -> Screen {
    let mut screen = with_data(160, 50);
    screen.app.state.zoomed = true;
    screen.feed(Msg::Loaded(Loaded::Adapter(Some(DEMO.into()))));
    screen.keys("4");
    screen
}

fn with(screen: &mut Screen, code: KeyCode, modifiers: KeyModifiers) {
    screen.feed(Msg::Key(KeyEvent::new(code, modifiers)));
}

/// What the worker is asked for, of the last effect.
fn wanted(screen: &mut Screen) -> Ask {
    match screen.effects.pop() {
        Some(Effect::Load(Load::Talk(ask))) => ask,
        other => panic!("the worker was not asked: {other:?}"),
    }
}

fn told(screen: &mut Screen, told: Told) {
    screen.feed(Msg::Loaded(Loaded::Talk(told)));
}

/// Answers the question for adapters that a key asks.
fn offer(screen: &mut Screen, key: &str) {
    screen.keys(key);
    let Ask::Adapters { runs, choice } = wanted(screen) else { panic!("no adapters were asked for") };
    assert_eq!(runs, PathBuf::from("/home/me/lungs/runs"));
    told(screen, Told::Adapters { found: vec![DEMO.into(), OTHER.into()], choice });
}

fn answered(screen: &mut Screen, question: &str, answer: &str) {
    ask(screen, question);
    let (job, _) = asked(screen).remove(0);
    say(screen, job, answer);
    screen.press(KeyCode::Esc);
}

#[test]
fn another_adapter_answers_when_it_is_chosen() {
    let mut screen = chat();
    offer(&mut screen, "a");
    let text = screen.text();
    assert!(text.contains("Who answers?") && text.contains("adapter other/checkpoint-5"), "{text}");
    screen.keys("other");
    screen.press(KeyCode::Enter);
    assert!(screen.text().contains("answers: adapter other/checkpoint-5"), "{}", screen.text());
    ask(&mut screen, "Which side");
    let (job, first) = asked(&mut screen).remove(0);
    assert_eq!((first.adapter, first.turn.use_base), (Some(OTHER.into()), false));
    say(&mut screen, job, "left");
    screen.press(KeyCode::Esc);
    screen.keys("br");
    let (job, base) = asked(&mut screen).remove(0);
    assert!(base.turn.use_base && screen.text().contains("answers: base model"));
    say(&mut screen, job, "no");
    screen.keys("br");
    let (_, again) = asked(&mut screen).remove(0);
    assert_eq!((again.adapter, again.turn.use_base), (Some(OTHER.into()), false), "the key goes back to it");
}

#[test]
fn two_adapters_answer_one_question() {
    let mut screen = chat();
    screen.keys("v");
    assert!(screen.effects.is_empty() && screen.text().contains("ask something first"));
    answered(&mut screen, "Which side", "left");
    offer(&mut screen, "v");
    screen.keys("other");
    screen.press(KeyCode::Enter);
    let both = asked(&mut screen);
    let whom: Vec<_> = both.iter().map(|(_, a)| (a.adapter.clone().unwrap(), a.turn.use_base)).collect();
    assert_eq!(whom, [(PathBuf::from(OTHER), false), (PathBuf::from(DEMO), false)]);
    assert!(both.iter().all(|(_, a)| a.turn.history.is_empty()), "the same question to both");
    say(&mut screen, both[0].0, "the other says no");
    say(&mut screen, both[1].0, "the newest says yes");
    let text = screen.text();
    let line = text.lines().find(|l| l.contains("the other says no")).unwrap();
    assert!(line.contains("the newest says yes"), "{line}");
    assert!(text.contains("adapter other/checkpoint-5") && text.contains("adapter demo"), "{text}");
}

#[test]
fn a_picture_that_was_added_is_taken_away_again() {
    let mut screen = chat();
    screen.keys("D");
    assert!(screen.text().contains("no picture was added here"), "{}", screen.text());
    let files = ["/tmp/a.png", "/tmp/b.png"].map(PathBuf::from);
    told(&mut screen, Told::Files(Named { files: files.to_vec(), lost: Vec::new() }));
    assert!(screen.text().contains("2 dropped"), "{}", screen.text());
    screen.keys("D");
    assert!(screen.text().contains("taken away: /tmp/b.png"), "{}", screen.text());
    ask(&mut screen, "Which side");
    let (job, first) = asked(&mut screen).remove(0);
    assert_eq!(first.turn.images, files[..1]);
    say(&mut screen, job, "left");
    screen.press(KeyCode::Esc);
    screen.press(KeyCode::Delete);
    ask(&mut screen, "Which side");
    let (_, next) = asked(&mut screen).remove(0);
    assert_ne!(next.turn.images, files[..1], "the sample's again");
    assert!(next.turn.history.is_empty(), "what was said of another picture is not of this one");
}

/// A line that is written, and what the worker makes of it; returns what is shown then.
fn written(screen: &mut Screen, line: &str) -> String {
    screen.keys("i");
    screen.keys(line);
    screen.press(KeyCode::Enter);
    let ask = wanted(screen);
    told(screen, talk_worker::answer(ask));
    let shown = screen.text();
    screen.press(KeyCode::Esc);
    shown
}

#[test]
fn a_path_that_is_written_is_a_picture_and_one_that_is_gone_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let [there, gone] = ["a b.png", "gone.png"].map(|name| dir.path().join(name));
    image::GrayImage::new(8, 8).save(&there).unwrap();
    let mut screen = chat();
    written(&mut screen, &there.display().to_string());
    assert_eq!(screen.app.state.talk.dropped, std::slice::from_ref(&there));
    assert!(asked(&mut screen).is_empty(), "it is no question");
    let shown = written(&mut screen, &format!("'{}' '{}'", there.display(), gone.display()));
    assert_eq!(screen.app.state.talk.dropped, [there.clone(), there]);
    assert!(shown.contains("picture not found: "), "{shown}");
    let shown = written(&mut screen, &gone.display().to_string());
    assert!(asked(&mut screen).is_empty() && shown.contains("picture not found: "), "{shown}");
    assert_eq!(screen.app.state.talk.input.text(), gone.display().to_string(), "to be written right");
    screen.app.state.talk.input.clear();
    written(&mut screen, "Is it in a.png");
    assert_eq!(asked(&mut screen).remove(0).1.turn.question, "<image><image>Is it in a.png");
}

#[test]
fn what_was_asked_again_is_marked_and_a_comparison_that_counts_is_not() {
    let mut screen = chat();
    answered(&mut screen, "Which side", "left");
    assert!(!screen.text().contains("replaced"));
    screen.keys("r");
    let (job, _) = asked(&mut screen).remove(0);
    say(&mut screen, job, "right");
    let marked = |screen: &mut Screen| screen.text().matches("· replaced").count();
    assert_eq!(marked(&mut screen), 1, "{}", screen.text());
    screen.keys("c");
    for (job, _) in asked(&mut screen) {
        say(&mut screen, job, "both");
    }
    assert_eq!(marked(&mut screen), 2, "both single ones: {}", screen.text());
    screen.keys("r");
    assert_eq!(marked(&mut screen), 4, "both sides of the comparison too: {}", screen.text());
}

#[test]
fn beside_a_model_in_training_there_is_only_the_base() {
    let mut screen = chat();
    let job = start_training(&mut screen);
    screen.event(job, started());
    screen.keys("4");
    screen.effects.clear();
    offer(&mut screen, "a");
    let text = screen.text();
    assert!(text.contains("adapter in training") && text.contains("base model"), "{text}");
    assert!(!text.contains("checkpoint-5"), "{text}");
    told(&mut screen, Told::Adapters { found: Vec::new(), choice: Choice::Answer });
    assert!(screen.text().contains("adapter in training"), "also without any on disk");
}

#[test]
fn system_text_and_sampling_go_with_every_question() {
    let mut screen = chat();
    screen.keys("p");
    screen.keys("Be brief.");
    with(&mut screen, KeyCode::Enter, KeyModifiers::ALT);
    screen.keys("In Chinese.");
    screen.press(KeyCode::Tab);
    with(&mut screen, KeyCode::Char('u'), KeyModifiers::CONTROL);
    screen.keys("hot");
    screen.press(KeyCode::Enter);
    assert!(screen.text().contains("temperature must be a number"), "{}", screen.text());
    with(&mut screen, KeyCode::Char('u'), KeyModifiers::CONTROL);
    screen.keys("0.7");
    screen.press(KeyCode::Enter);
    ask(&mut screen, "Which side");
    let (job, first) = asked(&mut screen).remove(0);
    assert_eq!(first.turn.system.as_deref(), Some("Be brief.\nIn Chinese."));
    assert_eq!((first.turn.sampling.temperature, first.turn.sampling.max_new_tokens), (0.7, 512));
    say(&mut screen, job, "left");
    assert!(screen.text().contains("with a system text · temperature 0.7 · seed 42"), "{}", screen.text());
    // What is left with Esc stays as it was.
    screen.press(KeyCode::Esc);
    screen.keys("p");
    with(&mut screen, KeyCode::Char('u'), KeyModifiers::CONTROL);
    screen.press(KeyCode::Esc);
    screen.keys("r");
    let (_, again) = asked(&mut screen).remove(0);
    assert_eq!(again.turn.system.as_deref(), Some("Be brief.\nIn Chinese."));
}

#[test]
fn a_question_of_several_lines_stays_one() {
    let mut screen = chat();
    screen.keys("i");
    screen.keys("one");
    with(&mut screen, KeyCode::Enter, KeyModifiers::ALT);
    screen.keys("two");
    with(&mut screen, KeyCode::Char('j'), KeyModifiers::CONTROL);
    told(&mut screen, Told::Words("three\r\nfour".into()));
    let text = screen.text();
    let at = |word: &str| text.lines().position(|l| l.contains(word)).unwrap();
    assert_eq!(
        [at("> one"), at("  two"), at("  three"), at("  four")],
        [0, 1, 2, 3].map(|n| at("> one") + n)
    );
    assert!(asked(&mut screen).is_empty());
    screen.press(KeyCode::Enter);
    let (_, first) = asked(&mut screen).remove(0);
    assert_eq!(first.turn.question, "<image>one\ntwo\nthree\nfour");
}

#[test]
fn the_model_sees_the_picture_through_the_window_that_is_set() {
    let mut screen = chat();
    screen.keys("wB");
    assert!(screen.text().contains("seen through level 55 %, window 100 %"), "{}", screen.text());
    screen.press(KeyCode::Esc);
    ask(&mut screen, "Which side");
    let (job, first) = asked(&mut screen).remove(0);
    let darker = Brightness::Set { centre: 550, width: 1000 };
    assert_eq!(first.turn.brightness, Some(darker));
    say(&mut screen, job, "left");
    screen.press(KeyCode::Esc);
    // What is set later is said of later answers only.
    screen.keys("wa");
    screen.press(KeyCode::Esc);
    let text = screen.text();
    assert!(
        text.contains("seen through level 55 %") && text.contains("seen through the window found"),
        "{text}"
    );
    screen.keys("A");
    let Ask::Add { seen, .. } = wanted(&mut screen) else { panic!("nothing was added") };
    assert_eq!(seen, [Some(darker)], "the row gets the picture that was seen");
    screen.keys("r");
    assert_eq!(asked(&mut screen).remove(0).1.turn.brightness, Some(Brightness::Auto));
    screen.press(KeyCode::Char('x'));
    screen.keys("wr");
    assert!(screen.text().contains("as stored"));
    screen.keys("w");
    screen.keys("r");
    assert_eq!(asked(&mut screen).remove(0).1.turn.brightness, None);
}

#[test]
fn a_talk_is_saved_and_loaded_with_its_manner() {
    let mut screen = chat();
    screen.keys("W");
    assert!(screen.text().contains("ask something first"));
    answered(&mut screen, "Which side", "left");
    answered(&mut screen, "Sure", "yes");
    let path = PathBuf::from("/home/me/lungs/talk.json");
    for again in [false, true] {
        screen.keys("W");
        assert!(screen.text().contains("save to: /home/me/lungs/talk.json"), "{}", screen.text());
        screen.press(KeyCode::Enter);
        let Ask::Save { path: to, talk, again: over, .. } = wanted(&mut screen) else { panic!("not saved") };
        assert_eq!((to, over, talk.images.len()), (path.clone(), again, 1));
        assert_eq!(talk.turns[0], ("<image>Which side".into(), "left".into()));
        assert_eq!(talk.turns[1].0, "Sure");
        told(&mut screen, Told::Saved(Ok(path.clone())));
    }
    screen.keys("L");
    screen.press(KeyCode::Enter);
    assert!(matches!(wanted(&mut screen), Ask::Load(from) if from == path));
    let sampling = Some(Sampling { temperature: 0.5, ..Sampling::default() });
    let talk = Conversation {
        system: Some("Be brief.".into()),
        images: vec!["/tmp/a.png".into(), "/tmp/b.png".into()],
        turns: vec![
            ("<image>What?".into(), "A lung.".into()),
            ("<image>And here?".into(), "A brain.".into()),
            ("Left?".into(), "Right.".into()),
        ],
        sampling: sampling.clone(),
    };
    told(&mut screen, Told::Loaded(Ok((Box::new(talk), 12))));
    assert!(
        screen.text().contains("A brain.")
            && screen.text().contains("3 questions loaded: the first of 12 rows")
    );
    ask(&mut screen, "Sure");
    let (_, next) = asked(&mut screen).remove(0);
    assert_eq!((next.turn.system.as_deref(), Some(next.turn.sampling)), (Some("Be brief."), sampling));
    assert_eq!(next.turn.images, [PathBuf::from("/tmp/b.png")]);
    assert_eq!(next.turn.history[0].0, "<image>And here?", "it goes on with the picture it ended with");
    assert_eq!(next.turn.history.len(), 2);
}

#[test]
fn a_saved_talk_that_is_no_talk_is_told() {
    let mut screen = chat();
    told(&mut screen, Told::Loaded(Err(lorascope::error::Error::input("this is no conversation"))));
    assert!(screen.text().contains("this is no conversation"));
    answered(&mut screen, "Which side", "left");
    screen.keys("W");
    screen.press(KeyCode::Esc);
    screen.keys("i");
    assert!(!screen.text().contains("talk.json"), "the path does not become a question");
}

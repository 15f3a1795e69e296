//! What keys and mouse do in the workbench, fed with messages only.
#![allow(clippy::unwrap_used)]

use crate::screens::{Screen, start_training, step, training, with_data};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lorascope::config::TrainConfig;
use lorascope::job::{Event, Job, Outcome};
use lorascope::tui::Msg;
use lorascope::tui::effects::{Effect, Load, Loaded};

#[test]
fn searching_the_data() {
    let mut screen = with_data(80, 24);
    screen.keys("/结节");
    screen.draw();
    assert!(screen.text().contains("60 of 240 samples"), "{}", screen.text());
    screen.press(KeyCode::Enter);
    screen.keys("j");
    screen.draw();
    assert_eq!(screen.app.state.data.sample().unwrap().row, 4);
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("240 samples"));
    assert_eq!(screen.app.state.data.sample().unwrap().row, 4, "the selection stays on the sample");
}

#[test]
fn text_from_data_is_harmless() {
    let mut screen = with_data(200, 60);
    screen.keys("jjj");
    let text = screen.text();
    assert!(text.contains("evil [31m red txet"));
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']));
}

#[test]
fn edits_are_kept_marked_and_undone() {
    let mut screen = with_data(80, 24);
    screen.keys("2/lora_rank");
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Enter);
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    screen.keys("32");
    screen.press(KeyCode::Enter);
    assert_eq!(screen.app.state.config.lora_rank, 32);
    assert!(screen.text().contains("1 changed"));
    screen.keys("u");
    assert_eq!(screen.app.state.config.lora_rank, 8);
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char('r'), KeyModifiers::CONTROL)));
    assert_eq!(screen.app.state.config.lora_rank, 32);
    screen.keys("x");
    assert_eq!(screen.app.state.config.lora_rank, 8);
}

#[test]
fn an_invalid_value_is_never_taken() {
    let mut screen = with_data(80, 24);
    screen.keys("2/lora_rank");
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Enter);
    screen.keys("x");
    screen.press(KeyCode::Enter);
    assert_eq!(screen.app.state.config.lora_rank, 8);
    screen.press(KeyCode::Esc);
    assert_eq!(screen.app.state.config.lora_rank, 8);
}

#[test]
fn reading_values_off_the_curve() {
    let (mut screen, _) = training(80, 24);
    screen.keys("hhh");
    // 240 logged steps: the cursor moves by 2.
    assert!(screen.text().contains("step 234 ·"), "{}", screen.text());
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("measured"));
}

#[test]
fn controls_of_a_running_job() {
    let (mut screen, id) = training(80, 24);
    let said = |screen: &mut Screen, keys: &str| {
        screen.effects.clear();
        screen.keys(keys);
        match screen.effects.pop() {
            Some(Effect::Send { id: to, command }) if to == id => format!("{command:?}"),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(said(&mut screen, "p"), "Pause");
    screen.event(id, Event::Paused(true));
    assert_eq!(said(&mut screen, "p"), "Resume");
    screen.event(id, Event::Paused(false));
    assert_eq!(said(&mut screen, "w"), "SaveNow");
    assert_eq!(said(&mut screen, "X"), "None", "losing steps asks first");
    assert!(screen.text().contains("40 steps since the last checkpoint are lost"));
    assert_eq!(said(&mut screen, "x"), "Stop { save: false }");
}

#[test]
fn quitting_with_nothing_running() {
    let mut screen = with_data(80, 24);
    screen.keys("q");
    assert!(matches!(screen.effects.pop(), Some(Effect::Quit)));
}

#[test]
fn asking_without_training_and_again_of_the_base() {
    let mut screen = with_data(80, 24);
    screen.feed(Msg::Loaded(Loaded::Adapter(Some("/home/me/lungs/runs/demo".into()))));
    screen.keys("4i");
    screen.press(KeyCode::Enter); // the sample's own question
    let (id, job) = screen.submitted();
    let Job::Ask(ask) = job else { panic!("not a question: {job:?}") };
    assert_eq!(ask.turn.question, "<image>图片中的诊断结果是怎样?");
    assert_eq!(ask.adapter, Some("/home/me/lungs/runs/demo".into()));
    screen.event(id, Event::Token { id: 0, text: "右肺结节。".into(), done: true });
    screen.press(KeyCode::Esc);
    screen.keys("br");
    let (second, job) = screen.submitted();
    let Job::Ask(ask) = job else { panic!("not a question: {job:?}") };
    assert!(ask.turn.use_base && ask.turn.history.is_empty(), "a retry does not see the answer it replaces");
    screen.event(second, Event::Token { id: 0, text: "不清楚。".into(), done: true });
    screen.keys("i接着说");
    screen.press(KeyCode::Enter);
    let (_, Job::Ask(ask)) = screen.submitted() else { panic!("not a question") };
    assert_eq!(ask.turn.history, [("<image>图片中的诊断结果是怎样?".into(), "不清楚。".to_string())]);
    assert_eq!(ask.turn.question, "接着说");
}

#[test]
fn training_asked_for_before_the_settings_are_there_waits_for_them() {
    let mut screen = Screen::new(80, 24);
    assert!(matches!(screen.app.start()[..], [Effect::Load(Load::Workspace(_))]));
    screen.keys("t");
    assert!(screen.text().contains("the settings are being read"), "{}", screen.text());
    let config = TrainConfig {
        model_name_or_path: "/home/me/lungs/model".into(),
        dataset: vec!["mllm_train_data".into()],
        ..TrainConfig::default()
    };
    screen.effects.clear();
    screen.feed(Msg::Loaded(Loaded::Config(Box::new(config.clone()))));
    assert!(screen.effects.is_empty(), "a run that goes on may be found yet");
    screen.feed(Msg::Loaded(Loaded::Workspace));
    let Some(Effect::Load(Load::FreeRunDir(asked))) = screen.effects.pop() else {
        panic!("it does not begin")
    };
    assert!(*asked == config, "with the settings that came");
    screen.feed(Msg::Loaded(Loaded::Workspace));
    assert!(screen.effects.is_empty(), "once");
    // In a workspace without settings it says what is missing then.
    let mut screen = Screen::new(80, 24);
    screen.app.start();
    screen.keys("t");
    screen.feed(Msg::Loaded(Loaded::Workspace));
    assert!(screen.text().contains("no model folder is set"), "{}", screen.text());
}

#[test]
fn a_users_key_wins_over_a_panes_and_the_hints_say_so() {
    let (mut screen, _) = training(120, 40);
    let table = "[everywhere]\nzoom = [\"p\"]";
    screen.app.state.keys = screen.app.state.keys.clone().with(table, "keys.toml").unwrap();
    let text = screen.text();
    assert!(text.contains("p zoom") && text.contains("Space pause"), "{text}");
    screen.keys("p");
    assert!(screen.app.state.zoomed);
}

#[test]
fn the_first_minute() {
    let mut screen = Screen::new(80, 24);
    assert!(screen.text().contains("Start here: d gets the demo"));
    screen.keys("d");
    assert!(matches!(screen.effects.pop(), Some(Effect::Load(Load::Demo(_)))));
    screen.keys("d");
    assert!(screen.effects.is_empty(), "a second press does not start it twice");
    assert!(screen.text().contains("something is running"));
    let mut screen = with_data(80, 24);
    assert!(screen.text().contains("Next: t starts training"));
    let id = start_training(&mut screen);
    screen.event(id, Event::Step(step(1)));
    assert!(screen.text().contains("Next: 4 ask the model"));
}

#[test]
fn a_failed_run_says_why_and_what_to_do() {
    let mut screen = with_data(80, 24);
    let id = start_training(&mut screen);
    let error = lorascope::error::Error::input("model folder has no weights: /home/me/lungs/model")
        .hint("put model.safetensors there");
    screen.event(id, Event::Finished(Outcome::Failed { error }));
    let text = screen.text();
    assert!(
        text.contains("model folder has no weights") && text.contains("put model.safetensors there"),
        "{text}"
    );
    screen.keys("t");
    assert!(
        matches!(screen.effects.pop(), Some(Effect::Load(Load::FreeRunDir(_)))),
        "it can be started again"
    );
}

#[test]
fn help_comes_from_the_key_table() {
    let mut screen = with_data(80, 90);
    screen.keys("3?");
    let text = screen.text();
    for wanted in
        ["Pause and resume", "p Space", "Logarithmic loss axis", "Pictures: half blocks: a test says so"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    screen.press(KeyCode::Esc);
    screen.keys(":log axis");
    assert!(screen.text().contains("Logarithmic loss axis"));
}

#[test]
fn the_mouse_can_do_it_too() {
    let mut screen = with_data(200, 60);
    screen.draw();
    let click = |screen: &mut Screen, kind, column, row| {
        screen.feed(Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
        screen.draw();
    };
    click(&mut screen, MouseEventKind::Down(MouseButton::Left), 5, 6);
    assert_eq!(screen.app.state.data.selected, 4);
    click(&mut screen, MouseEventKind::ScrollDown, 5, 6);
    assert_eq!(screen.app.state.data.selected, 5);
    click(&mut screen, MouseEventKind::Down(MouseButton::Left), 150, 50);
    assert_eq!(screen.app.state.focus, lorascope::tui::state::PaneId::Chat);
}

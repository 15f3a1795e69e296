//! Runs, comparisons, charts and settings on whole screens of the workbench, fed with messages only.
#![allow(clippy::unwrap_used)]

use crate::screens::{Screen, started, step, training, with_data};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lorascope::config::TrainConfig;
use lorascope::error::Error;
use lorascope::job::{Command, Event, GpuUse, Job, Level, StepRow, TimeSplit};
use lorascope::runs::compare::{MetricRow, SettingRow};
use lorascope::runs::delete::Doomed;
use lorascope::runs::{Columns, Comparison, Detail, RunInfo, Status};
use lorascope::tui::Msg;
use lorascope::tui::effects::{Effect, Load, Loaded};
use lorascope::tui::run_worker::{Ask, Told};
use lorascope::tui::settings_worker;
use lorascope::tui::state::PaneId;
use lorascope::tui::state::run::Run;
use lorascope::tui::text;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// A run of the workspace; `n` tells them apart.
fn run(n: usize, name: &str, status: Status) -> Detail {
    let dir = PathBuf::from("/home/me/lungs/runs").join(name);
    let info = RunInfo {
        path: dir.clone(),
        name: name.into(),
        status,
        step: 100 * n,
        total_steps: 400,
        loss: Some(1.0 / n as f64),
        age_seconds: 50 * 60_u64.pow(n as u32 - 1),
    };
    let settings =
        json!({ "learning_rate": "5e-5", "num_train_epochs": "3", "lora_rank": (8 * n).to_string() });
    Detail {
        info,
        settings: object(settings),
        complete: true,
        metrics: object(json!({ "eval_loss": 0.5 + n as f64 / 10.0, "train_loss": 0.9 })),
        checkpoint: (n == 2).then(|| dir.join("checkpoint-200")),
    }
}

pub fn runs() -> Vec<Detail> {
    vec![
        run(1, "tutorial-two", Status::Finished),
        run(2, "tutorial-one", Status::Stopped),
        run(3, "肺-\u{1b}[31m", Status::Unknown),
    ]
}

/// The runs pane with its list.
fn with_runs(width: u16, height: u16) -> Screen {
    let mut screen = with_data(width, height);
    screen.keys("5");
    screen.draw();
    assert!(screen.effects.iter().any(|e| matches!(e, Effect::Load(Load::Runs(Ask::List(_))))));
    screen.effects.clear();
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Listed(Ok(runs())))));
    screen
}

fn asked(screen: &mut Screen) -> Ask {
    match screen.effects.pop() {
        Some(Effect::Load(Load::Runs(ask))) => ask,
        other => panic!("the runs' worker was not asked: {other:?}"),
    }
}

fn columns(factor: f64) -> Columns {
    let mut columns = Columns::default();
    for n in 1..=240 {
        let mut row = step(n);
        row.loss *= factor;
        columns.push(&row);
    }
    columns.push_eval(200, 0.6 * factor);
    columns.smooth();
    columns
}

pub fn comparison() -> Comparison {
    let value = |v: &str| Some(v.to_string());
    Comparison {
        runs: runs()[..2].to_vec(),
        settings: vec![
            SettingRow { key: "lora_rank".into(), values: vec![value("8"), value("16")] },
            SettingRow { key: "lr_scheduler_type".into(), values: vec![value("cosine"), None] },
        ],
        metrics: vec![MetricRow {
            name: "eval_loss".into(),
            values: vec![Some(0.6), Some(0.7)],
            best: Some(0),
        }],
        curves: vec![columns(1.0), columns(1.3)],
    }
}

/// A snapshot at all sizes.
fn all_sizes(name: &str, make: impl Fn(u16, u16) -> Screen) {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), make(width, height).text());
    }
}

#[test]
fn the_list_of_runs() {
    all_sizes("runs", with_runs);
}

#[test]
fn a_workspace_without_runs() {
    let mut screen = with_data(80, 24);
    screen.keys("5");
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Listed(Ok(Vec::new())))));
    insta::assert_snapshot!("runs_none_80x24", screen.text());
}

#[test]
fn two_runs_compared() {
    all_sizes("compared", |w, h| {
        let mut screen = with_runs(w, h);
        screen.keys("c");
        let Ask::Compare { dirs, .. } = asked(&mut screen) else { panic!("nothing is compared") };
        let names: Vec<_> = dirs.iter().map(|d| d.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["tutorial-one", "tutorial-two"], "one keystroke: this run and the one before");
        screen.feed(Msg::Loaded(Loaded::Runs(Told::Compared(Ok(Box::new(comparison()))))));
        screen
    });
}

#[test]
fn marked_runs_are_compared_in_the_order_they_were_marked() {
    let mut screen = with_runs(120, 40);
    screen.keys("G k c");
    let Ask::Compare { dirs, .. } = asked(&mut screen) else { panic!("nothing is compared") };
    let list = runs();
    assert_eq!(dirs, [list[2].info.path.clone(), list[1].info.path.clone()]);
    screen.press(KeyCode::Esc);
    assert!(screen.app.state.runs.marked.is_empty(), "Esc takes the marks away");
}

#[test]
fn a_comparison_shows_other_curves_and_is_left_by_escape() {
    let mut screen = with_runs(120, 40);
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Compared(Ok(Box::new(comparison()))))));
    screen.keys("nay");
    let text = screen.text();
    assert!(text.contains("learning rate") && text.contains("(by epoch, log)"), "{text}");
    screen.keys("E");
    screen.press(KeyCode::Enter);
    let Ask::Export { dirs, path, view } = asked(&mut screen) else { panic!("nothing is exported") };
    assert_eq!((dirs.len(), view.log_y), (2, true));
    assert!(path.ends_with("lungs/tutorial-two.png"), "{path:?}");
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("status"), "the list is back");
}

#[test]
fn a_cursor_reads_all_compared_curves_at_one_place() {
    let mut screen = with_runs(120, 40);
    let compared = comparison();
    let at = |run: usize, row: usize| text::number(compared.curves[run].smooth.values()[row]);
    let (first, last) = ([at(0, 236), at(1, 236)], [at(0, 239), at(1, 239)]);
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Compared(Ok(Box::new(compared))))));
    let reads = |screen: &mut Screen, [a, b]: &[String; 2], place: &str| {
        let text = screen.text();
        let legend = format!("⠒ tutorial-two {a}  ⠒ tutorial-one {b}  ({place})");
        assert!(text.contains(&legend), "{legend}\n{text}");
    };
    screen.press(KeyCode::Left);
    reads(&mut screen, &last, "step 240");
    screen.press(KeyCode::Left);
    reads(&mut screen, &first, "step 237");
    screen.press(KeyCode::Right);
    reads(&mut screen, &last, "step 240");
    screen.keys("a");
    reads(&mut screen, &last, "epoch 5.33");
    screen.keys("e");
    assert!(screen.text().contains(&format!("({})", last[0])), "the measured loss before the smoothed");
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("(by epoch)"), "Esc takes the cursor away");
    screen.keys("aa");
    screen.draw();
    let (kind, modifiers) = (MouseEventKind::Down(MouseButton::Left), KeyModifiers::NONE);
    screen.feed(Msg::Mouse(MouseEvent { kind, column: 60, row: 8, modifiers }));
    let text = screen.text();
    let step: usize = text.split("(step ").nth(1).unwrap().split(')').next().unwrap().parse().unwrap();
    assert!((90..150).contains(&step), "the middle: {text}");
    assert_eq!(screen.app.state.runs.selected, 0, "no run is chosen by it");
    screen.press(KeyCode::Esc);
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("status"), "the list is back");
}

#[test]
fn the_use_of_a_gpu_is_shown_where_there_is_one() {
    let (mut screen, id) = training(120, 30);
    screen.keys("z");
    assert!(!screen.text().contains("GPU"), "{}", screen.text());
    screen.keys("N");
    assert!(screen.text().contains("memory GiB"), "the curve before the loss: {}", screen.text());
    screen.keys("n");
    let gpu = Some(GpuUse { percent: Some(87), memory: 12 << 30, total: 80 << 30 });
    screen.event(id, Event::Step(StepRow { gpu, ..step(241) }));
    screen.event(id, Event::Step(StepRow { gpu, ..step(242) }));
    let text = screen.text().replace('\u{a0}', " ");
    assert!(text.contains("GPU 87 %, 12.0/80.0 GiB"), "{text}");
    screen.keys("N");
    assert!(screen.text().contains("GPU use %"), "{}", screen.text());
}

#[test]
fn deleting_a_run_says_what_goes_and_asks() {
    let mut screen = with_runs(80, 24);
    screen.keys("jx");
    let Ask::Doom(dirs) = asked(&mut screen) else { panic!("it is not looked at first") };
    let doomed = Doomed { path: dirs[0].clone(), files: 12, bytes: 3 << 20, checkpoints: 2 };
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Doomed(Ok(vec![doomed])))));
    insta::assert_snapshot!("delete_run_80x24", screen.text());
    screen.press(KeyCode::Esc);
    assert!(screen.effects.iter().all(|e| !matches!(e, Effect::Load(Load::Runs(Ask::Delete(_))))));
    let doomed = Doomed { path: dirs[0].clone(), files: 12, bytes: 3 << 20, checkpoints: 2 };
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Doomed(Ok(vec![doomed])))));
    screen.keys("x");
    let Ask::Delete(deleted) = asked(&mut screen) else { panic!("it was not deleted") };
    assert_eq!(deleted, dirs);
    let refused = Error::usage("it is not deleted: a process works in it");
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Deleted(Err(refused)))));
    assert!(screen.text().contains("a process works in it"));
}

#[test]
fn a_stopped_run_goes_on_and_a_finished_one_says_why_not() {
    let mut screen = with_runs(80, 24);
    screen.keys("R");
    assert!(screen.text().contains("no checkpoint to go on from"));
    screen.effects.clear();
    screen.keys("jR");
    let Ask::Resume { checkpoint, .. } = asked(&mut screen) else { panic!("it does not go on") };
    assert!(checkpoint.ends_with("tutorial-one/checkpoint-200"));
    let config = TrainConfig { resume_from_checkpoint: Some(checkpoint), ..TrainConfig::default() };
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Resumed(Ok(Box::new(config.clone()))))));
    assert_eq!(screen.app.state.focus, PaneId::Training);
    let (_, Job::Train(submitted)) = screen.submitted() else { panic!("another job") };
    assert!(**submitted == config);
}

#[test]
fn an_opened_run_shows_its_curves_while_another_trains() {
    let (mut screen, id) = training(120, 40);
    let mut opened = Run::of_folder("/home/me/lungs/runs/older".into(), Status::Finished);
    opened.on_event(started());
    (1..=30).for_each(|n| opened.on_event(Event::Step(step(n))));
    screen.feed(Msg::Loaded(Loaded::Runs(Told::Opened(Ok(Box::new(opened))))));
    assert!(
        screen.text().contains("opened: demo · finished")
            || screen.text().contains("opened: older · finished")
    );
    screen.event(id, Event::Step(step(241)));
    screen.press(KeyCode::Esc);
    let text = screen.text();
    assert!(text.contains("demo · training") && text.contains("241/400"), "{text}");
}

#[test]
fn a_chart_zoomed_with_a_cursor() {
    let zoomed = |w, h| {
        let (mut screen, id) = training(w, h);
        let row = lorascope::job::StepRow {
            split: TimeSplit {
                data: 0.1,
                forward: 0.2,
                backward: 0.4,
                optimizer: 0.05,
                ..TimeSplit::default()
            },
            ..step(241)
        };
        screen.event(id, Event::Step(row));
        screen.event(id, changed());
        screen.keys("ii");
        screen.press(KeyCode::Left);
        screen
    };
    all_sizes("zoomed", zoomed);
    let mut screen = zoomed(120, 40);
    assert!(screen.text().contains("step 240 · "), "{}", screen.text());
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("(181 to 241)"), "{}", screen.text());
    screen.keys("a");
    assert!(screen.text().contains("by epoch"));
    screen.keys("0a");
    assert!(screen.text().contains("(by time)"));
}

fn changed() -> Event {
    let (key, value, was) = ("learning_rate".into(), "1e-4".into(), "2e-4".into());
    Event::Changed { step: 220, key, value, was }
}

#[test]
fn a_click_on_the_chart_reads_values_there() {
    let (mut screen, _) = training(120, 30);
    screen.keys("z");
    screen.draw();
    let (kind, modifiers) = (MouseEventKind::Down(MouseButton::Left), KeyModifiers::NONE);
    screen.feed(Msg::Mouse(MouseEvent { kind, column: 60, row: 12, modifiers }));
    let text = screen.text();
    let line = text.lines().find(|l| l.contains("smoothed")).unwrap();
    let step: usize = line.split("step ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((90..150).contains(&step), "the middle: {line}");
}

#[test]
fn settings_of_a_running_job_are_changed_and_recorded() {
    let (mut screen, id) = training(80, 24);
    screen.effects.clear();
    screen.keys("Sx0.5");
    insta::assert_snapshot!("change_80x24", screen.text());
    screen.press(KeyCode::Enter);
    let send = screen.effects.iter().find_map(|e| match e {
        Effect::Send { id, command: Command::Set { key, value } } => Some((*id, key.clone(), value.clone())),
        _ => None,
    });
    let rate = screen.app.state.config.learning_rate / 2.0;
    let (to, key, value) = send.unwrap();
    assert_eq!((to, key.as_str(), value.parse::<f64>().unwrap()), (id, "learning_rate", rate));
    screen.press(KeyCode::Down);
    screen.keys("0");
    assert!(screen.text().contains("logging_steps must be a whole number"), "{}", screen.text());
    screen.press(KeyCode::Esc);
    screen.event(id, changed());
    assert!(screen.text().contains('┊'), "it is marked in the chart: {}", screen.text());
    assert_eq!(screen.app.state.run.as_ref().unwrap().config.as_ref().unwrap().learning_rate, 1e-4);
}

#[test]
fn the_log_is_filtered_by_level_and_words() {
    let (mut screen, id) = training(80, 24);
    screen.event(id, Event::Log { level: Level::Error, line: "the disk is full".into() });
    screen.keys("vff");
    let text = screen.text();
    assert!(
        text.contains("row 17") && text.contains("the disk is full") && !text.contains("saved step"),
        "{text}"
    );
    screen.keys("f");
    assert!(!screen.text().contains("row 17"));
    screen.keys("f/SAVED");
    screen.press(KeyCode::Enter);
    let text = screen.text();
    assert!(text.contains("saved step 200") && !text.contains("the disk is full"), "{text}");
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("the disk is full"), "Esc clears the filter first");
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("measured"), "and then shows the charts");
}

/// The fastest of some frames of a run of `n` steps, each with a new step.
fn frame_time(n: usize) -> std::time::Duration {
    let (mut screen, id) = training(200, 60);
    (241..=n).for_each(|n| screen.event(id, Event::Step(step(n))));
    screen.draw();
    let frame = |k: usize| {
        let begun = std::time::Instant::now();
        screen.event(id, Event::Step(step(n + 1 + k)));
        screen.draw();
        begun.elapsed()
    };
    (0..20).map(frame).min().unwrap()
}

#[test]
fn a_run_of_a_million_steps_is_drawn_as_fast_as_a_short_one() {
    let (short, long) = (frame_time(10_000), frame_time(1_000_000));
    // Looking at every value would make it a hundred times as long.
    assert!(long < 5 * short, "{short:?} and {long:?} a frame");
}

fn estimate(screen: &mut Screen) {
    let found = Some(settings_worker::Estimate {
        trainable: 5_900_000,
        peak: 3 << 30,
        available: 2 << 30,
        seconds: Some(4000.0),
    });
    let config = Box::new(screen.app.state.config.clone());
    screen.feed(Msg::Loaded(Loaded::Settings(settings_worker::Told::Estimate { config, found })));
}

#[test]
fn parameters_with_what_they_will_take() {
    all_sizes("params_estimate", |w, h| {
        let mut screen = with_data(w, h);
        screen.keys("2");
        estimate(&mut screen);
        screen
    });
    let mut screen = with_data(120, 40);
    screen.keys("2");
    estimate(&mut screen);
    let text = screen.text();
    assert!(text.contains("does not fit: 3.0 of 2.0 GiB · trains 5.9 M · 1:06:40"), "{text}");
    screen.effects.clear();
    screen.draw();
    let again = |e: &Effect| matches!(e, Effect::Load(Load::Settings(settings_worker::Ask::Estimate { .. })));
    assert!(!screen.effects.iter().any(again), "the same settings are not computed twice");
}

fn edit(screen: &mut Screen, key: &str) {
    screen.keys("2/");
    screen.keys(key);
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Enter);
}

#[test]
fn numbers_that_follow_move_as_one_types() {
    let mut screen = with_data(120, 40);
    edit(&mut screen, "gradient_accumulation");
    let before = screen.text();
    screen.press(KeyCode::Up);
    screen.press(KeyCode::Up);
    let typed = screen.text();
    let line = |text: &str| text.lines().rfind(|l| l.contains("steps/epoch")).unwrap().to_string();
    assert_ne!(line(&before), line(&typed), "before Enter");
    screen.press(KeyCode::Esc);
    assert_eq!(line(&screen.text()), line(&before));
}

#[test]
fn paths_and_data_sets_are_completed() {
    let mut screen = with_data(120, 40);
    edit(&mut screen, "output_dir");
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    screen.keys("/r");
    let typed = screen.effects.iter().rev().find_map(|e| match e {
        Effect::Load(Load::Settings(settings_worker::Ask::Complete { typed, folders_only })) => {
            Some((typed.clone(), *folders_only))
        }
        _ => None,
    });
    assert_eq!(typed.as_ref().unwrap().0, "/r");
    let found = vec!["/root/".to_string(), "/run/".to_string()];
    let told = settings_worker::Told::Completions { typed: typed.unwrap().0, found };
    screen.feed(Msg::Loaded(Loaded::Settings(told)));
    screen.press(KeyCode::Tab);
    screen.press(KeyCode::Tab);
    screen.press(KeyCode::Enter);
    assert_eq!(screen.app.state.config.output_dir, PathBuf::from("/run/"));
    screen.press(KeyCode::Esc);
    edit(&mut screen, "eval_dataset");
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    screen.keys("mllm_v");
    screen.press(KeyCode::Tab);
    screen.press(KeyCode::Enter);
    assert_eq!(screen.app.state.config.eval_dataset, ["mllm_val_data"]);
}

#[test]
fn settings_are_loaded_undone_compared_and_saved() {
    let mut screen = with_data(120, 40);
    let before = screen.app.state.config.clone();
    screen.keys("2otutorial-two");
    screen.press(KeyCode::Enter);
    let Some(Effect::Load(Load::Settings(settings_worker::Ask::Load(name)))) = screen.effects.pop() else {
        panic!("nothing is loaded")
    };
    let config = TrainConfig { lora_rank: 32, ..before.clone() };
    let found = Ok((Box::new(config.clone()), vec!["no effect here: plot_loss".to_string()]));
    screen.feed(Msg::Loaded(Loaded::Settings(settings_worker::Told::Loaded { name, found })));
    assert!(*screen.app.state.config == config);
    assert!(screen.text().contains("settings of tutorial-two: 1 changed · no effect here: plot_loss"));
    screen.keys("u");
    assert!(*screen.app.state.config == before, "loading can be undone");
    screen.keys("Dother.yaml");
    screen.press(KeyCode::Enter);
    let told = settings_worker::Told::Other { name: "other.yaml".into(), found: Ok(Box::new(config)) };
    screen.feed(Msg::Loaded(Loaded::Settings(told)));
    let text = screen.text();
    assert!(text.contains("1 differ from other.yaml") && text.contains("lora_rank"), "{text}");
    assert!(!text.contains("model_name_or_path"), "only what differs: {text}");
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("model_name_or_path"));
    screen.effects.clear();
    screen.keys("w");
    screen.press(KeyCode::Enter);
    let saved = screen.effects.iter().any(|e| {
        matches!(e, Effect::Load(Load::Settings(settings_worker::Ask::Save { path, .. })) if path.ends_with("settings.yaml"))
    });
    assert!(saved);
}

//! Random keys, mouse, pastes, resizes, job events and loaded data: the workbench never panics.
#![allow(clippy::unwrap_used)]

use crate::screens::{sample, started, step, with_data};
use crate::screens_runs::{comparison, runs};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lorascope::data::overlay::Applied;
use lorascope::job::{Event, Level, Outcome, Phase, StepRow};
use lorascope::tui::Msg;

use lorascope::tui::browse::{self, Opened, Row};
use lorascope::tui::effects::{Effect, Load, Loaded};
use lorascope::tui::run_worker::Told;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A key, mouse event, resize, paste, job event or loaded thing at random.
fn random_msg(rng: &mut ChaCha8Rng, job: u64, set: u64) -> Msg {
    let codes = [
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::F(1),
        KeyCode::Null,
    ];
    let texts = [
        "",
        "肺结节，边界清。",
        "\u{1b}[2J\u{202e}",
        "👩‍👩‍👧e\u{301}\u{301}",
        "a\n\nb\t",
        "\u{200b}",
        "長い".repeat(400).leak(),
    ];
    let text = texts[rng.random_range(0..texts.len())].to_string();
    let value = [0.5, f64::NAN, f64::INFINITY, -1e300, 1e-320, 7.0][rng.random_range(0..6)];
    let any = rng.random_range(0..1000);
    match rng.random_range(0..20) {
        0..7 => Msg::Key(KeyEvent::new(KeyCode::Char(rng.random_range(' '..='~')), KeyModifiers::NONE)),
        7..10 => Msg::Key(KeyEvent::new(codes[rng.random_range(0..codes.len())], KeyModifiers::NONE)),
        10 => Msg::Key(KeyEvent::new(KeyCode::Char(rng.random_range('a'..='z')), KeyModifiers::CONTROL)),
        11 => Msg::Key(KeyEvent::new(KeyCode::Char('肺'), KeyModifiers::NONE)),
        12 => {
            let kinds = [
                MouseEventKind::Down(MouseButton::Left),
                MouseEventKind::ScrollUp,
                MouseEventKind::ScrollDown,
            ];
            let (kind, column, row) =
                (kinds[any % 3], rng.next_u32() as u16 % 300, rng.next_u32() as u16 % 100);
            Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
        }
        13 => Msg::Paste(text),
        14 => Msg::Job { id: job, event: Event::Token { id: any as u64 % 3, text, done: any % 5 == 0 } },
        15 => Msg::Job { id: job, event: Event::Log { level: Level::Info, line: text } },
        16 => Msg::Job {
            id: job,
            event: Event::Step(StepRow {
                step: any,
                loss: value,
                lr: value,
                seconds: value,
                remaining: value,
                memory: u64::MAX,
                ..step(any)
            }),
        },
        17 => Msg::Job {
            id: job,
            event: match any % 6 {
                0 => started(),
                1 => Event::Progress { phase: Phase::Encoding, done: any, total: any / 2 },
                2 => Event::Paused(any % 2 == 0),
                3 => Event::Score { name: "eval_loss".into(), value, step: None },
                4 => Event::Finished(Outcome::Failed { error: lorascope::error::Error::input(text) }),
                _ => Event::Saved { step: any, path: text.into() },
            },
        },
        18 if any % 2 == 0 => Msg::Loaded(Loaded::Runs(match any % 3 {
            0 => Told::Compared(Ok(Box::new(comparison()))),
            _ => Told::Listed(Ok(runs()[..any % 4].to_vec())),
        })),
        18 => Msg::Loaded(Loaded::Registry(Ok(vec![text, "b".into()]))),
        _ => {
            let rows = (0..any % 50).map(|row| Row::new(row, Ok(sample(row, &text)), Applied::default()));
            Msg::Loaded(Loaded::Browse(match any % 4 {
                0 => browse::Told::Opened {
                    set,
                    found: Ok(Opened { name: "b".into(), rows: any, ..Opened::default() }),
                },
                1 => browse::Told::Found {
                    search: any as u64 % 9,
                    rows: vec![any as u32],
                    looked: any,
                    end: None,
                },
                2 => browse::Told::Opened { set, found: Err(lorascope::error::Error::input(text)) },
                _ => browse::Told::Rows { set, rows: rows.collect() },
            }))
        }
    }
}

#[test]
fn random_use_at_any_size_never_panics() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut screen = with_data(80, 24);
    for n in 0..6000u64 {
        if n % 20 == 0 {
            let (width, height) = match n % 60 {
                0 => (rng.random_range(1..=8), rng.random_range(1..=8)),
                _ => (rng.random_range(1..=300), rng.random_range(1..=100)),
            };
            screen.terminal.backend_mut().resize(width, height);
            screen.feed(Msg::Resize);
        }
        let job = screen.app.state.run.as_ref().map_or(1, |run| run.job);
        let set = screen.app.state.data.set;
        screen.feed(random_msg(&mut rng, job, set));
        let answers: Vec<_> = std::mem::take(&mut screen.effects);
        for effect in answers {
            if let Effect::Load(Load::FreeRunDir(config)) = effect {
                screen.feed(Msg::Loaded(Loaded::FreeRunDir(Ok(config))));
            }
        }
        if n % 3 == 0 {
            screen.draw();
        }
        if n % 200 == 0 {
            screen.load_pictures();
        }
    }
}

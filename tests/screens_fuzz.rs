//! Random keys, mouse, pastes, resizes, job events and loaded data: the workbench never panics, and draws nothing that could
//! harm a terminal. `LORASCOPE_FUZZ_CASES` sets how many events.
#![allow(clippy::unwrap_used)]

use crate::screens::{Screen, sample, started, step, with_data};
use crate::screens_runs::{comparison, runs};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lorascope::data::Sample;
use lorascope::data::overlay::Applied;
use lorascope::error::Error;
use lorascope::job::{Event, Level, Outcome, Phase, Prediction, StepRow};
use lorascope::runs::delete::Doomed;
use lorascope::tui::Msg;
use lorascope::tui::browse::{self, Opened, Row};
use lorascope::tui::effects::{Effect, Load, Loaded};
use lorascope::tui::run_worker::{Ask, Told};
use lorascope::tui::state::run::Run;
use lorascope::tui::talk_worker::{self, Side};
use lorascope::tui::words::{Language, Words};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::LazyLock;

/// Events by default: some seconds of a dev build.
const EVENTS: usize = 5000;

/// What could harm a terminal, or take it long.
static HOSTILE: LazyLock<Vec<String>> = LazyLock::new(|| {
    vec![
        "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[31m\u{9b}1;1H\u{90}q\u{9c} red".into(),
        "\u{202e}txet\u{202c} \u{2066}肺\u{2069}\u{200f}\u{200e} \u{61c}\u{feff}".into(),
        format!("tower e{}", "\u{301}".repeat(5000)),
        "👩‍👩‍👧‍👦👍🏽🇨🇳 ﷽ \u{115f}\u{200b}\u{200d}\u{ad} क्षि".repeat(30),
        "a\r\n\tb\0\u{7f}\u{85}\u{2028}c\n\n\n".repeat(40),
        "肺e\u{301}\u{1b}[1m ".chars().cycle().take(100_000).collect(),
    ]
});

/// Rows with hostile captions among others; few of the longest, which would take all the time.
fn hostile() -> Vec<Sample> {
    let long = HOSTILE.len() - 1;
    let caption = |row: usize| match row {
        37 | 160 => &HOSTILE[long],
        row => &HOSTILE[row % long],
    };
    (0..240).map(|row| sample(row, caption(row))).collect()
}

/// A key, mouse event, resize, paste, job event or loaded thing at random; `size` is the screen's.
fn random_msg(rng: &mut ChaCha8Rng, (job, set): (u64, u64), size: (u16, u16)) -> Msg {
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
        HOSTILE[rng.random_range(0..HOSTILE.len() - 1)].as_str(),
    ];
    let text = texts[rng.random_range(0..texts.len())].to_string();
    let value = [0.5, f64::NAN, f64::INFINITY, -1e300, 1e-320, 7.0][rng.random_range(0..6)];
    let any = rng.random_range(0..1000);
    match rng.random_range(0..21) {
        20 => Msg::Key(KeyEvent::new(KeyCode::Char(rng.random_range('1'..='6')), KeyModifiers::NONE)),
        0..7 => Msg::Key(KeyEvent::new(KeyCode::Char(rng.random_range(' '..='~')), KeyModifiers::NONE)),
        7..10 => Msg::Key(KeyEvent::new(codes[rng.random_range(0..codes.len())], KeyModifiers::NONE)),
        10 => Msg::Key(KeyEvent::new(KeyCode::Char(rng.random_range('a'..='z')), KeyModifiers::CONTROL)),
        11 => Msg::Key(KeyEvent::new(KeyCode::Char('肺'), KeyModifiers::NONE)),
        12 => {
            let kinds = [
                MouseEventKind::Down(MouseButton::Left),
                MouseEventKind::Down(MouseButton::Right),
                MouseEventKind::Drag(MouseButton::Left),
                MouseEventKind::Up(MouseButton::Left),
                MouseEventKind::Moved,
                MouseEventKind::ScrollUp,
                MouseEventKind::ScrollDown,
            ];
            // Also a little outside: a terminal may say so while it is resized.
            let (column, row) = (rng.random_range(0..size.0 + 3), rng.random_range(0..size.1 + 3));
            let modifiers = if any % 4 == 0 { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
            Msg::Mouse(MouseEvent { kind: kinds[any % kinds.len()], column, row, modifiers })
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

/// What the workers would answer, hostile where it can be; or the effect again, which none of them answers.
fn answer(effect: Effect, screen: &Screen) -> Result<Loaded, Box<Effect>> {
    let ask = match effect {
        Effect::Load(Load::FreeRunDir(config)) => return Ok(Loaded::FreeRunDir(Ok(config))),
        Effect::Load(Load::Runs(ask)) => ask,
        Effect::Load(Load::Talk(talk_worker::Ask::Evaluation(dir))) => {
            let sides = [Some(side(0)), Some(side(3))];
            return Ok(Loaded::Talk(talk_worker::Told::Evaluation { dir, sides }));
        }
        Effect::Browse(browse::Ask::Open { set, name, .. }) => {
            let found = Ok(Opened { name, rows: screen.samples.len(), ..Opened::default() });
            return Ok(Loaded::Browse(browse::Told::Opened { set, found }));
        }
        other => return Err(Box::new(other)),
    };
    Ok(Loaded::Runs(match ask {
        Ask::List(_) => Told::Listed(Ok(runs())),
        Ask::Open { dir, status } => {
            let mut run = Run::of_folder(dir, status);
            (1..=240).for_each(|n| run.on_event(Event::Step(step(n))));
            Told::Opened(Ok(Box::new(run)))
        }
        Ask::Compare { .. } => Told::Compared(Ok(Box::new(comparison()))),
        Ask::Doom(dirs) => {
            let doomed = |path| Doomed { path, files: 3, bytes: u64::MAX, checkpoints: 1 };
            Told::Doomed(Ok(dirs.into_iter().map(doomed).collect()))
        }
        Ask::Delete(dirs) => Told::Deleted(Ok(dirs.len())),
        Ask::Import { from, .. } => Told::Imported(Ok(from)),
        Ask::Export { path, .. } => Told::Exported(Ok(path)),
        Ask::Resume { dir, .. } => Told::Resumed(Err(Error::input(dir.display().to_string()))),
    }))
}

/// An evaluation whose texts are hostile.
fn side(first: usize) -> Side {
    let text = |n: usize| HOSTILE[n % (HOSTILE.len() - 1)].clone();
    let prediction = |index: usize| Prediction {
        index,
        id: text(index),
        images: vec!["/home/me/lungs/data/mllm_data/1.png".into()],
        group: Some(text(index + 1)),
        question: text(index + 2),
        predict: text(index + first),
        label: text(index + 1),
        scores: vec![("rouge-l".into(), index as f64)],
    };
    Side { samples: (0..40).map(prediction).collect(), scores: Vec::new(), slots: Vec::new() }
}

/// Nothing on the screen moves a cursor, changes a colour or turns text around.
fn assert_harmless(screen: &Screen) {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    for cell in &screen.terminal.backend().buffer().content {
        assert!(!cell.symbol().chars().any(harmful), "{:?}", cell.symbol());
        assert!(cell.symbol().len() <= 64, "a tower: {:?}", cell.symbol());
    }
}

/// A size of a screen: mostly usual ones, tiny ones, and some as large as they come.
fn random_size(rng: &mut ChaCha8Rng) -> (u16, u16) {
    match rng.random_range(0..12) {
        0..4 => (rng.random_range(1..=8), rng.random_range(1..=8)),
        4..11 => (rng.random_range(1..=160), rng.random_range(1..=50)),
        _ => (rng.random_range(100..=500), rng.random_range(50..=200)),
    }
}

fn random_use(language: Language, seed: u64, events: usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut screen = with_data(80, 24);
    screen.app.state.words = Words { language };
    screen.keys("]");
    screen.open(hostile(), Vec::new());
    let mut size = (80, 24);
    for n in 0..events {
        if n % 20 == 0 {
            size = random_size(&mut rng);
            screen.terminal.backend_mut().resize(size.0, size.1);
            screen.feed(Msg::Resize);
        }
        let job = screen.app.state.run.as_ref().map_or(1, |run| run.job);
        let set = screen.app.state.data.set;
        screen.feed(random_msg(&mut rng, (job, set), size));
        for effect in std::mem::take(&mut screen.effects) {
            match answer(effect, &screen) {
                Ok(loaded) => screen.feed(Msg::Loaded(loaded)),
                Err(effect) => screen.effects.push(*effect),
            }
        }
        if n % 4 == 0 {
            screen.terminal.draw(|frame| screen.app.draw(frame)).unwrap();
            let wanted = screen.app.wanted();
            screen.effects.extend(wanted);
            screen.answer_browser();
            assert_harmless(&screen);
            screen.effects.retain(|effect| matches!(effect, Effect::Pictures(_)));
        }
        if n % 400 == 0 {
            screen.load_pictures();
        }
    }
}

#[test]
fn random_use_at_any_size_never_panics() {
    let events = std::env::var("LORASCOPE_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(EVENTS);
    random_use(Language::English, 7, events / 2);
    random_use(Language::Chinese, 8, events - events / 2);
}

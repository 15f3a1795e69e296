//! Languages, themes, ASCII, sizes and splits of whole screens; what a watched run and a lost one look like.
#![allow(clippy::unwrap_used)]

use crate::screens::{Screen, started, step, training, with_data};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lorascope::engine::watch::{Controls, Heard, Take};
use lorascope::job::{Command, Event};
use lorascope::tui::Msg;
use lorascope::tui::effects::{Effect, Loaded};
use lorascope::tui::state::PaneId;
use lorascope::tui::state::run::Status;
use lorascope::tui::theme::{Depth, Theme, Variant};
use lorascope::tui::words::{Language, Words};
use ratatui::style::Color;
use unicode_width::UnicodeWidthStr;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn chinese(mut screen: Screen) -> Screen {
    screen.app.state.words = Words { language: Language::Chinese };
    screen
}

fn ctrl(screen: &mut Screen, c: char) {
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)));
}

fn mouse(screen: &mut Screen, kind: MouseEventKind, column: u16, row: u16) {
    screen.feed(Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
    screen.draw();
}

/// A run of another process that this screen follows.
fn watched() -> (Screen, u64) {
    let mut screen = with_data(80, 24);
    screen.feed(Msg::Loaded(Loaded::Running("/home/me/lungs/runs/demo".into())));
    let Some(Effect::Watch { id, take: Some(Take::IfFree), .. }) = screen.effects.pop() else {
        panic!("the run is not followed")
    };
    screen.event(id, started());
    (1..=20).for_each(|n| screen.event(id, Event::Step(step(n))));
    screen.effects.clear();
    (screen, id)
}

fn controls(screen: &mut Screen, id: u64, yours: bool, watching: usize) {
    screen.feed(Msg::Link { id, heard: Heard::Control(Controls { yours, watching }) });
}

#[test]
fn chinese_screens_are_chinese_and_fit() {
    for (width, height) in SIZES {
        for text in [
            chinese(Screen::new(width, height)).text(),
            chinese(with_data(width, height)).text(),
            chinese(training(width, height).0).text(),
        ] {
            assert!(text.contains("数据") && text.contains("退出") && text.contains("帮助"), "{text}");
            let lines: Vec<_> = text.lines().collect();
            let chrome = [lines[0], lines[lines.len() - 2], lines[lines.len() - 1]].concat();
            for english in ["quit", "zoom", "search", "Data", "start"] {
                assert!(!chrome.contains(english), "{english}: {text}");
            }
            let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
            assert!(widest <= width.into(), "{widest} of {width}");
            assert_eq!(text.lines().count(), usize::from(height));
        }
    }
    let mut screen = chinese(Screen::new(80, 24));
    assert!(screen.text().contains("还没有数据") && screen.text().contains("从这里开始：按 d"));
    let mut tall = chinese(Screen::new(80, 90));
    tall.keys("?");
    assert!(tall.text().contains("任何地方") && tall.text().contains("列表"), "{}", tall.text());
    ctrl(&mut screen, 'g');
    assert!(screen.text().contains("No data yet"), "the key changes the language");
}

/// What is wrong with the settings is found once, and said in the language of the moment.
#[test]
fn a_known_problem_changes_its_language_at_once() {
    let mut screen = Screen::new(120, 40);
    screen.app.state.zoomed = true;
    screen.keys("2");
    let (english, chinese) = ("no model folder is set", "没有设置模型文件夹");
    for (said, other) in [(english, chinese), (chinese, english), (english, chinese)] {
        let text = screen.text();
        assert!(text.contains(said) && !text.contains(other), "{text}");
        ctrl(&mut screen, 'g');
    }
}

#[test]
fn the_palette_finds_actions_in_both_languages() {
    for wanted in ["smoothed", "平滑"] {
        let (screen, _) = training(80, 24);
        let mut screen = chinese(screen);
        screen.keys(":");
        wanted.chars().for_each(|c| screen.press(KeyCode::Char(c)));
        assert!(screen.text().contains("显示或隐藏平滑后的损失"), "{}", screen.text());
    }
}

#[test]
fn as_many_panes_as_there_is_room_for() {
    let panes = |width, height, keys: &str| {
        let mut screen = with_data(width, height);
        screen.keys(keys);
        let text = screen.text();
        ["╭ 1 Data", "╭ 2 Parameters", "╭ 3 Training", "╭ 4 Chat"].map(|name| text.contains(name))
    };
    assert_eq!(panes(80, 24, "4"), [false, false, false, true]);
    assert_eq!(panes(120, 40, ""), [true; 4]);
    assert_eq!(panes(200, 60, "3z"), [false, false, true, false]);
    assert_eq!(panes(160, 24, "4"), [false, true, false, true], "a row");
    assert_eq!(panes(90, 50, "1"), [true, true, false, false], "a column");
}

#[test]
fn splits_move_by_keys_and_mouse() {
    let mut screen = with_data(200, 60);
    screen.draw();
    screen.keys(">>+");
    assert_eq!(screen.app.state.split, (60, 55));
    screen.keys("<<<<<<<<<<<<<<");
    assert_eq!(screen.app.state.split.0, 20, "nothing gets lost");
    screen.draw();
    // The border between the columns: 20 % of 200.
    mouse(&mut screen, MouseEventKind::Down(MouseButton::Left), 39, 20);
    mouse(&mut screen, MouseEventKind::Drag(MouseButton::Left), 99, 20);
    mouse(&mut screen, MouseEventKind::Up(MouseButton::Left), 99, 20);
    mouse(&mut screen, MouseEventKind::Drag(MouseButton::Left), 150, 20);
    assert_eq!(screen.app.state.split.0, 50, "it follows while it is held");
    // The name of a pane gives it the focus, and then the whole screen.
    mouse(&mut screen, MouseEventKind::Down(MouseButton::Left), 150, 1);
    assert_eq!((screen.app.state.focus, screen.app.state.zoomed), (PaneId::Training, false));
    mouse(&mut screen, MouseEventKind::Down(MouseButton::Left), 150, 1);
    assert!(screen.app.state.zoomed);
}

#[test]
fn boxes_take_the_mouse_too() {
    let (mut screen, id) = training(200, 60);
    screen.keys("q");
    screen.effects.clear();
    let at = |screen: &mut Screen, wanted: &str| {
        let text = screen.text();
        let (row, line) = text.lines().enumerate().find(|(_, l)| l.contains(wanted)).unwrap();
        (line[..line.find(wanted).unwrap()].width() as u16, row as u16)
    };
    let (column, row) = at(&mut screen, "save a checkpoint");
    mouse(&mut screen, MouseEventKind::Down(MouseButton::Left), column, row);
    assert!(
        matches!(screen.effects.pop(), Some(Effect::Send { id: to, command: Command::Stop { save: true } }) if to == id)
    );
    screen.keys("?");
    assert!(screen.text().contains("any key closes") || screen.text().contains("scroll"));
    mouse(&mut screen, MouseEventKind::ScrollDown, 40, 12);
    assert!(screen.text().contains("Help"), "the wheel scrolls");
    mouse(&mut screen, MouseEventKind::Down(MouseButton::Left), 0, 30);
    assert!(!screen.text().contains("Help ·"), "a click beside the box closes it");
    screen.keys(":low-bandwidth");
    let (column, row) = at(&mut screen, "Low-bandwidth mode");
    mouse(&mut screen, MouseEventKind::Down(MouseButton::Left), column, row);
    assert!(screen.app.state.line.slow);
    assert!(screen.text().contains("B/s"), "the status line tells the bytes");
}

#[test]
fn every_theme_draws_every_screen_in_its_own_colours() {
    for depth in [Depth::None, Depth::Sixteen, Depth::Many, Depth::Full] {
        for variant in Variant::ALL {
            let (mut screen, _) = training(200, 60);
            screen.app.state.theme = Theme::new(variant, depth);
            // Pictures have the colours of their pixels.
            screen.app.set_pictures(None, "off".into());
            // The second cell of a wide character is not written again.
            screen.terminal.clear().unwrap();
            screen.draw();
            let colours =
                |cell: &ratatui::buffer::Cell| [cell.fg, cell.bg].map(|c| (c, cell.symbol().to_string()));
            let cells = screen.terminal.backend().buffer().content.iter();
            for (colour, symbol) in cells.flat_map(colours).filter(|c| c.0 != Color::Reset) {
                let fits = match depth {
                    Depth::None => false,
                    Depth::Sixteen => !matches!(colour, Color::Rgb(..) | Color::Indexed(_)),
                    Depth::Many => matches!(colour, Color::Indexed(_)),
                    Depth::Full => matches!(colour, Color::Rgb(..)),
                };
                assert!(fits, "{depth:?} {}: {colour:?} of {symbol:?}", variant.name());
            }
        }
    }
    let mut screen = with_data(80, 24);
    ctrl(&mut screen, 't');
    assert_eq!(screen.app.state.theme.variant, Variant::Light);
    assert!(screen.text().contains("theme: light"));
}

#[test]
fn ascii_screens_are_ascii() {
    for (width, height) in SIZES {
        let (mut screen, _) = training(width, height);
        screen.app.state.ascii = true;
        screen.app.set_pictures(None, "off".into());
        screen.keys("z");
        let text = screen.text();
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("+ 3 Training") && text.contains("loss"), "{text}");
    }
}

#[test]
fn a_watched_run_is_not_commanded_by_accident() {
    let (mut screen, id) = watched();
    controls(&mut screen, id, false, 2);
    assert_eq!(screen.app.state.focus, PaneId::Training);
    assert!(screen.text().contains("watching only") && screen.text().contains("T take controls"));
    for keys in ["p", "w", "x", "X"] {
        screen.effects.clear();
        screen.keys(keys);
        assert!(!screen.effects.iter().any(|e| matches!(e, Effect::Send { .. })), "{keys}");
        assert!(screen.text().contains("T takes its controls"), "{}", screen.text());
    }
    screen.keys("T");
    assert!(matches!(screen.effects.pop(), Some(Effect::Control { take: Take::Take, .. })));
    controls(&mut screen, id, true, 2);
    assert!(screen.text().contains("1 more watching"));
    screen.keys("p");
    assert!(matches!(screen.effects.pop(), Some(Effect::Send { command: Command::Pause, .. })));
    controls(&mut screen, id, false, 3);
    assert!(screen.text().contains("another screen has taken the controls"));
    screen.keys("q");
    assert!(matches!(screen.effects.pop(), Some(Effect::Quit)), "a watcher leaves without questions");
}

#[test]
fn a_run_whose_process_is_gone_says_how_to_go_on() {
    let (mut screen, id) = watched();
    screen.feed(Msg::Link { id, heard: Heard::Gone });
    assert!(matches!(screen.app.state.run.as_ref().unwrap().status, Status::Failed(_)));
    let text = screen.text();
    assert!(text.contains("the process of this run is gone") && text.contains("newest checkpoint"), "{text}");
    screen.keys("q");
    assert!(matches!(screen.effects.pop(), Some(Effect::Quit)));
}

#[test]
fn leaving_lets_the_run_go_on() {
    let (mut screen, _) = training(80, 24);
    screen.effects.clear();
    screen.keys("Q");
    assert!(matches!(screen.effects[..], [Effect::Quit]), "no command is sent");
    let (mut screen, _) = training(80, 24);
    screen.effects.clear();
    screen.keys("qd");
    assert!(matches!(screen.effects[..], [Effect::Quit]));
    assert_eq!(screen.app.state.left_running(), Some("/home/me/lungs/runs/demo".into()));
}

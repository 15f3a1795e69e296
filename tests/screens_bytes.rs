//! What a screen costs on the line: a watched run, an idle one, in both modes, over the real backend.
#![allow(clippy::unwrap_used)]

use crate::screens::{started, step, with_data};
use lorascope::job::Event;
use lorascope::tui::Msg;
use lorascope::tui::app::App;
use lorascope::tui::effects::{Effect, Loaded};
use lorascope::tui::pace::{Pace, Reason};
use lorascope::tui::wire::Wire;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::time::{Duration, Instant};

/// Bytes a second while a run that logs 5 steps a second is watched for a minute, by the loop's own rules.
fn watched_minute(width: u16, height: u16, slow: bool) -> u64 {
    let mut screen = with_data(width, height);
    screen.app.set_pictures(None, "a test".into());
    screen.feed(Msg::Loaded(Loaded::Running("/home/me/lungs/runs/demo".into())));
    let Some(Effect::Watch { id, .. }) = screen.effects.pop() else { panic!("not followed") };
    let mut app: App = screen.app;
    app.state.line.slow = slow;
    app.update(Msg::Job { id, event: started() });
    let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
    let mut terminal = Terminal::with_options(Wire::new(Vec::new()), TerminalOptions { viewport }).unwrap();
    terminal.draw(|frame| app.draw(frame)).unwrap();
    let first = terminal.backend().sent();
    let start = Instant::now();
    let mut pace = Pace::new(start, slow);
    let mut waiting = false;
    for tick in 0..6000u64 {
        let now = start + Duration::from_millis(10 * tick);
        if tick % 20 == 0 {
            app.update(Msg::Job { id, event: Event::Step(step(1 + tick as usize / 20)) });
            waiting = true;
        }
        if waiting && now >= pace.due(Reason::News) {
            let before = terminal.backend().sent();
            terminal.draw(|frame| app.draw(frame)).unwrap();
            pace.drawn(now, Reason::News, terminal.backend().sent() - before);
            waiting = false;
        }
    }
    (terminal.backend().sent() - first) / 60
}

#[test]
fn a_watched_run_keeps_to_its_bytes() {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let (usual, slow) = (watched_minute(width, height, false), watched_minute(width, height, true));
        assert!(usual > 0 && usual < 4000, "{width}x{height}: {usual} bytes a second");
        assert!(slow > 0 && slow < 1000, "{width}x{height}: {slow} bytes a second in low-bandwidth mode");
    }
}

#[test]
fn a_screen_that_does_not_change_sends_nothing() {
    let mut screen = with_data(200, 60);
    let viewport = Viewport::Fixed(Rect::new(0, 0, 200, 60));
    let mut terminal = Terminal::with_options(Wire::new(Vec::new()), TerminalOptions { viewport }).unwrap();
    terminal.draw(|frame| screen.app.draw(frame)).unwrap();
    let first = terminal.backend().sent();
    for _ in 0..10 {
        screen.feed(Msg::Resize);
        terminal.draw(|frame| screen.app.draw(frame)).unwrap();
    }
    assert_eq!(terminal.backend().sent(), first);
}

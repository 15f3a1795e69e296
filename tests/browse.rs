//! Browsing a data set: the browser's threads on real files, the pane at a million rows, pictures sent once.
#![allow(clippy::unwrap_used)]

use crate::screens::{Screen, sample, with_data};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lorascope::config::TrainConfig;
use lorascope::data::dataset;
use lorascope::data::overlay::Applied;
use lorascope::data::query::Query;
use lorascope::data::reader::Reader;
use lorascope::tui::Msg;
use lorascope::tui::browse::{Ask, Browser, Edit, Opened, Part, Row, Told};
use lorascope::tui::effects::{Effect, Loaded};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use ratatui_image::FontSize;
use ratatui_image::picker::{Picker, ProtocolType};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// A data set `set` of `rows` rows, each with a picture of its own size, in `dir`.
fn write_set(dir: &Path, rows: usize) {
    let row = |n: usize| {
        image::GrayImage::new(40 + n as u32, 30).save(dir.join(format!("{n}.png"))).unwrap();
        serde_json::json!({
            "messages": [
                { "role": "user", "content": "<image>where?" },
                { "role": "assistant", "content": format!("finding number {n}") }
            ],
            "images": [format!("{n}.png")]
        })
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    std::fs::write(dir.join("set.json"), serde_json::to_vec(&rows).unwrap()).unwrap();
    let info = serde_json::json!({ "set": {
        "file_name": "set.json", "formatting": "sharegpt",
        "columns": { "messages": "messages", "images": "images" },
        "tags": { "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant" }
    }});
    std::fs::write(dir.join("dataset_info.json"), serde_json::to_vec(&info).unwrap()).unwrap();
}

fn told(inbox: &Receiver<Msg>) -> Told {
    match inbox.recv().unwrap() {
        Msg::Loaded(Loaded::Browse(told)) => told,
        _ => panic!("the browser tells of data sets only"),
    }
}

fn open(dir: &Path) -> (Browser, Receiver<Msg>) {
    let (out, inbox) = channel();
    let browser = Browser::start(out);
    browser.ask(Ask::Open { set: 1, dir: dir.into(), name: "set".into(), media_dir: None });
    let Told::Opened { set: 1, found: Ok(opened) } = told(&inbox) else { panic!("not opened") };
    assert_eq!(opened.rows, 5);
    (browser, inbox)
}

fn rows(browser: &Browser, inbox: &Receiver<Msg>, wanted: &[usize]) -> Vec<Row> {
    browser.ask(Ask::Rows { set: 1, rows: wanted.to_vec() });
    let Told::Rows { rows, .. } = told(inbox) else { panic!("no rows") };
    rows
}

#[test]
fn changes_are_kept_beside_the_data_and_honoured() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 5);
    let source = std::fs::read(dir.path().join("set.json")).unwrap();
    let (browser, inbox) = open(dir.path());
    let change = |row, edit| {
        browser.ask(Ask::Change { set: 1, row, edit });
        let Told::Changed { done, .. } = told(&inbox) else { panic!("no answer") };
        done
    };
    assert_eq!(change(2, Edit::Text(Part::Caption, "肺结节".into())).unwrap().changed, 1);
    assert_eq!(change(3, Edit::Exclude(true)).unwrap().changed, 2);
    let refused = change(1, Edit::Text(Part::Question, "<image><image>?".into())).unwrap_err();
    assert!(refused.message.contains("1 × <image>"), "{}", refused.message);

    let shown = rows(&browser, &inbox, &[2, 3]);
    assert_eq!(shown[0].line, "肺结节");
    assert_eq!(shown[0].applied, Applied { edited: true, ..Applied::default() });
    assert!(shown[1].applied.excluded && shown[1].sample.is_ok(), "an excluded row is still seen");

    let loaded = dataset::load(dir.path(), "set", None).unwrap();
    assert_eq!(loaded.samples.iter().map(|s| s.row).collect::<Vec<_>>(), [0, 1, 2, 4]);
    assert_eq!(loaded.samples[2].messages[1].content, "肺结节");
    let codes: Vec<_> = loaded.findings.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(codes, ["edited", "excluded"]);
    let reader = Reader::open(dir.path(), "set", None).unwrap();
    assert_eq!(reader.sample(2).unwrap().messages[1].content, "肺结节");
    assert_eq!(reader.original(2).unwrap().messages[1].content, "finding number 2");

    browser.ask(Ask::Undo { set: 1 });
    let Told::Changed { done: Ok(undone), .. } = told(&inbox) else { panic!("no answer") };
    assert!(undone.row == 3 && undone.undone.is_some());
    assert_eq!(dataset::load(dir.path(), "set", None).unwrap().samples.len(), 5);
    assert!(std::fs::read(dir.path().join("set.json")).unwrap() == source, "the source stays as it is");
}

#[test]
fn a_source_that_changed_under_an_edit_is_told() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 5);
    let (browser, inbox) = open(dir.path());
    browser.ask(Ask::Change { set: 1, row: 2, edit: Edit::Exclude(true) });
    told(&inbox);
    let text = std::fs::read_to_string(dir.path().join("set.json")).unwrap();
    std::fs::write(dir.path().join("set.json"), text.replace("number 2", "number two")).unwrap();
    let loaded = dataset::load(dir.path(), "set", None).unwrap();
    assert_eq!(loaded.samples.len(), 5);
    assert_eq!(
        loaded.findings.iter().map(|f| (f.code.as_str(), &*f.rows)).collect::<Vec<_>>(),
        [("stale_change", &[2][..])]
    );
}

#[test]
fn searches_look_at_every_row_and_the_newest_wins() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), 5);
    let (browser, inbox) = open(dir.path());
    let search = |search, text: &str| {
        let query = Some(Query::parse(text).unwrap());
        browser.ask(Ask::Search { set: 1, search, query, config: Box::default() });
    };
    search(1, "number -\"number 3\"");
    search(2, "number row:>=3");
    let mut found = Vec::new();
    loop {
        let Told::Found { search, rows, end, .. } = told(&inbox) else { panic!("not a search") };
        if search == 2 {
            found.extend(rows);
            if let Some(end) = end {
                end.unwrap();
                break;
            }
        }
    }
    assert_eq!(found, [3, 4]);
    search(3, "tokens:>5");
    let Told::Found { end: Some(Err(error)), .. } = told(&inbox) else { panic!("tokens need a model") };
    assert!(error.hint.unwrap().contains("model_name_or_path"));
    let config = TrainConfig { model_name_or_path: dir.path().join("no model"), ..TrainConfig::default() };
    browser.ask(Ask::Trained { set: 1, row: 0, config: Box::new(config) });
    assert!(matches!(told(&inbox), Told::Trained { found: Err(_), .. }));
}

#[test]
fn a_million_rows_hold_a_few_hundred() {
    let mut screen = with_data(200, 60);
    let set = screen.app.state.data.set;
    const ROWS: usize = 1_000_000;
    let found = Ok(Opened { name: "mllm_train_data".into(), rows: ROWS, ..Opened::default() });
    screen.feed(Msg::Loaded(Loaded::Browse(Told::Opened { set, found })));
    let mut most = 0;
    for n in 0..300 {
        match n % 7 {
            0 => screen.keys("G"),
            1 => screen.keys("g"),
            2 => (0..40)
                .for_each(|_| screen.feed(Msg::Key(KeyEvent::new(KeyCode::PageDown, KeyModifiers::NONE)))),
            _ => screen.keys("jjjjjjjjjjj"),
        }
        screen.terminal.draw(|frame| screen.app.draw(frame)).unwrap();
        for effect in screen.app.wanted() {
            if let Effect::Browse(Ask::Rows { set, rows }) = effect {
                most = most.max(rows.len());
                let row = |row: &usize| Row::new(*row, Ok(sample(*row, "caption")), Applied::default());
                let rows = rows.iter().map(row).collect();
                screen.feed(Msg::Loaded(Loaded::Browse(Told::Rows { set, rows })));
            }
        }
        let selected = screen.app.state.data.row().unwrap();
        assert_eq!(screen.app.state.data.sample().unwrap().row, selected, "the selected row is there");
        assert!(
            screen.app.state.data.held_rows() < 1000,
            "{} rows are held",
            screen.app.state.data.held_rows()
        );
    }
    assert!(most < 400, "{most} rows were asked for at once");
}

/// A terminal that counts the bytes it gets.
#[derive(Clone, Default)]
struct Wire(Arc<AtomicUsize>);

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Draws the application; gives the bytes that were sent.
fn bytes(screen: &mut Screen, terminal: &mut Terminal<CrosstermBackend<Wire>>, wire: &Wire) -> usize {
    let before = wire.0.load(Ordering::Relaxed);
    terminal.draw(|frame| screen.app.draw(frame)).unwrap();
    let wanted = screen.app.wanted();
    screen.effects.extend(wanted);
    wire.0.load(Ordering::Relaxed) - before
}

#[test]
fn a_picture_is_sent_once_while_nothing_changes() {
    for protocol in [ProtocolType::Kitty, ProtocolType::Sixel, ProtocolType::Iterm2] {
        let mut screen = with_data(80, 24);
        screen.app.set_pictures(Some(protocol), "a test says so".into());
        #[allow(deprecated)]
        let mut picker = Picker::from_fontsize(FontSize::from((8, 16)));
        picker.set_protocol_type(protocol);
        let wire = Wire::default();
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 80, 24)) };
        let mut terminal = Terminal::with_options(CrosstermBackend::new(wire.clone()), options).unwrap();
        bytes(&mut screen, &mut terminal, &wire);
        let made = screen.load_pictures_with(&picker);
        assert!((1..=3).contains(&made), "the picture in view and those beside it: {made}");
        let first = bytes(&mut screen, &mut terminal, &wire);
        assert!(first > 2000, "{protocol:?}: {first} bytes");
        for _ in 0..5 {
            let again = bytes(&mut screen, &mut terminal, &wire);
            assert!(again < 300, "{protocol:?}: {again} bytes for the same screen");
        }
        // Another pane's change sends the picture no second time, and nothing is made again.
        screen.keys("/x");
        let typed = bytes(&mut screen, &mut terminal, &wire);
        assert!(typed < first / 2 + 2000, "{protocol:?}: {typed} bytes for a letter");
        assert_eq!(screen.load_pictures_with(&picker), 0, "{protocol:?}: made again");
    }
}

#[test]
fn window_level_and_zoom_change_what_is_asked_for() {
    let mut screen = with_data(80, 24);
    screen.load_pictures();
    screen.keys("o");
    screen.draw();
    let view = |screen: &mut Screen| {
        screen.draw();
        let wanted = screen.effects.iter().rev().find_map(|e| match e {
            Effect::Pictures(wanted) => wanted.keys.first().cloned(),
            _ => None,
        });
        let key = wanted.unwrap();
        assert!(key.size.width == 80 && key.size.height >= 21, "the whole screen: {:?}", key.size);
        key.view
    };
    let plain = view(&mut screen);
    screen.keys("+");
    assert_eq!(view(&mut screen).zoom, 150);
    screen.keys("l");
    assert!(view(&mut screen).centre.0 > plain.centre.0, "l moves what is seen when zoomed in");
    screen.keys("0bc");
    let view_now = view(&mut screen);
    assert!(view_now.zoom == 100 && view_now.level != plain.level);
    assert!(screen.text().contains("level 45 % · window 80 %"), "{}", screen.text());
    screen.keys("r");
    screen.keys("j");
    screen.draw();
    assert_eq!(screen.app.state.data.sample().unwrap().row, 1, "j goes on to the next sample");
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("1 Data"), "back to the panes");
}

#[test]
fn editing_in_place_saves_what_was_written() {
    let mut screen = with_data(80, 24);
    screen.keys("je");
    screen.draw();
    assert!(screen.text().contains("Caption of row 1"), "{}", screen.text());
    screen.keys(" 肺");
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("not saved"), "leaving with changes warns first");
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char('s'), KeyModifiers::CONTROL)));
    let Some(Effect::Browse(Ask::Change { row: 1, edit: Edit::Text(Part::Caption, text), .. })) =
        screen.effects.pop()
    else {
        panic!("nothing was saved: {:?}", screen.effects)
    };
    assert!(text.ends_with("of the picture. 肺"), "{text}");
    screen.keys("x");
    let excluded = screen.effects.pop();
    assert!(
        matches!(excluded, Some(Effect::Browse(Ask::Change { edit: Edit::Exclude(true), .. }))),
        "{excluded:?}"
    );
    screen.keys("y");
    let Some(Effect::Copy { what, text }) = screen.effects.pop() else { panic!("nothing was copied") };
    assert!(what == "caption" && text.starts_with("The image is a chest X-ray"), "{what}: {text}");
}

#[test]
fn matches_and_findings_are_walked_through() {
    let mut screen = with_data(80, 24);
    screen.draw();
    let row = |screen: &mut Screen| {
        screen.draw();
        screen.app.state.data.row().unwrap()
    };
    screen.keys("w");
    assert_eq!(row(&mut screen), 7);
    screen.keys("w");
    assert_eq!(row(&mut screen), 9);
    screen.keys("W");
    assert_eq!(row(&mut screen), 7);
    assert!(screen.text().contains("long caption"), "the row says what was found: {}", screen.text());
    screen.keys("/id:scan-001");
    screen.press(KeyCode::Enter);
    assert_eq!(row(&mut screen), 10, "the first match after the row");
    screen.keys("m");
    assert_eq!(row(&mut screen), 10);
    assert_eq!(screen.app.state.data.shown(), 240, "all rows are shown, the matches are marked");
    screen.keys("n");
    assert_eq!(row(&mut screen), 11);
    screen.keys("NN");
    assert_eq!(row(&mut screen), 19, "around the end");
    screen.keys("/");
    screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    screen.keys("tokens:lots");
    // The list is narrow: the message is wrapped in it.
    let text = screen.text();
    assert!(text.contains("/tokens:lots") && text.contains("`tokens:lots` is no number or"), "{text}");
}

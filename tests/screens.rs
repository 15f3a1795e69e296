//! Whole screens of the workbench, fed with messages only: no files, no threads, no terminal.
#![allow(clippy::unwrap_used)]

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lorascope::config::TrainConfig;
use lorascope::data::overlay::Applied;
use lorascope::data::picture::Picture;
use lorascope::data::query::Facts;
use lorascope::data::{ImageRef, Message, Role, Sample};
use lorascope::job::{Command, Event, Finding, Job, Level, Outcome, Phase, StepRow, TargetRow};
use lorascope::tui::Msg;
use lorascope::tui::app::App;
use lorascope::tui::browse::{Ask, Opened, Row, Told};
use lorascope::tui::effects::{Effect, Load, Loaded};
use lorascope::tui::picture_worker;
use lorascope::tui::theme::Theme;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui_image::picker::Picker;
use std::path::PathBuf;

/// An application on a screen that is text.
pub struct Screen {
    pub app: App,
    pub terminal: Terminal<TestBackend>,
    /// The last frame. The backend's own cells keep what a wide character covered, as no terminal does.
    frame: Buffer,
    pub effects: Vec<Effect>,
    /// What the browser's threads would read.
    pub samples: Vec<Sample>,
    answers: u64,
}

impl Screen {
    pub fn new(width: u16, height: u16) -> Self {
        let app = App::new(PathBuf::from("/home/me/lungs"), TrainConfig::default(), Theme::dark());
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let frame = Buffer::empty(Rect::new(0, 0, width, height));
        Self { app, terminal, frame, effects: Vec::new(), samples: Vec::new(), answers: 0 }
    }

    pub fn feed(&mut self, msg: Msg) {
        let effects = self.app.update(msg);
        self.effects.extend(effects);
    }

    pub fn press(&mut self, code: KeyCode) {
        self.feed(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    pub fn keys(&mut self, keys: &str) {
        for c in keys.chars() {
            self.press(KeyCode::Char(c));
        }
    }

    pub fn event(&mut self, id: u64, event: Event) {
        self.feed(Msg::Job { id, event });
    }

    /// Draws, and again with the rows and searches that the first frame asked for.
    pub fn draw(&mut self) {
        for _ in 0..3 {
            self.frame = self.terminal.draw(|frame| self.app.draw(frame)).unwrap().buffer.clone();
            let wanted = self.app.wanted();
            self.effects.extend(wanted);
            self.answer_browser();
        }
    }

    /// Answers for rows and searches as the browser's threads would.
    pub fn answer_browser(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            let told = match effect {
                Effect::Browse(Ask::Rows { set, rows }) => {
                    let row =
                        |row: &usize| Row::new(*row, Ok(self.samples[*row].clone()), Applied::default());
                    Told::Rows {
                        set,
                        rows: rows.iter().filter(|r| **r < self.samples.len()).map(row).collect(),
                    }
                }
                Effect::Browse(Ask::Search { search, query: Some(query), .. }) => {
                    let matches = |sample: &&Sample| {
                        let applied = Applied::default();
                        let facts = Facts {
                            row: sample.row,
                            sample: Some(sample),
                            applied,
                            codes: &[],
                            tokens: &|_| Ok(9),
                        };
                        query.matches(&facts).unwrap()
                    };
                    let rows = self.samples.iter().filter(matches).map(|s| s.row as u32).collect();
                    Told::Found { search, rows, looked: self.samples.len(), end: Some(Ok(())) }
                }
                other => {
                    self.effects.push(other);
                    continue;
                }
            };
            let more = self.app.update(Msg::Loaded(Loaded::Browse(told)));
            self.effects.extend(more);
        }
    }

    /// Opens a data set of these samples, as if the registry had been read.
    pub fn open(&mut self, samples: Vec<Sample>, findings: Vec<Finding>) {
        let set = self.app.state.data.set;
        let codes: Vec<String> = findings.iter().map(|f| f.code.clone()).collect();
        let flags = |(code, f): (usize, &Finding)| {
            f.rows.iter().map(|row| (*row as u32, code as u16)).collect::<Vec<_>>()
        };
        let mut flags: Vec<_> = findings.iter().enumerate().flat_map(flags).collect();
        flags.sort_unstable();
        let name = self.app.state.data.name().unwrap().to_string();
        let found = Ok(Opened { name, rows: samples.len(), findings, codes, flags, changed: 0 });
        self.samples = samples;
        self.feed(Msg::Loaded(Loaded::Browse(Told::Opened { set, found })));
        self.draw();
    }

    /// The screen as text, without what a wide character covers.
    pub fn text(&mut self) -> String {
        self.draw();
        let buf = &self.frame;
        let mut out = String::new();
        for y in 0..buf.area.height {
            let mut x = 0;
            let mut line = String::new();
            while x < buf.area.width {
                let symbol = buf[(x, y)].symbol();
                line.push_str(symbol);
                x += (unicode_width::UnicodeWidthStr::width(symbol) as u16).max(1);
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Loads the pictures asked for: a grey ramp each.
    pub fn load_pictures(&mut self) {
        self.draw();
        self.load_pictures_with(&Picker::halfblocks());
    }

    /// Loads the pictures asked for last, for the terminal of a picker; gives how many.
    pub fn load_pictures_with(&mut self, picker: &Picker) -> usize {
        let asked = |effect: &Effect| match effect {
            Effect::Pictures(wanted) => Some(wanted.keys.clone()),
            _ => None,
        };
        let keys = self.effects.iter().rev().find_map(asked).unwrap_or_default();
        self.effects.retain(|effect| asked(effect).is_none());
        for key in &keys {
            let ramp = image::GrayImage::from_fn(64, 64, |x, y| image::Luma([(x + y) as u8 * 2]));
            let ramp = Picture::from(image::DynamicImage::from(ramp));
            let found = picture_worker::encode(picker, &ramp, key).map(Box::new);
            self.answers += 1;
            self.feed(Msg::Loaded(Loaded::Picture { number: self.answers, key: key.clone(), found }));
        }
        keys.len()
    }

    /// The evaluations that were submitted, in their order.
    pub fn evaluations(&self) -> Vec<(u64, &TrainConfig)> {
        let all = self.effects.iter().filter_map(|e| match e {
            Effect::Submit { id, job: Job::Evaluate(config) } => Some((*id, &**config)),
            _ => None,
        });
        all.collect()
    }

    /// The last job that was submitted.
    pub fn submitted(&self) -> (u64, &Job) {
        let submit = |e: &Effect| matches!(e, Effect::Submit { .. });
        match self.effects.iter().rev().find(|e| submit(e)) {
            Some(Effect::Submit { id, job }) => (*id, job),
            _ => panic!("no job was submitted"),
        }
    }
}

pub fn sample(row: usize, caption: &str) -> Sample {
    let say = |role, content: &str| Message { role, content: content.into() };
    Sample {
        row,
        id: format!("scan-{row:04}"),
        system: None,
        messages: vec![say(Role::User, "<image>图片中的诊断结果是怎样?"), say(Role::Assistant, caption)],
        images: vec![ImageRef::Path(PathBuf::from(format!("/home/me/lungs/data/mllm_data/{row}.png")))],
    }
}

const CAPTIONS: [&str; 4] = [
    "胸部CT平扫显示右肺上叶有一枚直径约8毫米的实性结节，边缘光滑，未见毛刺征。左肺野清晰，纵隔淋巴结不大。",
    "The image is a chest X-ray. The lower-left part shows an area of increased opacity, about 6 % of the picture.",
    "脑部MRI（T2加权）：左侧额叶见片状高信号，考虑缺血性改变。",
    "evil \u{1b}[31m red \u{202e}txet\u{7} e\u{301}\u{301} 肺",
];

pub fn with_data(width: u16, height: u16) -> Screen {
    let mut screen = Screen::new(width, height);
    screen.app.set_pictures(Some(ratatui_image::picker::ProtocolType::Halfblocks), "a test says so".into());
    let config = TrainConfig {
        model_name_or_path: "/home/me/lungs/model".into(),
        dataset: vec!["mllm_train_data".into()],
        dataset_dir: "/home/me/lungs/data".into(),
        output_dir: "/home/me/lungs/runs/demo".into(),
        ..TrainConfig::default()
    };
    screen.feed(Msg::Loaded(Loaded::Config(Box::new(config))));
    let names = vec!["mllm_train_data".to_string(), "mllm_val_data".to_string()];
    screen.feed(Msg::Loaded(Loaded::Registry(Ok(names))));
    let samples = (0..240).map(|row| sample(row, CAPTIONS[row % 4])).collect();
    let finding = Finding {
        level: Level::Warning,
        code: "long_caption".into(),
        message: "captions longer than cutoff_len".into(),
        count: 2,
        rows: vec![7, 9],
        fix: "raise cutoff_len".into(),
    };
    screen.open(samples, vec![finding]);
    screen.effects.clear();
    screen
}

pub fn step(step: usize) -> StepRow {
    let n = step as f64;
    StepRow {
        step,
        total_steps: 400,
        epoch: n / 45.0,
        loss: 3.2 * (-n / 60.0).exp() + 0.4 + 0.15 * (n * 1.7).sin(),
        lr: 2e-4 * (1.0 - n / 400.0),
        grad_norm: 1.0 + 0.3 * (n * 0.9).cos(),
        samples: 16,
        tokens: 1840,
        label_tokens: 700,
        seconds: 0.8,
        data_wait: 0.02,
        split: Default::default(),
        elapsed: n * 0.8,
        remaining: (400.0 - n) * 0.8,
        memory: 812 << 20,
        gpu: None,
    }
}

/// Starts training by the key and gives the job's number.
pub fn start_training(screen: &mut Screen) -> u64 {
    screen.keys("t");
    let Some(Effect::Load(Load::FreeRunDir(config))) = screen.effects.pop() else {
        panic!("no run folder asked")
    };
    screen.feed(Msg::Loaded(Loaded::FreeRunDir(Ok(config))));
    let (id, job) = screen.submitted();
    assert!(matches!(job, Job::Train(_)));
    id
}

pub fn started() -> Event {
    let row = |family: &str, trainable| TargetRow {
        family: family.into(),
        matrices: 28,
        parameters: 2_400_000,
        trainable,
        note: String::new(),
    };
    Event::Started {
        run_dir: "/home/me/lungs/runs/demo".into(),
        device: "cpu (flex)".into(),
        total_steps: 400,
        trainable: 120_000,
        parameters: 6_000_000,
        targets: vec![row("language attention", 60_000), row("language mlp", 60_000), row("vision tower", 0)],
    }
}

pub fn training(width: u16, height: u16) -> (Screen, u64) {
    let mut screen = with_data(width, height);
    let id = start_training(&mut screen);
    screen.event(id, started());
    for n in 1..=240 {
        screen.event(id, Event::Step(step(n)));
    }
    screen.event(id, Event::Score { name: "eval_loss".into(), value: 0.61, step: Some(200) });
    screen.event(id, Event::Saved { step: 200, path: "/home/me/lungs/runs/demo/checkpoint-200".into() });
    screen.event(id, Event::Log { level: Level::Warning, line: "row 17: caption cut at cutoff_len".into() });
    (screen, id)
}

/// A snapshot at each of three sizes.
fn all_sizes(name: &str, make: impl Fn(u16, u16) -> Screen) {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), make(width, height).text());
    }
}

#[test]
fn empty_workspace() {
    all_sizes("empty", Screen::new);
}

#[test]
fn data_with_chinese_captions() {
    all_sizes("data", |w, h| {
        let mut screen = with_data(w, h);
        screen.keys("jj");
        screen.load_pictures();
        screen
    });
}

#[test]
fn editing_a_parameter_with_an_invalid_value() {
    all_sizes("params", |w, h| {
        let mut screen = with_data(w, h);
        screen.keys("2/learning_rate");
        screen.press(KeyCode::Enter);
        screen.press(KeyCode::Enter);
        screen.feed(Msg::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
        screen.keys("fast");
        screen
    });
}

#[test]
fn training_with_a_curve() {
    all_sizes("training", |w, h| training(w, h).0);
}

#[test]
fn training_before_the_first_step() {
    let mut screen = with_data(80, 24);
    let id = start_training(&mut screen);
    screen.event(id, started());
    screen.event(id, Event::Progress { phase: Phase::Vision, done: 30, total: 120 });
    insta::assert_snapshot!("training_start_80x24", screen.text());
}

#[test]
fn quitting_asks_while_a_job_runs() {
    let (mut screen, id) = training(80, 24);
    screen.effects.clear();
    screen.keys("q");
    assert!(screen.effects.is_empty());
    insta::assert_snapshot!("quit_80x24", screen.text());
    screen.keys("s");
    assert!(matches!(screen.effects.pop(), Some(Effect::Send { command: Command::Stop { save: true }, .. })));
    let summary = serde_json::json!({});
    screen.event(id, Event::Finished(Outcome::Stopped { summary }));
    assert!(matches!(screen.effects.pop(), Some(Effect::Quit)));
}

#[test]
fn asking_while_the_model_trains() {
    all_sizes("chat", |w, h| {
        let (mut screen, id) = training(w, h);
        screen.keys("1");
        screen.press(KeyCode::Enter);
        screen.keys("病灶在哪里?");
        screen.press(KeyCode::Enter);
        let Some(Effect::Send { id: to, command: Command::Ask { id: ask, turn } }) = screen.effects.pop()
        else {
            panic!("nothing was asked");
        };
        assert_eq!((to, turn.question.as_str()), (id, "<image>病灶在哪里?"));
        assert_eq!(turn.images, [PathBuf::from("/home/me/lungs/data/mllm_data/0.png")]);
        for text in ["病灶位于", "右肺上叶", "，\u{1b}[2J直径约8毫米"] {
            screen.event(id, Event::Token { id: ask, text: text.into(), done: false });
        }
        screen.load_pictures();
        screen
    });
}

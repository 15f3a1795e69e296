//! What `lorascope bench screen` looks at: a workspace with a long run that goes on, a data set and evaluations of its size.

use crate::data::registry;
use crate::engine::watch::Server;
use crate::error::{Error, Result};
use crate::files;
use crate::job::{Command, Event, Level, Prediction, ScoreRow, StepRow, TargetRow, TimeSplit};
use crate::runs::{EVALUATED, EVALUATION, EVENTS, RunLock};
use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use serde_json::json;
use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

/// The data set of the demo's settings.
const NAME: &str = "demo_train";
/// Pictures that the rows share.
const PICTURES: usize = 24;
/// Short runs beside the long one.
const RUNS: usize = 30;
/// Updates that the long run still has before it.
const LEFT: usize = 1_000_000;
/// Characters of the last row's caption.
pub(super) const LONGEST: usize = 100_000;

const CAPTIONS: [&str; 2] = [
    "胸部CT平扫显示右肺上叶有一枚直径约8毫米的实性结节，边缘光滑，未见毛刺征。左肺野清晰，纵隔淋巴结不大，心影大小正常，双侧胸腔未见积液。",
    "The image is a chest X-ray. The lower-left part shows an area of increased opacity that takes about 6 % of the \
     picture; it lies beside the heart and may stand for a consolidation. ",
];

/// Fills `workspace`: the demo's model and settings, `rows` samples, evaluations of them, runs; the long one has
/// `points` rows.
pub(super) fn fill(workspace: &Path, points: usize, rows: usize) -> Result<PathBuf> {
    crate::demo::unpack(workspace)?;
    data(&workspace.join("data"), rows)?;
    let runs = workspace.join("runs");
    for n in 0..RUNS {
        run(&runs.join(format!("short-{n:02}")), 200)?;
    }
    let tuned = runs.join("short-00");
    files::write(&tuned.join("adapter_config.json"), b"{}")?;
    evaluation(&tuned.join("evaluation"), rows, 7)?;
    evaluation(&tuned.join("evaluation/base"), rows, 13)?;
    let long = runs.join("long");
    run(&long, points)?;
    Ok(long)
}

fn caption(row: usize) -> String {
    let text = CAPTIONS[row % CAPTIONS.len()];
    // As long as the captions of MedTrinity: some 300 to 900 characters.
    format!("Row {row}: {}", text.repeat(2 + row % 5))
}

fn data(dir: &Path, rows: usize) -> Result<()> {
    for n in 0..PICTURES {
        let shade = |x: u32, y: u32| Luma([((x * (n as u32 + 3) + y * 5) / 4 % 256) as u8]);
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::from(GrayImage::from_fn(256, 256, shade))
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(|e| Error::internal(format!("cannot encode a picture: {e}")))?;
        files::write(&dir.join(format!("img/{n}.png")), bytes.get_ref())?;
    }
    files::write_with(&dir.join(format!("{NAME}.json")), |w| {
        for row in 0..rows {
            let long = row + 1 == rows;
            let caption =
                if long { CAPTIONS[0].chars().cycle().take(LONGEST).collect() } else { caption(row) };
            let sample = json!({
                "conversations": [
                    { "from": "human", "value": "<image>图片中的诊断结果是怎样?" },
                    { "from": "gpt", "value": caption },
                ],
                "images": [format!("img/{}.png", row % PICTURES)],
            });
            w.write_all(if row == 0 { b"[" } else { b",\n" })?;
            serde_json::to_writer(&mut *w, &sample)?;
        }
        w.write_all(b"]\n")
    })?;
    let entry = json!({
        "file_name": format!("{NAME}.json"),
        "formatting": "sharegpt",
        "columns": { "messages": "conversations", "images": "images" },
    });
    registry::edit(dir, |all| {
        all.insert(NAME.into(), entry);
        Ok(())
    })
}

/// A run folder with `points` logged rows, and what else a run says.
fn run(dir: &Path, points: usize) -> Result<()> {
    files::write_with(&dir.join(EVENTS), |w| {
        let mut say = |event: &Event| -> std::io::Result<()> {
            serde_json::to_writer(&mut *w, event)?;
            w.write_all(b"\n")
        };
        say(&started(dir, points))?;
        for step in 1..=points {
            say(&Event::Step(row(step, points + LEFT)))?;
            if step % 100 == 0 {
                say(&Event::Log {
                    level: Level::Info,
                    line: format!("row {step}: caption cut at cutoff_len"),
                })?;
            }
            if step % 1000 == 0 {
                say(&Event::Score { name: "eval_loss".into(), value: loss(step) + 0.1, step: Some(step) })?;
            }
        }
        Ok(())
    })
}

fn started(dir: &Path, points: usize) -> Event {
    let part = |family: &str, trainable| TargetRow {
        family: family.into(),
        matrices: 28,
        parameters: 2_400_000,
        trainable,
        note: String::new(),
    };
    Event::Started {
        run_dir: dir.into(),
        device: "cpu".into(),
        total_steps: points + LEFT,
        trainable: 120_000,
        parameters: 6_000_000,
        targets: vec![part("language attention", 60_000), part("vision tower", 0)],
    }
}

/// A number from 0 to 1 without a pattern.
fn noise(n: usize) -> f64 {
    (n.wrapping_mul(2_654_435_761) % 65_536) as f64 / 65_536.0
}

fn loss(step: usize) -> f64 {
    2.5 * (-(step as f64) / 90_000.0).exp() + 0.4 + 0.3 * noise(step)
}

fn row(step: usize, total_steps: usize) -> StepRow {
    let n = step as f64;
    let split = TimeSplit { data: 0.01, vision: 0.1, forward: 0.2, backward: 0.4, ..TimeSplit::default() };
    StepRow {
        step,
        total_steps,
        epoch: n / 2020.0,
        loss: loss(step),
        lr: 2e-4 * (1.0 - n / total_steps as f64),
        grad_norm: 0.7 + noise(step + 1),
        samples: 8,
        tokens: 1800 + step % 97,
        label_tokens: 700,
        seconds: 0.75 + 0.1 * noise(step + 2),
        data_wait: 0.01,
        split,
        elapsed: 0.8 * n,
        remaining: 0.8 * (total_steps as f64 - n),
        memory: (812 << 20) + (step % 1000) as u64 * 4096,
        gpu: None,
    }
}

/// An evaluation of `rows` samples; `salt` tells models apart.
fn evaluation(dir: &Path, rows: usize, salt: usize) -> Result<()> {
    files::write_with(&dir.join(EVALUATED), |w| {
        for index in 0..rows {
            let label = caption(index);
            let prediction = Prediction {
                index,
                id: format!("row-{index}"),
                images: vec![format!("img/{}.png", index % PICTURES)],
                group: Some("CT".into()),
                question: "图片中的诊断结果是怎样?".into(),
                predict: label.replace(if salt == 7 { "右" } else { "8" }, "左"),
                label,
                scores: vec![("rouge-l".into(), 100.0 * noise(index * salt))],
            };
            serde_json::to_writer(&mut *w, &prediction)?;
            w.write_all(b"\n")?;
        }
        Ok(())
    })?;
    let score = |name: &str| ScoreRow { name: name.into(), mean: 50.0, low: 48.0, high: 52.0 };
    files::write_json(&dir.join(EVALUATION), &json!({ "measures": [score("bleu-4"), score("rouge-l")] }))
}

/// The process of the long run, as a workbench sees it: it trains a step when it is told to, and answers questions.
pub(super) struct Trainer {
    server: Server,
    commands: Receiver<Command>,
    step: usize,
    total: usize,
    /// Questions and how many pieces of their answers were said.
    asked: VecDeque<(u64, usize)>,
    // Let go of after the socket.
    _lock: RunLock,
}

impl Trainer {
    /// Takes the folder of a run that has `step` rows.
    pub(super) fn take(dir: &Path, step: usize) -> Result<Self> {
        let lock = RunLock::acquire(dir)?;
        let (send, commands) = channel();
        let server = Server::open(dir, send)?;
        Ok(Self { server, commands, step, total: step + LEFT, asked: VecDeque::new(), _lock: lock })
    }

    /// The next update, and two more words of the answer being given.
    pub(super) fn tick(&mut self) {
        /// Pieces of an answer.
        const PIECES: usize = 120;
        self.step += 1;
        self.server.tell(&Event::Step(row(self.step, self.total)), || {});
        for command in self.commands.try_iter() {
            if let Command::Ask { id, .. } = command {
                self.asked.push_back((id, 0));
            }
        }
        for _ in 0..2 {
            let Some((id, said)) = self.asked.front_mut() else { return };
            *said += 1;
            let (id, done) = (*id, *said == PIECES);
            let text = if *said % 3 == 0 { "结节，" } else { " lesion" };
            self.server.tell(&Event::Token { id, text: text.into(), done }, || {});
            if done {
                self.asked.pop_front();
            }
        }
    }
}

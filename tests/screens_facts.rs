//! Facts told right in the evaluation pane, beside the scores or below them.
#![allow(clippy::unwrap_used)]

use crate::screens::{Screen, with_data};
use crate::screens_talk::prediction;
use lorascope::error::Error;
use lorascope::job::{Event, Level, Outcome, ScoreRow, SlotRow};
use lorascope::tui::Msg;
use lorascope::tui::effects::Loaded;
use lorascope::tui::talk_worker::{self, Ask};
use lorascope::tui::words::{Language, Words};
use serde_json::json;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn slots(accuracy: f64) -> Vec<SlotRow> {
    let row = |slot: &str, accuracy: f64, silent: Option<f64>| SlotRow {
        slot: slot.into(),
        n: 8,
        accuracy,
        blind: 0.375,
        not_stated: silent,
        other_stated: silent.map(|silent| 1.0 - accuracy - silent),
    };
    vec![
        row("side", accuracy, Some(0.125)),
        row("evil\u{1b}[31m_名称", accuracy + 0.125, Some(0.0)),
        row("all_slots", accuracy / 2.0, None),
    ]
}

fn scores(mean: f64) -> Vec<ScoreRow> {
    ["bleu-4", "rouge-l"].map(|name| ScoreRow { name: name.into(), mean, low: mean, high: mean }).into()
}

/// An evaluation that goes on, its base model's ended, and the job of the tuned one.
fn evaluation(language: Language, (width, height): (u16, u16)) -> (Screen, u64) {
    let mut screen = with_data(width, height);
    screen.app.state.words = Words { language };
    screen.app.state.zoomed = true;
    let adapter = Some("/home/me/lungs/runs/demo".into());
    screen.feed(Msg::Loaded(Loaded::Adapter(adapter)));
    screen.keys("6");
    screen.effects.clear();
    screen.keys("e");
    let jobs: Vec<u64> = screen.evaluations().iter().map(|(id, _)| *id).collect();
    let [base, tuned] = jobs[..] else { panic!("not both are evaluated: {jobs:?}") };
    let told = |done, mean, accuracy| Event::Scores {
        done,
        total: 8,
        remaining: 30.0,
        rows: scores(mean),
        slots: slots(accuracy),
    };
    screen.event(base, Event::Predicted(prediction(0, "nothing here", 10.0)));
    screen.event(base, told(8, 35.0, 0.25));
    screen.event(base, Event::Finished(Outcome::Done { summary: json!({ "report": "r.html" }) }));
    screen.event(tuned, Event::Predicted(prediction(0, "a large lesion", 80.0)));
    screen.event(tuned, told(1, 80.0, 0.5));
    screen.load_pictures();
    (screen, tuned)
}

#[test]
fn facts_stand_beside_the_scores_where_there_is_room() {
    for size in SIZES {
        let (mut screen, tuned) = evaluation(Language::English, size);
        let text = screen.text();
        let line =
            |word: &str| text.lines().find(|l| l.contains(word)).unwrap_or_else(|| panic!("{word}\n{text}"));
        assert!(!text.contains('\u{1b}') && text.contains("evil[31m"), "{text}");
        if size.0 == 80 {
            let facts = line("told right: all facts 25.0 % · side 50.0 %");
            assert!(!facts.contains("rouge-l"), "{text}");
        } else {
            assert!(line("told right").contains("95 % interval"), "{text}");
            assert!(line("all facts").contains("bleu-4"), "all together come first: {text}");
            let side = line("  side ");
            let row = side.split_whitespace().collect::<Vec<_>>().join(" ");
            let silent = if size.0 == 200 { " 12.5 %" } else { "" };
            assert!(row.contains(&format!("side 25.0 % 50.0 % 37.5 %{silent}")), "{text}");
            assert_eq!(row.contains("12.5 %"), size.0 == 200, "{text}");
        }
        assert!(text.contains("scan-0") && text.contains("a [small]large lesion"), "{text}");
        // The results have them too, and without new scores those of before stay.
        let summary = json!({ "report": "r", "evaluation": { "slots": { "rows": slots(0.75) } } });
        screen.event(tuned, Event::Finished(Outcome::Done { summary }));
        assert!(screen.text().contains("75.0 %"), "{}", screen.text());
        assert!(screen.app.state.evaluation.base.slots == slots(0.25));
    }
}

#[test]
fn facts_of_an_evaluation_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let line = serde_json::to_string(&prediction(0, "a large lesion", 50.0)).unwrap();
    std::fs::write(dir.path().join("evaluated_samples.jsonl"), format!("{line}\n")).unwrap();
    let results = json!({ "adapter": "a", "measures": scores(50.0), "slots": { "rows": slots(0.5) } });
    std::fs::write(dir.path().join("evaluation.json"), results.to_string()).unwrap();
    let told = talk_worker::answer(Ask::Evaluation(dir.path().into()));
    let talk_worker::Told::Evaluation { sides: [Some(tuned), None], .. } = told else {
        panic!("not the tuned model alone")
    };
    assert_eq!(tuned.slots, slots(0.5));
}

/// Whole screens, to be looked at; and no size breaks them.
#[test]
fn facts_as_they_look() {
    for (name, language) in [("en", Language::English), ("zh", Language::Chinese)] {
        for size in SIZES {
            let text = evaluation(language, size).0.text();
            let widest = text.lines().map(unicode_width::UnicodeWidthStr::width).max().unwrap();
            assert!(widest <= size.0.into(), "{widest}\n{text}");
            insta::assert_snapshot!(format!("facts_{name}_{}x{}", size.0, size.1), text);
        }
    }
    for size in [(20, 6), (30, 10), (125, 12), (60, 12)] {
        let (mut screen, _) = evaluation(Language::Chinese, (120, 40));
        screen.terminal.backend_mut().resize(size.0, size.1);
        screen.text();
    }
}

/// What is wrong with a label file is said in the language of the screen.
#[test]
fn trouble_with_a_label_file_is_told() {
    let (mut screen, tuned) = evaluation(Language::Chinese, (120, 40));
    let line = "left out: labels.jsonl, line 6: it has no id".to_string();
    screen.event(tuned, Event::Log { level: Level::Warning, line });
    assert!(screen.text().contains("labels.jsonl 第 6 行：没有 id"), "{}", screen.text());
    let error = Error::input("labels.jsonl, line 2: effusion is true or false");
    screen.event(tuned, Event::Finished(Outcome::Failed { error }));
    assert!(screen.text().contains("labels.jsonl 第 2 行：effusion 是 true 或 false"), "{}", screen.text());
}

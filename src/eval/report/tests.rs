//! Reports of evaluations that have ended, of one that goes on, and of two that have nothing in common.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::runs::predictions::Growing;

fn evaluate(dir: &Path, said: &[(&str, &str)], image: &str) {
    let mut growing = Growing::open(dir, "x").unwrap();
    for (index, (id, predict)) in said.iter().enumerate() {
        let label = "右肺<结节> CT".to_string();
        growing
            .push(Prediction {
                index,
                id: (*id).into(),
                images: vec![image.into()],
                group: Some(if index == 0 { "CT" } else { "MR" }.into()),
                question: "What?".into(),
                scores: measures::named(predict, &label),
                predict: (*predict).into(),
                label,
            })
            .unwrap();
    }
    let all = growing.finish(dir).unwrap();
    files::write_json(&dir.join(EVALUATION), &Summary::of(&all, None)).unwrap();
}

#[test]
fn the_report_compares_escapes_and_holds_its_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("p.png");
    image::GrayImage::from_pixel(900, 600, image::Luma([9])).save(&picture).unwrap();
    let picture = picture.to_str().unwrap();
    evaluate(dir.path(), &[("a", "右肺<结节> CT"), ("b", "左肺<script>")], picture);
    evaluate(&dir.path().join(BASE), &[("a", "nothing"), ("b", "左肺<script>")], picture);
    let path = write(dir.path(), None).unwrap();
    let html = std::fs::read_to_string(path).unwrap();
    assert!(html.contains("data:image/jpeg;base64,"), "the picture is inside");
    assert!(!html.contains("<script") && html.contains("&lt;结节&gt;"), "data is escaped");
    assert!(!html.contains("http://") && !html.contains("src=\"/"), "nothing is loaded from elsewhere");
    let markdown = std::fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(markdown.contains("| exact-match | 0.00 | 50.00 |"), "{markdown}");
    assert!(markdown.contains("| MR | 1 |"), "{markdown}");
    assert!(markdown.contains("nothing"), "what the base model said is there");
}

#[test]
fn groups_follow_a_column_of_the_data() {
    let dir = tempfile::tempdir().unwrap();
    evaluate(dir.path(), &[("a", "右肺<结节> CT"), ("b", "x"), ("c", "y")], "gone.png");
    assert!(write_by(dir.path(), None, Some("organ")).unwrap_err().message.contains("which data"));
    let row = |id: &str, organ: Value| {
        serde_json::json!({ "id": id, "organ": organ, "images": [], "conversations": [
            { "from": "user", "value": "What?" }, { "from": "assistant", "value": "This." },
        ] })
    };
    let rows = [row("a", "lung".into()), row("b", "lung".into()), row("c", Value::Null)];
    files::write_json(&dir.path().join("set.json"), &rows).unwrap();
    let entry = crate::data::registry::Entry::sharegpt("set.json");
    crate::data::registry::register(dir.path(), "set", &entry).unwrap();
    let config = TrainConfig {
        dataset_dir: dir.path().into(),
        eval_dataset: vec!["set".into()],
        ..TrainConfig::default()
    };
    let path = dir.path().join(EVALUATION);
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    value["data"] = serde_json::to_value(Data::of(&config)).unwrap();
    files::write_json(&path, &value).unwrap();
    write_by(dir.path(), None, Some("organ")).unwrap();
    let markdown = std::fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(markdown.contains("## By organ") && markdown.contains("| lung | 2 |"), "{markdown}");
    assert!(markdown.contains("| no organ | 1 |"), "{markdown}");
    assert!(write_by(dir.path(), None, Some("age")).unwrap_err().message.contains("no row"));
}

#[test]
fn a_picture_that_is_gone_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    evaluate(dir.path(), &[("a", "x")], "gone.png");
    let html = std::fs::read_to_string(write(dir.path(), None).unwrap()).unwrap();
    assert!(html.contains("gone.png"));
}

/// An evaluation that was done again and has not ended is told by what there is of it, not by the measures of the one before.
#[test]
fn the_measures_are_those_of_the_samples() {
    let dir = tempfile::tempdir().unwrap();
    evaluate(dir.path(), &[("a", "右肺<结节> CT"), ("b", "x")], "gone.png");
    write(dir.path(), None).unwrap();
    let markdown = || std::fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(markdown().contains("| exact-match | 50.00 |"), "{}", markdown());
    let again = Prediction {
        id: "a".into(),
        scores: measures::named("nothing", "right"),
        predict: "nothing".into(),
        label: "right".into(),
        ..Prediction::default()
    };
    Growing::open(dir.path(), "y").unwrap().push(again).unwrap();
    write(dir.path(), None).unwrap();
    assert!(markdown().contains("| exact-match | 0.00 |"), "{}", markdown());
}

#[test]
fn nothing_in_common_is_no_gain() {
    let dir = tempfile::tempdir().unwrap();
    evaluate(dir.path(), &[("a", "right")], "gone.png");
    evaluate(&dir.path().join(BASE), &[("z", "left")], "gone.png");
    write(dir.path(), None).unwrap();
    let markdown = std::fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(markdown.contains("on 0 samples") && markdown.contains(" | – |  |"), "{markdown}");
    assert!(!markdown.contains("-0.00"), "{markdown}");
}

//! Query lines: what they find, what they refuse.

use super::*;
use crate::data::Message;

fn found(query: &str) -> bool {
    let say = |role, text: &str| Message { role, content: text.into() };
    let sample = Sample {
        row: 120,
        id: "scan-0012".into(),
        system: None,
        messages: vec![
            say(Role::User, "Where is it?"),
            say(Role::Assistant, "Left LUNG: a nodule, Größe 3:1"),
        ],
        images: Vec::new(),
    };
    let facts = Facts {
        row: 120,
        sample: Some(&sample),
        applied: Applied { edited: true, ..Applied::default() },
        codes: &["duplicate_row"],
        tokens: &|_| Ok(801),
    };
    Query::parse(query).unwrap().matches(&facts).unwrap()
}

#[test]
fn every_term_must_hold() {
    for yes in [
        "",
        "lung nodule",
        "\"left lung\"",
        "-liver id:12 finding:dup tokens:>800 edited:yes excluded:no",
        "GRÖßE",
        "größe",
        "3:1",
        "row:100-200",
        "row:120",
        "caption:\"a nodule\" question:where",
        "finding:any",
        "length:<50",
        "pictures:0",
        "usable:yes",
        "tokens:801",
        "tokens:>=801",
        "-caption:where",
        "\"LUNG: a\"",
    ] {
        assert!(found(yes), "{yes}");
    }
    for no in [
        "liver",
        "lung -nodule",
        "\"lung left\"",
        "tokens:>801",
        "tokens:<801",
        "row:<0",
        "row:121-130",
        "finding:broken",
        "edited:no",
        "id:13",
        "usable:no",
        "pictures:>0",
        "-lung",
    ] {
        assert!(!found(no), "{no}");
    }
}

#[test]
fn rows_are_passed_over_only_where_that_is_sure() {
    let may = |query: &str, changed| {
        let texts = || Some("Where is it?\nLeft LUNG".to_string());
        Query::parse(query).unwrap().may_match(7, &["duplicate_row"], changed, texts)
    };
    for yes in
        ["left lung", "12", "id:7", "-liver", "-lung", "finding:dup", "row:7", "excluded:no", "tokens:>8"]
    {
        assert!(may(yes, false), "{yes}");
    }
    for no in ["liver", "caption:liver", "id:scan", "finding:broken", "row:8", "excluded:yes", "-finding:dup"]
    {
        assert!(!may(no, false), "{no}");
    }
    assert!(may("liver excluded:yes", true), "the change may say so");
}

#[test]
fn mistakes_are_named_with_what_to_write() {
    for wrong in ["tokens:many", "excluded:maybe", "colour:red", "row:1-x"] {
        let error = Query::parse(wrong).unwrap_err();
        assert!(error.message.contains(wrong.split(':').next().unwrap()) && error.hint.is_some(), "{wrong}");
    }
    assert!(!Query::parse("tokens:>8").unwrap().is_empty());
    assert!(Query::parse("  ").unwrap().is_empty());
}

//! One question about pictures to a loaded model, answered piece by piece.

use super::decode::{Prompt, Rules, generate};
use crate::data::encode::Encoder;
use crate::data::sample::{ImageRef, Message, Role};
use crate::error::Result;
use crate::job::Turn;
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Who answers.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    pub model: &'a Qwen3Vl,
    pub encoder: &'a Encoder,
    pub adapter: Option<&'a Adapter>,
}

/// Answers `turn`; every piece of text goes to `on_text` as soon as it is whole characters. Returns the answer.
pub fn answer(who: Who, turn: &Turn, on_text: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<String> {
    let prompt = prompt(&who, turn)?;
    let rules = Rules {
        adapter: who.adapter.filter(|_| !turn.use_base),
        sampling: turn.sampling,
        stop_ids: who.encoder.stop_ids(),
        slots: 1,
    };
    let mut stream = who.encoder.stream(true);
    let mut text = String::new();
    let mut once = Some(prompt);
    generate(
        who.model,
        1,
        &mut |_| Ok(once.take().expect("asked for one prompt")),
        &rules,
        &mut |_, token| {
            let piece = match token {
                Some(id) => stream.push(id),
                None => stream.finish(),
            };
            text.push_str(&piece);
            if piece.is_empty() { ControlFlow::Continue(()) } else { on_text(&piece) }
        },
    )?;
    Ok(text)
}

/// The tokenised talk with the features of its pictures.
fn prompt(who: &Who, turn: &Turn) -> Result<Prompt> {
    let images: Vec<ImageRef> = turn.images.iter().cloned().map(ImageRef::named).collect::<Result<_>>()?;
    let patches = who.encoder.patches_of(&images)?;
    let grids: Vec<[usize; 3]> = patches.iter().map(|p| p.grid).collect();
    let ids = who.encoder.prompt(turn.system.as_deref(), &messages(turn), &grids)?;
    let adapter = who.adapter.filter(|_| !turn.use_base);
    let features = patches.iter().map(|p| Arc::new(who.model.see(p, adapter))).collect();
    Ok(Prompt { ids, grids, features })
}

/// The talk as messages; pictures without an `<image>` mark are put in front of the first question.
fn messages(turn: &Turn) -> Vec<Message> {
    let message = |role, content: &str| Message { role, content: content.into() };
    let mut all = Vec::new();
    for (question, answer) in &turn.history {
        all.push(message(Role::User, question));
        all.push(message(Role::Assistant, answer));
    }
    all.push(message(Role::User, &turn.question));
    let marks: usize = all.iter().map(|m| m.content.matches("<image>").count()).sum();
    let missing = turn.images.len().saturating_sub(marks);
    all[0].content.insert_str(0, &"<image>".repeat(missing));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_without_a_mark_come_first() {
        let turn = Turn {
            images: vec!["a".into(), "b".into()],
            question: "And <image>?".into(),
            history: vec![("What?".into(), "This.".into())],
            ..Turn::default()
        };
        let all = messages(&turn);
        assert_eq!(all[0].content, "<image>What?");
        assert_eq!(all[2].content, "And <image>?");
    }
}

//! One question about pictures to a loaded model, answered piece by piece.

use super::talk::Talk;
use crate::data::encode::Encoder;
use crate::data::sample::{Message, Role};
use crate::error::Result;
use crate::job::{Answer, Emit, Turn};
use crate::model::lora::Adapter;
use crate::model::qwen3_vl::Qwen3Vl;
use std::time::Instant;

/// Who answers.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    pub model: &'a Qwen3Vl,
    pub encoder: &'a Encoder,
    pub adapter: Option<&'a Adapter>,
}

/// Answers `turn` by itself. Before every token `go_on` is asked; `false` breaks the answer off.
///
/// # Errors
/// A picture or the talk cannot be used.
pub fn answer(
    who: &Who,
    id: u64,
    turn: &Turn,
    emit: Emit,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Answer> {
    write(&mut Talk::new(1), who, (id, turn), emit, go_on)
}

/// [`answer`] in a talk that keeps what questions have in common.
///
/// # Errors
/// As [`answer`].
pub fn write(
    talk: &mut Talk,
    who: &Who,
    (id, turn): (u64, &Turn),
    emit: Emit,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Answer> {
    talk.ask(who, id, turn, Instant::now())?;
    while go_on() {
        if let Some((_, answer)) = talk.step(who, emit).pop() {
            return Ok(answer);
        }
    }
    Ok(talk.cancel(id, emit).unwrap_or_default())
}

/// The talk as messages; pictures without an `<image>` mark are put in front of the first question.
pub(super) fn messages(turn: &Turn) -> Vec<Message> {
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

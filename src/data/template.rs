//! Chat templates: how a conversation becomes pieces of text, the prompt apart from the answer.
//!
//! Follows LLaMA-Factory 0.9.5, `data/template.py` (`Template`, `ReasoningTemplate`) and
//! `data/mm_plugin.py` (`Qwen3VLPlugin`).

use super::sample::{Message, Role};
use crate::error::{Error, Result};

/// A chat template of the Qwen3 family. All of them write turns alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    pub name: &'static str,
    /// Answers start with a thought, if only an empty one.
    reasoning: bool,
    /// Takes pictures.
    pictures: bool,
}

const TEMPLATES: [Template; 4] = [
    Template { name: "qwen3_vl_nothink", reasoning: false, pictures: true },
    Template { name: "qwen3_vl", reasoning: true, pictures: true },
    Template { name: "qwen3_nothink", reasoning: false, pictures: false },
    Template { name: "qwen3", reasoning: true, pictures: false },
];

/// One question and its answer, as text to tokenise. Pieces are tokenised one by one, as LLaMA-Factory does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    pub prompt: Vec<String>,
    pub answer: Vec<String>,
}

/// The mark in a text where a picture goes.
pub const IMAGE_MARK: &str = "<image>";
pub const IMAGE_TOKEN: &str = "<|image_pad|>";
pub const END_OF_TURN: &str = "<|im_end|>";
const VISION_START: &str = "<|vision_start|>";
const VISION_END: &str = "<|vision_end|>";
const THINK_OPEN: &str = "<think>";
const THINK_CLOSE: &str = "</think>";
const EMPTY_THOUGHT: &str = "<think>\n\n</think>\n\n";

impl Template {
    /// Finds a template by LLaMA-Factory's name.
    pub fn named(name: &str) -> Result<Self> {
        TEMPLATES.into_iter().find(|t| t.name == name).ok_or_else(|| {
            let known = TEMPLATES.map(|t| format!("`{}`", t.name)).join(", ");
            Error::usage(format!("unknown template `{name}`"))
                .hint(format!("templates are {known}; Qwen3-VL-Instruct models want `qwen3_vl_nothink`"))
        })
    }

    /// Puts the tokens of every picture in the place of its mark, over all turns in order.
    /// `tokens[i]` is how many tokens picture `i` takes.
    pub fn place_pictures(self, turns: &[Message], tokens: &[usize]) -> Result<Vec<Message>> {
        if !self.pictures {
            return if tokens.is_empty() { Ok(turns.to_vec()) } else { Err(self.takes_no_pictures()) };
        }
        let marks: usize = turns.iter().map(|m| m.content.matches(IMAGE_MARK).count()).sum();
        if marks != tokens.len() {
            return Err(Error::input(format!("{marks} {IMAGE_MARK} marks for {} pictures", tokens.len()))
                .hint(format!("write one {IMAGE_MARK} for each picture, over all turns")));
        }
        if let Some(mark) =
            ["<video>", "<audio>"].into_iter().find(|mark| turns.iter().any(|m| m.content.contains(mark)))
        {
            return Err(Error::input(format!("a turn holds {mark}, and only pictures are supported"))
                .hint("take the row out, or write the mark in another way if it is plain text"));
        }
        let mut counts = tokens.iter();
        Ok(turns.iter().map(|m| Message { role: m.role, content: place(&m.content, &mut counts) }).collect())
    }

    fn takes_no_pictures(self) -> Error {
        Error::usage(format!("template `{}` is for text alone, and the sample has pictures", self.name))
            .hint("use `qwen3_vl_nothink` (Instruct models), or `qwen3_vl` for a model that thinks first")
    }

    /// Whole conversations for training: a pair for every answer. `turns` hold their pictures already.
    /// `thinking`: LLaMA-Factory's `enable_thinking`; of an empty thought, `Some(true)` trains the model to write
    /// it, otherwise it is part of the prompt. `last_only`: answers before the last are history, without thoughts.
    pub fn pairs(
        self,
        system: Option<&str>,
        turns: &[Message],
        thinking: Option<bool>,
        last_only: bool,
    ) -> Result<Vec<Pair>> {
        if turns.is_empty() || turns.len() % 2 == 1 {
            return Err(Error::input(format!("{} turns: every question needs an answer", turns.len()))
                .hint("turns are to alternate between user and assistant, the assistant's last"));
        }
        let mut pairs = Vec::with_capacity(turns.len() / 2);
        for (i, two) in turns.chunks_exact(2).enumerate() {
            let mut prompt = if i == 0 { system_piece(system) } else { Vec::new() };
            prompt.push(question(&two[0])?);
            let mut answer = answer_of(&two[1])?.to_owned();
            let history = last_only && i + 1 < turns.len() / 2;
            if self.reasoning && (history || thinking == Some(false)) {
                answer = without_thought(&answer);
            }
            let mut pair = Pair { prompt, answer: Vec::new() };
            if self.reasoning && !history && !has_thought(&answer) {
                let side = if thinking == Some(true) { &mut pair.answer } else { &mut pair.prompt };
                side.push(EMPTY_THOUGHT.into());
            }
            pair.answer.push(answer + END_OF_TURN + "\n");
            pairs.push(pair);
        }
        Ok(pairs)
    }

    /// A conversation for generation: it ends with a question, and the result with the assistant's header
    /// (and the empty thought, unless `thinking` is `Some(true)`). Thoughts of earlier answers are left out.
    pub fn prompt(
        self,
        system: Option<&str>,
        turns: &[Message],
        thinking: Option<bool>,
    ) -> Result<Vec<String>> {
        if turns.len().is_multiple_of(2) {
            return Err(Error::input(format!("{} turns: the last one has to be a question", turns.len())));
        }
        let mut pieces = system_piece(system);
        for (i, turn) in turns.iter().enumerate() {
            if i % 2 == 0 {
                pieces.push(question(turn)?);
                continue;
            }
            let answer = answer_of(turn)?;
            let answer = if self.reasoning { without_thought(answer) } else { answer.to_owned() };
            pieces.push(answer + END_OF_TURN + "\n");
        }
        if self.reasoning && thinking != Some(true) {
            pieces.push(EMPTY_THOUGHT.into());
        }
        Ok(pieces)
    }
}

/// Replaces the marks of one text; `counts` is shared by all texts of a conversation.
fn place(text: &str, counts: &mut std::slice::Iter<usize>) -> String {
    let mut parts = text.split(IMAGE_MARK);
    let mut placed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let n = counts.next().copied().unwrap_or_default();
        placed += VISION_START;
        placed += &IMAGE_TOKEN.repeat(n);
        placed += VISION_END;
        placed += part;
    }
    placed
}

fn system_piece(system: Option<&str>) -> Vec<String> {
    match system {
        Some(text) if !text.is_empty() => vec![format!("<|im_start|>system\n{text}<|im_end|>\n")],
        _ => Vec::new(),
    }
}

fn question(turn: &Message) -> Result<String> {
    let text = &turn.content;
    match turn.role {
        Role::User => Ok(format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")),
        Role::Observation => Ok(format!(
            "<|im_start|>user\n<tool_response>\n{text}\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
        )),
        Role::Assistant | Role::Function => Err(out_of_order(turn.role, "a question")),
    }
}

fn answer_of(turn: &Message) -> Result<&str> {
    match turn.role {
        Role::Assistant => Ok(&turn.content),
        Role::Function => Err(Error::input("a turn is a tool call, and these are not supported")
            .hint("take the row out, or write the call as the assistant's text")),
        Role::User | Role::Observation => Err(out_of_order(turn.role, "an answer")),
    }
}

fn out_of_order(role: Role, expected: &str) -> Error {
    let role = format!("{role:?}").to_lowercase();
    Error::input(format!("a turn of the {role} stands where {expected} is expected"))
        .hint("turns are to alternate between user and assistant, the user's first")
}

fn has_thought(answer: &str) -> bool {
    answer.contains(THINK_OPEN) || answer.contains(THINK_CLOSE)
}

/// Takes `<think>\n…\n</think>\n\n` out, everywhere, and then line ends at the start.
fn without_thought(answer: &str) -> String {
    const OPEN: &str = "<think>\n";
    const CLOSE: &str = "\n</think>\n\n";
    let mut kept = String::with_capacity(answer.len());
    let mut rest = answer;
    while let Some((before, from)) = rest.split_once(OPEN) {
        let Some((_, after)) = from.split_once(CLOSE) else { break };
        kept += before;
        rest = after;
    }
    kept += rest;
    kept.trim_start_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn turns(texts: &[&str]) -> Vec<Message> {
        let role = |i| if i % 2 == 0 { Role::User } else { Role::Assistant };
        texts.iter().enumerate().map(|(i, t)| Message { role: role(i), content: (*t).into() }).collect()
    }

    #[test]
    fn thinking_decides_where_the_empty_thought_goes() {
        let template = Template::named("qwen3_vl").unwrap();
        let talk = turns(&["What?", "A CT."]);
        let on = &template.pairs(None, &talk, Some(true), false).unwrap()[0];
        assert_eq!(on.answer, [EMPTY_THOUGHT, "A CT.<|im_end|>\n"]);
        for off in [Some(false), None] {
            let pair = &template.pairs(None, &talk, off, false).unwrap()[0];
            assert_eq!(pair.prompt.last().unwrap(), EMPTY_THOUGHT);
            assert_eq!(pair.answer, ["A CT.<|im_end|>\n"]);
            assert_eq!(template.prompt(None, &talk[..1], off).unwrap().concat(), pair.prompt.concat());
        }
        assert_eq!(template.prompt(None, &talk[..1], Some(true)).unwrap().concat(), on.prompt.concat());
    }

    #[test]
    fn existing_thoughts_are_dropped_only_without_thinking() {
        let template = Template::named("qwen3_vl").unwrap();
        let talk = turns(&["What?", "<think>\nlook\nclosely\n</think>\n\n\nA CT.", "Sure?"]);
        let kept = &template.pairs(None, &talk[..2], Some(true), false).unwrap()[0];
        assert!(kept.answer.concat().contains("closely"));
        let dropped = &template.pairs(None, &talk[..2], Some(false), false).unwrap()[0];
        assert_eq!(dropped.answer, ["A CT.<|im_end|>\n"]);
        assert!(!template.prompt(None, &talk, Some(true)).unwrap().concat().contains("closely"));
        assert_eq!(without_thought("<think>\nopen"), "<think>\nopen");
    }

    #[test]
    fn a_text_template_says_which_one_takes_pictures() {
        let error =
            Template::named("qwen3").unwrap().place_pictures(&turns(&["<image>?"]), &[4]).unwrap_err();
        assert!(error.hint.unwrap().contains("qwen3_vl_nothink"));
        assert!(Template::named("llava").unwrap_err().hint.unwrap().contains("`qwen3_vl`"));
    }

    #[test]
    fn marks_and_pictures_must_agree() {
        let template = Template::named("qwen3_vl_nothink").unwrap();
        let placed = template.place_pictures(&turns(&["a <image> b", "<image>"]), &[2, 1]).unwrap();
        assert_eq!(placed[0].content, "a <|vision_start|><|image_pad|><|image_pad|><|vision_end|> b");
        assert_eq!(placed[1].content, "<|vision_start|><|image_pad|><|vision_end|>");
        assert!(template.place_pictures(&turns(&["<image>"]), &[]).is_err());
        assert!(template.place_pictures(&turns(&["no mark"]), &[4]).is_err());
        assert!(template.place_pictures(&turns(&["<video>"]), &[]).is_err());
    }
}

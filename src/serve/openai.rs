//! A request to `/v1/chat/completions` as a turn of a talk.

use super::fault::Fault;
use crate::job::{Sampling, Turn};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Most stop texts, alternatives to a token, and pictures of a request.
const STOPS: usize = 16;
const ALTERNATIVES: u64 = 20;
const PICTURES: usize = 32;

/// What was asked for.
#[derive(Debug)]
pub struct Asked {
    /// The model's name; `None`: the first one.
    pub model: Option<String>,
    pub turn: Turn,
    pub stream: bool,
    /// A last event with the numbers of tokens.
    pub usage: bool,
}

/// Reads the JSON of a request. What it does not say is as in `default`; an answer has at most `max_tokens`.
///
/// # Errors
/// It is no JSON, or a field has a value that is not supported, and which.
pub fn read(body: &[u8], default: &Sampling, max_tokens: usize) -> Result<Asked, Fault> {
    let value: Value =
        serde_json::from_slice(body).map_err(|e| Fault::bad(format!("the body is no JSON: {e}")))?;
    let Value::Object(object) = value else { return Err(Fault::bad("the body is no JSON object")) };
    let fields = Fields(object);
    fields.refuse_unsupported()?;
    let mut turn = turn(fields.array("messages")?)?;
    turn.sampling = sampling(&fields, default, max_tokens)?;
    if fields.flag("logprobs")? {
        let top = fields.whole("top_logprobs")?.unwrap_or(0);
        if top > ALTERNATIVES {
            return Err(Fault::field("top_logprobs", format!("top_logprobs is at most {ALTERNATIVES}")));
        }
        turn.odds = Some(top as usize);
    }
    let options = fields.0.get("stream_options");
    Ok(Asked {
        model: fields.text("model")?,
        turn,
        stream: fields.flag("stream")?,
        usage: options.is_some_and(|o| o["include_usage"] == true),
    })
}

fn sampling(fields: &Fields, default: &Sampling, max_tokens: usize) -> Result<Sampling, Fault> {
    let asked = fields.whole("max_completion_tokens")?.or(fields.whole("max_tokens")?);
    if asked.is_some_and(|n| n == 0 || n > max_tokens as u64) {
        return Err(Fault::field("max_tokens", format!("max_tokens must be from 1 to {max_tokens} here")));
    }
    let number = |name: &str, range: std::ops::RangeInclusive<f64>, default: f32| match fields.number(name)? {
        Some(x) if !range.contains(&x) => {
            let (from, to) = range.into_inner();
            Err(Fault::field(name, format!("{name} must be from {from} to {to}")))
        }
        found => Ok(found.map_or(default, |x| x as f32)),
    };
    Ok(Sampling {
        temperature: number("temperature", 0.0..=2.0, default.temperature)?,
        top_p: number("top_p", 0.0..=1.0, default.top_p)?,
        min_p: number("min_p", 0.0..=1.0, default.min_p)?,
        repetition_penalty: number("repetition_penalty", 0.01..=10.0, default.repetition_penalty)?,
        top_k: fields.whole("top_k")?.map_or(default.top_k, |k| k as usize),
        seed: fields.whole("seed")?.unwrap_or(default.seed),
        max_new_tokens: asked.map_or(default.max_new_tokens.min(max_tokens), |n| n as usize),
        stop: fields.stops()?.unwrap_or_else(|| default.stop.clone()),
        guesses: default.guesses,
    })
}

/// Whether a value changes nothing.
type Fine<'a> = &'a dyn Fn(&Value) -> bool;

/// The fields of the request; `null` is as good as none.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        let text = |v: &Value| v.as_str().map(str::to_string).ok_or_else(|| wrong(name, "a text"));
        self.get(name).map(text).transpose()
    }

    fn flag(&self, name: &str) -> Result<bool, Fault> {
        let flag = |v: &Value| v.as_bool().ok_or_else(|| wrong(name, "true or false"));
        self.get(name).map_or(Ok(false), flag)
    }

    fn number(&self, name: &str) -> Result<Option<f64>, Fault> {
        self.get(name).map(|v| v.as_f64().ok_or_else(|| wrong(name, "a number"))).transpose()
    }

    fn whole(&self, name: &str) -> Result<Option<u64>, Fault> {
        self.get(name).map(|v| v.as_u64().ok_or_else(|| wrong(name, "a whole number from 0"))).transpose()
    }

    fn array(&self, name: &str) -> Result<&[Value], Fault> {
        let array = self.get(name).and_then(Value::as_array);
        array.map(Vec::as_slice).ok_or_else(|| wrong(name, "an array"))
    }

    fn stops(&self) -> Result<Option<Vec<String>>, Fault> {
        let name = "stop";
        let texts = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many
                .iter()
                .map(|v| {
                    v.as_str().map(str::to_string).ok_or_else(|| wrong(name, "a text or an array of texts"))
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong(name, "a text or an array of texts")),
        };
        match texts.len() > STOPS {
            true => Err(Fault::field(name, format!("at most {STOPS} stop texts"))),
            false => Ok(Some(texts)),
        }
    }

    /// What would change the answer and cannot be done is told, not passed over.
    fn refuse_unsupported(&self) -> Result<(), Fault> {
        let empty = |v: &Value| matches!(v.as_array(), Some(a) if a.is_empty());
        let zero = |v: &Value| v.as_f64() == Some(0.0);
        let checks: [(&str, Fine); 9] = [
            ("n", &|v| v.as_u64() == Some(1)),
            ("presence_penalty", &zero),
            ("frequency_penalty", &zero),
            ("logit_bias", &|v| v.as_object().is_some_and(Map::is_empty)),
            ("tools", &empty),
            ("functions", &empty),
            ("modalities", &|v| v.as_array().is_some_and(|a| a.iter().all(|m| m == "text"))),
            ("response_format", &|v| v["type"] == "text"),
            ("audio", &|_| false),
        ];
        let bad = checks.iter().find(|(name, fine)| self.get(name).is_some_and(|v| !fine(v)));
        bad.map_or(Ok(()), |(name, _)| {
            Err(Fault::field(*name, format!("this value of {name} is not supported")))
        })
    }
}

fn wrong(name: &str, wanted: &str) -> Fault {
    Fault::field(name, format!("{name} must be {wanted}"))
}

/// Messages as a talk: system texts joined, then questions and answers by turns; neighbours of one role are joined.
fn turn(messages: &[Value]) -> Result<Turn, Fault> {
    let mut turn = Turn::default();
    let (mut system, mut said): (Vec<String>, Vec<(bool, String)>) = (Vec::new(), Vec::new());
    for (i, message) in messages.iter().enumerate() {
        let at = format!("messages[{i}]");
        let text = content(&message["content"], &at, &mut turn.images)?;
        let user = match message["role"].as_str() {
            Some("system" | "developer") => {
                system.push(text);
                continue;
            }
            Some("user") => true,
            Some("assistant") => false,
            _ => return Err(Fault::field(at, "the role must be system, user or assistant")),
        };
        match said.last_mut().filter(|(last, _)| *last == user) {
            Some((_, before)) => *before = format!("{before}\n{text}"),
            None => said.push((user, text)),
        }
    }
    if !said.first().is_some_and(|s| s.0) || !said.last().is_some_and(|s| s.0) {
        return Err(Fault::field("messages", "the talk must begin and end with a message of the user"));
    }
    turn.system = (!system.is_empty()).then(|| system.join("\n"));
    turn.question = said.pop().map(|(_, text)| text).unwrap_or_default();
    turn.history = said.chunks_exact(2).map(|pair| (pair[0].1.clone(), pair[1].1.clone())).collect();
    Ok(turn)
}

/// The text of a message, with a mark where each picture stands.
fn content(content: &Value, at: &str, images: &mut Vec<PathBuf>) -> Result<String, Fault> {
    let parts = match content {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        _ => return Err(Fault::field(at, "content must be a text or an array of parts")),
    };
    let mut all = String::new();
    for part in parts {
        match part["type"].as_str() {
            Some("text") => all += part["text"].as_str().unwrap_or_default(),
            Some("image_url") => {
                let url =
                    part["image_url"]["url"].as_str().or(part["image_url"].as_str()).unwrap_or_default();
                if !url.starts_with("data:") {
                    let n = images.len() + 1;
                    let message =
                        format!("picture {n} must be a data: URL: nothing is loaded from elsewhere");
                    return Err(Fault::field(at, message));
                }
                if images.len() == PICTURES {
                    return Err(Fault::field(at, format!("at most {PICTURES} pictures")));
                }
                images.push(url.into());
                all += "<image>";
            }
            _ => return Err(Fault::field(at, "a part of content must be of type text or image_url")),
        }
    }
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(value: Value) -> Result<Asked, Fault> {
        read(value.to_string().as_bytes(), &Sampling::default(), 1000)
    }

    fn messages(messages: Value) -> Result<Turn, Fault> {
        asked(json!({ "messages": messages })).map(|a| a.turn)
    }

    #[test]
    fn a_talk_with_a_picture() {
        let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}});
        let turn = messages(json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [picture, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": "This."},
            {"role": "user", "content": "And"},
            {"role": "user", "content": "now?"},
        ]))
        .unwrap();
        assert_eq!(turn.system.as_deref(), Some("Be brief."));
        assert_eq!(turn.history, [("<image>What?".into(), "This.".into())]);
        assert_eq!((turn.question.as_str(), turn.images.len()), ("And\nnow?", 1));
    }

    #[test]
    fn files_and_addresses_are_not_opened() {
        for url in ["/etc/passwd", "file:///etc/passwd", "https://example.org/a.png", ""] {
            let part = json!([{"type": "image_url", "image_url": {"url": url}}]);
            assert!(messages(json!([{"role": "user", "content": part}])).is_err(), "{url}");
        }
    }

    #[test]
    fn sampling_is_taken_and_limits_are_told() {
        let talk = json!([{"role": "user", "content": "x"}]);
        let all = asked(json!({
            "messages": talk, "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop": "\n", "seed": 3,
            "logprobs": true, "top_logprobs": 2, "stream": true, "stream_options": {"include_usage": true},
            "model": "m", "n": 1, "tools": [], "user": null,
        }))
        .unwrap();
        let s = &all.turn.sampling;
        assert_eq!((s.temperature, s.top_p, s.max_new_tokens, s.seed), (0.5, 0.9, 7, 3));
        assert_eq!((s.stop.clone(), all.turn.odds), (vec!["\n".to_string()], Some(2)));
        assert!(all.stream && all.usage && all.model.as_deref() == Some("m"));
        for (name, value) in [
            ("max_tokens", json!(1001)),
            ("temperature", json!(-1)),
            ("n", json!(2)),
            ("tools", json!([{}])),
            ("stop", json!(4)),
            ("stream", json!("yes")),
        ] {
            let fault = asked(json!({ "messages": talk, name: value })).unwrap_err();
            assert!(fault.status == 400 && fault.message.contains(name), "{name}: {}", fault.message);
        }
    }

    #[test]
    fn a_talk_has_a_form() {
        assert!(messages(json!([])).is_err());
        assert!(messages(json!([{"role": "assistant", "content": "x"}])).is_err());
        assert!(messages(json!([{"role": "robot", "content": "x"}])).is_err());
        assert!(read(b"{", &Sampling::default(), 9).unwrap_err().message.contains("no JSON"));
    }
}

//! Answers in the shape of OpenAI's.

use crate::job::{Answer, Finish, Odds};
use serde_json::{Value, json};

/// What all parts of one answer say.
pub struct Reply {
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    pub model: String,
}

impl Reply {
    /// The whole answer.
    pub fn whole(&self, answer: &Answer, odds: Option<&[Odds]>) -> Value {
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": answer.text, "refusal": null },
                "logprobs": odds.map(logprobs), "finish_reason": finish(answer.finish),
            }],
            "usage": usage(answer),
        })
    }

    /// The first event of a stream.
    pub fn begin(&self) -> Value {
        self.chunk(&json!({ "role": "assistant", "content": "" }), None, None)
    }

    /// A piece of text, with the odds of the tokens since the piece before.
    pub fn piece(&self, text: &str, odds: Option<&[Odds]>) -> Value {
        self.chunk(&json!({ "content": text }), odds, None)
    }

    /// The last event but the numbers of tokens.
    pub fn end(&self, answer: &Answer) -> Value {
        self.chunk(&json!({}), None, Some(finish(answer.finish)))
    }

    /// The numbers of tokens.
    pub fn usage(&self, answer: &Answer) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": [], "usage": usage(answer),
        })
    }

    fn chunk(&self, delta: &Value, odds: Option<&[Odds]>, finish: Option<&str>) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": [{
                "index": 0, "delta": delta, "logprobs": odds.map(logprobs), "finish_reason": finish,
            }],
        })
    }
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::Stop | Finish::Cancelled => "stop",
    }
}

fn usage(answer: &Answer) -> Value {
    json!({
        "prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.new_tokens,
        "total_tokens": answer.prompt_tokens + answer.new_tokens,
        "prompt_tokens_details": { "cached_tokens": answer.reused_tokens },
    })
}

fn logprobs(odds: &[Odds]) -> Value {
    let one =
        |token: &str, logprob: f32| json!({ "token": token, "logprob": logprob, "bytes": token.as_bytes() });
    let row = |o: &Odds| {
        let mut row = one(&o.token, o.logprob);
        row["top_logprobs"] = o.top.iter().map(|(token, p)| one(token, *p)).collect();
        row
    };
    json!({ "content": odds.iter().map(row).collect::<Vec<_>>(), "refusal": null })
}

/// The list of `/v1/models`.
pub fn models(names: &[String], created: u64) -> Value {
    let all: Vec<Value> = names.iter().map(|name| model(name, created)).collect();
    json!({ "object": "list", "data": all })
}

/// One of them.
pub fn model(name: &str, created: u64) -> Value {
    json!({ "id": name, "object": "model", "created": created, "owned_by": "lorascope" })
}

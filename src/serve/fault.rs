//! What is wrong with a request, as OpenAI's errors say it.

use crate::error::{Error, Kind};
use serde_json::{Value, json};

/// An error with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    pub message: String,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
}

impl Fault {
    fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind, code, param: None }
    }

    /// The request itself is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", None, message)
    }

    /// A field of the request is wrong.
    pub fn field(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(name.into()), ..Self::bad(message) }
    }

    pub fn token() -> Self {
        let message =
            "wrong or missing token: send Authorization: Bearer TOKEN as `lorascope serve` showed it";
        Self::new(401, "invalid_request_error", Some("invalid_api_key"), message)
    }

    pub fn no_such_path(path: &str) -> Self {
        let message = format!("there is no {path}; there are /v1/chat/completions and /v1/models");
        Self::new(404, "invalid_request_error", Some("unknown_url"), message)
    }

    pub fn method(wanted: &str) -> Self {
        Self::new(405, "invalid_request_error", None, format!("only {wanted} is answered here"))
    }

    pub fn no_such_model(name: &str, there: &[String]) -> Self {
        let message = format!("there is no model {name:?} here; there are {}", there.join(", "));
        let fault = Self::new(404, "invalid_request_error", Some("model_not_found"), message);
        Self { param: Some("model".into()), ..fault }
    }

    pub fn slow(what: &str) -> Self {
        Self::new(408, "invalid_request_error", Some("timeout"), format!("{what} did not come in time"))
    }

    pub fn large(limit: usize) -> Self {
        let message = format!("the request is larger than {} MB; send smaller pictures", limit / 1_000_000);
        Self::new(413, "invalid_request_error", Some("request_too_large"), message)
    }

    /// No more questions can wait.
    pub fn full() -> Self {
        let message = "too many questions are waiting for an answer; try again in a moment";
        Self::new(429, "requests", Some("rate_limit_exceeded"), message)
    }

    /// No more connections.
    pub fn busy() -> Self {
        Self::new(503, "server_error", None, "too many connections; try again in a moment")
    }

    pub fn ending() -> Self {
        Self::new(503, "server_error", None, "the server is ending")
    }

    pub fn too_long(seconds: u64) -> Self {
        let message = format!("the answer took longer than {seconds} seconds");
        Self::new(504, "server_error", Some("timeout"), message)
    }

    /// Its JSON, `{"error": {…}}`.
    pub fn body(&self) -> Value {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }

    /// Seconds after which it is worth another try.
    pub fn retry_after(&self) -> Option<u32> {
        matches!(self.status, 429 | 503).then_some(1)
    }
}

impl From<Error> for Fault {
    /// What the engine refuses: a picture or a talk that cannot be used is the client's fault.
    fn from(e: Error) -> Self {
        let hint = e.hint.map(|h| format!(" ({h})")).unwrap_or_default();
        let message = format!("{}{hint}", e.message);
        match e.kind {
            Kind::Input | Kind::Usage | Kind::Check => Self::bad(message),
            _ => Self::new(500, "server_error", None, message),
        }
    }
}
